//! Downloads from a bundle: over HTTP from any static web server, or from a directory.

use rstudio_pm::bundle::Product;

use crate::support::downloader::{
    assert_complete, bundle, get_cran, must_get_cran, objects, open_bundle_at, read,
};
use crate::support::mirror_dir::{MirrorDir, file_url};
use crate::support::upstream::Upstream;

fn write_mirror(dir: &std::path::Path) -> MirrorDir {
    let mut mirror = MirrorDir::new(dir.join("mirror"));
    mirror.simple("alpha", "1.0", "2020-01-01");
    mirror.simple("alpha", "1.1", "2020-02-01");
    mirror.simple("beta", "1.0", "2020-01-02");
    mirror.simple("gamma", "1.0", "2020-01-03");
    mirror.archive("beta", "2020-02-02");
    mirror.write();
    mirror
}

#[tokio::test]
async fn a_copy_of_a_bundle_is_equal_to_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = write_mirror(dir.path());
    let (first_bundle, second_bundle) = (dir.path().join("first"), dir.path().join("second"));
    must_get_cran(&mirror.url(), &first_bundle, &[]);
    let web = Upstream::of(&first_bundle);
    let output = must_get_cran(&web.url(), &second_bundle, &[]);
    assert!(output.contains("Performing full download of schema version v3"), "{output}");
    assert_complete(&second_bundle);
    assert_eq!(objects(&first_bundle), objects(&second_bundle));
    let ((first_head, records, state), (second_head, copied_records, copied_state)) =
        (read(&first_bundle, &Product::Cran).await, read(&second_bundle, &Product::Cran).await);
    assert_eq!((copied_records, copied_state.listing()), (records, state.listing()));
    assert_eq!(second_head.head.upstream.serial, Some(first_head.head.serial));
    // READMEs are copied.
    let bundle = crate::support::downloader::open_bundle(&second_bundle);
    let readmes = bundle.readmes(&Product::Cran, &second_head.head.segments[0]).await.unwrap();
    assert_eq!(readmes.len(), 4);
    // Later runs fetch only new packages.
    mirror.simple("delta", "1.0", "2020-03-01");
    mirror.write();
    must_get_cran(&mirror.url(), &first_bundle, &[]);
    let web = Upstream::of(&first_bundle);
    must_get_cran(&web.url(), &second_bundle, &[]);
    let packages = web.take_requests().iter().filter(|request| request.path.contains("/obj/")).count();
    assert_eq!(packages, 1);
    assert_complete(&second_bundle);
    assert_eq!(read(&second_bundle, &Product::Cran).await.2.listing(), mirror.listing());
}

#[tokio::test]
async fn a_subset_can_be_downloaded_from_a_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = write_mirror(dir.path());
    let (first_bundle, second_bundle) = (dir.path().join("first"), dir.path().join("second"));
    must_get_cran(&mirror.url(), &first_bundle, &[]);
    let list = dir.path().join("list");
    std::fs::write(&list, "alpha\n").unwrap();
    must_get_cran(&file_url(&first_bundle), &second_bundle, &["--file-in", list.to_str().unwrap()]);
    assert_complete(&second_bundle);
    let (_, _, state) = read(&second_bundle, &Product::Cran).await;
    assert_eq!((state.listing(), state.releases().count()), (vec!["alpha 1.1".to_owned()], 2));
}

#[test]
fn an_incomplete_bundle_is_not_copied() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = write_mirror(dir.path());
    let (first_bundle, second_bundle) = (dir.path().join("first"), dir.path().join("second"));
    must_get_cran(&mirror.url(), &first_bundle, &[]);
    let log = first_bundle.join("v3/1/log");
    let segment = std::fs::read_dir(&log).unwrap().next().unwrap().unwrap().path();
    let bytes = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &bytes[..bytes.len() - 1]).unwrap();
    let result = get_cran(&file_url(&first_bundle), &second_bundle, &[]);
    assert_eq!(result.code, Some(1));
    assert!(result.err.contains(segment.file_name().unwrap().to_str().unwrap()), "{}", result.err);
    std::fs::remove_file(&segment).unwrap();
    let result = get_cran(&file_url(&first_bundle), &second_bundle, &[]);
    assert!(result.code == Some(1) && result.err.contains("the copy is not complete yet"), "{}", result.err);
    assert!(!second_bundle.join("v3/1/head.json").exists());
}

#[tokio::test]
async fn a_bundle_can_be_read_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = write_mirror(dir.path());
    let destination = bundle(dir.path(), &mirror);
    let web = Upstream::of(&destination);
    let bundle = open_bundle_at(&web.url());
    assert!(bundle.has(&Product::Cran).await.unwrap());
    let verified_head = bundle.head(&Product::Cran).await.unwrap();
    assert_eq!(
        verified_head,
        crate::support::downloader::open_bundle(&destination).head(&Product::Cran).await.unwrap()
    );
    // A web server that answers every path with a page has no bundle.
    let pages = Upstream::empty();
    pages.always("v3/version.txt", crate::support::upstream::Fault::Html);
    assert!(!open_bundle_at(&pages.url()).has(&Product::Cran).await.unwrap());
}

#[test]
fn help_of_each_command_has_an_example() {
    for words in [&["get", "cran"][..], &["validate", "cran"]] {
        let result = crate::support::downloader::run(&[words, &["--help"]].concat());
        assert_eq!(result.code, Some(0));
        assert!(result.out.contains("Example:") && result.out.contains(&words.join(" ")), "{}", result.out);
    }
    let completions = crate::support::downloader::run(&["completion", "bash"]);
    assert!(completions.out.contains("rspm-offline-downloader"));
    let version = crate::support::downloader::run(&["--version"]);
    assert!(version.out.contains(env!("CARGO_PKG_VERSION")));
}
