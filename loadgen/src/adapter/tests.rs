use super::*;
use crate::limits::{BATCH_COUNT_MAX, RESUME_BYTES_MAX, VERSION_BYTES_MAX};
use crate::scenario::Scenario;

const SMALL: &str = "name = \"x\"\n[open]\npath = \"/p\"\n[publish.k]\ntext = \"<{body}>\"\n";

fn parse(text: &str) -> Result<Adapter, String> {
    Adapter::parse(text, "test")
}

fn refused(text: &str, words: &[&str]) {
    let error = parse(text).unwrap_err();
    for word in words.iter().chain(&["adapter test"]) {
        assert!(error.contains(word), "{text}\n{error}");
    }
}

#[test]
fn every_shipped_adapter_is_read_and_has_its_name() {
    for (name, text) in SHIPPED {
        assert_eq!(Adapter::load(name).unwrap().name, name);
        assert!(text.starts_with("# "), "{name}: list shows its first line");
    }
    assert_eq!(Adapter::waystation().name, "waystation");
}

#[test]
fn an_adapter_that_is_not_there_is_refused_with_the_nearest_name() {
    for (name, word) in
        [("waystaton", "write waystation?"), ("quite-else", "one of waystation, echo"), ("no.toml", "No such file")]
    {
        let error = Adapter::load(name).unwrap_err();
        assert!(error.contains(name) && error.contains(word), "{error}");
    }
}

#[test]
fn wrong_files_are_refused_with_the_key_and_what_it_must_be() {
    parse(SMALL).unwrap();
    let with = |more: &str| format!("{SMALL}{more}");
    refused(&with("[deliver]\nafer = \"x\""), &["line 7", "afer", "write `after`?"]);
    refused(&with("[opn]\npath = \"/\""), &["opn", "write `open`?"]);
    refused(&SMALL.replace("/p", "p"), &["open.path", "p must start with /"]);
    refused(&SMALL.replace("{body}", "{bdy}"), &["publish.k", "{bdy}", "write {body}?"]);
    refused(&SMALL.replace("{body}", "{token}"), &["publish.k", "{token}: must be one of"]);
    refused(&SMALL.replace("{body}", "none"), &["publish.k", "must have {body} once"]);
    refused(&SMALL.replace("{body}", "{body}{body}"), &["publish.k", "must have {body} once"]);
    refused(&SMALL.replace("text =", "binary = \"{body}\"\ntext ="), &["publish.k", "exactly one of text, binary"]);
    refused("name = \"x\"\n[open]\npath = \"/p\"\n[publish]", &["publish", "at least one kind"]);
    refused(&with("[[hello]]\nsend = \"a\"\nwait = \"b\""), &["hello, step 1", "exactly one of"]);
    refused(&with("[[hello]]\nwait = \"a\"\n[[hello]]\nwait = \"\""), &["hello, step 2", "must not be empty"]);
    refused(&with("[[hello]]\nsend = \"{body}\""), &["hello, step 1", "{body}: must be one of"]);
    refused(&with("[deliver]\nwhole = true\nafter = \"x\""), &["deliver", "leave out whole or after"]);
    refused(&with("[seq]\nkey = \"\""), &["seq.key", "must not be empty"]);
    refused(&with("[events]\nrefused = [\"\"]"), &["events.refused", "must not be empty"]);
    let open = |more: &str| SMALL.replace("[publish.k]", &format!("{more}\n[publish.k]"));
    refused(&open("headers = { \"X Y\" = \"z\" }"), &["open.headers", "X Y"]);
    refused(&open("headers = { X = \"a\\r\\nb\" }"), &["open.headers", "control characters"]);
    refused(&open("query = \"{token}\""), &["open.query", "{token}: must be one of"]);
    refused(&open("subprotocol = \"{room}\""), &["open.subprotocol", "{room}"]);
    refused(&open("ready = \"readyz\""), &["open.ready", "readyz"]);
    refused(&open("ready = \"/ready now\""), &["open.ready", "/ready now"]);
    refused(&open("start = \" \""), &["open.start", "must not be empty"]);
    assert_eq!(parse(&open("start = \"serve it\"")).unwrap().start(), Some("serve it"));
}

#[test]
fn files_and_hellos_are_bounded() {
    let padded = |bytes: usize| format!("{SMALL}#{}", "x".repeat(bytes - SMALL.len() - 1));
    assert!(parse(&padded(ADAPTER_BYTES_MAX)).is_ok());
    refused(&padded(ADAPTER_BYTES_MAX + 1), &["bytes: at most"]);
    let steps = |count| format!("{SMALL}{}", "[[hello]]\nwait = \"a\"\n".repeat(count));
    assert!(parse(&steps(HELLO_STEPS_MAX)).is_ok());
    refused(&steps(HELLO_STEPS_MAX + 1), &["hello steps: at most"]);
}

