//! The layers together: who goes before whom, where a value came from, and what is said of those that are wrong.

mod wrong;

use std::ffi::OsString;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::auth::Signature;
use crate::config::{Refusal, Wanted, read as read_line};
use crate::limits::{CONFIG_FAULTS_TOLD_MAX, CONFIG_FILE_BYTES_MAX};

/// A file of a test's own, in a directory of its own.
struct Place(PathBuf);

impl Place {
    fn new(text: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("waystation-load-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("gateway.toml"), text).unwrap();
        Self(directory)
    }

    fn file(&self) -> PathBuf {
        self.0.join("gateway.toml")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _already_gone = fs::remove_dir_all(&self.0);
    }
}

fn machine(cpus: &[usize], parallelism: usize) -> Machine {
    Machine { cpus: cpus.to_vec(), parallelism }
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let settings = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
    Environment { home: Some("/home/ada".into()), settings, ..Environment::default() }
}

/// What `serve` makes of a file, variables and further arguments.
fn load(text: &str, variables: &[(&str, &str)], arguments: &[&str]) -> Result<Serve, Faults> {
    let place = Place::new(text);
    let file = place.file();
    let line = ["waystation", "serve", "--config"].map(OsString::from).into_iter().chain([file.into()]);
    let line = line.chain(arguments.iter().map(OsString::from));
    match read_line(line, &environment(variables), &machine(&[0, 1], 2)) {
        Ok(Wanted::Serve(serve)) => Ok(*serve),
        Err(Refusal::Start(faults)) => Err(faults),
        other => panic!("{text:?} {arguments:?}: {other:?}"),
    }
}

fn good(text: &str) -> Serve {
    load(text, &[], &[]).unwrap_or_else(|faults| panic!("{text}: {faults}"))
}

#[test]
fn a_list_in_a_variable_is_written_with_commas_or_as_in_toml_and_an_address_of_ipv6_is_no_list() {
    for (written, expected) in [
        ("[::1]:9", Some("[::1]:9")),
        ("[::1]:9, 127.0.0.1:9", Some("[::1]:9 127.0.0.1:9")),
        ("[\"[::1]:9\"]", Some("[::1]:9")),
        (" [ \"[::1]:9\", '127.0.0.1:9' ]", Some("[::1]:9 127.0.0.1:9")),
        ("['127.0.0.1:9']", Some("127.0.0.1:9")),
        ("[]", None),
        ("[ ]", None),
        ("", None),
        ("['127.0.0.1:9'", None),
    ] {
        let loaded = load("", &[("WAYSTATION__SERVER__LISTEN", written)], &[]);
        let listen =
            loaded.ok().map(|serve| serve.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        assert_eq!(listen.as_deref(), expected, "{written}");
    }
}

#[test]
fn the_file_beats_the_default_a_variable_the_file_and_a_flag_the_variable() {
    let text = "[server]\nspin_us = 1\n[limits]\nupgrades = 1\n[limits.chat]\nmessages = 1\n";
    let variables = [("WAYSTATION__SERVER__SPIN_US", "2"), ("WAYSTATION__LIMITS__CHAT__MESSAGES", "2")];
    let serve = load(text, &variables, &["--spin-us", "3"]).unwrap();
    assert_eq!((serve.spin_us, serve.counts.upgrades.per_minute, serve.counts.chat.messages.per_minute), (3, 1, 2));
    assert_eq!(serve.counts.bad_tokens.per_minute, 60);
    let origin = |path| serve.settings.origin(path).to_string();
    assert_eq!(origin("server.spin_us"), "--spin-us");
    assert_eq!(origin("limits.chat.messages"), "environment variable WAYSTATION__LIMITS__CHAT__MESSAGES");
    assert!(origin("limits.upgrades").ends_with("gateway.toml, line 4, column 12"), "{}", origin("limits.upgrades"));
    assert_eq!(origin("limits.bad_tokens"), "default");
    let serve =
        load(text, &variables, &["--set", "limits.chat.messages=9", "--set", "limits.chat.messages=10"]).unwrap();
    assert_eq!(serve.counts.chat.messages.per_minute, 10);
    assert_eq!(serve.settings.origin("limits.chat.messages").to_string(), "--set limits.chat.messages");
}

#[test]
fn variables_set_texts_lists_flags_and_tables() {
    let serve = load(
        "",
        &[
            ("WAYSTATION__SERVER__LISTEN", "[::1]:9"),
            ("WAYSTATION__ORIGINS__ALLOWED", "https://a.example, https://b.example"),
            ("WAYSTATION__ORIGINS__REQUIRED", "true"),
            ("WAYSTATION__AUTH__KEYS", "[{ algorithm = \"HS256\", secret_file = \"s\" }]"),
            ("WAYSTATION__POLICY", "[{ pattern = \"a\", verbs = [\"publish\"] }]"),
            ("WAYSTATION__HISTORY__AGE", "1h"),
        ],
        &["--set", "proxies.trusted=[\"10.0.0.0/8\"]", "--set", "auth.issuer=us"],
    )
    .unwrap();
    assert_eq!(serve.listen, ["[::1]:9".parse().unwrap()]);
    assert!(serve.origins.allows(Some("https://b.example"), "h", false) && serve.origins.require_origin);
    let origin = Origin::Variable("WAYSTATION__AUTH__KEYS".to_owned());
    let file = NamedFile::new("s".into(), "auth.keys.secret_file", origin);
    let key = KeyFile { id: None, algorithm: Signature::Hs256, file };
    assert_eq!(serve.auth.keys, [key], "relative to where the gateway is started, as no file says otherwise");
    assert!(serve.policy != Policy::default() && serve.retention.age_ms == 3_600_000);
    assert!(serve.proxies.trusts(std::net::IpAddr::from([10, 1, 1, 1])) && serve.auth.issuer.as_deref() == Some("us"));
}

#[test]
fn the_short_variables_of_logs_are_beaten_by_the_long_ones() {
    let with = |long: &[(&str, &str)]| {
        let short = Environment { log: Some("debug".into()), log_format: Some("json".into()), ..environment(long) };
        Source::new(ServeArgs::default(), short, machine(&[0], 1)).load().unwrap().logs
    };
    assert_eq!(with(&[]), Logs { format: LogFormat::Json, filter: "debug".to_owned(), audit: AuditTo::Nowhere });
    let long = with(&[("WAYSTATION__LOG__FILTER", "warn"), ("WAYSTATION__LOG__FORMAT", "text")]);
    assert_eq!(long, Logs { format: LogFormat::Text, filter: "warn".to_owned(), audit: AuditTo::Nowhere });
    let bad = Environment { log_format: Some("xml".into()), ..environment(&[]) };
    let faults = Source::new(ServeArgs::default(), bad, machine(&[0], 1)).load().unwrap_err();
    assert_eq!(faults.0[0].place, "environment variable WAYSTATION_LOG_FORMAT");
}

#[test]
fn credentials_are_found_where_systemd_puts_them() {
    let text = "[auth]\nkeys = [{ algorithm = \"HS256\", secret_file = \"$CREDENTIALS_DIRECTORY/token.key\" }]\n\
                jwks_file = \"jwks.json\"";
    let place = Place::new(text);
    let args = ServeArgs { config: Some(place.file()), ..ServeArgs::default() };
    let there = Environment { credentials_directory: Some("/run/credentials/x".into()), ..environment(&[]) };
    let serve = Source::new(args.clone(), there, machine(&[0], 1)).load().unwrap();
    assert_eq!(serve.auth.keys[0].file.path, Path::new("/run/credentials/x/token.key"));
    let jwks = serve.auth.jwks.unwrap();
    assert_eq!(jwks.path, place.0.join("jwks.json"), "relative to the file");
    let faults = Source::new(args, environment(&[]), machine(&[0], 1)).load().unwrap_err();
    assert!(faults.0[0].remedy.contains("LoadCredential=") && faults.0[0].place.contains("line 2"), "{faults}");
    let by_hand = "outside of the unit say where its file is, as in CREDENTIALS_DIRECTORY=/etc/waystation waystation";
    assert!(faults.0[0].remedy.contains(by_hand), "{faults}");
}

#[test]
fn limits_are_laid_over_the_documented_ones() {
    use crate::census::limits::Limits;
    assert_eq!(good("").counts, Limits::default());
    let limits = good(
        "[limits]\nupgrades = 0\nmessages_per_user = 90\n[limits.chat]\nconnections = 0\nmessages = 60\n\
         [limits.open]\nburst = 7",
    )
    .counts;
    assert!(limits.upgrades.is_unlimited());
    assert_eq!((limits.user_messages.per_minute, limits.user_messages.burst), (90, 90));
    assert_eq!((limits.chat.connections, limits.chat.messages.per_minute, limits.chat.messages.burst), (0, 60, 10));
    assert_eq!((limits.open.messages.per_minute, limits.open.messages.burst), (600, 7));
    assert_eq!(limits.collab, Limits::default().collab);
    let rate = |text: &str| file::File::deserialize(good(text).settings.document()).unwrap().policy[0].usable().rate;
    assert_eq!(rate("[[policy]]\npattern = \"a\"\nrate = 30").unwrap().burst, 5);
    assert_eq!(rate("[[policy]]\npattern = \"a\"\nrate = 5").unwrap().burst, 1);
}

#[test]
fn a_file_is_read_up_to_its_bound() {
    let place = Place::new("");
    let source = |path: PathBuf| {
        Source::new(ServeArgs { config: Some(path), ..ServeArgs::default() }, environment(&[]), machine(&[0], 1))
    };
    for (bytes, taken) in
        [(CONFIG_FILE_BYTES_MAX - 1, true), (CONFIG_FILE_BYTES_MAX, true), (CONFIG_FILE_BYTES_MAX + 1, false)]
    {
        fs::write(place.file(), "#".repeat(usize::try_from(bytes).unwrap())).unwrap();
        assert_eq!(source(place.file()).load().is_ok(), taken, "{bytes}");
    }
    fs::write(place.file(), b"# \xff").unwrap();
    assert!(source(place.file()).load().unwrap_err().0[0].what.contains("UTF-8"));
    let nowhere = place.0.join("none.toml");
    let error = source(nowhere.clone()).load().unwrap_err().0.remove(0);
    assert!(error.place == nowhere.display().to_string() && error.remedy.contains("--config"), "{error}");
}

#[test]
fn every_fault_is_told_and_many_are_counted() {
    let check = |count: usize| {
        let text: String = (0..count).map(|n| format!("zz{n} = 1\n")).collect();
        load(&text, &[], &[]).unwrap_err()
    };
    for count in [1, 2, CONFIG_FAULTS_TOLD_MAX, CONFIG_FAULTS_TOLD_MAX + 1] {
        let faults = check(count);
        let told = faults.to_string().matches("is no key").count();
        assert_eq!((faults.0.len(), told), (count, count.min(CONFIG_FAULTS_TOLD_MAX)));
        assert_eq!(faults.to_string().contains(&format!("{count} faults")), count > 1);
    }
}

#[test]
fn shards_are_pinned_when_asked_or_when_there_is_one_for_each_processor() {
    let four = machine(&[0, 1, 4, 5], 4);
    let at = ["--shards", "--cpus"].map(str::to_owned);
    let quota = machine(&[0, 1, 4, 5], 2);
    for (count, cpus, machine, expected) in [
        (None, None, &four, vec![Some(0), Some(1), Some(4), Some(5)]),
        (Some(4), None, &four, vec![Some(0), Some(1), Some(4), Some(5)]),
        (Some(2), None, &four, vec![None, None]),
        (Some(6), None, &four, vec![None; 6]),
        (None, None, &quota, vec![None, None]),
        (Some(4), None, &quota, vec![None; 4]),
        (None, Some(vec![1, 5]), &four, vec![Some(1), Some(5)]),
        (Some(2), Some(vec![1, 5]), &four, vec![Some(1), Some(5)]),
    ] {
        assert_eq!(placed(count, cpus.clone(), machine, &at).unwrap(), expected, "{count:?} {cpus:?}");
    }
    assert_eq!(placed(Some(1), Some(vec![2]), &four, &at).unwrap_err().place, "--cpus");
    assert_eq!(placed(Some(2), Some(vec![0]), &four, &at).unwrap_err().place, "--shards and --cpus");
}

/// What a gateway that was started with one file makes of another.
fn again(before: &str, after: &str) -> Result<Serve, Faults> {
    let place = Place::new(before);
    let line = ["waystation", "serve", "--config"].map(OsString::from).into_iter().chain([place.file().into()]);
    let Ok(Wanted::Serve(serve)) = read_line(line, &environment(&[]), &machine(&[0, 1], 2)) else {
        panic!("{before:?} is good");
    };
    fs::write(place.file(), after).unwrap();
    serve.source.load_again(&serve.settings)
}

#[test]
fn what_holds_until_the_next_start_is_held_against_what_holds_at_once() {
    let (open, caps) = ("[globetrotter]\nopen = true\n", "[auth]\nrequire_caps = true\n");
    for (before, after, good) in [
        (open, caps, false),
        (open, "[globetrotter]\nopen = false\n[auth]\nrequire_caps = true\n", false),
        (open, "[globetrotter]\nopen = true\n[auth]\nrequire_caps = true\n", false),
        (open, open, true),
        (open, "", true),
        (caps, "", true),
        (caps, caps, true),
        // Good until then, and from then on.
        (caps, open, true),
        ("", "[auth]\nissuer = \"me\"\n", false),
    ] {
        let outcome = again(before, after);
        assert_eq!(outcome.is_ok(), good, "{before:?} {after:?} {outcome:?}");
        assert!(outcome.is_err() || again(after, after).is_ok(), "{after:?} would not start");
    }
    let told = again(open, caps).unwrap_err().0;
    assert_eq!(told.len(), 1);
    assert!(told[0].what.contains("`globetrotter.open` = true"), "{told:?}");
    assert!(told[0].place.contains("gateway.toml, line 2, column 16"), "{told:?}");
    assert!(told[0].remedy.contains("holds as it was at the start"), "{told:?}");
}

#[test]
fn a_recorder_has_room_for_two_records_or_there_is_none() {
    for (bytes, expected) in [
        (0, Some(0)),
        (1, None),
        (RECORDER_BYTES_MIN - 1, None),
        (RECORDER_BYTES_MIN, Some(RECORDER_BYTES_MIN)),
        (RECORDER_BYTES_MIN + 1, Some(RECORDER_BYTES_MIN + 1)),
    ] {
        let loaded = load(&format!("[recorder]\nbytes = {bytes}"), &[], &[]);
        let told = loaded.as_ref().err().map(ToString::to_string).unwrap_or_default();
        assert_eq!(loaded.ok().map(|serve| serve.recorder_bytes), expected, "{bytes}");
        let is_told = told.contains("line 2, column 9") && told.contains("write at least 64, or 0 for none");
        assert_eq!(is_told, expected.is_none(), "{told}");
        let made = crate::recorder::Ring::with_bytes(bytes).is_some();
        assert_eq!(made, expected.is_some_and(|bytes| bytes > 0), "{bytes}");
    }
}

#[test]
fn a_file_of_a_key_is_told_with_who_named_it_and_the_name_of_its_credential() {
    let text = "[auth]\njwks_file = \"set.json\"\n[[auth.keys]]\nalgorithm = \"HS256\"\n\
                secret_file = \"$CREDENTIALS_DIRECTORY/token.key\"\n";
    let place = Place::new(text);
    let args = ServeArgs { config: Some(place.file()), ..ServeArgs::default() };
    let there = Environment { credentials_directory: Some("/run/c".into()), ..environment(&[]) };
    let serve = Source::new(args, there, machine(&[0], 1)).load().unwrap();
    let (file, directory) = (place.file(), place.0.display().to_string());
    let at = |line: &str| format!("{}, {line}", file.display());
    let jwks = serve.auth.jwks.unwrap().to_string();
    assert_eq!(jwks, format!("{directory}/set.json, as `auth.jwks_file` says: {}", at("line 2, column 13")));
    let key = serve.auth.keys[0].file.to_string();
    let named = "/run/c/token.key ($CREDENTIALS_DIRECTORY/token.key), as `auth.keys.secret_file` says: ";
    assert_eq!(key, format!("{named}{}", at("line 3, column 1")));
    let variables = [("WAYSTATION__AUTH__JWKS_FILE", "set.json")];
    let serve = load("", &variables, &["--set", "auth.keys=[{algorithm=\"HS256\",secret_file=\"s\"}]"]).unwrap();
    let told = [serve.auth.jwks.unwrap().to_string(), serve.auth.keys[0].file.to_string()];
    assert!(told[0].ends_with("`auth.jwks_file` says: environment variable WAYSTATION__AUTH__JWKS_FILE"), "{told:?}");
    assert!(told[1].ends_with("`auth.keys.secret_file` says: --set auth.keys"), "{told:?}");
}
