//! A bundle that is read while it is copied: whatever the order, a reader sees the old state or the new one.

use std::fs;
use std::path::Path;

use rstudio_pm::bundle::{Product, ProductState};
use rstudio_pm::upstream::bundle::{Bundle, BundleError};

use crate::support::downloader::{got_cran, mirror, reader, tree};

/// What a server would apply: all metadata of the head, or why not.
async fn applied(bundle: &Bundle) -> Result<Vec<String>, BundleError> {
    let verified = bundle.head(&Product::Cran).await?;
    let mut state = ProductState::default();
    for segment in verified.since(0) {
        for record in bundle.segment(&Product::Cran, segment).await? {
            state.apply(&record).expect("what is verified adds up");
        }
    }
    Ok(state.listing())
}

/// Writes the first bytes of a file as a copy that is under way has written them.
fn partly(root: &Path, path: &str, bytes: &[u8], size: usize) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    fs::write(path, &bytes[..size]).unwrap();
}

#[tokio::test]
async fn a_copy_under_way_shows_the_old_state_or_the_new_one_and_nothing_between() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = mirror(dir.path(), &[("alpha", "1.0", "2020-01-01"), ("beta", "1.0", "2020-01-01")]);
    let origin = dir.path().join("origin");
    got_cran(&shelf.url(), &origin, &[]);
    let (old, old_files) = (shelf.listing(), tree(&origin));
    shelf.simple("alpha", "1.1", "2020-02-01");
    shelf.archive("beta", "2020-02-02");
    shelf.simple("gamma", "1.0", "2020-02-03");
    shelf.write();
    got_cran(&shelf.url(), &origin, &[]);
    let (new, new_files) = (shelf.listing(), tree(&origin));
    let changed: Vec<(&String, &Vec<u8>)> =
        new_files.iter().filter(|(path, bytes)| old_files.get(*path) != Some(*bytes)).collect();
    assert!(changed.len() >= 5, "{}", changed.len());
    // Alphabetical, backwards, and some orders in between; after each quarter of a file somebody looks.
    for order in 0..8_usize {
        let mut files = changed.clone();
        if order % 2 == 1 {
            files.reverse();
        }
        files.rotate_left(order % changed.len());
        let to = dir.path().join(format!("copy{order}"));
        for (path, bytes) in &old_files {
            partly(&to, path, bytes, bytes.len());
        }
        let bundle = reader(&to);
        let (mut seen_new, mut refused) = (false, 0);
        for (path, bytes) in files {
            for quarter in 0..=4 {
                partly(&to, path, bytes, bytes.len() * quarter / 4);
                match applied(&bundle).await {
                    Ok(listing) if listing == new => seen_new = true,
                    Ok(listing) => assert!(listing == old && !seen_new, "{order} {path}: {listing:?}"),
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(seen_new, "order {order}");
        assert!(refused > 0, "a copy that is under way was never noticed in order {order}");
        assert_eq!(applied(&bundle).await.unwrap(), new);
    }
}
