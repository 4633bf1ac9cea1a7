//! Backups of a store on the built program: proves that one made under load has everything that was acknowledged before
//! it began, in order, and is a store that a server runs on; that a server that stops waits for none; and what one that
//! cannot be made ends with.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::client::Client;
use crate::gateway::{Directory, Gateway, SOON, binary, command};

/// A server whose history is long enough that nothing is trimmed.
fn keeping(directory: &Arc<Directory>, more: &[&str]) -> Gateway {
    let kept = ["--shards", "2", "--limits", "unlimited", "--set", "history.events=100000"];
    let kept = [&kept[..], &["--set", "history.bytes=60000000", "--set", "store.window_ms=2"], more].concat();
    Gateway::within(directory, &kept)
}

/// `waystation store` with a verb; exit code, what it printed, what it told.
fn store(directory: &Directory, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(&[&["store"], arguments].concat()).arg("--data").arg(directory.data()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn of(directory: &Path) -> String {
    format!("store.directory={}", directory.display())
}

#[test]
fn a_backup_under_load_has_everything_that_was_acked_before_in_order_and_runs() {
    const LARGE: usize = 4000;
    let directory = Directory::new();
    let gateway = keeping(&directory, &[]);
    let token = gateway.token("ada");
    let (over, (acks, acked)) = (Arc::new(AtomicBool::new(false)), channel());
    let load: Vec<_> = ["a", "b"]
        .map(|name| {
            let (acks, over) = (acks.clone(), Arc::clone(&over));
            let mut client = Client::join(&gateway, &format!("/ws/chat/{name}"), &token);
            std::thread::spawn(move || {
                let channel = format!("chat:{name}");
                for n in 0.. {
                    let id = format!("{name}-{n}");
                    client.publish(&channel, &id, &json!({ "n": n, "text": "x".repeat(LARGE) }));
                    let told = client.event_of("ack")["payload"].clone();
                    assert_eq!(told["id"], id.as_str());
                    acks.send((channel.clone(), told["seq"].as_u64().unwrap(), id)).unwrap();
                    if over.load(Relaxed) {
                        return;
                    }
                }
            })
        })
        .into();
    // Enough for several pages, and for the socket to be full.
    let mut before: Vec<(String, u64, String)> = acked.iter().take(1500).collect();
    before.extend(acked.try_iter());
    let copy = directory.path().join("copy");
    let (code, text, told) = store(&directory, &["backup", copy.to_str().unwrap()]);
    assert!(code == Some(0) && text.contains("bytes of records in"), "{text} {told}");
    let during = acked.try_iter().count();
    over.store(true, Relaxed);
    load.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(during > 0, "the load went on meanwhile");
    gateway.until_logged("a backup was given");
    let (code, _, told) = store(&directory, &["backup", copy.to_str().unwrap()]);
    assert!(code == Some(78) && told.contains("something already"), "{told}");

    let at = of(&copy);
    let (code, text, told) = store(&directory, &["check", "--set", &at]);
    assert!(code == Some(0) && text.contains("2 channels") && text.contains(" 0 faults"), "{text} {told}");
    let (code, text, _) = store(&directory, &["export", "--set", &at]);
    assert_eq!(code, Some(0));
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for name in ["chat:a", "chat:b"] {
        let rows: Vec<&Value> = rows.iter().filter(|row| row["channel"] == name).collect();
        let seqs: Vec<u64> = rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "{name} has a hole");
        for (_, seq, id) in before.iter().filter(|(channel, ..)| channel == name) {
            let row = rows.get(usize::try_from(*seq).unwrap() - 1);
            assert!(row.is_some_and(|row| row["op_id"] == id.as_str()), "{name}: {id} was acknowledged as {seq}");
        }
    }
    let (held, last) = (rows.iter().filter(|row| row["channel"] == "chat:a").count(), rows[0].clone());
    drop(gateway);

    // What is restored goes on where the other cannot have come, in a new epoch; who comes back gets what it missed.
    let gateway = keeping(&directory, &["--set", &at]);
    let auth = json!({ "token": token, "resume": [{ "channel": "chat:a", "epoch": last["epoch"], "seq": held - 2 }] });
    let mut again = Client::join_with(&gateway, "/ws/chat/a", &auth);
    assert_eq!(again.subscribed["payload"]["recovered"], true, "{}", again.subscribed);
    assert_eq!([again.event()["seq"].clone(), again.event()["seq"].clone()], [json!(held - 1), json!(held)]);
    again.publish("chat:a", "after", &json!({}));
    let told = again.event_of("ack")["payload"].clone();
    assert!(told["seq"].as_u64().unwrap() > held as u64 + (1 << 30) && told["epoch"] != last["epoch"], "{told}");
}

#[test]
fn without_a_server_a_backup_is_of_the_directory_and_an_unfinished_one_is_gone() {
    let directory = Directory::new();
    let copy = directory.path().join("copy");
    let to = copy.to_str().unwrap();
    let (code, _, told) = store(&directory, &["backup", to]);
    assert!(code == Some(78) && told.contains("there is no store"), "{told}");
    let mut gateway = keeping(&directory, &[]);
    let mut ada = Client::join(&gateway, "/ws/chat/a", &gateway.token("ada"));
    ada.publish("chat:a", "one", &json!({}));
    ada.event_of("ack");
    // A socket that is not this gateway's.
    let elsewhere = directory.path().join("none.sock");
    let set = format!("admin.socket={}", elsewhere.display());
    let (code, _, told) = store(&directory, &["backup", to, "--set", &set]);
    assert!(code == Some(75) && told.contains("gives no backup") && told.contains("none.sock"), "{told}");
    gateway.terminate();
    assert!(gateway.wait(SOON).success());
    // As on a disk that is full.
    let limited = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"])
        .arg(binary())
        .args(["store", "backup", to, "--data"])
        .arg(directory.data())
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&limited.stderr).into_owned();
    assert!(limited.status.code() == Some(75) && !told.is_empty(), "{told}");
    let left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().starts_with("copy")), "{left:?}");
    let (code, text, told) = store(&directory, &["backup", to]);
    assert_eq!(code, Some(0), "{text} {told}");
    let (code, text, _) = store(&directory, &["check", "--set", &of(&copy)]);
    assert_eq!((code, &*text), (Some(0), "1 channel, 1 event: 0 faults\n"));
    // The store itself goes on as if nobody had copied it.
    let gateway = keeping(&directory, &[]);
    let mut ada = Client::join(&gateway, "/ws/chat/a", &gateway.token("ada"));
    ada.publish("chat:a", "two", &json!({}));
    assert_eq!(ada.event_of("ack")["payload"]["seq"], 2);
}

