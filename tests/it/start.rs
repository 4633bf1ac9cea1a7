//! Proves what the command promises at its edges: what it prints where, and how it ends.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::json;

use crate::client::Client;
use crate::gateway::{Directory, Gateway, IN_MEMORY, SOON, binary, command};
use crate::raw;

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn bad_usage_ends_with_2_what_cannot_be_done_with_78_and_what_may_pass_with_75() {
    let place = Directory::new();
    let data = place.data();
    let bad = data.with_extension("toml");
    std::fs::write(&bad, "[package]\nname = \"no section of ours\"\n").unwrap();
    let (data, bad) = (data.to_str().unwrap(), bad.to_str().unwrap());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address.to_string())).unwrap();
    for (arguments, code, told) in [
        (&["--help"][..], 0, ""),
        (&["--version"], 0, ""),
        (&["serve", "--shards", "0"], 2, "--shards"),
        (&["token"], 2, "--user"),
        (&["serve", "--data", data, "--cpus", "1000"], 78, "--cpus"),
        (&["serve", "--data", data, "--listen", &taken.1], 75, "as `server.listen` says: --listen"),
        (&["serve", "--data", "/proc/nothing"], 78, "--data"),
        (&["serve", "--data", data, "--config", "/proc/nothing"], 78, "/proc/nothing"),
        (&["serve", "--data", data, "--config", bad], 78, ".toml, line 1"),
        (&["token", "--user", "ada"], 78, "--data"),
    ] {
        let output = run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {error}");
        assert!(error.contains(told), "{arguments:?}: {error}");
        assert_eq!(output.stdout.is_empty(), code != 0, "{arguments:?}");
    }
}

#[test]
fn what_a_start_finds_wrong_is_told_with_the_line_that_named_it() {
    let place = Directory::new();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    std::fs::create_dir(place.path().join("others")).unwrap();
    std::fs::write(place.path().join("others/file"), "").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen = \"{}\"", taken.local_addr().unwrap());
    let free = "listen = \"127.0.0.1:0\"";
    // Section and key; code; what is wrong; line and column.
    for (text, code, what, key, at) in [
        (listen, 75, "is in use", "server.listen", "line 2, column 10"),
        (
            format!("{free}\ndata = \"file\""),
            78,
            "the data directory cannot be made",
            "server.data",
            "line 3, column 8",
        ),
        (format!("{free}\n[store]\ndirectory = \"file\""), 78, "File exists", "store.directory", "line 4, column 13"),
        (format!("{free}\n[store]\ndirectory = \"file/s\""), 78, "Not a dir", "store.directory", "line 4, column 13"),
        (
            format!("{free}\n[store]\ndirectory = \"others\""),
            78,
            "not the store's",
            "store.directory",
            "line 4, column 13",
        ),
        (
            format!("{free}\n[audit]\nto = \"others\""),
            78,
            "the audit cannot be written",
            "audit.to",
            "line 4, column 6",
        ),
        (format!("{free}\n[admin]\nsocket = \"a/s\""), 78, "no such directory", "admin.socket", "line 4, column 10"),
        (
            format!("{free}\n[admin]\nsocket = \"file\""),
            78,
            "is a file and no socket",
            "admin.socket",
            "line 4, column 10",
        ),
    ] {
        let config = place.path().join("gateway.toml");
        std::fs::write(&config, format!("[server]\n{text}\n")).unwrap();
        let (config, data) = (config.to_str().unwrap(), place.data());
        let mut arguments = vec!["serve", "--shards", "1", "--config", config];
        if key != "server.data" {
            arguments.extend(["--data", data.to_str().unwrap()]);
        }
        let output = run(&arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}: {error}");
        for part in [what, key, at, "what to do: "] {
            assert!(error.contains(part), "{text}: {part}: {error}");
        }
        // Who has an address by then only a start finds out.
        let checked = run(&[&["config", "check"][..], &arguments[1..]].concat());
        let told = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert_eq!(checked.status.code(), Some(if code == 75 { 0 } else { 78 }), "{text}: {told}");
        for part in [key, at, "what to do: "].iter().filter(|_| code == 78) {
            assert!(told.contains(part), "{text}: {part}: {told}");
        }
    }
}

