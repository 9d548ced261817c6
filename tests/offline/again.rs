//! A second look where nothing is new: nothing comes from the mirror, and whatever changed here or there is still seen.

use std::path::{Path, PathBuf};

use rstudio_pm::bundle::Product;

use crate::support::downloader::{get_cran, got_cran, is_whole, mirror, objects, read, tree};
use crate::support::mirror_dir::Shelf;
use crate::support::upstream::{Fault, Upstream};

const NOTE: &str = "v3/1/.seen.json";

/// A bundle of a mirror with archived packages, which is complete.
fn bundle(dir: &Path) -> (Shelf, Upstream, PathBuf) {
    let shelf = mirror(
        dir,
        &[("alpha", "1.0", "2020-01-01"), ("alpha", "1.1", "2020-02-01"), ("beta", "1.0", "2020-02-01")],
    );
    let (upstream, to) = (Upstream::of(&shelf.root), dir.join("bundle"));
    got_cran(&upstream.url(), &to, &[]);
    (shelf, upstream, to)
}

/// What was asked for since the last call: path and status, in the order of paths.
fn asked(upstream: &Upstream) -> Vec<(String, u16)> {
    let mut asked: Vec<_> = upstream.asked().into_iter().map(|asked| (asked.path, asked.status)).collect();
    asked.sort();
    asked
}

#[test]
fn nothing_comes_twice_when_nothing_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let (_, upstream, to) = bundle(dir.path());
    upstream.asked();
    let before = tree(&to);
    let told = got_cran(&upstream.url(), &to, &[]);
    assert!(told.contains("after ") && told.contains("cran: nothing is new"), "{told}");
    let contrib = |file: &str, status| (format!("src/contrib/{file}"), status);
    let mut expected = vec![
        contrib("Meta/archive.rds", 304),
        contrib("Meta/current.rds", 304),
        contrib("PACKAGES", 304),
        contrib("PACKAGES.gz", 404),
        contrib("PACKAGES.in", 304),
        contrib("PACKAGES.rds", 404),
    ];
    expected.push(("v3/version.txt".to_owned(), 404));
    assert_eq!(asked(&upstream), expected);
    assert_eq!(tree(&to), before);
}

#[test]
fn what_was_taken_away_or_cut_here_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (_, upstream, to) = bundle(dir.path());
    let object = to.join(&objects(&to)[1]);
    let bytes = std::fs::read(&object).unwrap();
    for cut in [false, true] {
        if cut {
            std::fs::write(&object, &bytes[..bytes.len() - 1]).unwrap();
        } else {
            std::fs::remove_file(&object).unwrap();
        }
        upstream.asked();
        got_cran(&upstream.url(), &to, &[]);
        let fetched = asked(&upstream).into_iter().filter(|(path, _)| path.ends_with(".tar.gz")).count();
        assert_eq!((fetched, std::fs::read(&object).unwrap() == bytes), (1, true), "cut {cut}");
        is_whole(&to);
    }
    // A file that is no package of it is looked at and left alone.
    std::fs::write(object.with_extension("bak"), "x").unwrap();
    assert!(got_cran(&upstream.url(), &to, &[]).contains("nothing is new"));
}

#[tokio::test]
async fn what_changed_on_the_mirror_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (mut shelf, upstream, to) = bundle(dir.path());
    shelf.simple("gamma", "1.0", "2020-03-01");
    shelf.write();
    for (path, bytes) in tree(&shelf.root) {
        upstream.put(&path, bytes);
    }
    assert!(!got_cran(&upstream.url(), &to, &[]).contains("nothing is new"));
    assert_eq!(read(&to, &Product::Cran).await.2.listing(), shelf.listing());
    // A table that was not there before counts too: it tells more.
    upstream.put("src/contrib/PACKAGES.gz", b"<html>".to_vec());
    let ended = get_cran(&upstream.url(), &to, &[]);
    assert!(ended.code == Some(1) && ended.err.contains("PACKAGES.gz"), "{}", ended.err);
}

#[test]
fn a_damaged_segment_is_told_though_nothing_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let (_, upstream, to) = bundle(dir.path());
    let segment = tree(&to).into_keys().find(|path| path.contains("/log/")).unwrap();
    let mut bytes = std::fs::read(to.join(&segment)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(to.join(&segment), bytes).unwrap();
    let ended = get_cran(&upstream.url(), &to, &[]);
    assert!(ended.code == Some(1) && ended.err.contains(&segment), "{}", ended.err);
}

#[test]
fn a_mirror_that_tells_nothing_of_its_files_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (shelf, ..) = bundle(dir.path());
    let upstream = Upstream::of(&shelf.root);
    for path in tree(&shelf.root).into_keys() {
        upstream.always(&path, Fault::Plain);
    }
    let to = dir.path().join("plain");
    got_cran(&upstream.url(), &to, &[]);
    assert!(!to.join(NOTE).exists());
    upstream.asked();
    assert!(got_cran(&upstream.url(), &to, &[]).contains("nothing is new"));
    assert!(asked(&upstream).contains(&("src/contrib/PACKAGES".to_owned(), 200)));
}

#[test]
fn another_mirror_or_an_unfinished_download_is_no_second_look() {
    let dir = tempfile::tempdir().unwrap();
    let (shelf, _, to) = bundle(dir.path());
    let other = Upstream::of(&shelf.root);
    got_cran(&other.url(), &to, &[]);
    assert!(asked(&other).contains(&("src/contrib/PACKAGES".to_owned(), 200)));
    // Now that one is known, too; a journal that somebody left is taken up and ended all the same.
    std::fs::write(to.join("v3/1/.releases.ndjson"), "").unwrap();
    std::fs::write(to.join("v3/1/.readmes.ndjson"), "").unwrap();
    got_cran(&other.url(), &to, &[]);
    assert!(asked(&other).contains(&("src/contrib/PACKAGES".to_owned(), 200)));
    is_whole(&to);
    // Without the note, or with one that is damaged, everything is read.
    for note in ["", "{}"] {
        std::fs::write(to.join(NOTE), note).unwrap();
        got_cran(&other.url(), &to, &[]);
        assert!(asked(&other).contains(&("src/contrib/PACKAGES".to_owned(), 200)), "{note}");
    }
    got_cran(&other.url(), &to, &[]);
    assert!(asked(&other).contains(&("src/contrib/PACKAGES".to_owned(), 304)));
}
