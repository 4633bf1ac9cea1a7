//! Wrong configurations: each is told with file, line, column, what stands there and what to write.

use super::*;
use crate::limits::{
    CONFIG_VALUE_SHOWN_MAX, CONFIGURED_CONNECTIONS_MAX, EVENT_TYPE_BYTES_MAX, HISTORY_AGE_S_MAX, HISTORY_BYTES_MAX,
    HISTORY_COUNT_MAX, KEY_ID_BYTES_MAX, KEYS_COUNT_MAX, LISTEN_COUNT_MAX, ORIGINS_COUNT_MAX, POLICY_EVENTS_MAX,
    POLICY_ROWS_MAX, PROXIES_COUNT_MAX, RATE_PER_MINUTE_MAX, RECORDER_BYTES_MAX, SOCKET_PATH_BYTES_MAX, SPIN_US_MAX,
    STORE_CACHE_BYTES_MAX, STORE_CACHE_BYTES_MIN, STORE_READERS_MAX, STORE_WINDOW_MS_MAX,
};

/// Text; line and column; the name or value that the message has; what its remedy has.
type Row = (&'static str, &'static str, &'static str, &'static str);

const ROW: &str = "[[policy]]\npattern = \"a\"\n";

const WRONG: [Row; 76] = [
    // Names.
    ("[auht]\nissuer = \"a\"", "line 1, column 2", "`auht` is no key", "did you mean `auth`?"),
    ("[auth]\nissuer = \"a\"\nisuer = 1", "line 3, column 1", "`auth.isuer` is no key", "did you mean `auth.issuer`?"),
    ("[limits]\nconections = 5", "line 2, column 1", "`limits.conections`", "did you mean `limits.connections`?"),
    ("[limits.chat]\nmesages = 1", "line 2, column 1", "`limits.chat.mesages`", "did you mean `limits.chat.messages`?"),
    ("[limits.chta]\nmessages = 1", "line 1, column 9", "`limits.chta`", "did you mean `limits.chat`?"),
    ("jwks_file = \"x\"", "line 1, column 1", "`jwks_file` is no key", "did you mean `auth.jwks_file`?"),
    ("[server]\nissuer = \"x\"", "line 2, column 1", "`server.issuer`", "did you mean `auth.issuer`?"),
    ("zzz = 1", "line 1, column 1", "`zzz`", "known here are server, log, audit, auth"),
    ("[proxies]\ntrust = 1", "line 2, column 1", "`proxies.trust`", "did you mean `proxies.trusted`?"),
    ("[server]\nport = 1", "line 2, column 1", "`server.port`", "known here are listen, socket_mode"),
    ("[history]\n\"\" = 1", "line 2, column 1", "`history.`", "known here are events, bytes, age"),
    ("[recorder]\nbyts = 1", "line 2, column 1", "`recorder.byts` is no key", "did you mean `recorder.bytes`?"),
    // Types.
    ("auth = 5", "line 1, column 8", "`auth` is a section, and a whole number", "write [auth]"),
    ("[auth]\nissuer = 1", "line 2, column 10", "`auth.issuer` = 1: this is a whole number", "a text in quotes"),
    ("[auth]\nissuer = \"\"", "line 2, column 10", "`auth.issuer` = \"\": it is empty", "a text in quotes, not empty"),
    (
        "[limits]\nconnections = \"5\"",
        "line 2, column 15",
        "`limits.connections` = \"5\": this is a text",
        "from 1 to 1,048,576",
    ),
    (
        "[limits]\nupgrades = 1.5",
        "line 2, column 12",
        "= 1.5: this is a number with a fraction",
        "whole number from 0 to 600,000",
    ),
    ("[server]\necho = \"yes\"", "line 2, column 8", "`server.echo` = \"yes\"", "true or false; the default is false"),
    ("[server]\necho = 1979-05-27", "line 2, column 8", "1979-05-27: this is a date", "true or false"),
    (
        "[origins]\nallowed = \"*\"",
        "line 2, column 11",
        "`origins.allowed` = \"*\": this is a text",
        "a list of at most 256",
    ),
    (
        "[origins]\nallowed = [1]",
        "line 2, column 12",
        "`origins.allowed` = 1: this is a whole number",
        "an origin in quotes",
    ),
    ("[policy]\npattern = \"a\"", "line 1, column 1", "`policy` is one table", "write [[policy]]"),
    ("policy = [1]", "line 1, column 11", "`policy` = …: this is a whole number", "pattern, verbs"),
    ("[limits]\nchat = 5", "line 2, column 8", "`limits.chat` is a section", "write [limits.chat]"),
    ("[audit]\nto = 5", "line 2, column 6", "`audit.to` = 5: this is a whole number", "\"off\", \"log\" or the path"),
    ("[audit]\nto = \"\"", "line 2, column 6", "`audit.to` = \"\": it is empty", "the path of a file in quotes"),
    (
        "[recorder]\nbytes = \"1M\"",
        "line 2, column 9",
        "`recorder.bytes` = \"1M\": this is a text",
        "from 0 to 268,435,456",
    ),
    // Bounds.
    (
        "[recorder]\nbytes = 268_435_457",
        "line 2, column 9",
        "= 268_435_457: this is out of bounds",
        "from 0 to 268,435,456",
    ),
    (
        "[limits]\nconnections = 0",
        "line 2, column 15",
        "`limits.connections` = 0: this is out of bounds",
        "from 1 to 1,048,576",
    ),
    (
        "[limits]\nconnections = 2_000_000",
        "line 2, column 15",
        "= 2_000_000: this is out of bounds",
        "from 1 to 1,048,576; as in 100_000",
    ),
    ("[limits]\nupgrades = -1", "line 2, column 12", "`limits.upgrades` = -1", "from 0 to 600,000; the default is 60"),
    ("[limits]\nupgrades = 0xfffffffff", "line 2, column 12", "= 0xfffffffff", "from 0 to 600,000"),
    ("[limits]\nupgrades = 99999999999999999999", "line 2, column 12", "99999999999999999999", "from 0 to 600,000"),
    ("[server]\nshards = 129", "line 2, column 10", "`server.shards` = 129", "from 1 to 128; as in 4"),
    ("[server]\nspin_us = 1001", "line 2, column 11", "`server.spin_us` = 1001", "from 0 to 1,000; the default is 0"),
    ("[history]\nevents = 0", "line 2, column 10", "`history.events` = 0", "from 1 to 100,000; the default is 100"),
    ("[history]\nage = \"0s\"", "line 2, column 7", "= \"0s\": this is outside", "from 1s to 3660d"),
    // Texts.
    (
        "[history]\nage = \"1w\"",
        "line 2, column 7",
        "`history.age` = \"1w\"",
        "a duration from 1s to 3660d in quotes, as in \"24h\"",
    ),
    (
        "[server]\nlisten = \"localhost\"",
        "line 2, column 10",
        "`server.listen` = \"localhost\"",
        "as in \"127.0.0.1:8000\"",
    ),
    ("[server]\nlisten = []", "line 2, column 10", "`server.listen` = []: it is empty", "or a list of at most 8"),
    (
        "[server]\nlisten = 8000",
        "line 2, column 10",
        "`server.listen` = 8000: this is a whole number",
        "\"127.0.0.1:8000\"",
    ),
    (
        "[server]\nlisten = [\"[::]:80\", \"unix:ws.sock\"]",
        "line 2, column 22",
        "\"unix:ws.sock\": the path of a Unix socket begins with /",
        "as in \"unix:/run/waystation/ws.sock\"",
    ),
    (
        "[server]\nlisten = [\"0.0.0.0:80\", \"127.0.0.1:80\"]",
        "line 2, column 10",
        "127.0.0.1:80 is for the same connections as 0.0.0.0:80",
        "leave one of the two out",
    ),
    ("[server]\nsocket_mode = \"rw\"", "line 2, column 15", "\"rw\": this is no mode", "as in \"0660\""),
    ("[proxies]\ntrusted = [\"localhost\"]", "line 2, column 12", "\"localhost\" is no network", "or \"unix\""),
    ("[server]\ncpus = \"3-1\"", "line 2, column 8", "`server.cpus` = \"3-1\"", "as in \"0,2-3\""),
    ("[server]\ncpus = \"0,77\"", "line 2, column 8", "processor 77", "name others"),
    (
        "[server]\nshards = 2\ncpus = \"0\"",
        "line 2, column 10",
        "2 shards and a list of 1 to pin them to",
        "as many processors as shards",
    ),
    (
        "[log]\nfilter = \"waystation=loud\"",
        "line 2, column 10",
        "\"waystation=loud\"",
        "as in \"info,waystation=debug\"",
    ),
    ("[log]\nformat = \"jsn\"", "line 2, column 10", "`log.format` = \"jsn\"", "did you mean \"json\"?"),
    ("[limits]\nprofile = \"unlimitted\"", "line 2, column 11", "\"unlimitted\"", "did you mean \"unlimited\"?"),
    (
        "[origins]\nallowed = [\"https://a\",\n \"https://b/\"]",
        "line 3, column 2",
        "\"https://b/\"",
        "an origin in quotes",
    ),
    ("[proxies]\ntrusted = [\"10.0.0.0/33\"]", "line 2, column 12", "\"10.0.0.0/33\"", "as in \"10.0.0.0/8\""),
    // Rows.
    ("[[policy]]\npattern = \"a*b\"", "line 2, column 11", "`policy.pattern` = \"a*b\"", "its beginning and a *"),
    (
        "[[policy]]\npattern = \"a\"\nverbs = [\"publich\"]",
        "line 3, column 10",
        "`policy.verbs` = \"publich\"",
        "did you mean \"publish\"?",
    ),
    ("[[policy]]\nverbs = []", "line 1, column 1", "this row of `policy` has no `pattern`", "add pattern = \"chat:*\""),
    (
        "[[policy]]\npattern = \"é\"\nhtml = \"escpae\"",
        "line 3, column 8",
        "`policy.html` = \"escpae\"",
        "did you mean \"escape\"?",
    ),
    (
        "[[policy]]\npattern = \"é\"\ndeliver = \"until_aked\"",
        "line 3, column 11",
        "\"until_aked\"",
        "\"until_acked\"?",
    ),
    ("[[policy]]\npattern = \"a\"\nratte = 5", "line 3, column 1", "`policy.ratte` is no key", "did you mean `rate`?"),
    ("[[policy]]\npattern = \"a\"\nrate = 0", "line 3, column 8", "`policy.rate` = 0", "from 1 to 600,000"),
    ("[[policy]]\npattern = \"a\"\nburst = 5", "line 1, column 1", "a `burst` and no `rate`", "add rate = 60"),
    ("[[policy]]\npattern = \"user:{user}\"\ndeliver = \"live\"", "line 1, column 1", "{user}", "take deliver out"),
    ("[[policy]]\npattern = \"user:{user}\"\ndurable = true", "line 1, column 1", "{user}", "take durable out"),
    ("[[policy]]\npattern = \"system:*\"\ndurable = true", "line 1, column 1", "`durable`", "take durable out"),
    (
        "[[policy]]\npattern = \"system:stats\"\ndeliver = \"until_acked\"",
        "line 1, column 1",
        "`deliver`",
        "take deliver out",
    ),
    ("[[policy]]\npattern = \"system:*\"\nverbs = [\"subscribe\"]", "line 1, column 1", "`verbs`", "add \"admin\""),
    ("[[policy]]\npattern = \"a\"\ndurable = \"yes\"", "line 3, column 11", "\"yes\"", "true or false"),
    (
        "[[policy]]\npattern = \"a\"\n[[policy]]\npattern = \"a\"",
        "line 3, column 1",
        "row 2",
        "make one row of the two",
    ),
    (
        "[auth]\nkeys = [{ algorithm = \"HS265\" }]",
        "line 2, column 23",
        "`auth.keys.algorithm` = \"HS265\"",
        "did you mean \"HS256\"?",
    ),
    (
        "[auth]\nkeys = [{ algorithm = \"HS256\" }]",
        "line 2, column 9",
        "`secret_file` and no",
        "give the key a secret_file",
    ),
    (
        "[auth]\nkeys = [{ algorithm = \"ES256\", secret_file = \"k\" }]",
        "line 2, column 9",
        "ES256",
        "give the key a public_key_file",
    ),
    // Together, and what is no TOML.
    (
        "[globetrotter]\nopen = true\n[auth]\nrequire_caps = true",
        "line 2, column 8",
        "`globetrotter.open` = true",
        "leave one of the two out",
    ),
    ("[auth]\naudience = \"a\"", "line 2, column 12", "`auth.audience` is asked for", "configure auth.keys"),
    ("[auth\n", "line 1, column 6", "this is no TOML", "mend line 1"),
    ("[auth]\n[auth]", "line 2, column 2", "duplicate", "mend line 2"),
    ("# é\nx = é", "line 2, column 5", "this is no TOML", "mend line 2"),
];

