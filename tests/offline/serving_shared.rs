//! What is read of a bundle is shared by those who read it at one time, and no answer is an old one.

use std::fs;
use std::path::{Path, PathBuf};

use rstudio_pm::config::Proxy;
use rstudio_pm::upstream::{FileRequest, FileResponse, Mirror, Upstream, Validators};

use crate::support::downloader::{self, got_cran, run};
use crate::support::mirror_dir::{Shelf, file_url};
use crate::support::tarball::Tarball;

fn client() -> Upstream {
    Upstream::new(&Proxy::default()).expect("no proxy")
}

async fn fetch(
    mirror: &Mirror,
    path: &str,
    known: Option<Validators>,
) -> Result<Option<(String, Validators)>, String> {
    match mirror.fetch(FileRequest { path, known, limit: 1 << 20 }).await {
        Ok(FileResponse::Unchanged) => Ok(None),
        Ok(FileResponse::Body { bytes, validators }) => {
            Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), validators)))
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The segments of a product.
fn segments(product: &Path) -> Vec<PathBuf> {
    fs::read_dir(product.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn the_repositories_of_a_version_are_read_together() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, bundle) = (dir.path().join("mirror"), dir.path().join("data"));
    crate::clients::bioconductor::mirror(&mirror, "4.4");
    let contrib = mirror.join("packages/3.20/data/annotation/src/contrib");
    let package = Tarball::new("annotates", "1.0");
    fs::write(contrib.join(package.file()), package.bytes()).unwrap();
    fs::write(contrib.join("PACKAGES"), "Package: annotates\nVersion: 1.0\nLicense: MIT\n").unwrap();
    fs::remove_file(contrib.join("PACKAGES.gz")).unwrap();
    let from = file_url(&mirror);
    let to = bundle.to_str().unwrap();
    let got = run(&["get", "bioconductor", "--base-url", &from, "--destination", to, "--versions", "3.20"]);
    assert_eq!(got.code, Some(0), "{}", got.err);
    let upstream = client();
    let of = |repository: &str| {
        upstream.mirror(&file_url(&bundle.join("packages/3.20").join(repository))).unwrap()
    };
    let (software, annotation) = (of("bioc"), of("data/annotation"));
    let (text, _) = fetch(&software, "src/contrib/PACKAGES", None).await.unwrap().expect("a body");
    assert!(text.contains("Package: Biobase"), "{text}");
    // Whoever reads the segments now finds none.
    let found = segments(&bundle.join("bioc/v4/3.20"));
    assert!(!found.is_empty());
    let aside = |path: &Path| path.with_extension("aside");
    found.iter().for_each(|path| fs::rename(path, aside(path)).unwrap());
    let (text, _) = fetch(&annotation, "src/contrib/PACKAGES", None).await.unwrap().expect("a body");
    assert!(text.contains("Package: annotates") && !text.contains("Package: Biobase"), "{text}");
    assert!(fetch(&annotation, "src/contrib/Meta/archive.rds", None).await.is_ok());
    // Nothing stays in memory that nobody uses.
    drop((software, annotation));
    let told = fetch(&of("bioc"), "src/contrib/PACKAGES", None).await.expect_err("no segment");
    assert!(told.contains("bioc/v4/3.20/log/") && told.contains("is missing"), "{told}");
    found.iter().for_each(|path| fs::rename(aside(path), path).unwrap());
    assert!(fetch(&of("bioc"), "src/contrib/PACKAGES", None).await.is_ok(), "a failure is not remembered");
}

#[tokio::test]
async fn a_head_that_is_replaced_is_seen_by_the_next_look() {
    let dir = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::new(dir.path().join("mirror"));
    shelf.simple("alpha", "1.0", "2020-01-01");
    shelf.write();
    let bundle = dir.path().join("bundle");
    got_cran(&shelf.url(), &bundle, &[]);
    let upstream = client();
    let look = async |mirror: &Mirror, known| fetch(mirror, "src/contrib/PACKAGES", known).await.unwrap();
    let mirror = upstream.mirror(&file_url(&bundle)).unwrap();
    let (text, first) = look(&mirror, None).await.expect("a body");
    assert!(text.contains("Version: 1.0") && look(&mirror, Some(first.clone())).await.is_none());
    let day = downloader::read(&bundle, &rstudio_pm::bundle::Product::Cran).await.0.head.snapshot;
    for version in ["1.1", "1.2", "1.3"] {
        shelf.simple("alpha", version, &day.to_string());
        shelf.write();
        got_cran(&shelf.url(), &bundle, &[]);
        // By the mirror that read the one before, and by another one of the same client.
        for mirror in [&mirror, &upstream.mirror(&file_url(&bundle)).unwrap()] {
            let (text, second) = look(mirror, Some(first.clone())).await.expect("a body");
            assert!(text.contains(&format!("Version: {version}")) && second != first, "{text}");
        }
    }
    fs::remove_file(bundle.join("v3/1/head.json")).unwrap();
    let told = fetch(&mirror, "src/contrib/PACKAGES", Some(first)).await.expect_err("no head");
    assert!(told.contains("has no cran") && told.contains("v3/1/head.json"), "{told}");
}
