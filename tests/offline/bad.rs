//! Bad input: what cannot be used changes nothing, is named, and says what to do.

use std::fs;
use std::time::Duration;

use rstudio_pm::bundle::{Product, seal};

use crate::support::downloader::{
    bundle, get_cran, got_cran, is_whole, lacks, objects, read, tree, validate,
};
use crate::support::mirror_dir::Shelf;
use crate::support::tarball::Tarball;
use crate::support::upstream::{Fault, Upstream};

fn shelf(dir: &std::path::Path) -> Shelf {
    let mut shelf = Shelf::new(dir.join("mirror"));
    shelf.simple("alpha", "1.0", "2020-01-01");
    shelf.simple("alpha", "1.1", "2020-02-01");
    for n in 0..20 {
        shelf.simple(&format!("package{n}"), "1.0", "2020-01-02");
    }
    shelf.write();
    shelf
}

#[test]
fn what_is_no_mirror_is_named_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let pages = Upstream::empty();
    for path in ["v3/version.txt", "src/contrib/PACKAGES.gz"] {
        pages.always(path, Fault::Html);
    }
    let nothing = Upstream::empty();
    for (url, code, words) in [
        (format!("file://{}", empty.display()), 1, ["neither a CRAN mirror", "--base-url"]),
        ("file:///no/where".to_owned(), 2, ["there is no directory /no/where", "--base-url"]),
        ("cran.example".to_owned(), 2, ["--base-url", "https://"]),
        (pages.url(), 1, ["HTML page", "--base-url"]),
        (nothing.url(), 1, ["neither a CRAN mirror", "--base-url"]),
    ] {
        let to = dir.path().join("bundle");
        let ended = get_cran(&url, &to, &[]);
        assert_eq!(ended.code, Some(code), "{url}: {}", ended.err);
        assert!(words.iter().all(|word| ended.err.contains(word)), "{url}: {}", ended.err);
        assert!(!to.join("v3/1/head.json").exists());
    }
    let ended = get_cran("https://cran.example", dir.path(), &["--outbound-proxy", "ftp://x"]);
    assert!(ended.code == Some(2) && ended.err.contains("--outbound-proxy"), "{}", ended.err);
}

#[tokio::test]
async fn a_file_of_the_wrong_size_or_with_a_flipped_bit_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    let upstream = Upstream::of(&shelf.root);
    let (short, flipped, gone) = (
        "src/contrib/package0_1.0.tar.gz",
        "src/contrib/package1_1.0.tar.gz",
        "src/contrib/package2_1.0.tar.gz",
    );
    let bytes = upstream.bytes(short);
    upstream.put(short, &bytes[..bytes.len() - 7]);
    let mut bytes = upstream.bytes(flipped);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    upstream.put(flipped, bytes);
    upstream.remove(gone);
    let to = dir.path().join("bundle");
    let ended = get_cran(&upstream.url(), &to, &[]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    for path in [short, flipped, gone] {
        assert!(ended.err.contains(path), "{path}: {}", ended.err);
    }
    assert!(
        ended.err.contains("3 files could not be fetched") && ended.err.contains("Run the command again")
    );
    lacks(&to, &[short, flipped, gone]);
    let (_, _, state) = read(&to, &Product::Cran).await;
    assert_eq!(state.listed(), shelf.listing().len() - 3);
    // The mirror is mended; the next run has them.
    let upstream = Upstream::of(&shelf.root);
    got_cran(&upstream.url(), &to, &[]);
    assert_eq!(upstream.asked().iter().filter(|asked| asked.path.ends_with(".tar.gz")).count(), 3);
    is_whole(&to);
    assert_eq!(read(&to, &Product::Cran).await.2.listing(), shelf.listing());
}

#[tokio::test]
async fn a_new_version_that_cannot_be_had_leaves_the_old_one_listed() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(dir.path());
    let to = bundle(dir.path(), &shelf);
    shelf.simple("alpha", "2.0", "2020-05-01");
    shelf.write();
    let upstream = Upstream::of(&shelf.root);
    upstream.remove("src/contrib/alpha_2.0.tar.gz");
    let ended = get_cran(&upstream.url(), &to, &[]);
    assert_eq!(ended.code, Some(1));
    let (_, _, state) = read(&to, &Product::Cran).await;
    assert!(state.listing().contains(&"alpha 1.1".to_owned()), "{:?}", state.listing());
    lacks(&to, &["src/contrib/alpha_2.0.tar.gz"]);
}

