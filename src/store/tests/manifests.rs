//! The manifests of the trees: every flipped bit of what says which tables there are.

use super::*;

/// The file `current` of each tree, and the version that it names.
fn manifests(place: &Place) -> Vec<[PathBuf; 2]> {
    let trees = fs::read_dir(place.0.join("log").join("keyspaces")).unwrap();
    let manifests = trees.map(|tree| {
        let tree = tree.unwrap().path();
        let current = tree.join("current");
        let version = u64::from_le_bytes(*fs::read(&current).unwrap().first_chunk().unwrap());
        [current, tree.join(format!("v{version}"))]
    });
    manifests.collect()
}

#[test]
fn a_flipped_bit_of_a_manifest_is_told_and_so_is_one_that_is_gone() {
    let place = Place::new("manifests");
    let mut store = Played::on(&place.0, 1);
    let past = store.open(0, "chat:a");
    let ticket = store.append(0, &past, 1);
    store.committed(0, ticket);
    store.stop().unwrap();
    let all = manifests(&place);
    assert!(all.len() >= 2, "{all:?}");
    let told = |what: &str| {
        let fault = Played::try_on(&place.0, 1).map(|_| ()).unwrap_err();
        assert!(matches!(fault, StartFault::Damaged { .. }), "{what}: {fault}");
    };
    for path in all.iter().flatten() {
        let bytes = fs::read(path).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(path, &flipped).unwrap();
            told(&format!("byte {at} of {}", path.display()));
        }
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        told(&format!("the end of {}", path.display()));
        fs::write(path, &bytes).unwrap();
    }
    for [_, version] in &all {
        let kept = fs::read(version).unwrap();
        fs::remove_file(version).unwrap();
        told(&format!("{} is not there", version.display()));
        fs::write(version, kept).unwrap();
    }
    let mut store = Played::on(&place.0, 1);
    let past = store.open(0, "chat:a");
    assert_eq!(store.read(0, past.channel, 100), Ok(vec![1]));
    store.stop().unwrap();
}
