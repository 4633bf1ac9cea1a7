//! The command line through both steps: what is typed, and what the program then has.

use super::*;
use crate::auth::PolicyRow;
use crate::config::{Refusal, read};
use crate::limits::{
    CONFIGURED_CONNECTIONS_MAX, HISTORY_BYTES_DEFAULT, HISTORY_COUNT_DEFAULT, HISTORY_MEMORY_BYTES_DEFAULT,
    HISTORY_MEMORY_COUNT_DEFAULT, PLANNED_CONNECTIONS, RECORDER_BYTES_DEFAULT, SHARDS_COUNT_MAX, SPIN_US_MAX,
    STORE_CACHE_BYTES_DEFAULT, STORE_READERS_DEFAULT, STORE_WINDOW_MS_DEFAULT, TOKEN_COUNT_MAX,
};

fn machine(cpus: &[usize], parallelism: usize) -> Machine {
    Machine { cpus: cpus.to_vec(), parallelism }
}

fn home() -> Environment {
    Environment { home: Some("/home/ada".into()), ..Environment::default() }
}

fn run(line: &str) -> Result<Wanted, Refusal> {
    read(
        std::iter::once("waystation").chain(line.split_whitespace()).map(OsString::from),
        &home(),
        &machine(&[0, 1], 2),
    )
}

fn serve_of(line: &str) -> Serve {
    match run(line) {
        Ok(Wanted::Serve(serve)) => *serve,
        other => panic!("{line}: {other:?}"),
    }
}