#[test]
fn what_is_checked_as_good_starts_and_what_cannot_start_is_checked_as_bad() {
    let place = Directory::new();
    let data = place.data();
    let data = data.to_str().unwrap();
    for (key, value) in [
        ("audit.to", "/proc/x/audit.log"),
        ("server.listen", "unix:/nonexistent/ws.sock"),
        ("admin.socket", "/nonexistent/a.sock"),
        ("store.directory", "/proc/nope"),
        ("server.data", "/proc/x"),
    ] {
        let set = format!("{key}={value}");
        for words in [&["serve"][..], &["config", "check"]] {
            let mut arguments = [words, &["--shards", "1", "--set", &set]].concat();
            for (other, flag) in [("server.data", ["--data", data]), ("server.listen", ["--listen", "127.0.0.1:0"])] {
                arguments.extend(flag.into_iter().filter(|_| other != key));
            }
            let output = run(&arguments);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let refused = output.status.code().is_some_and(|code| [75, 78].contains(&code));
            assert!(refused && told.contains(&format!("as `{key}` says: --set {key}")), "{arguments:?}: {told}");
        }
        assert!(!place.data().join("store").exists(), "nothing was begun");
    }
    // What the unit makes is there when it runs, and what another user may not do its own may.
    let unmade = ["config", "check", "--data", data, "--set", "server.listen=unix:/run/waystation/ws.sock"];
    if !std::path::Path::new("/run/waystation").exists() {
        // Root may look on behalf of the unit; a plain user would start it as it is.
        let by_root = rustix::process::geteuid().is_root();
        let (code, part) = if by_root { (0, "in doubt: cannot listen: /run/") } else { (78, "cannot listen: /run/") };
        let output = run(&unmade);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(part), "{output:?}");
        let within = command(&unmade).env("RUNTIME_DIRECTORY", "/run/other").output().unwrap();
        assert_eq!(within.status.code(), Some(78), "{within:?}");
    }
}

#[test]
fn the_configuration_is_checked_shown_and_documented_without_a_start() {
    let place = Directory::new();
    let write = |name: &str, text: &[u8]| {
        let path = place.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let default = run(&["config", "default"]).stdout;
    let data = place.data();
    let data = data.to_str().unwrap();
    let good = write("good.toml", &default);
    let output = run(&["config", "check", "-c", &good, "--data", data, "--shards", "1"]);
    assert_eq!((output.status.code(), stdout(&output).contains("is good: 1 shard,")), (Some(0), true), "{output:?}");
    let shown = stdout(&run(&["config", "show", "-c", &good, "--data", data, "--shards", "1"]));
    assert!(shown.contains("\nserver.shards = 1  # --shards\n"), "{shown}");
    assert!(shown.contains(&format!("\nlimits.upgrades = 60  # {good}, line ")), "{shown}");
    let bad = write("bad.toml", b"[limits]\nupgrades = \"many\"\nbad_token = 3\n");
    let output = run(&["config", "check", "-c", &bad, "--data", data]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{told}");
    for part in ["bad.toml, line 2, column 12", "bad.toml, line 3, column 1", "`limits.bad_tokens`?", "2 faults"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let keyless = write("keyless.toml", b"[auth]\njwks_file = \"nowhere.json\"\n");
    let output = run(&["config", "check", "-c", &keyless, "--data", data]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(78) && told.contains("nowhere.json"), "{told}");
    assert!(!place.data().exists(), "nothing was made");
    assert!(stdout(&run(&["config", "doc"])).contains("| `limits.upgrades` |"));
}

#[test]
fn completions_and_manual_pages_are_printed() {
    for (arguments, part) in [
        (&["completions", "bash"][..], "complete -F _waystation"),
        (&["completions", "zsh"], "#compdef waystation"),
        (&["completions", "fish"], "complete -c waystation"),
        (&["man"], ".TH waystation 1"),
        (&["man", "serve"], "spin\\-us"),
        (&["man", "config", "check"], "exit code 78"),
        (&["man", "tune", "apply"], "/etc/udev/rules.d"),
        (&["man", "tune", "check"], "exits 2 on an error"),
        (&["man", "store"], "back it up, also of one that runs"),
    ] {
        let output = run(arguments);
        assert_eq!((output.status.code(), stdout(&output).contains(part)), (Some(0), true), "{arguments:?}");
    }
    assert_eq!(run(&["man", "sing"]).status.code(), Some(78));
    assert_eq!(run(&["man", "--list", "serve"]).status.code(), Some(2));
}

/// Every command that the help knows below this one, by its words.
fn commands_below(words: &[&str], found: &mut BTreeSet<String>) {
    let help = stdout(&run(&[words, &["--help"]].concat()));
    let Some((_, listed)) = help.split_once("\nCommands:\n") else { return };
    let names = listed.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    for name in names.filter(|name| *name != "help") {
        let words = [words, &[name]].concat();
        found.insert(words.join(" "));
        commands_below(&words, found);
    }
}

#[test]
fn the_package_has_a_manual_page_of_every_command() {
    let place = Directory::new();
    let mut commands = BTreeSet::new();
    commands_below(&[], &mut commands);
    for known in ["serve", "dump", "stats", "config check", "store export", "tune apply"] {
        assert!(commands.contains(known), "{known}: {commands:?}");
    }
    let script = include_str!("../../tuning/debian/manuals");
    let made = Command::new("bash").args(["-c", script, "manuals"]).arg(binary()).arg(place.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let written = std::fs::read_dir(place.path()).unwrap();
    let written: BTreeSet<String> = written.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let page = |words: &str| format!("waystation-{}.1.gz", words.replace(' ', "-"));
    let mut expected: BTreeSet<String> = commands.iter().map(|words| page(words)).collect();
    expected.insert("waystation.1.gz".to_owned());
    assert_eq!(written, expected);
    let text = Command::new("gzip").args(["-dc"]).arg(place.path().join(page("store check"))).output().unwrap();
    assert!(stdout(&text).contains("exit code 1 if anything is not"), "{text:?}");
}

#[test]
fn token_prints_one_token_a_line_and_nothing_else() {
    let place = Directory::new();
    let data = place.data();
    let output = run(&["token", "--user", "u", "--count", "3", "--data", data.to_str().unwrap()]);
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), output.status.code()), (3, Some(0)));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.starts_with("made a development key in ") && told.contains(data.to_str().unwrap()), "{told}");
    let again = run(&["token", "--user", "u", "--data", data.to_str().unwrap()]);
    assert!(again.status.success() && again.stderr.is_empty(), "{again:?}");
    for (index, token) in lines.iter().enumerate() {
        let rules = &jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(token).unwrap();
        assert_eq!(rules.claims["sub"], format!("u-{}", index + 1));
    }
}

