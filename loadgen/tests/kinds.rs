//! Kinds of messages other than plain publishes, against a server that does wrong by a known amount: answers that are
//! lost, doubled, late, behind their next or somebody else's are found to the piece and named as answers, and so are
//! publishes that came in one frame with others; who acknowledges says it as often and as far as the scenario wants.

#![expect(clippy::unwrap_used, reason = "a test binary: a panic is its report")]

#[path = "support/server.rs"]
mod server;

use std::time::Duration;

use loadgen::adapter::Adapter;
use loadgen::checker::Faults;
use loadgen::engine::Target;
use loadgen::plan::{self, Setting};
use loadgen::report::{KindReport, Report};
use loadgen::scenario::Scenario;
use server::{Server, Tally, Wrongs};

/// Two rooms of three in which all speak.
const ROOMS: &str = "name = 'kinds'\nlateness_p99_max_us = 10000000\nstarved_max = 1.0\ndrain_s = 1.0\nduration_s = 1.0\n\
                     [[group]]\nname = 'rooms'\nendpoint = '/ws/chat/kinds-{room}'\nrooms = 2\nmembers = 3\nrate = \
                     60.0\npayload_bytes = 80\n";

/// An adapter like the gateway's, but for answers as the server of these tests gives them.
fn adapter() -> Adapter {
    let text = loadgen::adapter::SHIPPED[0].1.replace("in_order = false", "in_order = true");
    Adapter::parse(&text, "kinds").unwrap()
}

fn check(wrongs: Wrongs, group: &str) -> (Report, Tally) {
    let server = Server::start(wrongs);
    let scenario = Scenario::parse(&format!("{ROOMS}{group}"), &[]).unwrap();
    let setting = Setting { adapter: adapter(), ..Setting::new(Target::parse(&server.url).unwrap()) };
    let report = plan::run(&scenario, &setting).unwrap();
    (report, server.end())
}

fn sum(kinds: &[KindReport], of: fn(&KindReport) -> u64) -> u64 {
    kinds.iter().map(of).sum()
}

const QUESTIONS: &str =
    "mix = [{ kind = 'presence', weight = 2 }, { kind = 'history', weight = 2 }, { kind = 'time', weight = 1 }]";
const ONE: &str = "kind = 'history'";
const MIXED: &str = "mix = [{ kind = 'chat_message', weight = 3 }, { kind = 'chat_batch', weight = 1 }, { kind = 'time', \
                     weight = 3 }, { kind = 'history', weight = 3 }, { kind = 'presence', weight = 1 }]";

#[test]
fn each_question_is_answered_once_to_who_asked_and_has_its_latency() {
    let (report, tally) = check(Wrongs::default(), MIXED);
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    let group = &report.groups[0];
    for kind in &group.kinds {
        let KindReport { kind: name, published, delivered, answers, latency } = kind;
        let each = if *answers { 1 } else { 3 };
        assert!(*published > 0 && *delivered == each * published && latency.count == *delivered, "{name}: {report}");
    }
    assert_eq!(group.kinds.iter().map(|kind| kind.answers).collect::<Vec<_>>(), [false, false, true, true, true]);
    assert_eq!(group.kinds[1].published % 10, 0, "ten of a frame");
    assert_eq!(sum(&group.kinds, |kind| kind.delivered), tally.delivered);
    let deliveries = group.kinds[0].delivered + group.kinds[1].delivered;
    assert_eq!(
        (group.delivered, group.latency.count),
        (deliveries, deliveries),
        "the group's own figures have no answers"
    );
    let metrics = loadgen::metrics::Metrics::new(&report);
    for name in ["answer.p99", "rooms.answer.p50"] {
        assert!(metrics.find(name).unwrap().value.unwrap() > 0.0, "{name}");
    }
}

#[test]
fn answers_that_are_lost_doubled_or_behind_their_next_are_found_to_the_piece() {
    for wrongs in [
        Wrongs { drop_every: 17, ..Wrongs::default() },
        Wrongs { double_every: 19, ..Wrongs::default() },
        Wrongs { swap_every: 23, ..Wrongs::default() },
    ] {
        let (report, Tally { dropped, doubled, swapped, .. }) = check(wrongs, ONE);
        assert!(dropped + doubled + swapped >= 8, "{report}");
        let expected = Faults { lost: dropped, duplicated: doubled, out_of_order: swapped, ..Faults::default() };
        assert_eq!(report.faults, expected, "{report}");
        assert_eq!(report.exit_code(), 1);
        let named: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
        assert!(!named.is_empty() && named.iter().all(|name| name.contains("(answers)")), "{named:?}");
        // Of each finding the publisher is who got it, or did not.
        let finding = &named[0];
        let asker = finding.split("member ").nth(1).unwrap().split(' ').next().unwrap();
        assert!(finding.contains(&format!(" of member {asker}")), "{finding}");
    }
}

