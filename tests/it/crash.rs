//! What the server acknowledged, held against kills, by the load generator's `crash`: with the store nothing is wrong, and
//! without one the trial must find out that all that was acknowledged before a kill is gone, and its numbers are given again.

use std::path::Path;
use std::time::Duration;

use loadgen::crash::{CrashReport, Moment, Trial};
use loadgen::engine::Target;
use powercut::Metadata;

use crate::gateway::{Directory, Gateway, binary, command};

/// Whether a kill is the end of the process only, or of the machine's power.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Power {
    Stays,
    IsCut,
}

/// The directory of which the power is cut, for the test that is run for that.
const CUT: &str = "WAYSTATION_IT_POWER_CUT";

/// What is run between a kill and the next start: this program again, with the number of the kill.
#[test]
fn the_power_is_cut_where_another_test_asks_for_it() {
    let Some(data) = std::env::var_os(CUT) else { return };
    let kill: u64 = std::env::var("LOADGEN_KILL").unwrap().parse().unwrap();
    // Every other time everything is lost that was not durable, names of files and directories too.
    let seed = if kill % 2 == 1 { 0 } else { kill };
    powercut::apply(Path::new(&data), seed, Metadata::Strict).unwrap();
}

/// Kills a server with these further arguments again and again.
fn trial(arguments: &str, (moment, power): (Moment, Power), (kills, acked): (u32, u64)) -> CrashReport {
    let (directory, address) = (Directory::new(), Gateway::own_address());
    let data = directory.data();
    let this = std::env::current_exe().unwrap();
    let watched = match power {
        Power::Stays => String::new(),
        // The shim is built with this test.
        Power::IsCut => {
            let shim = this.with_file_name("libpowercut.so");
            format!("env LD_PRELOAD={} POWERCUT_DIR={} ", shim.display(), data.display())
        }
    };
    let power_cut = (power == Power::IsCut).then(|| {
        let test = "--exact crash::the_power_is_cut_where_another_test_asks_for_it";
        format!("{CUT}={} {} {test} >/dev/null", data.display(), this.display())
    });
    let target = Target::parse(&format!("ws://{address}")).unwrap();
    let limits = "--limits unlimited --set history.events=100000 --set history.bytes=100000000";
    let start = format!(
        "{watched}{} serve --listen {address} --data {} {limits} {arguments}",
        binary().display(),
        data.display()
    );
    let trial = Trial {
        kills,
        acked,
        publishers: 3,
        readers: 1,
        channels: 2,
        chance: (Duration::from_millis(1), Duration::from_millis(50)),
        moment,
        power_cut,
        ..Trial::new(target, &start, 1)
    };
    let tokens = |arguments: &[&str]| {
        let output = command(&["token", "--data"]).arg(&data).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let count = trial.connections_count().to_string();
    let service_token = tokens(&["--user", "reader", "--role", "service"]).pop();
    if power == Power::IsCut {
        powercut::begin(&data).unwrap();
    }
    let trial = Trial { tokens: tokens(&["--user", "load", "--count", &count]), service_token, ..trial };
    let report = trial.run(&mut Vec::new()).unwrap();
    assert!(report.broken.is_none() && report.errors.sum() == 0 && report.closes.sum() == 0, "{report}");
    assert!(report.kills == kills && report.acked >= acked, "{report}");
    report
}

#[test]
fn what_was_acknowledged_outlives_kills_under_load_once_in_order_and_under_its_own_number() {
    let report = trial("--shards 2", (Moment::Loaded, Power::Stays), (5, 1000));
    assert_eq!(report.exit_code(), 0, "{report}");
    assert!(report.events_read >= report.acked, "{report}");
}

#[test]
fn what_was_acknowledged_outlives_cuts_of_the_power() {
    let report = trial("--shards 2 --set admin.socket=off", (Moment::Loaded, Power::IsCut), (6, 1000));
    assert_eq!(report.exit_code(), 0, "{report}");
    assert!(report.events_read >= report.acked, "{report}");
}

#[test]
fn a_server_that_keeps_its_history_in_memory_is_found_out_by_kills() {
    let report = trial("--shards 1 --set store.directory=none", (Moment::Idle, Power::Stays), (2, 200));
    assert_eq!((report.events_read, report.faults.lost, report.exit_code()), (0, report.acked, 1), "{report}");
    assert!(
        report.faults.reused > 0 && report.to_string().contains(" is not in the history, which is empty"),
        "{report}"
    );
}