#[tokio::test]
async fn a_mirror_that_changes_during_the_download_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(dir.path());
    let upstream = Upstream::of(&shelf.root);
    // While the first file is on its way, alpha 1.1 moves to the archive and 1.2 takes its place.
    upstream.always("src/contrib/package0_1.0.tar.gz", Fault::Slow(Duration::from_millis(1500)));
    let (url, to) = (upstream.url(), dir.path().join("bundle"));
    let running = {
        let to = to.clone();
        std::thread::spawn(move || get_cran(&url, &to, &["--concurrency", "1"]))
    };
    while !upstream.asked().iter().any(|asked| asked.path.ends_with("current.rds")) {
        std::thread::sleep(Duration::from_millis(5));
    }
    shelf.simple("alpha", "1.2", "2020-06-01");
    shelf.write();
    for (path, bytes) in tree(&shelf.root) {
        upstream.put(&path, bytes);
    }
    upstream.remove("src/contrib/alpha_1.1.tar.gz");
    let ended = running.join().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    is_whole(&to);
    let (_, _, state) = read(&to, &Product::Cran).await;
    assert_eq!((state.listing(), objects(&to).len()), (shelf.listing(), shelf.files()));
}

#[tokio::test]
async fn a_mirror_that_changes_with_every_round_of_the_download_loses_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(dir.path());
    let upstream = Upstream::of(&shelf.root);
    let slow = |version: &str| {
        let path = format!("src/contrib/alpha_{version}.tar.gz");
        upstream.always(&path, Fault::Slow(Duration::from_millis(1500)));
        path
    };
    let mut newest = slow("1.1");
    let (url, to) = (upstream.url(), dir.path().join("bundle"));
    let running = {
        let (url, to) = (url.clone(), to.clone());
        std::thread::spawn(move || get_cran(&url, &to, &[]))
    };
    // Each time the newest file is on its way, another one takes its place.
    for (version, day) in [("1.2", "2020-06-01"), ("1.3", "2020-07-01"), ("1.4", "2020-08-01")] {
        while !upstream.under_way().contains(&newest) {
            assert!(!running.is_finished(), "it ended before {version}");
            std::thread::sleep(Duration::from_millis(5));
        }
        newest = slow(version);
        shelf.simple("alpha", version, day);
        shelf.write();
        for (path, bytes) in tree(&shelf.root) {
            upstream.put(&path, bytes);
        }
    }
    let ended = running.join().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    is_whole(&to);
    // What changed during the last round comes with the next run, and nothing else.
    let (_, _, state) = read(&to, &Product::Cran).await;
    assert!(state.listing().contains(&"alpha 1.3".to_owned()), "{:?}", state.listing());
    upstream.asked();
    got_cran(&url, &to, &[]);
    let asked = upstream.asked().into_iter().map(|asked| asked.path);
    assert_eq!(asked.filter(|path| path.ends_with(".tar.gz")).collect::<Vec<_>>(), [newest]);
    let (_, _, state) = read(&to, &Product::Cran).await;
    assert_eq!((state.listing(), objects(&to).len()), (shelf.listing(), shelf.files()));
}

#[test]
fn a_mirror_that_is_busy_is_waited_for_and_one_that_is_away_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    let upstream = Upstream::of(&shelf.root);
    upstream
        .fail("src/contrib/alpha_1.1.tar.gz", [Fault::Status(503, "Retry-After: 1"), Fault::Status(429, "")]);
    upstream.fail("src/contrib/PACKAGES", [Fault::Status(502, "")]);
    let to = dir.path().join("bundle");
    got_cran(&upstream.url(), &to, &[]);
    is_whole(&to);
    let away = Upstream::of(&shelf.root);
    for path in tree(&shelf.root).into_keys().filter(|path| path.ends_with(".tar.gz")) {
        away.always(&path, Fault::Status(500, "Retry-After: 999"));
    }
    let ended = get_cran(&away.url(), &dir.path().join("other"), &[]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.contains("no longer responds") && ended.err.contains("run the command again"),
        "{}",
        ended.err
    );
}

#[test]
fn an_index_that_lost_a_fifth_is_refused_until_it_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(dir.path());
    let to = bundle(dir.path(), &shelf);
    let before = tree(&to);
    for n in 0..12 {
        shelf.archive(&format!("package{n}"), "2020-03-01");
    }
    shelf.write();
    let ended = get_cran(&shelf.url(), &to, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("12 of 21 packages") && ended.err.contains("--accept-loss"), "{}", ended.err);
    assert_eq!(tree(&to), before);
    got_cran(&shelf.url(), &to, &["--accept-loss"]);
    is_whole(&to);
}

#[test]
fn a_bundle_of_a_newer_schema_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    let to = bundle(dir.path(), &shelf);
    let head = to.join("v3/1/head.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&head).unwrap()).unwrap();
    value["min_reader"] = 7.into();
    value.as_object_mut().unwrap().remove("sha256");
    fs::write(&head, seal::seal(&value)).unwrap();
    let before = tree(&to);
    let ended = get_cran(&shelf.url(), &to, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("level 7") && ended.err.contains("install a newer one"), "{}", ended.err);
    assert_eq!(tree(&to), before);
    let (code, findings) = validate("cran", &to, &[]);
    assert_eq!(code, 3);
    assert!(
        findings
            .iter()
            .any(|(_, file, text)| file == "v3/1/head.json" && text.contains("install a newer one"))
    );
}

