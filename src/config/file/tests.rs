//! The documented example, and what is said of files that are not as they should be.

use super::*;
use crate::auth::{Deliver, Html, Pattern, Verb};
use crate::census::limits::Limits;
use crate::limits::{
    CONFIGURED_CONNECTIONS_MAX, EVENT_TYPE_BYTES_MAX, HISTORY_AGE_S_MAX, HISTORY_BYTES_MAX, HISTORY_COUNT_MAX,
    POLICY_EVENTS_MAX, RATE_PER_MINUTE_MAX,
};

const OPERATIONS: &str = include_str!("../../../docs/OPERATIONS.md");

/// The block of the documentation that shows every key.
fn documented() -> &'static str {
    let (_, rest) = OPERATIONS.split_once("<!-- configuration: example -->\n\n```toml\n").unwrap();
    rest.split_once("```\n").unwrap().0
}

fn wrong(text: &str) -> StartError {
    match parse(text, "gateway.toml") {
        Ok(file) => panic!("{text:?} was taken: {file:?}"),
        Err(error) => error,
    }
}

#[test]
fn the_documented_example_is_a_file_and_nothing_in_it_is_idle() {
    let file = parse(documented(), "OPERATIONS.md").unwrap();
    assert_eq!(file.auth.issuer.as_deref(), Some("https://login.example.com"));
    assert_eq!((file.auth.keys.len(), file.auth.jwks_file.is_some()), (2, true));
    assert!(!file.origins.allowed.is_empty() && file.limits.profile == Some(limits::Profile::Default));
    assert_eq!((file.history.events, file.history.bytes, file.history.age), (Some(100), Some(1_048_576), Some(86_400)));
    let row = &file.policy[0];
    assert_eq!(row.pattern, Pattern::parse("chat:*").unwrap());
    assert_eq!((row.rate, row.burst, row.html), (Some(60), Some(10), Some(Html::Escape)));
    assert_eq!(row.deliver, Some(Deliver::UntilAcked));
    assert!(row.verbs.is_some_and(|verbs| verbs.contains(Verb::Publish) && !verbs.contains(Verb::Admin)));
    assert!(!file.proxies.trusted.is_empty() && file.limits.connections_per_address == Some(1000));
    // Each line of the example is needed: with another name it is refused.
    for line in documented().lines().filter(|line| line.contains(" = ")) {
        let renamed = documented().replacen(line, &format!("x_{}", line.trim_start()), 1);
        assert!(parse(&renamed, "x").is_err(), "{line}");
    }
}

#[test]
fn limits_are_laid_over_the_documented_ones() {
    assert_eq!(parse("", "x").unwrap().limits.usable(), Limits::default());
    let text = "[limits]\nupgrades = 0\nmessages_per_user = 90\n[limits.chat]\nconnections = 0\nmessages = 60\n\
                [limits.open]\nburst = 7";
    let limits = parse(text, "x").unwrap().limits.usable();
    assert!(limits.upgrades.is_unlimited());
    assert_eq!((limits.user_messages.per_minute, limits.user_messages.burst), (90, 90));
    assert_eq!((limits.chat.connections, limits.chat.messages.per_minute, limits.chat.messages.burst), (0, 60, 10));
    assert_eq!((limits.open.messages.per_minute, limits.open.messages.burst), (600, 7));
    assert_eq!(limits.collab, Limits::default().collab);
}

#[test]
fn an_empty_file_says_nothing() {
    let file = parse("", "gateway.toml").unwrap();
    assert!(file.origins.allowed.is_empty() && file.policy.is_empty() && file.limits.profile.is_none());
    assert!(!file.auth.require_caps && file.history.events.is_none());
}