#[test]
fn serve_greets_drains_on_a_signal_and_ends_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Directory::new();
        let mut server = Gateway::within(&place, &[&["--shards", "1"], &IN_MEMORY[..]].concat());
        let token = server.greeting.split("#token=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let token = token.unwrap().to_owned();
        assert!(server.greeting.contains("made a development key"), "{}", server.greeting);
        assert!(server.greeting.contains("in memory only"), "{}", server.greeting);
        assert!(server.greeting.contains(&format!("http://{}/#token=", server.address)), "{}", server.greeting);
        server.signal(signal);
        let (status, log) = (server.wait(SOON), server.log());
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(log.contains("draining") && !log.contains(&token), "{log}");
        let again = Gateway::within(&place, &["--shards", "1"]);
        assert!(again.greeting.contains("uses the development key"), "{}", again.greeting);
    }
}

#[test]
fn serve_warns_of_what_is_open() {
    let place = Directory::new();
    let mut server = Gateway::within(&place, &["--shards", "1", "--echo", "--limits", "unlimited"]);
    server.signal(Signal::TERM);
    let (status, log) = (server.wait(SOON), server.log());
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert!(log.contains("/echo is served") && log.contains("rates are off"), "{log}");
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    let place = Directory::new();
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let output = run(&["serve", "--data", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn a_second_server_on_the_same_port_is_refused_and_the_first_goes_on() {
    let first = Gateway::start();
    let place = Directory::new();
    let (data, listen) = (place.data(), first.address.to_string());
    let second = run(&["serve", "--shards", "1", "--data", data.to_str().unwrap(), "--listen", &listen]);
    let error = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(75), "{error}");
    assert!(error.contains(&listen) && error.contains("in use") && error.contains("another port"), "{error}");
    assert!(second.stdout.is_empty(), "it greets nobody");
    assert_eq!(raw::get(&first, "GET", "/health").status, 200);
}

#[test]
fn tokens_and_words_of_clients_are_never_logged() {
    let mut gateway = Gateway::with(&["--shards", "1", "--echo"]);
    let token = gateway.token("ada");
    let mut ada = Client::join(&gateway, "/ws/chat/s", &token);
    ada.send(&json!({ "type": "chat_message", "payload": { "content": "confidential" } }));
    ada.event_of("chat_message");
    ada.send(&json!({ "type": "confidential" }));
    ada.event_of("connection_error");
    let query = Client::try_open(&gateway, &format!("/ws?token={token}x"), &[]);
    assert_eq!(query.unwrap_err().0, 401);
    gateway.terminate();
    assert_eq!(gateway.wait(SOON).code(), Some(0));
    let log = gateway.log();
    assert!(log.contains("draining"), "{log}");
    assert!(!log.contains("confidential") && !log.contains(&token), "{log}");
}