#[test]
fn a_server_that_stops_waits_for_no_backup() {
    let directory = Directory::new();
    let mut gateway = keeping(&directory, &[]);
    let mut ada = Client::join(&gateway, "/ws/chat/a", &gateway.token("ada"));
    for n in 0..40 {
        ada.publish("chat:a", &n.to_string(), &json!({ "text": "x".repeat(50_000) }));
        ada.event_of("ack");
    }
    let mut asker = UnixStream::connect(directory.data().join("admin.sock")).unwrap();
    asker.set_read_timeout(Some(SOON)).unwrap();
    asker.write_all(b"{\"command\":\"backup\"}\n").unwrap();
    let mut head = [0; 10];
    asker.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"{\"disk_byt");
    // It holds one, reads no further, and another is refused meanwhile.
    let copy = directory.path().join("copy");
    let (code, _, told) = store(&directory, &["backup", copy.to_str().unwrap()]);
    assert!(code == Some(75) && told.contains("another backup is under way"), "{told}");
    gateway.terminate();
    assert!(gateway.wait(SOON).success(), "{}", gateway.log());
    let mut rest = Vec::new();
    asker.read_to_end(&mut rest).unwrap();
    assert!(rest.len() < 40 * 50_000, "it was cut short");
    assert!(gateway.log().contains("a backup was cut short"), "{}", gateway.log());
}