#[test]
fn a_template_has_the_bytes_it_says_and_leaves_json_alone() {
    let all = "{room}|{body}|{bytes}|{id}|{seq}|{}|{\"a\":{\"b\":1}}|{Room}|{open|{";
    let adapter = parse(&SMALL.replace("\"<{body}>\"", &format!("'{all}'"))).unwrap();
    let template = &adapter.kinds[0].1.template;
    for (body_bytes, seq) in [(0, 0), (9, 9), (10, 10), (99, 4_294_967_295), (100, 1)] {
        let values = Values { room: "room-00003", publisher: 0xabc, seq, body_bytes, ..Values::default() };
        let (mut out, body) = (Vec::new(), "x".repeat(body_bytes));
        template.fill(&values, &mut out, |place| place.copy_from_slice(body.as_bytes()));
        let expected = format!(
            "room-00003|{body}|{body_bytes}|000abc-{seq:08x}|{seq}|{{}}|{{\"a\":{{\"b\":1}}}}|{{Room}}|{{open|{{"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(template.bytes(&values), expected.len());
    }
}

fn group(changes: &[&str]) -> Group {
    let text = "name = \"s\"\n[[group]]\nname = \"g\"\nendpoint = \"/e\"\nkind = \"trip_update\"\nrate = 1.0";
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    Scenario::parse(text, &changes).unwrap().group.remove(0)
}

#[test]
fn answers_batches_and_dialects_are_refused_where_they_do_not_fit() {
    let kind = |more: &str| format!("{SMALL}{more}\n");
    refused(&kind("in_order = false"), &["publish.k", "must have delivered = \"sender\""]);
    refused(&kind("refused = \"no\""), &["publish.k", "must have delivered = \"sender\""]);
    refused(&kind("delivered = \"sender\"\nto_sender = true"), &["publish.k", "to_sender: must be left out"]);
    let batch = |count| kind(&format!("batch = {{ count = {count}, before = \"\", between = \"\", after = \"\" }}"));
    for count in [0, 1, BATCH_COUNT_MAX + 1] {
        refused(&batch(count), &["publish.k", "batch", "must be 2 to 100"]);
    }
    for count in [2, BATCH_COUNT_MAX] {
        parse(&batch(count)).unwrap();
    }
    let top = |line: &str| SMALL.replace("[open]", &format!("{line}\n[open]"));
    refused(&SMALL.replace("<{body}>", "{body}{channel}"), &["publish.k", "must have resume.channel"]);
    refused(&top("acknowledge = \"{epoch}\""), &["acknowledge", "must have resume.epoch"]);
    refused(&top("acknowledge = \"{body}\""), &["acknowledge", "{body}: must be one of"]);
    refused(&top("dialects = [\"no-such\"]"), &["dialects", "must be one of waystation"]);
    refused(&top("dialects = [\"waystation\"]"), &["dialects", "waystation must have none of its own"]);
    refused(&top("dialects = [\"ws\", \"ws\", \"ws\", \"ws\", \"ws\"]"), &["5 dialects: at most 4"]);
}

#[test]
fn a_token_goes_into_the_path_where_there_is_no_frame_for_it() {
    let flat = Adapter::load("globetrotter").unwrap();
    let given = [Auth::Frame, Auth::Query, Auth::Header, Auth::None];
    assert_eq!(given.map(|auth| flat.auth(auth)), [Auth::Query, Auth::Query, Auth::Header, Auth::None]);
    for adapter in [Adapter::waystation(), parse(SMALL).unwrap()] {
        assert_eq!(given.map(|auth| adapter.auth(auth)), given, "{}", adapter.name);
    }
}

#[test]
fn total_bytes_counts_everything_around_the_body() {
    let adapter = Adapter::waystation();
    for kind in ["trip_update", "publish", "chat_message", "echo"] {
        for ids in ["ids=true", "ids=false"] {
            let out = adapter.outgoing(&group(&["total_bytes=1000", ids, &format!("kind={kind}")])).unwrap().remove(0);
            let values = Values { seq: 7, body_bytes: out.sizes.of(0, 7), ..Values::default() };
            assert_eq!(out.template.bytes(&values), 1000, "{kind} {ids}");
        }
    }
    let error = adapter.outgoing(&group(&["total_bytes=100"])).unwrap_err();
    assert!(error.contains("group g") && error.contains("body of"), "{error}");
}

#[test]
fn a_kind_that_the_adapter_does_not_have_is_refused_with_the_nearest() {
    let adapter = Adapter::waystation();
    let error = adapter.outgoing(&group(&["kind=trip_updates"])).unwrap_err();
    assert!(error.contains("write trip_update?") && error.contains("chat_message"), "{error}");
    let echo = group(&["kind=echo"]);
    assert_eq!(adapter.of(&echo).unwrap().name, "echo");
    let own = parse(&SMALL.replace("publish.k", "publish.echo")).unwrap();
    assert_eq!(own.of(&echo).unwrap().name, "x");
    let error = parse(SMALL).unwrap().of(&group(&["kind=chat_message"])).unwrap_err();
    assert!(error.contains("group g: kind chat_message: adapter x has k"), "{error}");
    let other = Adapter::load("ws").unwrap();
    assert_eq!(KINDS.map(|kind| other.outgoing(&group(&[&format!("kind={kind}")])).is_ok()), [true; KINDS.len()]);
    let error = other.outgoing(&group(&["kind=chat_messages"])).unwrap_err();
    assert!(error.contains("write chat_message?") && error.contains("typing"), "{error}");
}

#[test]
fn the_first_frame_to_the_gateway_is_json() {
    let adapter = Adapter::waystation();
    let Step::Send { opcode: 1, template } = &adapter.hello[0] else { panic!("{:?}", adapter.hello) };
    assert!(adapter.hello[0].needs_token() && !adapter.hello[1].needs_token());
    let text = template.text(&Values { token: "t", channels: "\"a\",\"b\"", ..Values::default() });
    let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&frame["token"], &frame["channels"][1]), (&"t".into(), &"b".into()));
    assert_eq!(frame["client"]["name"], "loadgen");
}

