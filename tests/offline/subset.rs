//! Subsets (`--file-in`): named packages and their dependencies.

use rstudio_pm::bundle::Product;

use crate::support::downloader::{assert_complete, bundle, get_cran, must_get_cran, read};
use crate::support::mirror_dir::MirrorDir;
use crate::support::tarball::Tarball;

fn write_mirror(dir: &std::path::Path) -> MirrorDir {
    let mut mirror = MirrorDir::new(dir.join("mirror"));
    mirror.publish(&Tarball::new("alpha", "0.9").field("Imports: old1"), "2020-01-01");
    mirror.publish(&Tarball::new("alpha", "1.0").field("Imports: beta (>= 1.0), methods"), "2020-02-01");
    mirror.publish(&Tarball::new("beta", "1.0").field("LinkingTo: gamma"), "2020-01-01");
    for other in ["gamma", "delta", "old1", "zeta"] {
        mirror.simple(other, "1.0", "2020-01-01");
    }
    mirror.write();
    mirror
}

#[tokio::test]
async fn a_subset_has_the_packages_and_their_dependencies_with_archived_releases() {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror = write_mirror(dir.path());
    let list = dir.path().join("packages.txt");
    std::fs::write(&list, "# ours\nalpha\nmissing\n").unwrap();
    let destination = dir.path().join("bundle");
    let file_in = ["--file-in", list.to_str().unwrap()];
    let output = must_get_cran(&mirror.url(), &destination, &file_in);
    assert!(output.contains("does not have: missing"), "{output}");
    assert_complete(&destination);
    let (verified_head, _, state) = read(&destination, &Product::Cran).await;
    assert_eq!(state.listing(), ["alpha 1.0", "beta 1.0", "gamma 1.0"]);
    assert_eq!(state.releases().count(), 4, "with the archived release of alpha");
    assert_eq!(verified_head.head.subset, Some(["alpha", "beta", "gamma"].map(str::to_owned).into()));
    // Another list extends it; without a list it does not change.
    std::fs::write(&list, "zeta\n").unwrap();
    must_get_cran(&mirror.url(), &destination, &file_in);
    assert_eq!(
        read(&destination, &Product::Cran).await.2.listing(),
        ["alpha 1.0", "beta 1.0", "gamma 1.0", "zeta 1.0"]
    );
    mirror.publish(&Tarball::new("beta", "2.0").field("Imports: delta"), "2020-03-01");
    mirror.write();
    let output = must_get_cran(&mirror.url(), &destination, &[]);
    assert!(output.contains("Continuing with the subset of 4 packages"), "{output}");
    let listing = read(&destination, &Product::Cran).await.2.listing();
    assert_eq!(listing, ["alpha 1.0", "beta 2.0", "delta 1.0", "gamma 1.0", "zeta 1.0"]);
    assert_complete(&destination);
}

#[test]
fn a_subset_needs_its_own_destination() {
    let dir = tempfile::tempdir().unwrap();
    let mirror = write_mirror(dir.path());
    let destination = bundle(dir.path(), &mirror);
    let list = dir.path().join("packages.txt");
    for (text, reason) in [
        ("alpha\n", "a subset (--file-in) needs its own --destination"),
        ("", "the file names no package"),
        ("al pha\n", "line 1"),
    ] {
        std::fs::write(&list, text).unwrap();
        let result = get_cran(&mirror.url(), &destination, &["--file-in", list.to_str().unwrap()]);
        assert_eq!(result.code, Some(2), "{}", result.err);
        assert!(result.err.contains(reason), "{}", result.err);
    }
    let result = get_cran(&mirror.url(), &dir.path().join("other"), &["--file-in", "/nowhere/list"]);
    assert!(result.code == Some(2) && result.err.contains("--file-in /nowhere/list"), "{}", result.err);
}