/// Around what is kept, what is said of it, and how it is asked for.
const WRONG_OF_KEEPING: [Row; 41] = [
    ("store = \"none\"", "line 1, column 9", "`store` is a section, and a text", "write [store]"),
    ("[stores]\nreaders = 2", "line 1, column 2", "`stores` is no key", "did you mean `store`?"),
    ("[store]\nwindow = 5", "line 2, column 1", "`store.window` is no key", "did you mean `store.window_ms`?"),
    ("[history]\nmemory = 5", "line 2, column 1", "`history.memory` is no key", "did you mean `history.memory_"),
    ("[history]\nmemory_events = 0", "line 2, column 17", "= 0: this is out of bounds", "from 1 to 100,000"),
    ("[history]\nmemory_bytes = \"1MiB\"", "line 2, column 16", "= \"1MiB\": this is a text", "whole number"),
    ("[[policy]]\npattern = \"a\"\nevents = 0", "line 3, column 10", "`policy.events` = 0", "as in 1_000"),
    (
        "[[policy]]\npattern = \"a\"\nevent = 5",
        "line 3, column 1",
        "`policy.event` is no key",
        "did you mean `events`?",
    ),
    ("[[policy]]\npattern = \"a\"\nbytes = 1.5", "line 3, column 9", "`policy.bytes` = 1.5", "from 1 to 268,435,456"),
    ("[[policy]]\npattern = \"a\"\nage = \"1w\"", "line 3, column 7", "`policy.age` = \"1w\"", "as in \"30d\""),
    ("[[policy]]\npattern = \"a\"\nage = 86400", "line 3, column 7", "this is a whole number", "a duration from 1s"),
    ("[[policy]]\npattern = \"a:{user}\"\nevents = 5", "line 1, column 1", "{user}", "take events out"),
    ("[[policy]]\npattern = \"a:{user}\"\nage = \"1h\"", "line 1, column 1", "{user}", "take age out"),
    ("[[policy]]\npattern = \"a:{user}\"\nbytes = 9", "line 1, column 1", "{user}", "take bytes out"),
    ("[store]\nwindow_ms = 0", "line 2, column 13", "= 0: this is out of bounds", "from 1 to 20; the default is 5"),
    ("[store]\nwindow_ms = \"5ms\"", "line 2, column 13", "= \"5ms\": this is a text", "from 1 to 20"),
    ("[store]\ncache_bytes = 64", "line 2, column 15", "= 64: this is out of bounds", "from 1,048,576"),
    ("[store]\ncache_bytes = \"16MiB\"", "line 2, column 15", "= \"16MiB\": this is a text", "whole number"),
    ("[store]\nreaders = 0", "line 2, column 11", "= 0: this is out of bounds", "from 1 to 8"),
    ("[store]\ndirectory = false", "line 2, column 13", "= false: this is true or false", "a path in quotes"),
    ("[store]\ndirectory = \"\"", "line 2, column 13", "it is empty", "\"/var/lib/waystation/store\""),
    ("[store]\ndirectory = \"off\"", "line 2, column 13", "the words here are \"none\"", "a path in quotes"),
    ("[store]\ndirectory = \"None\"", "line 2, column 13", "\"./None\"", "a path in quotes"),
    ("[store]\ndirectory = \"~/store\"", "line 2, column 13", "~ is a shell's", "a path in quotes"),
    ("[store]\ndirectory = \"$STATE_DIRECTORY/s\"", "line 2, column 13", "no variable but", "a path in quotes"),
    ("[server]\ndata = \"off\"", "line 2, column 8", "the words here are \"none\"", "\"/var/lib/waystation\""),
    ("[log]\nfilter = \"loud\"", "line 2, column 10", "\"loud\" is no level", "the default is \"info\""),
    ("[log]\nfilter = \"waystation=debug,inof\"", "line 2, column 10", "\"inof\" is no level", "levels and targets"),
    ("[log]\nfilter = 3", "line 2, column 10", "= 3: this is a whole number", "levels and targets"),
    ("[log]\nformat = \"JSON\"", "line 2, column 10", "= \"JSON\": this is none of them", "\"text\" or \"json\""),
    ("[log]\nlevel = \"debug\"", "line 2, column 1", "`log.level` is no key", "known here are filter, format"),
    ("[audit]\nto = \"on\"", "line 2, column 6", "\"off\" and \"log\"", "\"off\", \"log\" or the path of a file"),
    ("[audit]\nto = \"Log\"", "line 2, column 6", "\"./Log\"", "\"off\", \"log\" or the path of a file"),
    ("[audit]\nto = \"stderr\"", "line 2, column 6", "\"./stderr\"", "\"off\", \"log\" or the path of a file"),
    ("[audit]\nfile = \"a\"", "line 2, column 1", "`audit.file` is no key", "known here is to"),
    ("[recorder]\nbytes = 1", "line 2, column 9", "= 1: this is too small", "at least 64, or 0"),
    ("[admin]\nsocket = \"none\"", "line 2, column 10", "the words here are \"off\"", "a path in quotes"),
    ("[admin]\nsocket = false", "line 2, column 10", "= false: this is true or false", "a path in quotes"),
    ("[admin]\nsocket = \"/run/w/\"", "line 2, column 10", "no path of a file", "\"/run/waystation/admin.sock\""),
    ("[admin]\nloopback = \"yes\"", "line 2, column 12", "= \"yes\": this is a text", "true or false"),
    (
        "[server]\nlisten = \"unix:/run/w\"\n[admin]\nsocket = \"/run/w\"",
        "line 2, column 10",
        "`server.listen` and `admin.socket` are both /run/w",
        "another path",
    ),
];

