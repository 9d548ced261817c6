//! `--starting-snapshot`: a bundle of later changes, which is copied over an earlier bundle.

use rstudio_pm::bundle::Product;
use rstudio_pm::upstream::origin::bundle::BundleError;

use crate::support::downloader::{
    assert_complete, copy_over, create_mirror, get_cran, must_get_cran, objects, open_bundle, read, validate,
};
use crate::support::mirror_dir::MirrorDir;
use crate::support::today::stable_today;

/// A mirror with old releases and a bundle of it.
fn history(dir: &std::path::Path) -> (MirrorDir, std::path::PathBuf) {
    let mirror = create_mirror(
        dir,
        &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-01-02"), ("gamma", "1.0", "2020-01-03")],
    );
    let base = dir.join("base");
    must_get_cran(&mirror.url(), &base, &[]);
    (mirror, base)
}

fn today() -> String {
    stable_today().to_string()
}

#[tokio::test]
async fn a_difference_copied_over_its_base_is_a_complete_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, base) = history(dir.path());
    let today = today();
    mirror.simple("alpha", "1.1", &today);
    mirror.simple("delta", "1.0", &today);
    mirror.archive("beta", &today);
    mirror.write();
    // Times of segments have a resolution of one second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let disk = dir.path().join("stick");
    let output = must_get_cran(&mirror.url(), &disk, &["--starting-snapshot", &today]);
    assert!(output.contains(&format!("incremental download from {today} of schema version v3")), "{output}");
    assert_eq!(objects(&disk).len(), 2, "only new packages");
    // Without the base it is reported as a difference.
    let (code, findings) = validate("cran", &disk, &["--packages"]);
    assert_eq!((code, findings.len()), (1, 1), "{findings:?}");
    assert!(findings[0].2.contains("the base is missing") && findings[0].2.contains(&today), "{findings:?}");
    let error = open_bundle(&disk).head(&Product::Cran).await.expect_err("no base");
    assert!(matches!(&error, BundleError::NoBase { .. }) && error.is_partial(), "{error}");
    // Copied over the base it is complete.
    copy_over(&disk, &base);
    assert_complete(&base);
    let (_, _, state) = read(&base, &Product::Cran).await;
    assert_eq!((state.listing(), state.releases().count()), (mirror.listing(), 5));
    assert_eq!(state.missing_releases().len(), 0);
}

#[tokio::test]
async fn a_server_that_applied_the_base_applies_only_the_difference() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, base) = history(dir.path());
    let serial = read(&base, &Product::Cran).await.0.head.serial;
    let today = today();
    mirror.simple("alpha", "1.1", &today);
    mirror.write();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let disk = dir.path().join("stick");
    must_get_cran(&mirror.url(), &disk, &["--starting-snapshot", &today]);
    copy_over(&disk, &base);
    let (verified_head, _, _) = read(&base, &Product::Cran).await;
    assert_eq!((verified_head.since(0).len(), verified_head.since(serial).len()), (2, 1));
    // The merged bundle can be updated.
    mirror.simple("alpha", "1.2", &today);
    mirror.write();
    must_get_cran(&mirror.url(), &base, &[]);
    assert_complete(&base);
    assert_eq!(read(&base, &Product::Cran).await.2.listing(), mirror.listing());
}

#[test]
fn a_bundle_whose_packages_were_moved_away_gets_only_new_packages() {
    let dir = tempfile::tempdir().unwrap();
    let (mut mirror, base) = history(dir.path());
    // The packages were moved away; their metadata remain.
    std::fs::remove_dir_all(base.join("v3/1/obj")).unwrap();
    let today = today();
    mirror.simple("alpha", "1.1", &today);
    mirror.write();
    must_get_cran(&mirror.url(), &base, &["--starting-snapshot", &today]);
    assert_eq!(objects(&base).len(), 1);
    let (code, findings) = validate("cran", &base, &["--packages"]);
    assert_eq!((code, findings.len()), (1, 3), "{findings:?}");
    assert!(findings.iter().all(|(word, ..)| word == "missing"));
    // Without the flag every missing package is fetched again.
    must_get_cran(&mirror.url(), &base, &[]);
    assert_complete(&base);
}

#[test]
fn an_invalid_day_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let result = get_cran("file:///nowhere", dir.path(), &["--starting-snapshot", "yesterday"]);
    assert_eq!(result.code, Some(2));
    assert!(result.err.contains("YYYY-MM-DD"), "{}", result.err);
}
