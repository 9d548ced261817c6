//! A bundle that is read while it is copied: in any order of files, a reader finds the old state or the new one.

use std::fs;
use std::path::Path;

use rstudio_pm::bundle::{Product, ProductState};
use rstudio_pm::tlog::note::VerifierKey;
use rstudio_pm::upstream::origin::bundle::{Bundle, BundleError};

use super::signing::Key;
use crate::support::downloader::{create_mirror, must_get_cran, open_bundle, tree};

/// Applies all metadata of the head as a server does.
async fn apply(bundle: &Bundle) -> Result<Vec<String>, BundleError> {
    let verified_head = bundle.head(&Product::Cran).await?;
    let mut state = ProductState::default();
    for segment in verified_head.since(0) {
        for record in bundle.segment(&Product::Cran, segment).await? {
            state.apply(&record).expect("verified records are consistent");
        }
    }
    Ok(state.listing())
}

/// Writes the first `size` bytes of a file, as a copy in progress.
fn write_part(root: &Path, path: &str, bytes: &[u8], size: usize) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    fs::write(path, &bytes[..size]).unwrap();
}

#[tokio::test]
async fn a_copy_in_progress_has_the_old_state_or_the_new_one_and_none_between() {
    copy_in_progress(&[], |bundle| bundle).await;
}

#[tokio::test]
async fn a_signed_copy_in_progress_has_a_signed_state_and_none_between() {
    let dir = tempfile::tempdir().unwrap();
    let key = Key::new(dir.path(), "usb");
    let public: VerifierKey = key.public.parse().unwrap();
    copy_in_progress(&key.flags(), |bundle| bundle.requiring([public.clone()].into())).await;
}

/// Reads bundles that are written with these flags, as `open` opens them, while they are copied.
async fn copy_in_progress(flags: &[&str], open: impl Fn(Bundle) -> Bundle) {
    let dir = tempfile::tempdir().unwrap();
    let mut mirror =
        create_mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-01-01")]);
    let origin = dir.path().join("origin");
    must_get_cran(&mirror.url(), &origin, flags);
    let (old_listing, old_files) = (mirror.listing(), tree(&origin));
    mirror.simple("alpha", "1.1", "2020-02-01");
    mirror.archive("beta", "2020-02-02");
    mirror.simple("gamma", "1.0", "2020-02-03");
    mirror.write();
    must_get_cran(&mirror.url(), &origin, flags);
    let (new_listing, new_files) = (mirror.listing(), tree(&origin));
    let changed_files: Vec<(&String, &Vec<u8>)> =
        new_files.iter().filter(|(path, bytes)| old_files.get(*path) != Some(*bytes)).collect();
    assert!(changed_files.len() >= 5, "{}", changed_files.len());
    // Alphabetical order, reverse order and some others; the bundle is read after each quarter of a file.
    for order in 0..8_usize {
        let mut files = changed_files.clone();
        if order % 2 == 1 {
            files.reverse();
        }
        files.rotate_left(order % changed_files.len());
        let destination = dir.path().join(format!("copy{order}"));
        for (path, bytes) in &old_files {
            write_part(&destination, path, bytes, bytes.len());
        }
        let bundle = open(open_bundle(&destination));
        let (mut is_new, mut refused_count) = (false, 0);
        for (path, bytes) in files {
            for quarter in 0..=4 {
                write_part(&destination, path, bytes, bytes.len() * quarter / 4);
                match apply(&bundle).await {
                    Ok(listing) if listing == new_listing => is_new = true,
                    Ok(listing) => assert!(listing == old_listing && !is_new, "{order} {path}: {listing:?}"),
                    Err(_) => refused_count += 1,
                }
            }
        }
        assert!(is_new, "order {order}");
        assert!(refused_count > 0, "a copy in progress was never refused in order {order}");
        assert_eq!(apply(&bundle).await.unwrap(), new_listing);
    }
}