#[test]
fn a_refusal_names_file_line_column_and_the_nearest_name() {
    for (text, place, what, remedy) in [
        ("[auht]\nissuer = \"a\"", "line 1, column 2", "auht", "`auth`"),
        ("[auth]\nissuer = \"a\"\nisuer = 1", "line 3, column 1", "isuer", "`issuer`"),
        ("[auth]\nissuer = 1", "line 2, column 10", "integer", "OPERATIONS.md"),
        ("[auth\n", "line 1, column 6", "", "OPERATIONS.md"),
        ("[auth]\n[auth]", "line 2, column 2", "duplicate", "OPERATIONS.md"),
        ("[origins]\nallowed = [\"https://a\",\n \"https://b/\"]", "line 2, column 11", "https://b/", "OPERATIONS.md"),
        ("[limits]\nprofile = \"unlimitted\"", "line 2, column 11", "unlimitted", "`unlimited`"),
        ("[[policy]]\npattern = \"a*b\"", "line 2, column 11", "a*b", "OPERATIONS.md"),
        ("[[policy]]\npattern = \"a\"\nverbs = [\"publich\"]", "line 3, column 9", "publich", "`publish`"),
        ("[[policy]]\nverbs = []", "line 1", "pattern", "OPERATIONS.md"),
        ("[[policy]]\npattern = \"é\"\nhtml = \"escpae\"", "line 3, column 8", "escpae", "`escape`"),
        ("[[policy]]\npattern = \"é\"\ndeliver = \"until_aked\"", "line 3, column 11", "until_aked", "`until_acked`"),
        ("# é\nx = é", "line 2, column 5", "", "OPERATIONS.md"),
        ("[auth]\nkeys = [{ algorithm = \"HS265\" }]", "line 2, column 23", "HS265", "`HS256`"),
        ("[auth]\nkeys = [{ algorithm = \"none\" }]", "line 2, column 23", "none", "OPERATIONS.md"),
        ("[auth]\nkeys = [{ algorithm = \"HS256\" }]", "line 2", "secret_file", "OPERATIONS.md"),
        (
            "[auth]\nkeys = [{ algorithm = \"HS256\", public_key_file = \"k\" }]",
            "line 2",
            "secret_file",
            "OPERATIONS.md",
        ),
        (
            "[auth]\nkeys = [{ algorithm = \"ES256\", secret_file = \"k\" }]",
            "line 2",
            "public_key_file",
            "OPERATIONS.md",
        ),
        ("[auth]\nkeys = [{ algorithm = \"ES256\", secret = \"k\" }]", "line 2", "secret", "`secret_file`"),
        ("[history]\nage = \"1w\"", "line 2, column 7", "1w", "OPERATIONS.md"),
        ("[proxies]\ntrust = 1", "line 2, column 1", "trust", "`trusted`"),
        ("[proxies]\ntrusted = [\"10.0.0.0/33\"]", "line 2, column 11", "10.0.0.0/33", "OPERATIONS.md"),
        ("[limits.chat]\nmesages = 1", "line 2, column 1", "mesages", "`messages`"),
        ("zzz = 1", "line 1, column 1", "zzz", "OPERATIONS.md"),
    ] {
        let error = wrong(text);
        assert!(error.place.starts_with(&format!("gateway.toml, {place}")), "{text:?}: {error}");
        assert!(error.what.contains(what) && error.remedy.contains(remedy), "{text:?}: {error}");
    }
}

#[test]
fn rows_that_are_wrong_together_are_refused() {
    let row = "[[policy]]\npattern = \"a\"\n";
    assert!(wrong(&row.repeat(2)).what.contains("row 2"));
    assert!(wrong(&format!("{row}burst = 1")).what.contains("no rate"));
    let for_each = "[[policy]]\npattern = \"user:{user}\"\ndeliver = \"until_acked\"";
    assert!(wrong(for_each).what.contains("{user}"));
    assert!(parse(&format!("{row}rate = 30"), "x").unwrap().policy[0].usable().rate.unwrap().burst == 5);
    assert!(parse(&format!("{row}rate = 5"), "x").unwrap().policy[0].usable().rate.unwrap().burst == 1);
}

#[test]
fn values_are_held_at_their_limits() {
    let check = |text: &dyn Fn(u64) -> String, max: u64| {
        for (value, good) in [(max - 1, true), (max, true), (max + 1, false)] {
            assert_eq!(parse(&text(value), "x").is_ok(), good, "{}", text(value));
        }
    };
    check(&|n| format!("[history]\nevents = {n}"), HISTORY_COUNT_MAX as u64);
    check(&|n| format!("[history]\nbytes = {n}"), HISTORY_BYTES_MAX as u64);
    check(&|n| format!("[history]\nage = \"{n}s\""), HISTORY_AGE_S_MAX);
    check(&|n| format!("[limits]\nconnections = {n}"), CONFIGURED_CONNECTIONS_MAX.into());
    check(&|n| format!("[limits]\nconnections_per_user = {n}"), CONFIGURED_CONNECTIONS_MAX.into());
    check(&|n| format!("[limits]\nupgrades = {n}"), RATE_PER_MINUTE_MAX.into());
    check(&|n| format!("[limits.open]\nmessages = {n}"), RATE_PER_MINUTE_MAX.into());
    check(&|n| format!("[[policy]]\npattern = \"a\"\nrate = {n}"), u64::from(RATE_PER_MINUTE_MAX));
    let events = |n: u64| {
        let names: Vec<String> = (0..n).map(|n| format!("\"e{n}\"")).collect();
        format!("[[policy]]\npattern = \"a\"\nallowed_events = [{}]", names.join(","))
    };
    check(&events, POLICY_EVENTS_MAX as u64);
    let event = |n: u64| {
        format!("[[policy]]\npattern = \"a\"\nallowed_events = [\"{}\"]", "e".repeat(usize::try_from(n).unwrap()))
    };
    check(&event, EVENT_TYPE_BYTES_MAX as u64);
    for text in ["[history]\nevents = 0", "[history]\nage = \"0s\"", "[history]\nbytes = -1"] {
        wrong(text);
    }
}

#[test]
fn a_file_is_read_up_to_its_bound() {
    let path = std::env::temp_dir().join(format!("waystation-config-{}.toml", std::process::id()));
    for (bytes, good) in
        [(CONFIG_FILE_BYTES_MAX - 1, true), (CONFIG_FILE_BYTES_MAX, true), (CONFIG_FILE_BYTES_MAX + 1, false)]
    {
        std::fs::write(&path, "#".repeat(usize::try_from(bytes).unwrap())).unwrap();
        assert_eq!(read(&path).is_ok(), good, "{bytes}");
    }
    std::fs::write(&path, b"# \xff").unwrap();
    assert!(read(&path).unwrap_err().what.contains("UTF-8"));
    std::fs::remove_file(&path).unwrap();
    let error = read(&path).unwrap_err();
    assert!(error.place == path.display().to_string() && error.remedy.contains("--config"), "{error}");
}
