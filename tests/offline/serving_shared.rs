//! Concurrent readers of a bundle share its content, and no answer is outdated.

use std::fs;
use std::path::{Path, PathBuf};

use rstudio_pm::config::Proxy;
use rstudio_pm::upstream::{FileRequest, FileResponse, Mirror, Upstream, Validators};

use crate::support::downloader::{self, must_get_cran, run};
use crate::support::mirror_dir::{MirrorDir, file_url};
use crate::support::tarball::Tarball;

fn client() -> Upstream {
    Upstream::new(&Proxy::default()).expect("no proxy")
}

async fn fetch(
    mirror: &Mirror,
    path: &str,
    validators: Option<Validators>,
) -> Result<Option<(String, Validators)>, String> {
    match mirror.fetch(FileRequest { path, validators, limit: 1 << 20 }).await {
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
async fn the_repositories_of_a_version_share_one_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mirror, bundle) = (dir.path().join("mirror"), dir.path().join("data"));
    crate::clients::bioconductor::mirror(&mirror, "4.4");
    let contrib = mirror.join("packages/3.20/data/annotation/src/contrib");
    let package = Tarball::new("annotates", "1.0");
    fs::write(contrib.join(package.file()), package.bytes()).unwrap();
    fs::write(contrib.join("PACKAGES"), "Package: annotates\nVersion: 1.0\nLicense: MIT\n").unwrap();
    fs::remove_file(contrib.join("PACKAGES.gz")).unwrap();
    let url = file_url(&mirror);
    let destination = bundle.to_str().unwrap();
    let result =
        run(&["get", "bioconductor", "--base-url", &url, "--destination", destination, "--versions", "3.20"]);
    assert_eq!(result.code, Some(0), "{}", result.err);
    let upstream = client();
    let open_mirror = |repository: &str| {
        upstream.mirror(&file_url(&bundle.join("packages/3.20").join(repository))).unwrap()
    };
    let (software, annotation) = (open_mirror("bioc"), open_mirror("data/annotation"));
    let (text, _) = fetch(&software, "src/contrib/PACKAGES", None).await.unwrap().expect("a body");
    assert!(text.contains("Package: Biobase"), "{text}");
    // The segments cannot be read again.
    let segments = segments(&bundle.join("bioc/v4/3.20"));
    assert!(!segments.is_empty());
    let aside_path = |path: &Path| path.with_extension("aside");
    segments.iter().for_each(|path| fs::rename(path, aside_path(path)).unwrap());
    let (text, _) = fetch(&annotation, "src/contrib/PACKAGES", None).await.unwrap().expect("a body");
    assert!(text.contains("Package: annotates") && !text.contains("Package: Biobase"), "{text}");
    assert!(fetch(&annotation, "src/contrib/Meta/archive.rds", None).await.is_ok());
    // Unused content is released.
    drop((software, annotation));
    let error = fetch(&open_mirror("bioc"), "src/contrib/PACKAGES", None).await.expect_err("no segment");
    assert!(error.contains("bioc/v4/3.20/log/") && error.contains("is missing"), "{error}");
    segments.iter().for_each(|path| fs::rename(aside_path(path), path).unwrap());
    assert!(
        fetch(&open_mirror("bioc"), "src/contrib/PACKAGES", None).await.is_ok(),
        "a failure is not cached"
    );
}

#[tokio::test]
async fn a_replaced_head_is_read_by_the_next_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = MirrorDir::new(dir.path().join("mirror"));
    source.simple("alpha", "1.0", "2020-01-01");
    source.write();
    let bundle = dir.path().join("bundle");
    must_get_cran(&source.url(), &bundle, &[]);
    let upstream = client();
    let fetch_index =
        async |mirror: &Mirror, validators| fetch(mirror, "src/contrib/PACKAGES", validators).await.unwrap();
    let mirror = upstream.mirror(&file_url(&bundle)).unwrap();
    let (text, first_validators) = fetch_index(&mirror, None).await.expect("a body");
    assert!(
        text.contains("Version: 1.0") && fetch_index(&mirror, Some(first_validators.clone())).await.is_none()
    );
    let day = downloader::read(&bundle, &rstudio_pm::bundle::Product::Cran).await.0.head.snapshot;
    for version in ["1.1", "1.2", "1.3"] {
        source.simple("alpha", version, &day.to_string());
        source.write();
        must_get_cran(&source.url(), &bundle, &[]);
        // The request is made by the mirror that read the previous head, and by another mirror of the same client.
        for mirror in [&mirror, &upstream.mirror(&file_url(&bundle)).unwrap()] {
            let (text, new_validators) =
                fetch_index(mirror, Some(first_validators.clone())).await.expect("a body");
            assert!(
                text.contains(&format!("Version: {version}")) && new_validators != first_validators,
                "{text}"
            );
        }
    }
    fs::remove_file(bundle.join("v3/1/head.json")).unwrap();
    let error = fetch(&mirror, "src/contrib/PACKAGES", Some(first_validators)).await.expect_err("no head");
    assert!(error.contains("has no cran") && error.contains("v3/1/head.json"), "{error}");
}
