//! Who may do what where.

use super::*;
use Verb::{Admin, Edit, History, Presence, Publish, Register, Stream, Subscribe};

fn parse(json: &str) -> Result<Caps, serde_json::Error> {
    serde_json::from_str(json)
}

/// The verbs that `user` has in `channel`, by name.
fn check(verbs: Verbs, expected: &[Verb]) {
    let found: Vec<Verb> = Verb::ALL.iter().map(|(verb, _)| *verb).filter(|&verb| verbs.contains(verb)).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_policy_without_claims_is_the_protocols_table() {
    let policy = Policy::default();
    let holder = Holder { user: "ada", service: false, caps: None };
    for (channel, expected) in [
        ("user:ada", &[Subscribe, History] as &[Verb]),
        ("agent:ada", &[Subscribe, History]),
        ("notifications:ada", &[Subscribe, History]),
        ("chat:s1", &[Subscribe, Publish, Presence, History]),
        ("trip:t1", &[Subscribe, Publish, Presence, History, Edit]),
        ("general", &[Subscribe]),
        ("system_messages", &[Subscribe]),
        ("user:bob", &[]),
        ("user:adam", &[]),
        ("user:ad", &[]),
        ("user:", &[]),
        ("user:{user}", &[]),
        ("user:ada:x", &[]),
        ("generals", &[]),
        ("chat", &[]),
        ("system:stats", &[]),
        ("", &[]),
    ] {
        check(policy.verbs(&holder, channel), expected);
    }
}

#[test]
fn a_service_may_do_all_but_admin_unless_its_caps_say_otherwise() {
    let policy = Policy::default().requiring_caps();
    let service = Holder { user: "backend", service: true, caps: None };
    check(policy.verbs(&service, "user:anyone"), &[Subscribe, Publish, Presence, History, Edit, Stream, Register]);
    let caps = parse(r#"{"chat:*":["publish","stream"],"system:*":["admin"]}"#).unwrap();
    let service = Holder { caps: Some(&caps), ..service };
    check(policy.verbs(&service, "chat:1"), &[Publish, Stream]);
    check(policy.verbs(&service, "system:stats"), &[Subscribe, Presence, History, Admin]);
    check(policy.verbs(&service, "trip:1"), &[]);
}

#[test]
fn the_gateways_own_channels_are_watched_by_administrators_and_by_tokens_that_name_them_and_nobody_sends_there() {
    let every = r#"{"*":["subscribe","publish","presence","history","edit","stream","register","admin"]}"#;
    let rows = [("*", &[Subscribe, Publish, Edit] as &[Verb]), ("system:open", &[Subscribe, Admin])];
    let row = |(pattern, verbs)| PolicyRow { verbs: Some(Verbs::of(verbs)), ..row(pattern) };
    let policy = Policy::with_rows(&rows.map(row)).unwrap();
    let (watch, administer) = (&[Subscribe, History] as &[Verb], &[Subscribe, Presence, History, Admin] as &[Verb]);
    for (service, caps, channel, expected) in [
        (false, None, "system:stats", &[] as &[Verb]),
        (false, None, "system:open", administer),
        (true, None, "system:stats", &[]),
        (true, None, "system:", &[]),
        (true, None, "systems:stats", &[Subscribe, Publish, Presence, History, Edit, Stream, Register]),
        (false, Some(every), "system:stats", administer),
        (true, Some(every), "system:anything", administer),
        (false, Some(r#"{"system:stats":["admin"]}"#), "system:stats", administer),
        (false, Some(r#"{"system:stats":["subscribe"]}"#), "system:stats", watch),
        (false, Some(r#"{"system:*":["subscribe","publish","stream"]}"#), "system:stats", watch),
        (false, Some(r#"{"system:stats":["publish","history"]}"#), "system:stats", &[]),
        (false, Some(r#"{"system:other":["subscribe"]}"#), "system:stats", &[]),
    ] {
        let caps = caps.map(|caps| parse(caps).unwrap());
        let holder = Holder { user: "ada", service, caps: caps.as_ref() };
        check(policy.verbs(&holder, channel), expected);
    }
}

#[test]
fn caps_take_the_place_of_the_policy() {
    let caps = parse(r#"{"chat:1":["subscribe"]}"#).unwrap();
    let holder = Holder { user: "ada", service: false, caps: Some(&caps) };
    let policy = Policy::default();
    assert!(policy.allows(&holder, "chat:1", Subscribe));
    for (channel, verb) in [("chat:1", Publish), ("chat:2", Subscribe), ("user:ada", Subscribe)] {
        assert!(!policy.allows(&holder, channel, verb), "{channel}");
    }
    let without = Holder { caps: None, ..holder };
    assert!(policy.allows(&without, "chat:2", Publish));
    assert!(!policy.requiring_caps().allows(&without, "chat:2", Publish));
}

fn row(pattern: &str) -> PolicyRow {
    PolicyRow::new(Pattern::parse(pattern).unwrap())
}

#[test]
fn an_operators_rows_take_the_place_of_default_ones_and_the_others_stay() {
    let rows = [
        PolicyRow { verbs: Some(Verbs::of(&[Subscribe])), ..row("news:*") },
        PolicyRow { verbs: Some(Verbs::NONE), ..row("trip:*") },
        PolicyRow { html: Some(Html::Escape), ..row("chat:*") },
        PolicyRow { verbs: Some(Verbs::of(&[History])), ..row("chat:archive-*") },
    ];
    let policy = Policy::with_rows(&rows).unwrap();
    let holder = Holder { user: "ada", service: false, caps: None };
    check(policy.verbs(&holder, "news:1"), &[Subscribe]);
    check(policy.verbs(&holder, "trip:1"), &[]);
    check(policy.verbs(&holder, "chat:1"), &[Subscribe, Publish, Presence, History]);
    check(policy.verbs(&holder, "chat:archive-1"), &[History]);
    check(policy.verbs(&holder, "user:ada"), &[Subscribe, History]);
}

#[test]
fn each_setting_comes_from_the_best_row_that_has_it() {
    let rate = |per_minute| Some(ChannelRate { per_minute, burst: 1 });
    let rows = [
        PolicyRow { rate: rate(10), html: Some(Html::Reject), ..row("*") },
        PolicyRow { rate: rate(20), ..row("chat:*") },
        PolicyRow { html: Some(Html::Escape), ..row("chat:1") },
        PolicyRow { html: Some(Html::Off), rate: rate(30), ..row("chat:{user}") },
    ];
    let policy = Policy::with_rows(&rows).unwrap();
    for (channel, per_minute, html) in [
        ("trip:1", 10, Html::Reject),
        ("chat:2", 20, Html::Reject),
        ("chat:1", 20, Html::Escape),
        ("chat:ada", 30, Html::Off),
    ] {
        let found = policy.rate(channel, "ada").map(|(_, rate)| rate.per_minute);
        assert_eq!((found, policy.html(channel, "ada")), (Some(per_minute), html), "{channel}");
    }
    assert!(policy.has_rates() && !Policy::default().has_rates());
    assert_eq!((Policy::default().rate("chat:1", "ada"), Policy::default().html("chat:1", "ada")), (None, Html::Off));
}

#[test]
fn an_event_that_a_row_does_not_name_is_allowed_to_services_only() {
    let rows = [
        PolicyRow { allowed_events: Some(vec!["typing_start".into(), "note".into()]), ..row("chat:*") },
        PolicyRow { allowed_events: Some(vec![]), ..row("chat:quiet") },
    ];
    let policy = Policy::with_rows(&rows).unwrap();
    let user = Holder { user: "ada", service: false, caps: None };
    let service = Holder { service: true, ..user };
    for (channel, kind, expected) in [
        ("chat:1", "note", true),
        ("chat:1", "notes", false),
        ("chat:quiet", "note", false),
        ("trip:1", "anything", true),
    ] {
        assert_eq!(policy.allows_event(&user, channel, kind), expected, "{channel} {kind}");
        assert!(policy.allows_event(&service, channel, kind));
    }
}

#[test]
fn how_much_is_kept_is_said_for_each_bound_by_the_best_row_that_says_it() {
    let keeps = |pattern: &str, count: Option<usize>, bytes: Option<usize>, age_ms: Option<u64>| PolicyRow {
        extent: Extent { count, bytes, age_ms },
        ..row(pattern)
    };
    let mut rows = vec![
        keeps("chat:*", Some(1), Some(10), None),
        keeps("chat:a*", Some(2), None, Some(200)),
        keeps("chat:ab", None, None, Some(300)),
        // It is none of those below, although it begins alike.
        keeps("chat:", Some(9), Some(90), Some(900)),
        keeps("*", None, None, Some(100)),
        keeps("user:{user}", Some(7), Some(7), Some(7)),
        row("chat:abc"),
    ];
    for _ in 0..rows.len() {
        rows.rotate_left(1);
        let policy = Policy::with_rows(&rows).unwrap();
        for (channel, count, bytes, age_ms) in [
            ("chat:b", Some(1), Some(10), Some(100)),
            ("chat:aa", Some(2), Some(10), Some(200)),
            ("chat:ab", Some(2), Some(10), Some(300)),
            ("chat:abc", Some(2), Some(10), Some(200)),
            ("chat:", Some(9), Some(90), Some(900)),
            ("trip:a", None, None, Some(100)),
            ("user:ada", None, None, Some(100)),
        ] {
            let (place, extent) = policy.extent(channel).unwrap();
            assert_eq!(extent, Extent { count, bytes, age_ms }, "{channel}");
            assert_eq!(policy.extents().nth(place), Some(extent), "{channel}");
        }
    }
    assert_eq!(Policy::default().extent("chat:a"), None);
    let policy = Policy::with_rows(&rows).unwrap();
    assert!(policy.has_extents_of(&policy) && !policy.has_extents_of(&Policy::default()));
}

#[test]
fn policy_rows_are_bounded_and_their_patterns_are_unique() {
    let max = limits::POLICY_ROWS_MAX;
    for (count, good) in [(max - 1, true), (max, true), (max + 1, false)] {
        let rows: Vec<PolicyRow> = (0..count).map(|n| row(&format!("c{n}"))).collect();
        assert_eq!(Policy::with_rows(&rows).is_ok(), good, "{count}");
    }
    assert!(Policy::with_rows(&[row("a"), row("b"), row("a")]).is_err());
}

#[test]
fn exact_beats_wildcard_and_the_longest_wildcard_wins() {
    let caps = parse(
        r#"{"*":["subscribe"],"trip:*":["publish"],"trip:1*":["history"],"trip:1":[],
        "trip:{user}:*":["edit"],"{user}*":["admin"],"trip:{user}":["stream"],"trip:x-{user}-y":["register"]}"#,
    )
    .unwrap();
    for (channel, expected) in [
        ("anything", &[Subscribe] as &[Verb]),
        ("trip:2", &[Publish]),
        ("trip:11", &[History]),
        ("trip:1", &[]),
        ("trip:ada:1", &[Edit]),
        ("trip:ada", &[Stream]),
        ("trip:bob:1", &[Publish]),
        ("ada's", &[Admin]),
        ("trip:x-ada-y", &[Register]),
        ("trip:x-bob-y", &[Publish]),
    ] {
        check(caps.verbs(channel, "ada"), expected);
    }
}

#[test]
fn a_users_id_is_literal() {
    let caps = parse(r#"{"user:{user}":["subscribe"],"home:{user}:*":["edit"]}"#).unwrap();
    for user in ["*", "a*", "{user}", "", "a:b", "\u{e9}"] {
        check(caps.verbs(&format!("user:{user}"), user), &[Subscribe]);
        check(caps.verbs(&format!("home:{user}:x"), user), &[Edit]);
        check(caps.verbs("user:other", user), &[]);
    }
}

#[test]
fn rows_that_fit_equally_well_grant_what_both_do() {
    let caps = parse(r#"{"user:{user}":["subscribe","history"],"user:ada":["history","admin"]}"#).unwrap();
    check(caps.verbs("user:ada", "ada"), &[History]);
    check(caps.verbs("user:bob", "bob"), &[Subscribe, History]);
}

#[test]
fn the_order_of_the_rows_changes_nothing() {
    for json in [
        r#"{"trip:1":["edit"],"trip:*":["publish"],"*":["admin"]}"#,
        r#"{"*":["admin"],"trip:*":["publish"],"trip:1":["edit"]}"#,
        r#"{"trip:*":["publish"],"trip:1":["edit"],"*":["admin"]}"#,
    ] {
        let caps = parse(json).unwrap();
        check(caps.verbs("trip:1", "ada"), &[Edit]);
        check(caps.verbs("trip:2", "ada"), &[Publish]);
        check(caps.verbs("chat:1", "ada"), &[Admin]);
    }
}

#[test]
fn the_gateways_own_channels_are_live_and_in_memory_whatever_a_row_says() {
    for pattern in ["*", "system*", "system:*", "system:stats"] {
        let rows = [PolicyRow { deliver: Some(Deliver::UntilAcked), durable: Some(true), ..row(pattern) }];
        let policy = Policy::with_rows(&rows).unwrap();
        assert!(!policy.durable("system:stats") && !policy.until_acked("system:stats"), "{pattern}");
        let others = pattern == "*";
        assert_eq!((policy.durable("general"), policy.until_acked("general")), (others, others), "{pattern}");
    }
}

#[test]
fn patterns_are_bounded() {
    for (pattern, good) in [
        ("*", true),
        ("a", true),
        ("{user}", true),
        ("", false),
        ("a*b", false),
        ("**", false),
        ("{user}{user}", false),
        ("a\\u0007", false),
    ] {
        assert_eq!(parse(&format!(r#"{{"{pattern}":[]}}"#)).is_ok(), good, "{pattern}");
    }
    for (len, good) in [(143, true), (144, true), (145, false)] {
        assert_eq!(parse(&format!(r#"{{"{}":[]}}"#, "c".repeat(len))).is_ok(), good, "{len}");
    }
    let max = limits::CAPS_PATTERNS_MAX;
    for (count, good) in [(max - 1, true), (max, true), (max + 1, false)] {
        let names: Vec<String> = (0..count).map(|n| format!("c{n}")).collect();
        let rows = names.iter().map(|name| (name.as_str(), Verbs::NONE));
        assert_eq!(Caps::new(rows).is_ok(), good, "{count}");
    }
    assert!(Caps::new([("a", Verbs::NONE), ("a", Verbs::SERVICE)]).is_err());
}

#[test]
fn the_default_policys_patterns_are_all_good() {
    assert_eq!(Policy::default().verbs.len(), 7);
}