#[test]
fn each_wrong_configuration_is_told_with_file_line_value_and_remedy() {
    let mut complaints = Vec::new();
    for (text, place, what, remedy) in WRONG.into_iter().chain(WRONG_OF_KEEPING) {
        let Err(faults) = load(text, &[], &[]) else { panic!("{text:?} was taken") };
        let [fault] = &faults.0[..] else {
            complaints.push(format!("{text:?}: {} faults\n{faults}", faults.0.len()));
            continue;
        };
        let placed = fault.place.contains(&format!("gateway.toml, {place}"));
        if !placed || !fault.what.contains(what) || !fault.remedy.contains(remedy) {
            complaints.push(format!("{text:?}\n{fault}"));
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn variables_and_assignments_that_are_wrong_are_told_by_name() {
    for (variables, arguments, place, what, remedy) in [
        (
            &[("WAYSTATION__LIMITS__CONECTIONS", "5")][..],
            &[][..],
            "environment variable WAYSTATION__LIMITS__CONECTIONS",
            "sets no key",
            "did you mean WAYSTATION__LIMITS__CONNECTIONS?",
        ),
        (
            &[("WAYSTATION__LIMITS__CONNECTIONS", "many")],
            &[],
            "environment variable WAYSTATION__LIMITS__CONNECTIONS",
            "`limits.connections` = many",
            "a whole number from 1",
        ),
        (
            &[("WAYSTATION__SERVER__LISTEN", "8000")],
            &[],
            "WAYSTATION__SERVER__LISTEN",
            "= \"8000\"",
            "as in \"127.0.0.1:8000\"",
        ),
        (&[("WAYSTATION__X", "1")], &[], "WAYSTATION__X", "sets no key", "waystation config doc"),
        (
            &[("WAYSTATION_STORE__READERS", "1")],
            &[],
            "variable WAYSTATION_STORE__READERS",
            "sets no key",
            "did you mean WAYSTATION__STORE__READERS?",
        ),
        (
            &[("WAYSTATION__STORE", "none")],
            &[],
            "WAYSTATION__STORE",
            "sets no key",
            "a section: write WAYSTATION__STORE__",
        ),
        (&[], &["--set", "store=none"], "--set store", "`store` is no key", "its keys, directory, window_ms"),
        (&[], &["--set", "limits.upgrdes=1"], "--set limits.upgrdes", "is no key", "did you mean limits.upgrades?"),
        (&[], &["--set", "limits.upgrades"], "--set limits.upgrades", "has no `=`", "--set KEY=VALUE"),
        (&[], &["--set", "limits.upgrades=x y"], "--set limits.upgrades", "= x y", "a whole number"),
        (&[], &["--set", "server.cpus=9"], "--set server.cpus", "processor 9", "name others"),
    ] {
        let faults = load("", variables, arguments).unwrap_err();
        let [fault] = &faults.0[..] else { panic!("{faults}") };
        let told = fault.place.contains(place) && fault.what.contains(what) && fault.remedy.contains(remedy);
        assert!(told, "{variables:?} {arguments:?}\n{fault}");
    }
}

#[test]
fn all_faults_of_all_layers_are_told_at_once_in_their_order() {
    let text = "zzz = 1\n[limits]\nupgrades = \"x\"\nbad = \n[server]\nshards = 0\n[[policy]]\nverbs = [\"a\", \"publish\", \"b\"]\n";
    let variables = [("WAYSTATION__LOG__FORMAT", "xml")];
    let faults = load(text, &variables, &["--set", "a=b", "--cpus", "9"]).unwrap_err();
    let places: Vec<&str> = faults
        .0
        .iter()
        .map(|fault| fault.place.split_once("toml, ").map_or(fault.place.as_str(), |(_, place)| place))
        .collect();
    assert_eq!(
        places,
        [
            "line 1, column 1",
            "line 3, column 12",
            "line 4, column 7",
            "line 6, column 10",
            "line 7, column 1",
            "line 8, column 10",
            "line 8, column 26",
            "environment variable WAYSTATION__LOG__FORMAT",
            "--set a",
            "--cpus",
        ],
        "{faults}"
    );
}

#[test]
fn what_may_be_a_secret_in_the_wrong_place_is_not_repeated() {
    for text in [
        "[auth]\nsecret = \"hunter2\"",
        "[auth]\nkeys = \"hunter2\"",
        "[auth]\nkeys = [\"hunter2\"]",
        "[auth]\nkeys = [{ algorithm = \"HS256\", secret = \"hunter2\" }]",
        "auth = \"hunter2\"",
        "hunter = \"hunter2",
    ] {
        let faults = load(text, &[], &[]).unwrap_err();
        assert!(!faults.to_string().contains("hunter2"), "{faults}");
    }
    let faults = load("", &[("WAYSTATION__AUTH__SECRET", "hunter2")], &["--set", "auth.secret=hunter2"]).unwrap_err();
    assert!(!faults.to_string().contains("hunter2") && faults.0.len() == 2, "{faults}");
    let variables = [("WAYSTATION__AUTH__KEYS", "hunter2"), ("WAYSTATION__POLICY", "hunter2 =")];
    let faults = load("", &variables, &["--set", "auth.keys=hunter2", "--set", "auth.keys hunter2"]).unwrap_err();
    assert!(!faults.to_string().contains("hunter2") && faults.0.len() == 4, "{faults}");
}

#[test]
fn values_are_held_at_their_limits() {
    let check = |text: &dyn Fn(u64) -> String, max: u64| {
        for (value, taken) in [(max - 1, true), (max, true), (max + 1, false)] {
            assert_eq!(load(&text(value), &[], &[]).is_ok(), taken, "{}", text(value));
        }
    };
    check(&|n| format!("[history]\nevents = {n}"), HISTORY_COUNT_MAX as u64);
    check(&|n| format!("[history]\nbytes = {n}"), HISTORY_BYTES_MAX as u64);
    check(&|n| format!("[history]\nage = \"{n}s\""), HISTORY_AGE_S_MAX);
    check(&|n| format!("[history]\nmemory_events = {n}"), HISTORY_COUNT_MAX as u64);
    check(&|n| format!("[history]\nmemory_bytes = {n}"), HISTORY_BYTES_MAX as u64);
    check(&|n| format!("{ROW}events = {n}"), HISTORY_COUNT_MAX as u64);
    check(&|n| format!("{ROW}bytes = {n}"), HISTORY_BYTES_MAX as u64);
    check(&|n| format!("{ROW}age = \"{n}s\""), HISTORY_AGE_S_MAX);
    check(&|n| format!("[limits]\nconnections = {n}"), CONFIGURED_CONNECTIONS_MAX.into());
    check(&|n| format!("[limits]\nconnections_per_user = {n}"), CONFIGURED_CONNECTIONS_MAX.into());
    check(&|n| format!("[limits]\nupgrades = {n}"), RATE_PER_MINUTE_MAX.into());
    check(&|n| format!("[limits.open]\nmessages = {n}"), RATE_PER_MINUTE_MAX.into());
    check(&|n| format!("{ROW}rate = {n}"), RATE_PER_MINUTE_MAX.into());
    check(&|n| format!("[server]\nspin_us = {n}"), SPIN_US_MAX.into());
    check(&|n| format!("[recorder]\nbytes = {n}"), RECORDER_BYTES_MAX as u64);
    check(&|n| format!("[store]\nwindow_ms = {n}"), STORE_WINDOW_MS_MAX);
    check(&|n| format!("[store]\nreaders = {n}"), STORE_READERS_MAX as u64);
    check(&|n| format!("[store]\ncache_bytes = {n}"), STORE_CACHE_BYTES_MAX);
    for (value, taken) in [(STORE_CACHE_BYTES_MIN - 1, false), (STORE_CACHE_BYTES_MIN, true)] {
        assert_eq!(load(&format!("[store]\ncache_bytes = {value}"), &[], &[]).is_ok(), taken, "{value}");
    }
    let list = |count: u64, item: &dyn Fn(u64) -> String| (0..count).map(item).collect::<Vec<_>>().join(", ");
    let origin = |n| format!("\"https://a{n}\"");
    check(&|n| format!("[origins]\nallowed = [{}]", list(n, &origin)), ORIGINS_COUNT_MAX as u64);
    let network = |n| format!("\"10.0.0.{n}\"");
    check(&|n| format!("[proxies]\ntrusted = [{}]", list(n, &network)), PROXIES_COUNT_MAX as u64);
    let port = |n| format!("\"127.0.0.1:{}\"", 1000 + n);
    check(&|n| format!("[server]\nlisten = [{}]", list(n, &port)), LISTEN_COUNT_MAX as u64);
    let event = |n| format!("\"e{n}\"");
    check(&|n| format!("{ROW}allowed_events = [{}]", list(n, &event)), POLICY_EVENTS_MAX as u64);
    let long = |n: u64| "e".repeat(usize::try_from(n).unwrap());
    check(&|n| format!("{ROW}allowed_events = [\"{}\"]", long(n)), EVENT_TYPE_BYTES_MAX as u64);
    let key = |id: String| format!("{{ id = \"{id}\", algorithm = \"HS256\", secret_file = \"s\" }}");
    check(&|n| format!("[auth]\nkeys = [{}]", key(long(n))), KEY_ID_BYTES_MAX as u64);
    check(&|n| format!("[auth]\nkeys = [{}]", list(n, &|n| key(n.to_string()))), KEYS_COUNT_MAX as u64);
    let row = |n| format!("[[policy]]\npattern = \"p{n}\"\n");
    check(&|n| (0..n).map(row).collect(), POLICY_ROWS_MAX as u64);
}

#[test]
fn words_and_paths_that_are_meant_are_taken() {
    for text in [
        "[store]\ndirectory = \"none\"",
        "[store]\ndirectory = \"./off\"",
        "[store]\ndirectory = \"a~\"",
        "[server]\ndata = \"none\"",
        "[admin]\nsocket = \"off\"",
        "[admin]\nsocket = \"admin.sock\"",
        "[audit]\nto = \"log\"",
        "[audit]\nto = \"log/audit\"",
        "[log]\nfilter = \"WARN,waystation,hyper=off,a::b\"",
        "[log]\nfilter = \"\"",
    ] {
        good(text);
    }
    let path = |bytes: usize| format!("[admin]\nsocket = \"/{}\"", "a".repeat(bytes - 1));
    good(&path(SOCKET_PATH_BYTES_MAX));
    let faults = load(&path(SOCKET_PATH_BYTES_MAX + 1), &[], &[]).unwrap_err();
    assert!(faults.to_string().contains("has 108 bytes"), "{faults}");
}

#[test]
fn a_long_value_is_cut_where_it_is_shown() {
    for (length, cut) in [(CONFIG_VALUE_SHOWN_MAX, false), (CONFIG_VALUE_SHOWN_MAX + 1, true)] {
        let written = format!("\"{}\"", "é".repeat(length - 2));
        let faults = load(&format!("[server]\nlisten = {written}"), &[], &[]).unwrap_err();
        let shown = &faults.0[0].what;
        assert_eq!((shown.contains('…'), shown.contains(&written)), (cut, !cut), "{shown}");
    }
}
