//! `[Storage]` and `[FileStorage "class"]`: one test per class, which moves it and checks where its files are.

use rstudio_pm::model::kind::StorageClass;

use crate::support::s3::{self, builder, lines};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Returns the classes with a directory below `data`.
fn classes_on_disk(server: &Server) -> Vec<&'static str> {
    let names = StorageClass::ALL.map(StorageClass::as_str);
    names.into_iter().filter(|name| server.dir().join("data").join(name).is_dir()).collect()
}

/// Asserts that `[Storage] <property> = s3` moves exactly `classes` from the disk, and that with a bucket that does not
/// exist the start is refused for exactly these classes.
fn assert_moves(property: &str, classes: &[&str]) {
    let location = s3::bucket(s3::server());
    let gcfg = format!("[Storage]\n{property} = s3\n{}", lines(&location));
    let server = builder().gcfg(&gcfg).start();
    let others: Vec<&str> = StorageClass::ALL
        .map(StorageClass::as_str)
        .into_iter()
        .filter(|name| !classes.contains(name))
        .collect();
    assert_eq!(classes_on_disk(&server), others, "{property}");

    let server_without_bucket =
        builder().gcfg(&gcfg).gcfg("[S3Storage]\nBucket = there-is-no-such-bucket").prepare();
    let output = server_without_bucket.start_refused();
    let names: Vec<String> = classes.iter().map(|class| format!("'{class}'")).collect();
    assert!(
        output.contains(&format!("storage class {}: 's3://there-is-no-such-bucket/", names.join(", "))),
        "{output}"
    );
}

#[test]
pub(super) fn default_applies_to_every_class_that_is_not_set() {
    assert_moves("Default", &StorageClass::ALL.map(StorageClass::as_str));
    let location = s3::bucket(s3::server());
    let gcfg = format!("[Storage]\nDefault = S3\nLauncher = File\n{}", lines(&location));
    assert_eq!(classes_on_disk(&builder().gcfg(&gcfg).start()), ["launcher"]);
}

#[test]
pub(super) fn storage_cache_applies_to_class_cache() {
    assert_moves("Cache", &["cache"]);
}

#[test]
pub(super) fn storage_launcher_applies_to_class_launcher() {
    assert_moves("Launcher", &["launcher"]);
}

#[test]
pub(super) fn storage_metrics_applies_to_class_metrics() {
    assert_moves("Metrics", &["metrics"]);
}

#[test]
pub(super) fn storage_packages_applies_to_class_packages_and_those_that_default_to_it() {
    assert_moves("Packages", &["packages", "cran", "bioconductor", "pypi"]);
}

#[test]
pub(super) fn storage_binaries_applies_to_class_binaries() {
    assert_moves("Binaries", &["binaries"]);
}

#[test]
pub(super) fn storage_cran_applies_to_class_cran() {
    assert_moves("CRAN", &["cran"]);
}

#[test]
pub(super) fn storage_bioconductor_applies_to_class_bioconductor() {
    assert_moves("Bioconductor", &["bioconductor"]);
}

#[test]
pub(super) fn storage_pypi_applies_to_class_pypi() {
    assert_moves("PyPI", &["pypi"]);
}

#[test]
pub(super) fn storage_persistent_applies_to_class_persistent() {
    assert_moves("Persistent", &["persistent"]);
}

#[test]
pub(super) fn file_storage_location_is_the_directory_of_its_class() {
    for class in StorageClass::ALL.map(StorageClass::as_str) {
        let server = Builder::default()
            .gcfg(&format!("[FileStorage \"{class}\"]\nLocation = {{dir}}/own/place"))
            .start();
        assert!(server.dir().join("own/place").is_dir(), "{class}");
        assert!(!classes_on_disk(&server).contains(&class), "{class}");
        // The classes of mirrored packages default to the location of `packages`.
        assert_eq!(classes_on_disk(&server).len(), if class == "packages" { 5 } else { 8 }, "{class}");
    }
}

#[test]
pub(super) fn file_storage_location_of_packages_contains_added_packages() {
    let server = Builder::default().gcfg("[FileStorage \"packages\"]\nLocation = {dir}/own").start();
    server.store("local", &Tarball::new("alpha", "1.0"));
    let mut dirs = vec![server.dir().join("own")];
    let mut files = 0;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("readable").flatten() {
            match entry.file_type().expect("known").is_dir() {
                true => dirs.push(entry.path()),
                false => files += usize::from(entry.path().starts_with(server.dir().join("own/packages"))),
            }
        }
    }
    assert_eq!(files, 1);
}
