//! Files that `rspm add` refuses, one test for each kind, with the error message.

use std::io::Write;

use super::team;
use crate::support::tarball::Tarball;

const DESCRIPTION: &str = "Package: alpha\nVersion: 1.0\nTitle: A Test\nDescription: Tests.\nLicense: MIT\n";

/// Tries to add a file, checks that nothing was added, and returns the reason after `PATH: 'NAME' is refused: `.
fn refusal(name: &str, bytes: &[u8]) -> String {
    let server = team();
    let path = server.dir().join(name);
    std::fs::write(&path, bytes).expect("written");
    let message = server.refused(&format!("add --source=team --path={}", path.display()));
    let start = format!("{}: '{name}' is refused: ", path.display());
    assert_eq!(server.json("list packages --source=team")["total"], 0);
    let left_files: Vec<_> = std::fs::read_dir(server.dir().join("tmp")).expect("a folder").collect();
    assert!(left_files.is_empty(), "{left_files:?}");
    message.strip_prefix(&start).unwrap_or_else(|| panic!("{message}")).to_owned()
}

/// A gzipped tar with a valid DESCRIPTION and the members that `more` appends.
fn archive(more: impl FnOnce(&mut tar::Builder<flate2::write::GzEncoder<Vec<u8>>>)) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    let mut header = tar::Header::new_ustar();
    header.set_size(DESCRIPTION.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "alpha/DESCRIPTION", DESCRIPTION.as_bytes()).expect("a member");
    more(&mut tar);
    tar.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive")
}

/// A package whose member `data` is a link or a device.
fn link(kind: tar::EntryType, target: &str) -> Vec<u8> {
    archive(|tar| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o777);
        header.set_path("alpha/data").expect("a path");
        // The target is set as bytes, because the library refuses some targets itself.
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        tar.append(&header, std::io::empty()).expect("a member");
    })
}

#[test]
fn a_path_that_leaves_the_package() {
    let bytes = Tarball::new("alpha", "1.0").with("../../evil", "x").bytes();
    assert_eq!(
        refusal("alpha_1.0.tar.gz", &bytes),
        "'alpha/../../evil' contains '..'; an archive may only write inside its own folder"
    );
}

#[test]
fn an_absolute_path() {
    let bytes = archive(|tar| {
        let mut header = tar::Header::new_ustar();
        header.set_size(1);
        header.set_mode(0o644);
        header.as_mut_bytes()[..9].copy_from_slice(b"/etc/evil");
        header.set_cksum();
        tar.append(&header, b"x".as_slice()).expect("a member");
    });
    assert_eq!(
        refusal("alpha_1.0.tar.gz", &bytes),
        "'/etc/evil' is an absolute path; an archive may only write inside its own folder"
    );
}

#[test]
fn a_symbolic_link_that_leaves_the_package() {
    assert_eq!(
        refusal("alpha_1.0.tar.gz", &link(tar::EntryType::Symlink, "../../etc/passwd")),
        "the link 'alpha/data' to '../../etc/passwd' leaves the package's folder; replace it by a copy of the file"
    );
}

#[test]
fn a_hard_link_that_leaves_the_package() {
    assert_eq!(
        refusal("alpha_1.0.tar.gz", &link(tar::EntryType::Link, "/etc/passwd")),
        "the link 'alpha/data' to '/etc/passwd' leaves the package's folder; replace it by a copy of the file"
    );
}

#[test]
fn a_device() {
    assert_eq!(
        refusal("alpha_1.0.tar.gz", &link(tar::EntryType::Block, "")),
        "'alpha/data' is neither file, folder nor link (tar type '4'); remove it and build again"
    );
}

#[test]
fn a_decompression_bomb() {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut header = tar::Header::new_ustar();
    header.set_path("alpha/zeros").expect("a path");
    header.set_size(300 << 20);
    header.set_mode(0o644);
    header.set_cksum();
    gz.write_all(header.as_bytes()).expect("memory");
    let zeros = vec![0; 1 << 20];
    for _ in 0..300 {
        gz.write_all(&zeros).expect("memory");
    }
    let bytes = gz.finish().expect("memory");
    assert_eq!(
        refusal("alpha_1.0.tar.gz", &bytes),
        "the archive inflates to more than 250 times its size; it looks like a decompression bomb"
    );
}

#[test]
fn a_file_with_the_name_of_another_package() {
    assert_eq!(
        refusal("beta_1.0.tar.gz", &Tarball::new("alpha", "1.0").bytes()),
        "DESCRIPTION has 'alpha' 1.0, but the file is named 'beta_1.0.tar.gz'; rename the file"
    );
}

#[test]
fn a_file_with_another_version() {
    assert_eq!(
        refusal("alpha_2.0.tar.gz", &Tarball::new("alpha", "1.0").bytes()),
        "DESCRIPTION has 'alpha' 1.0, but the file is named 'alpha_2.0.tar.gz'; rename the file"
    );
}

#[test]
fn a_folder_with_another_name_than_its_package() {
    let mut gz = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_size(DESCRIPTION.len() as u64);
    header.set_mode(0o644);
    gz.append_data(&mut header, "alpha-main/DESCRIPTION", DESCRIPTION.as_bytes()).expect("a member");
    let bytes = gz.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive");
    assert_eq!(
        refusal("alpha_1.0.tar.gz", &bytes),
        "DESCRIPTION has package 'alpha', but the folder is 'alpha-main'; they must be the same"
    );
}

#[test]
fn no_description() {
    let mut gz = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o644);
    gz.append_data(&mut header, "alpha/README", b"x\n".as_slice()).expect("a member");
    let bytes = gz.into_inner().and_then(flate2::write::GzEncoder::finish).expect("an archive");
    assert_eq!(
        refusal("alpha_1.0.tar.gz", &bytes),
        "there is no 'alpha/DESCRIPTION'; this is not an R package"
    );
}

#[test]
fn no_version() {
    let mut tarball = Tarball::new("alpha", "1.0");
    tarball.version = String::new();
    let message = refusal("alpha_1.0.tar.gz", &tarball.bytes());
    assert!(message.starts_with("DESCRIPTION"), "{message}");
}

#[test]
fn a_binary_package() {
    let built_field = "Built: R 4.2.2; x86_64-pc-linux-gnu; 2026-01-01 00:00:00 UTC; unix";
    assert_eq!(
        refusal("alpha_1.0.tar.gz", &Tarball::new("alpha", "1.0").field(built_field).bytes()),
        "this is a binary package (built for R 4.2.2 x86_64-pc-linux-gnu), not a source package; add the file R CMD \
         build makes"
    );
}

#[test]
fn a_zip() {
    assert_eq!(
        refusal("alpha_1.0.tar.gz", b"PK\x03\x04rest of a zip file that is long enough to be recognized"),
        "this is a zip file (a Windows binary or a wheel), not a source package; build one with R CMD build"
    );
}

#[test]
fn a_truncated_archive() {
    let bytes = Tarball::new("alpha", "1.0").with("R/big.R", &"x <- 1\n".repeat(5000)).bytes();
    assert_eq!(
        refusal("alpha_1.0.tar.gz", &bytes[..bytes.len() - 20]),
        "the archive is truncated; copy or download the file again"
    );
}

#[test]
fn an_empty_file() {
    let message = refusal("alpha_1.0.tar.gz", b"");
    assert!(
        message.starts_with("this is not a package archive") || message.contains("truncated"),
        "{message}"
    );
}