#[test]
fn a_damaged_destination_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    let to = bundle(dir.path(), &shelf);
    let segment = tree(&to).into_keys().find(|path| path.contains("/log/")).unwrap();
    fs::write(to.join(&segment), "x").unwrap();
    let ended = get_cran(&shelf.url(), &to, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains(&segment) && ended.err.contains("copy it again"), "{}", ended.err);
}

/// Adds two versions of a package, one of them archived: the index has no checksum of that.
fn odd(shelf: &mut Shelf) {
    let mut odd = Tarball::new("odd", "1.0");
    odd.fields = "Encoding: latin1\n".to_owned();
    shelf.publish(&odd, "2020-01-01");
    shelf.publish(&Tarball::new("odd", "1.1"), "2020-02-01");
    shelf.write();
}

#[tokio::test]
async fn a_file_that_is_no_package_is_kept_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(dir.path());
    odd(&mut shelf);
    // What is archived has no checksum: of the right size and damaged inside.
    let path = shelf.root.join("src/contrib/Archive/odd/odd_1.0.tar.gz");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 20].fill(0);
    fs::write(&path, &bytes).unwrap();
    let to = dir.path().join("bundle");
    let told = got_cran(&shelf.url(), &to, &[]);
    assert!(told.contains("Archive/odd/odd_1.0.tar.gz is kept as it is"), "{told}");
    is_whole(&to);
    let (_, _, state) = read(&to, &Product::Cran).await;
    assert_eq!(state.package("", "odd").map(|package| package.releases.len()), Some(2));
}

#[tokio::test]
async fn an_archive_that_was_damaged_on_the_way_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(dir.path());
    odd(&mut shelf);
    let path = "src/contrib/Archive/odd/odd_1.0.tar.gz";
    let upstream = Upstream::of(&shelf.root);
    let sound = upstream.bytes(path);
    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 20].fill(0);
    upstream.put(path, damaged);
    let to = dir.path().join("bundle");
    let asked = || upstream.asked().iter().filter(|asked| asked.path == path).count();
    let told = got_cran(&upstream.url(), &to, &[]);
    assert!(told.contains("the next run fetches it again"), "{told}");
    assert_eq!(asked(), 2, "once more at once");
    is_whole(&to);
    upstream.put(path, sound.clone());
    got_cran(&upstream.url(), &to, &[]);
    assert_eq!(asked(), 1);
    is_whole(&to);
    let (_, _, state) = read(&to, &Product::Cran).await;
    let digest = seal::digest(&sound);
    let releases = &state.package("", "odd").unwrap().releases;
    assert!(releases.iter().any(|release| release.version == "1.0" && release.object.sha256 == digest));
    assert!(objects(&to).iter().any(|path| path.contains(&digest.to_string())));
    got_cran(&upstream.url(), &to, &[]);
    assert_eq!(asked(), 0, "it is sound");
}

#[test]
fn an_archive_that_is_damaged_on_the_mirror_is_asked_for_by_one_more_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(dir.path());
    odd(&mut shelf);
    let path = "src/contrib/Archive/odd/odd_1.0.tar.gz";
    let upstream = Upstream::of(&shelf.root);
    let mut damaged = upstream.bytes(path);
    let middle = damaged.len() / 2;
    damaged[middle..middle + 20].fill(0);
    upstream.put(path, damaged);
    let to = dir.path().join("bundle");
    let asked = || upstream.asked().iter().filter(|asked| asked.path == path).count();
    got_cran(&upstream.url(), &to, &[]);
    let second = got_cran(&upstream.url(), &to, &[]);
    assert!(second.contains("is kept as it is") && !second.contains("the next run"), "{second}");
    assert_eq!(asked(), 4, "twice by each run");
    let third = got_cran(&upstream.url(), &to, &[]);
    assert!(third.contains("nothing is new"), "{third}");
    assert_eq!(asked(), 0);
    is_whole(&to);
}

#[test]
fn a_full_disk_is_told_before_it_is_full_and_when_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(dir.path());
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let noise: Vec<u8> = words.flatten().take(600_000).collect();
    for n in 0..4 {
        let mut large = Tarball::new(&format!("large{n}"), "1.0");
        large.files.push(("data/noise".to_owned(), noise.iter().map(|b| b ^ n).collect()));
        shelf.publish(&large, "2020-01-05");
    }
    shelf.write();
    let Some(to) = crate::support::rerun::small_disk() else { return };
    let ended = get_cran(&shelf.url(), &to, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains("of free space") && ended.err.contains("--destination"), "{}", ended.err);
    // A mirror that does not tell sizes cannot be judged beforehand.
    fs::remove_file(shelf.root.join("src/contrib/Meta/current.rds")).unwrap();
    let ended = get_cran(&shelf.url(), &to, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(
        ended.err.contains("No space left") && ended.err.contains("run the command again"),
        "{}",
        ended.err
    );
    assert!(!to.join("v3/1/head.json").exists() && !objects(&to).is_empty());
}
