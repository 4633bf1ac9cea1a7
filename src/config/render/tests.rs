//! What is rendered is what holds: the default file is the defaults, and the documentation is the committed one.

use super::*;
use crate::config::checked::{Environment, Machine, Serve};
use crate::config::load::Source;
use crate::config::written::ServeArgs;

const COMMITTED: &str = include_str!("../../../docs/CONFIG.md");

fn serve(text: Option<&str>) -> Serve {
    let path = std::env::temp_dir().join(format!("waystation-render-{}.toml", std::process::id()));
    let environment = Environment { home: Some("/home/ada".into()), ..Environment::default() };
    let machine = Machine { cpus: vec![0, 1, 2, 3], parallelism: 4 };
    let config = text.map(|text| std::fs::write(&path, text).map(|()| path.clone()).unwrap());
    let serve = Source::new(ServeArgs { config, ..ServeArgs::default() }, environment, machine).load();
    let _never_made = std::fs::remove_file(&path);
    serve.unwrap_or_else(|faults| panic!("{faults}"))
}

/// All that a gateway is made of, but for where it was read.
fn made_of(serve: &Serve) -> String {
    let Serve { listen, listen_options, data, shards, limits, echo, spin_us, logs, auth, origins, policy, .. } = serve;
    let Serve { admin_loopback, retention, held, globetrotter_open, proxies, counts, connections, .. } = serve;
    let first = format!(
        "{listen:?} {listen_options:?} {data:?} {shards:?} {limits:?} {echo} {spin_us} {logs:?} {auth:?} {origins:?}"
    );
    let second =
        format!("{policy:?} {admin_loopback} {retention:?} {held:?} {globetrotter_open} {proxies:?} {counts:?}");
    format!("{first} {second} {connections:?}")
}

#[test]
fn the_default_file_is_the_defaults_and_its_examples_are_good() {
    let text = default_file();
    let (none, all) = (serve(None), serve(Some(&text)));
    assert_eq!(made_of(&none), made_of(&all));
    assert!(none.settings.changes(&all.settings).is_empty(), "{:?}", none.settings.changes(&all.settings));
    let uncommented: Vec<&str> =
        text.lines().map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)).collect();
    let text = uncommented.join("\n");
    for path in ["[[policy]]", "jwks_file = ", "cpus = ", "secret_file = "] {
        assert!(text.contains(&format!("\n{path}")) || text.contains(&format!(" {path}")), "{path}");
    }
    let all = serve(Some(&text.replace("public_key_file", "#public_key_file")));
    assert_eq!((all.auth.keys.len(), all.shards.len(), all.connections), (1, 4, Some(100_000)));
}

#[test]
fn the_documentation_is_the_committed_one() {
    assert_eq!(document(), COMMITTED, "put this into docs/CONFIG.md:\n{}", document());
}

#[test]
fn every_value_is_shown_with_who_set_it() {
    let serve = serve(Some("[limits]\nupgrades = 7\n"));
    let shown = show(&serve.settings);
    assert_eq!(shown.lines().count(), keys().count());
    assert!(shown.contains("\nlimits.bad_tokens = 60  # default\n"), "{shown}");
    let line = shown.lines().find(|line| line.starts_with("limits.upgrades = 7  # ")).unwrap();
    assert!(line.ends_with(".toml, line 2, column 12"), "{line}");
    assert!(shown.contains("\nserver.shards = (one for each usable processor)  # default\n"));
}
