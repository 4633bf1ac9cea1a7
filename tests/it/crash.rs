//! What the server acknowledged, held against kills, by the load generator's `crash`. History is in memory so far, and the
//! trial must find that out: all that was acknowledged before a kill is gone, and its numbers are given again.

use std::time::Duration;

use loadgen::crash::{Moment, Trial};
use loadgen::engine::Target;

use crate::gateway::{Directory, Gateway, binary, command};

#[test]
fn a_server_that_keeps_its_history_in_memory_is_found_out_by_kills() {
    let (directory, address) = (Directory::new(), Gateway::own_address());
    let data = directory.data();
    let target = Target::parse(&format!("ws://{address}")).unwrap();
    let limits = "--shards 1 --limits unlimited --set history.events=100000";
    let start = format!("{} serve --listen {address} --data {} {limits}", binary().display(), data.display());
    let trial = Trial {
        kills: 2,
        acked: 200,
        publishers: 3,
        readers: 1,
        channels: 2,
        chance: (Duration::from_millis(1), Duration::from_millis(50)),
        moment: Moment::Idle,
        ..Trial::new(target, &start, 1)
    };
    let tokens = |arguments: &[&str]| {
        let output = command(&["token", "--data"]).arg(&data).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let count = trial.connections_count().to_string();
    let service_token = tokens(&["--user", "reader", "--role", "service"]).pop();
    let trial = Trial { tokens: tokens(&["--user", "load", "--count", &count]), service_token, ..trial };
    let report = trial.run(&mut Vec::new()).unwrap();
    assert!(report.broken.is_none() && report.errors.sum() == 0 && report.closes.sum() == 0, "{report}");
    assert!(report.kills == 2 && report.acked >= 200 && report.events_read == 0, "{report}");
    assert_eq!((report.faults.lost, report.exit_code()), (report.acked, 1), "{report}");
    assert!(
        report.faults.reused > 0 && report.to_string().contains(" is not in the history, which is empty"),
        "{report}"
    );
}
