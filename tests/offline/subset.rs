//! Named packages, and what they need.

use rstudio_pm::bundle::Product;

use crate::support::downloader::{bundle, get_cran, got_cran, is_whole, read};
use crate::support::mirror_dir::Shelf;
use crate::support::tarball::Tarball;

fn shelf(dir: &std::path::Path) -> Shelf {
    let mut shelf = Shelf::new(dir.join("mirror"));
    shelf.publish(&Tarball::new("alpha", "0.9").field("Imports: old1"), "2020-01-01");
    shelf.publish(&Tarball::new("alpha", "1.0").field("Imports: beta (>= 1.0), methods"), "2020-02-01");
    shelf.publish(&Tarball::new("beta", "1.0").field("LinkingTo: gamma"), "2020-01-01");
    for other in ["gamma", "delta", "old1", "zeta"] {
        shelf.simple(other, "1.0", "2020-01-01");
    }
    shelf.write();
    shelf
}

#[tokio::test]
async fn a_subset_has_the_packages_and_what_they_need_with_their_archives() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = shelf(dir.path());
    let list = dir.path().join("packages.txt");
    std::fs::write(&list, "# ours\nalpha\nmissing\n").unwrap();
    let to = dir.path().join("bundle");
    let file_in = ["--file-in", list.to_str().unwrap()];
    let told = got_cran(&shelf.url(), &to, &file_in);
    assert!(told.contains("does not have: missing"), "{told}");
    is_whole(&to);
    let (verified, _, state) = read(&to, &Product::Cran).await;
    assert_eq!(state.listing(), ["alpha 1.0", "beta 1.0", "gamma 1.0"]);
    assert_eq!(state.releases().count(), 4, "alpha's archived release too");
    assert_eq!(verified.head.subset, Some(["alpha", "beta", "gamma"].map(str::to_owned).into()));
    // Another list adds to it; without one it goes on as it is.
    std::fs::write(&list, "zeta\n").unwrap();
    got_cran(&shelf.url(), &to, &file_in);
    assert_eq!(
        read(&to, &Product::Cran).await.2.listing(),
        ["alpha 1.0", "beta 1.0", "gamma 1.0", "zeta 1.0"]
    );
    shelf.publish(&Tarball::new("beta", "2.0").field("Imports: delta"), "2020-03-01");
    shelf.write();
    let told = got_cran(&shelf.url(), &to, &[]);
    assert!(told.contains("Continuing with the subset of 4 packages"), "{told}");
    let listing = read(&to, &Product::Cran).await.2.listing();
    assert_eq!(listing, ["alpha 1.0", "beta 2.0", "delta 1.0", "gamma 1.0", "zeta 1.0"]);
    is_whole(&to);
}

#[test]
fn a_subset_has_a_destination_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let shelf = shelf(dir.path());
    let to = bundle(dir.path(), &shelf);
    let list = dir.path().join("packages.txt");
    for (text, reason) in [
        ("alpha\n", "a subset (--file-in) needs its own --destination"),
        ("", "it names no package"),
        ("al pha\n", "line 1"),
    ] {
        std::fs::write(&list, text).unwrap();
        let ended = get_cran(&shelf.url(), &to, &["--file-in", list.to_str().unwrap()]);
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        assert!(ended.err.contains(reason), "{}", ended.err);
    }
    let ended = get_cran(&shelf.url(), &dir.path().join("other"), &["--file-in", "/nowhere/list"]);
    assert!(ended.code == Some(2) && ended.err.contains("--file-in /nowhere/list"), "{}", ended.err);
}