#[test]
fn who_comes_back_says_what_it_was_told_when_it_entered() {
    let adapter = Adapter::waystation();
    let resume = adapter.resume.as_ref().unwrap();
    let entered = r#"{"type":"subscribed","payload":{"channel":"trip:a","epoch":"00ff","seq":17,"recovered":true}}"#;
    let told = resume.read(entered.as_bytes());
    assert_eq!((told.channel.as_str(), told.epoch.as_str()), ("trip:a", "00ff"));
    let values = Values { channel: &told.channel, epoch: &told.epoch, last: 17, ..Values::default() };
    let text = resume.template.text(&values);
    assert_eq!(text, r#","resume":[{"channel":"trip:a","epoch":"00ff","seq":17}]"#);
    assert_eq!(text.len(), resume.template.bytes(&values));
    assert!(resume.is_resumed(entered.as_bytes()));
    assert!(!resume.is_resumed(entered.replace("true", "false").as_bytes()));
    assert_eq!(resume.why_not(br#"{"payload":{"recovered":false,"reason":"trimmed"}}"#), "trimmed");
    assert_eq!(resume.why_not(entered.as_bytes()), "");
    let check = |bytes: usize, kept: usize| {
        let text = format!(r#""type":"subscribed","channel":"{}""#, "x".repeat(bytes));
        assert_eq!(resume.read(text.as_bytes()).channel.len(), kept, "{bytes}");
    };
    check(RESUME_BYTES_MAX, RESUME_BYTES_MAX);
    check(RESUME_BYTES_MAX + 1, 0);
    assert_eq!(resume.read(b"\"channel\":\"unended").channel, "");
}

#[test]
fn a_resume_needs_what_it_names() {
    let with = |hello: &str, seq: &str, resume: &str| {
        let open = "name = \"x\"\n[open]\npath = \"/\"\n[publish.k]\ntext = \"{body}\"";
        format!("{open}\n[[hello]]\nsend = \"{hello}\"\n[seq]\nkey = \"n\"\n{seq}\n[resume]\n{resume}")
    };
    let (hello, seq, resume) = ("hi{resume}", "start = \"s\"", "text = \"{last}\"\nresumed = \"r\"");
    assert!(parse(&with(hello, seq, resume)).is_ok());
    refused(&with("hi", seq, resume), &["resume: a step of hello must have {resume}"]);
    refused(&with(hello, "", resume), &["resume: must have seq.start"]);
    refused(&with(hello, seq, "text = \"{epoch}\"\nresumed = \"r\""), &["text has {epoch}: must have epoch"]);
    refused(&with(hello, seq, "text = \"{channel}\"\nresumed = \"r\""), &["text has {channel}: must have channel"]);
    refused(&with(hello, seq, "text = \"{token}\"\nresumed = \"r\""), &["resume.text: {token}: must be one of"]);
    refused(&with(hello, seq, "text = \"{last}\"\nresumed = \"\""), &["resume.resumed: must not be empty"]);
    refused(&with(hello, seq, &format!("{resume}\nreason = \"\"")), &["resume.reason: must not be empty"]);
}

#[test]
fn messages_without_a_body_are_told_apart() {
    let adapter = Adapter::waystation();
    let check = |text: &str, expected| assert_eq!(adapter.events.name(text.as_bytes()), expected, "{text}");
    check(r#"{"success":true,"connection_id":"c"}"#, Control::Ignored);
    check(r#"{"success":false,"error":"x"}"#, Control::Refused);
    check(r#"{"type":"subscribe_response","payload":{"success":false}}"#, Control::Event("subscribe_response"));
    check(r#"{"type":"unended"#, Control::Event("(no type)"));
    check("nonsense", Control::Event("(no type)"));
    let seq = adapter.seq.as_ref().unwrap();
    let check = |text: &str, expected| assert_eq!(seq.read_start(text.as_bytes()), expected, "{text}");
    check(r#"{"id":"i","type":"subscribed","payload":{"epoch":"e","seq":17}}"#, Some(Some(17)));
    check(r#"{"id":"i","type":"subscribed","payload":{}}"#, Some(None));
    check(r#"{"type":"subscribe_response","payload":{"seq":3}}"#, None);
}

#[test]
fn the_servers_number_is_not_taken_from_the_payload() {
    let adapter = Adapter::waystation();
    let seq = adapter.seq.as_ref().unwrap();
    for first_hint in [0, 5, 11, 12, 1000] {
        let mut hint = first_hint;
        let mut check = |text: &str, expected| assert_eq!(seq.read(text.as_bytes(), &mut hint), expected);
        check(r#"{"type":"x","seq":42,"payload":{"seq":7}}"#, Some(42));
        check(r#"{"type":"y","seq":43,"payload":{}}"#, Some(43));
        check(r#"{"type":"longer","seq":18446744073709551615,"payload":{}}"#, Some(u64::MAX));
        check(r#"{"type":"x","payload":{"seq":7}}"#, None);
        check(r#"{"type":"x","seq":18446744073709551616}"#, None);
        check(r#"{"type":"x","seq":"#, None);
        check("", None);
    }
}

#[test]
fn a_body_ends_where_the_adapter_says() {
    let check = |deliver: &str, text: &str, at, end, expected| {
        let adapter = parse(&format!("{SMALL}[deliver]\n{deliver}")).unwrap();
        assert_eq!(adapter.deliver.is_end(text.as_bytes(), at, end), expected, "{deliver} {text}");
    };
    check("whole = true", "body", 0, 4, true);
    check("whole = true", "body ", 0, 4, false);
    check("whole = true", " body", 1, 5, false);
    check("after = '\"'", "<body\">", 1, 5, true);
    check("after = '\"'", "<bodyx\">", 1, 5, false);
    check("after = '\"'", "<body", 1, 5, false);
    check("after = \"\\r\\n\"", "body\r\n", 0, 4, true);
    check("after = \"\\r\\n\"", "body\r", 0, 4, false);
    check("after = ''", "body", 0, 4, true);
    check("after = ''", "bod", 0, 4, false);
}

#[test]
fn the_kinds_of_a_mix_come_by_weight_and_by_the_seed_alone() {
    let adapter = Adapter::waystation();
    let mixed = "mix=[{ kind = \"trip_update\", weight = 30 }, { kind = \"cursor\", weight = 50, payload_bytes = 90 }, \
                 { kind = \"ping\", weight = 20 }]";
    let group = group(&["kind=''", mixed]);
    let all = adapter.outgoing(&group).unwrap();
    assert_eq!(all.iter().map(|kind| kind.sizes.of(0, 1)).collect::<Vec<_>>(), [128, 90, 128]);
    let kinds = |seed| {
        (0..10u32)
            .flat_map(|c| (1..=1000).map(move |n| (c, n)))
            .map(|(c, n)| pick(&all, seed, c, n))
            .collect::<Vec<_>>()
    };
    let one = kinds(7);
    assert_eq!(one, kinds(7));
    assert_ne!(one, kinds(8));
    for (kind, expected) in [3000, 5000, 2000].into_iter().enumerate() {
        let count = one.iter().filter(|&&came| came == kind).count();
        assert!(count.abs_diff(expected) < 200, "{kind}: {count} of 10000, expected {expected}");
    }
    // Neither the publisher alone nor the count alone decides.
    assert_ne!(one[..1000], one[1000..2000]);
    assert_eq!(pick(&all[..1], 7, 3, 9), 0);
}

#[test]
fn kinds_that_do_not_go_together_are_refused() {
    let check = |adapter: &str, mode: &str, word: Option<&str>| {
        let adapter = parse(adapter).unwrap();
        let mixed = "mix=[{ kind = \"k\", weight = 1 }, { kind = \"l\", weight = 1 }]";
        let outcome = adapter.outgoing(&group(&["kind=''", mixed, mode])).map(drop);
        match word {
            None => assert_eq!(outcome, Ok(())),
            Some(word) => assert!(outcome.clone().unwrap_err().contains(word), "{outcome:?}"),
        }
    };
    let with = |l: &str| format!("{SMALL}[publish.l]\n{l}");
    check(&with("text = \"{body}\""), "mode=closed", None);
    check(&with("text = \"l\"\ndelivered = \"none\""), "mode=open", None);
    check(&with("text = \"l\"\ndelivered = \"none\""), "mode=closed", Some("closed loop: waits for every member"));
    check(&with("text = \"{body}\"\ndelivered = \"some\""), "mode=closed", Some("closed loop: waits"));
    check(&with("text = \"{body}\"\nto_sender = false"), "mode=open", Some("must all reach the sender"));
    check(&with("text = \"{body}\"\ndelivered = \"some\"\nto_sender = false"), "mode=open", None);
    let silent = format!("{}\n[deliver]\nto_sender = false", with("text = \"{body}\""));
    check(&silent, "mode=open", None);
    check(&silent, "mode=closed", Some("a room needs two members"));
}

#[test]
fn what_a_server_does_not_do_is_said() {
    let text = "name = \"s\"\n[[group]]\nname = \"g\"\nendpoint = \"/e\"\nkind = \"trip_update\"\nrate = 1.0";
    let scenario = Scenario::parse(text, &[]).unwrap();
    let check = |adapter: &Adapter, words: &[&str]| {
        let without = adapter.without(&scenario);
        assert_eq!(without.len(), words.len(), "{without:?}");
        assert!(without.iter().zip(words).all(|(said, word)| said.contains(word)), "{without:?}");
    };
    check(&Adapter::waystation(), &[]);
    check(&Adapter::load("nats").unwrap(), &["no token", "no order between publishers", "numbers nothing"]);
    let text = "name = \"x\"\n[open]\npath = \"/p\"\n[publish.trip_update]\ntext = \"<{body}>\"\n[deliver]\nto_sender = false\norder = \"none\"";
    check(
        &parse(text).unwrap(),
        &["no token", "no order", "numbers nothing", "does not deliver trip_update to the sender"],
    );
}

#[test]
fn wrong_publishes_and_keepalives_are_refused() {
    let with = |more: &str| format!("{SMALL}{more}");
    refused(&with("[publish.l]\nping = true"), &["publish.l", "delivered = \"none\""]);
    refused(&with("[publish.l]\nping = true\ntext = \"\""), &["publish.l", "exactly one of text, binary, ping"]);
    refused(&with("[publish.l]\ntext = \"l\"\ndelivered = \"some\""), &["publish.l", "must have {body} once"]);
    refused(&with("[publish.l]\ntext = \"l\"\ndelivered = \"sum\""), &["sum", "some"]);
    refused(&with("[[keepalive]]\ntext = \"\"\nanswer = \"a\""), &["keepalive", "must not be empty"]);
    refused(&with("[version]\nafter = \"\"\nuntil = \"a\""), &["version.after", "must not be empty"]);
    refused(&with("[events]\nnamed = { a = \"\" }"), &["events.named.a", "must not be empty"]);
    refused(&with("[deliver]\norder = \"total\""), &["total", "room"]);
}

#[test]
fn a_version_is_read_up_to_its_end_and_not_too_long() {
    let adapter = parse(&format!("{SMALL}[version]\nafter = \"Server: \"\nuntil = \"\\r\"")).unwrap();
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(adapter.version.as_ref().unwrap().read(text.as_bytes()).as_deref(), expected, "{text}");
    };
    check("HTTP/1.1 101 x\r\nServer: nginx/1.22.1\r\n\r\n", Some("nginx/1.22.1"));
    check("HTTP/1.1 101 x\r\n\r\n", None);
    check("Server: nginx", None);
    check(&format!("Server: {}\r", "x".repeat(VERSION_BYTES_MAX)), Some(&"x".repeat(VERSION_BYTES_MAX)));
    check(&format!("Server: {}\r", "x".repeat(VERSION_BYTES_MAX + 1)), None);
}