fn listen_of(serve: &Serve) -> String {
    serve.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn token_of(line: &str) -> Token {
    match run(line) {
        Ok(Wanted::Token(token)) => token,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn serve_without_options_listens_on_loopback_with_a_shard_on_each_processor() {
    let serve = serve_of("serve");
    assert_eq!(listen_of(&serve), "127.0.0.1:8000");
    assert_eq!(serve.data.as_deref(), Some(Path::new("/home/ada/.local/state/waystation")));
    let store = Store {
        directory: "/home/ada/.local/state/waystation/store".into(),
        window_ms: STORE_WINDOW_MS_DEFAULT,
        cache_bytes: STORE_CACHE_BYTES_DEFAULT,
        readers: STORE_READERS_DEFAULT,
    };
    assert_eq!(serve.store, Some(store));
    assert_eq!(serve.shards, [Some(0), Some(1)]);
    assert_eq!((serve.limits, serve.echo, serve.spin_us), (LimitsProfile::Default, false, 0));
    assert_eq!(serve.ring, RingSizes::default());
    assert_eq!(serve.logs, Logs { format: LogFormat::Text, filter: "info".to_owned(), audit: AuditTo::Nowhere });
    assert_eq!(serve.recorder_bytes, RECORDER_BYTES_DEFAULT);
    let socket = Path::new("/home/ada/.local/state/waystation/admin.sock");
    assert_eq!(serve.admin_socket, Some((socket.to_owned(), false)));
    assert_eq!(serve_of("serve --set admin.socket=off --set recorder.bytes=0").admin_socket, None);
    for (to, expected) in [
        ("off", AuditTo::Nowhere),
        ("log", AuditTo::Log),
        ("/var/log/audit.jsonl", AuditTo::File("/var/log/audit.jsonl".into())),
    ] {
        assert_eq!(serve_of(&format!("serve --set audit.to={to}")).logs.audit, expected);
    }
    assert_eq!(serve_of("serve --set admin.socket=/s").admin_socket, Some(("/s".into(), true)));
}

#[test]
fn every_option_of_serve_arrives() {
    let serve = serve_of("serve --listen [::1]:0 --data d --shards 1 --cpus 1 --limits unlimited --echo --spin-us 50");
    assert_eq!(listen_of(&serve), "[::1]:0");
    assert_eq!((serve.data.as_deref(), serve.shards.as_slice()), (Some(Path::new("d")), &[Some(1)][..]));
    assert_eq!((serve.limits, serve.echo, serve.spin_us), (LimitsProfile::Unlimited, true, 50));
    let serve = serve_of("serve --listen unix:/run/ws.sock --listen 0.0.0.0:1 --set server.share=true");
    assert_eq!(listen_of(&serve), "unix:/run/ws.sock 0.0.0.0:1");
    assert_eq!((serve.listen_options.sharing, serve.listen_options.mode), (listen::Sharing::WithOthers, 0o660));
}

#[test]
fn what_the_file_says_arrives_and_the_command_line_goes_before() {
    let path = std::env::temp_dir().join(format!("waystation-checked-{}.toml", std::process::id()));
    let text = "[auth]\nissuer = \"us\"\naudience = \"ws\"\nrequire_caps = true\n\
        jwks_file = \"/etc/jwks.json\"\nkeys = [{ algorithm = \"ES256\", id = \"k\", public_key_file = \"k.pem\" }]\n[limits]\nprofile = \"unlimited\"\n\
        [origins]\nallowed = [\"https://a.example\"]\nrequired = true\n[history]\nevents = 7\nage = \"1m\"\nmemory_events = 3\n\
        [[policy]]\npattern = \"news:*\"\nverbs = [\"subscribe\"]\nbytes = 5\nage = \"2m\"\n";
    std::fs::write(&path, text).unwrap();
    let path = path.display();
    let serve = serve_of(&format!("serve --config {path}"));
    let [key] = &serve.auth.keys[..] else { panic!("{:?}", serve.auth.keys) };
    assert_eq!((key.id.as_deref(), key.algorithm, serve.auth.has_keys()), (Some("k"), Signature::Es256, true));
    assert_eq!(key.file.path, std::env::temp_dir().join("k.pem"));
    let told = key.file.to_string();
    assert!(told.ends_with(&format!(", as `auth.keys.public_key_file` says: {path}, line 6, column 9")), "{told}");
    let jwks = serve.auth.jwks.as_ref().unwrap().to_string();
    assert_eq!(jwks, format!("/etc/jwks.json, as `auth.jwks_file` says: {path}, line 5, column 13"));
    assert_eq!((serve.auth.issuer.as_deref(), serve.auth.audience.as_deref()), (Some("us"), Some("ws")));
    assert_eq!(serve.limits, LimitsProfile::Unlimited);
    assert!(serve.origins.require_origin && serve.origins.allows(Some("https://a.example"), "h", false));
    assert!(!serve.origins.allows(Some("https://b.example"), "b.example", false));
    assert_eq!(serve.retention, Retention { count: 7, bytes: HISTORY_BYTES_DEFAULT, age_ms: 60_000 });
    assert_eq!(serve.held, Held { count: 3, bytes: HISTORY_MEMORY_BYTES_DEFAULT });
    let row = PolicyRow::new(crate::auth::Pattern::parse("news:*").unwrap());
    let extent = crate::auth::Extent { count: None, bytes: Some(5), age_ms: Some(120_000) };
    let row = PolicyRow { verbs: Some(crate::auth::Verbs::of(&[crate::auth::Verb::Subscribe])), extent, ..row };
    assert_eq!(serve.policy, Policy::with_rows(&[row]).unwrap().requiring_caps());
    let serve = serve_of(&format!("serve --limits default --config {path}"));
    assert_eq!(serve.limits, LimitsProfile::Default);
    assert!(matches!(run("serve --config /nowhere.toml"), Err(Refusal::Start(_))));
    let serve = serve_of("serve");
    assert_eq!((serve.policy, serve.auth), (Policy::default(), Auth::default()));
    assert_eq!((serve.retention.count, serve.held.count), (HISTORY_COUNT_DEFAULT, HISTORY_MEMORY_COUNT_DEFAULT));
}

#[test]
fn what_does_not_parse_is_bad_usage() {
    for line in [
        "",
        "sing",
        "serve --listen 8000",
        "serve --listen localhost",
        "serve --listen unix:ws.sock",
        "serve --shards 0",
        "serve --shards many",
        "serve --cpus 3-1",
        "serve --limits some",
        "serve extra",
        "token",
        "token --user a --ttl 1",
        "token --user a --ttl 0s",
        "token --user a --role admin",
        "token --user a --caps []",
        "token --user a --caps {\"a\":\"publish\"}",
        "token --user a --caps {\"a\":[]}",
        "token --user a --caps {\"a\":[\"publich\"]}",
        "token --user a --caps {\"a\":[1]}",
        "token --user a --caps {\"a*b\":[\"publish\"]}",
        "debug on",
        "log loud",
        "log a=b=c",
        "debug --user a --connection b on",
        "token --user a --caps {",
        "token --user a --count 0",
    ] {
        let Err(Refusal::Usage(error)) = run(line) else { panic!("{line} was taken") };
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    let Err(Refusal::Usage(error)) = run("--help") else { panic!("help is no command") };
    assert_eq!(error.exit_code(), 0);
}

#[test]
fn the_doctor_plans_for_so_many_connections_on_this_machine_unless_told_otherwise() {
    let Ok(Wanted::Doctor(doctor)) = run("doctor") else { panic!("no doctor") };
    let planned = doctor.planned;
    assert_eq!((planned.connections, planned.shards, planned.root), (PLANNED_CONNECTIONS, None, "/".into()));
    assert!(!doctor.json && !doctor.strict);
    assert!(matches!(run("doctor --connections 0"), Err(Refusal::Usage(_))));
}

#[test]
fn numbers_are_held_at_their_limits() {
    for (flag, max) in [
        ("serve --shards", u64::from(SHARDS_COUNT_MAX)),
        ("serve --spin-us", u64::from(SPIN_US_MAX)),
        ("token --user a --count", u64::from(TOKEN_COUNT_MAX)),
        ("doctor --connections", u64::from(CONFIGURED_CONNECTIONS_MAX)),
        ("doctor --shards", u64::from(SHARDS_COUNT_MAX)),
    ] {
        assert!(run(&format!("{flag} {}", max - 1)).is_ok(), "{flag}");
        assert!(run(&format!("{flag} {max}")).is_ok(), "{flag}");
        assert!(matches!(run(&format!("{flag} {}", max + 1)), Err(Refusal::Usage(_))), "{flag}");
    }
}

#[test]
fn a_user_is_one_to_128_bytes_without_control_characters() {
    for (user, good) in [
        ("a".to_owned(), true),
        ("a".repeat(RESOURCE_ID_BYTES_MAX), true),
        ("a".repeat(RESOURCE_ID_BYTES_MAX + 1), false),
        ("Zoë/日本".to_owned(), true),
        ("a\u{7f}".to_owned(), false),
        (String::new(), false),
    ] {
        let args = ["waystation", "token", "--user", &user].map(OsString::from);
        assert_eq!(read(args, &home(), &machine(&[0], 1)).is_ok(), good, "{user:?}");
    }
    let base = "u".repeat(RESOURCE_ID_BYTES_MAX - 2);
    assert!(run(&format!("token --user {base} --count 9")).is_ok());
    assert!(matches!(run(&format!("token --user {base} --count 10")), Err(Refusal::Start(_))));
}

#[test]
fn tokens_are_for_one_user_or_a_numbered_row() {
    let one = token_of("token --user ada");
    assert_eq!((one.users.iter().collect::<Vec<_>>(), one.ttl_s, one.service), (vec!["ada".to_owned()], 3600, false));
    assert!(one.caps.is_none());
    let row = token_of("token --user u --count 3 --ttl 90s --role service --caps {\"chat:*\":[\"publish\"]}");
    assert_eq!(row.users.iter().collect::<Vec<_>>(), ["u-1", "u-2", "u-3"]);
    assert_eq!((row.ttl_s, row.service), (90, true));
    assert_eq!(Value::Object(row.caps.unwrap()).to_string(), r#"{"chat:*":["publish"]}"#);
}

#[test]
fn the_data_directory_is_the_given_one_or_the_platforms() {
    let set = |text: &str| Some(OsString::from(text));
    let all = Environment {
        state_directory: set("/var/lib/waystation:/var/lib/other"),
        xdg_state_home: set("/state"),
        ..home()
    };
    let no_service = Environment { state_directory: None, ..all.clone() };
    let relative = Environment { xdg_state_home: set("state"), ..no_service.clone() };
    for (given, environment, expected) in [
        (Some("x"), &all, "x"),
        (None, &all, "/var/lib/waystation"),
        (None, &no_service, "/state/waystation"),
        (None, &relative, "/home/ada/.local/state/waystation"),
    ] {
        assert_eq!(data_directory(given.map(PathBuf::from), environment).unwrap(), Path::new(expected));
    }
    assert!(data_directory(None, &Environment::default()).unwrap_err().remedy.contains("--data"));
}

#[test]
fn this_machine_has_a_processor() {
    let machine = Machine::here();
    assert!(machine.parallelism >= 1 && machine.parallelism <= machine.cpus.len());
}

#[test]
fn clients_without_a_token_are_let_in_if_the_file_says_so_and_asks_for_no_caps() {
    let path = std::env::temp_dir().join(format!("waystation-open-{}.toml", std::process::id()));
    let line = format!("serve --config {}", path.display());
    assert!(!serve_of("serve").globetrotter_open);
    std::fs::write(&path, "[globetrotter]\nopen = true\n").unwrap();
    assert!(serve_of(&line).globetrotter_open);
    std::fs::write(&path, "[globetrotter]\nopen = true\n[auth]\nrequire_caps = true\n").unwrap();
    let Err(Refusal::Start(faults)) = run(&line) else { panic!("they contradict each other") };
    assert!(faults.0[0].what.contains("globetrotter.open"), "{faults}");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn nothing_is_kept_where_that_is_asked_for_and_the_store_may_lie_elsewhere_or_nowhere() {
    for (line, data, store) in [
        ("serve --data d", Some("d"), Some("d/store")),
        ("serve --data none", None, None),
        ("serve --data none --set store.directory=\"s\"", None, Some("s")),
        ("serve --data d --set store.directory=\"none\"", Some("d"), None),
        ("serve --data d --set store.directory=\"/s\"", Some("d"), Some("/s")),
    ] {
        let serve = serve_of(line);
        assert_eq!(serve.data.as_deref(), data.map(Path::new), "{line}");
        assert_eq!(serve.store.as_ref().map(|store| &*store.directory), store.map(Path::new), "{line}");
        assert_eq!(serve.admin_socket.is_some(), data.is_some(), "{line}");
    }
    assert!(matches!(run("token --user ada --data none"), Err(Refusal::Start(_))));
}