#[test]
fn kinds_of_questions_may_overtake_each_other_but_none_is_lost() {
    let (report, tally) = check(Wrongs { drop_every: 29, double_every: 31, ..Wrongs::default() }, QUESTIONS);
    let Faults { lost, duplicated, .. } = report.faults;
    assert_eq!((lost, duplicated), (tally.dropped, tally.doubled), "{report}");
    assert_eq!(report.faults.sum(), lost + duplicated, "{report}");
    assert!(lost > 0 && duplicated > 0);
}

#[test]
fn an_answer_that_goes_to_somebody_else_is_found_and_lacks_where_it_was_asked() {
    let (report, tally) = check(Wrongs { misroute_every: 21, ..Wrongs::default() }, QUESTIONS);
    assert!(tally.misrouted >= 8, "{tally:?}");
    let expected = Faults { wrong_room: tally.misrouted, lost: tally.misrouted, ..Faults::default() };
    assert_eq!(report.faults, expected, "{report}");
}

#[test]
fn what_stands_in_an_answer_is_of_the_room_and_a_refusal_is_no_answer() {
    let group = "mix = [{ kind = 'history', weight = 1 }, { kind = 'chat_message', weight = 1 }]";
    let (report, tally) = check(Wrongs { leak_every: 5, ..Wrongs::default() }, group);
    assert!(tally.leaked > 0, "{tally:?}");
    assert_eq!(report.faults, Faults { wrong_room: tally.leaked, ..Faults::default() }, "{report}");
    let (report, tally) = check(Wrongs { refuse_every: 20, ..Wrongs::default() }, ONE);
    assert!(tally.refused >= 8, "{tally:?}");
    assert_eq!((report.faults.sum(), report.protocol_faults.count("answer refused")), (0, tally.refused), "{report}");
    assert_eq!(report.exit_code(), 1);
}

#[test]
fn an_answer_that_takes_long_stands_in_its_kinds_figures() {
    let delay = Duration::from_millis(80);
    let (report, tally) = check(Wrongs { delay_every: 9, delay, ..Wrongs::default() }, "kind = 'time'\nmessages = 6");
    let kind = &report.groups[0].kinds[0];
    let slow = kind.latency.histogram.histogram().count_between(80_000_000, 60_000_000_000);
    assert!(tally.delayed > 0 && slow >= tally.delayed, "{tally:?} {report}");
    assert_eq!(report.groups[0].latency.count, 0, "{report}");
}

#[test]
fn publishes_of_one_frame_are_each_owed_to_every_member() {
    let (report, tally) =
        check(Wrongs { drop_every: 37, double_every: 41, ..Wrongs::default() }, "kind = 'chat_batch'");
    assert!(tally.dropped >= 8 && tally.doubled >= 8, "{tally:?}");
    let Faults { order_unchecked, .. } = report.faults;
    let expected = Faults { lost: tally.dropped, duplicated: tally.doubled, order_unchecked, ..Faults::default() };
    assert_eq!(report.faults, expected, "{report}");
    assert_eq!(report.groups[0].published % 10, 0);
}

#[test]
fn who_acknowledges_says_it_as_often_as_is_wanted_and_in_the_end_all() {
    let (report, tally) = check(Wrongs::default(), "kind = 'notification'\nacknowledge_every = 1\nmessages = 20");
    assert_eq!(report.objections(), Vec::<String>::new(), "{report}");
    assert_eq!((tally.acknowledged, tally.up_to_date), (report.groups[0].delivered, 6), "{tally:?} {report}");
    let (report, tally) = check(Wrongs::default(), "kind = 'notification'\nacknowledge_every = 7\nmessages = 20");
    // Sixty to each of six, and an acknowledgement for each seventh of them.
    assert_eq!((report.groups[0].delivered, tally.acknowledged), (360, 6 * (60 / 7)), "{tally:?} {report}");
}

#[test]
fn what_cannot_be_spoken_is_refused_before_anything_runs() {
    let target = Target::parse("ws://127.0.0.1:1").unwrap();
    for (group, adapter, word) in [
        ("kind = 'history'\npayload_bytes = 129", adapter(), "history: body of 129 bytes: must be at most 128"),
        ("kind = 'chat_batch'\nmode = 'closed'", adapter(), "a batch must be of the open loop"),
        ("kind = 'time'\nmode = 'closed'", adapter(), "every kind must be delivered to every one"),
        (
            "kind = 'k'\ndialect = 'globetroter'",
            adapter(),
            "dialect globetroter: adapter waystation has globetrotter, ",
        ),
        ("kind = 'echo'\ndialect = 'flat'", Adapter::load("ws").unwrap(), "adapter ws has none"),
        ("kind = 'trip_update'\nacknowledge_every = 1", Adapter::load("ws").unwrap(), "adapter ws does not say how"),
    ] {
        let text = format!("{}{group}", ROOMS.replace("payload_bytes = 80\n", ""));
        let scenario = Scenario::parse(&text, &[]).unwrap();
        let error = plan::run(&scenario, &Setting { adapter, ..Setting::new(target.clone()) }).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}
