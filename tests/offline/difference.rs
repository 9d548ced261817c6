//! `--starting-snapshot`: only what came since, copied over what was there.

use rstudio_pm::bundle::Product;
use rstudio_pm::upstream::bundle::BundleError;

use crate::support::downloader::{
    copy_over, get_cran, got_cran, is_whole, mirror, objects, read, reader, validate,
};
use crate::support::mirror_dir::Shelf;

/// A mirror with a bundle of it, then days that went by; today is later than all of them.
fn history(dir: &std::path::Path) -> (Shelf, std::path::PathBuf) {
    let shelf = mirror(
        dir,
        &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-01-02"), ("gamma", "1.0", "2020-01-03")],
    );
    let base = dir.join("base");
    got_cran(&shelf.url(), &base, &[]);
    (shelf, base)
}

fn today() -> String {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

#[tokio::test]
async fn a_difference_copied_over_its_base_is_the_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut shelf, base) = history(dir.path());
    let today = today();
    shelf.simple("alpha", "1.1", &today);
    shelf.simple("delta", "1.0", &today);
    shelf.archive("beta", &today);
    shelf.write();
    // The clock of segments is in seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let stick = dir.path().join("stick");
    let told = got_cran(&shelf.url(), &stick, &["--starting-snapshot", &today]);
    assert!(told.contains(&format!("incremental download from {today} of schema version v3")), "{told}");
    assert_eq!(objects(&stick).len(), 2, "only what is new");
    // Alone it is named as what it is.
    let (code, findings) = validate("cran", &stick, &["--packages"]);
    assert_eq!((code, findings.len()), (1, 1), "{findings:?}");
    assert!(findings[0].2.contains("the base is missing") && findings[0].2.contains(&today), "{findings:?}");
    let error = reader(&stick).head(&Product::Cran).await.expect_err("no base");
    assert!(matches!(&error, BundleError::NoBase { .. }) && error.is_partial(), "{error}");
    // Copied over the base it is all there is.
    copy_over(&stick, &base);
    is_whole(&base);
    let (_, _, state) = read(&base, &Product::Cran).await;
    assert_eq!((state.listing(), state.releases().count()), (shelf.listing(), 5));
    assert_eq!(state.missing().len(), 0);
}

#[tokio::test]
async fn a_server_that_applied_the_base_applies_only_the_difference() {
    let dir = tempfile::tempdir().unwrap();
    let (mut shelf, base) = history(dir.path());
    let applied = read(&base, &Product::Cran).await.0.head.serial;
    let today = today();
    shelf.simple("alpha", "1.1", &today);
    shelf.write();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let stick = dir.path().join("stick");
    got_cran(&shelf.url(), &stick, &["--starting-snapshot", &today]);
    copy_over(&stick, &base);
    let (verified, _, _) = read(&base, &Product::Cran).await;
    assert_eq!((verified.since(0).len(), verified.since(applied).len()), (2, 1));
    // And the merged bundle goes on as one.
    shelf.simple("alpha", "1.2", &today);
    shelf.write();
    got_cran(&shelf.url(), &base, &[]);
    is_whole(&base);
    assert_eq!(read(&base, &Product::Cran).await.2.listing(), shelf.listing());
}

#[test]
fn a_stick_that_was_carried_away_gets_only_what_is_new_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut shelf, base) = history(dir.path());
    // The packages were moved off; what is known of them stayed.
    std::fs::remove_dir_all(base.join("v3/1/obj")).unwrap();
    let today = today();
    shelf.simple("alpha", "1.1", &today);
    shelf.write();
    got_cran(&shelf.url(), &base, &["--starting-snapshot", &today]);
    assert_eq!(objects(&base).len(), 1);
    let (code, findings) = validate("cran", &base, &["--packages"]);
    assert_eq!((code, findings.len()), (1, 3), "{findings:?}");
    assert!(findings.iter().all(|(word, ..)| word == "missing"));
    // Without the flag everything that is missing comes back.
    got_cran(&shelf.url(), &base, &[]);
    is_whole(&base);
}

#[test]
fn a_day_that_is_none_is_wrong_usage() {
    let dir = tempfile::tempdir().unwrap();
    let ended = get_cran("file:///nowhere", dir.path(), &["--starting-snapshot", "yesterday"]);
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("YYYY-MM-DD"), "{}", ended.err);
}
