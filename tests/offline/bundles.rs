//! A bundle as what is downloaded from: over HTTP by any static web server, or from a directory.

use rstudio_pm::bundle::Product;

use crate::support::downloader::{bundle, get_cran, got_cran, is_whole, objects, read, reader_of};
use crate::support::mirror_dir::{Shelf, file_url};
use crate::support::upstream::Upstream;

fn shelf(dir: &std::path::Path) -> Shelf {
    let mut shelf = Shelf::new(dir.join("mirror"));
    shelf.simple("alpha", "1.0", "2020-01-01");
    shelf.simple("alpha", "1.1", "2020-02-01");
    shelf.simple("beta", "1.0", "2020-01-02");
    shelf.simple("gamma", "1.0", "2020-01-03");
    shelf.archive("beta", "2020-02-02");
    shelf.write();
    shelf
}

#[tokio::test]
async fn a_copy_of_a_bundle_is_worth_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(dir.path());
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    got_cran(&shelf.url(), &first, &[]);
    let served = Upstream::of(&first);
    let told = got_cran(&served.url(), &second, &[]);
    assert!(told.contains("Performing full download of schema version v3"), "{told}");
    is_whole(&second);
    assert_eq!(objects(&first), objects(&second));
    let ((one, records, state), (two, copied, again)) =
        (read(&first, &Product::Cran).await, read(&second, &Product::Cran).await);
    assert_eq!((copied, again.listing()), (records, state.listing()));
    assert_eq!(two.head.upstream.serial, Some(one.head.serial));
    // READMEs came along.
    let bundle = crate::support::downloader::reader(&second);
    let readmes = bundle.readmes(&Product::Cran, &two.head.segments[0]).await.unwrap();
    assert_eq!(readmes.len(), 4);
    // Later only what is new.
    shelf.simple("delta", "1.0", "2020-03-01");
    shelf.write();
    got_cran(&shelf.url(), &first, &[]);
    let served = Upstream::of(&first);
    got_cran(&served.url(), &second, &[]);
    let packages = served.asked().iter().filter(|asked| asked.path.contains("/obj/")).count();
    assert_eq!(packages, 1);
    is_whole(&second);
    assert_eq!(read(&second, &Product::Cran).await.2.listing(), shelf.listing());
}

#[tokio::test]
async fn a_subset_can_be_taken_from_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    got_cran(&shelf.url(), &first, &[]);
    let list = dir.path().join("list");
    std::fs::write(&list, "alpha\n").unwrap();
    got_cran(&file_url(&first), &second, &["--file-in", list.to_str().unwrap()]);
    is_whole(&second);
    let (_, _, state) = read(&second, &Product::Cran).await;
    assert_eq!((state.listing(), state.releases().count()), (vec!["alpha 1.1".to_owned()], 2));
}

#[test]
fn a_bundle_that_is_not_whole_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    got_cran(&shelf.url(), &first, &[]);
    let log = first.join("v3/1/log");
    let segment = std::fs::read_dir(&log).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 1]).unwrap();
    let ended = get_cran(&file_url(&first), &second, &[]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.err.contains(segment.file_name().unwrap().to_str().unwrap()), "{}", ended.err);
    std::fs::remove_file(&segment).unwrap();
    let ended = get_cran(&file_url(&first), &second, &[]);
    assert!(ended.code == Some(1) && ended.err.contains("the copy is not complete yet"), "{}", ended.err);
    assert!(!second.join("v3/1/head.json").exists());
}

#[tokio::test]
async fn a_reader_sees_the_whole_bundle_over_http_too() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    let to = bundle(dir.path(), &shelf);
    let served = Upstream::of(&to);
    let bundle = reader_of(&served.url());
    assert!(bundle.has(&Product::Cran).await.unwrap());
    let verified = bundle.head(&Product::Cran).await.unwrap();
    assert_eq!(verified, crate::support::downloader::reader(&to).head(&Product::Cran).await.unwrap());
    // A web server that has a page for everything has no bundle.
    let pages = Upstream::empty();
    pages.always("v3/version.txt", crate::support::upstream::Fault::Html);
    assert!(!reader_of(&pages.url()).has(&Product::Cran).await.unwrap());
}

#[test]
fn help_of_each_command_has_an_example() {
    for words in [&["get", "cran"][..], &["validate", "cran"]] {
        let ended = crate::support::downloader::run(&[words, &["--help"]].concat());
        assert_eq!(ended.code, Some(0));
        assert!(ended.out.contains("Example:") && ended.out.contains(&words.join(" ")), "{}", ended.out);
    }
    let completions = crate::support::downloader::run(&["completion", "bash"]);
    assert!(completions.out.contains("rspm-offline-downloader"));
    let version = crate::support::downloader::run(&["--version"]);
    assert!(version.out.contains(env!("CARGO_PKG_VERSION")));
}
