//! Rewritten packages: only DESCRIPTION and its checksum change, and real R installs them.

use super::hostile::pax;
use super::index::file_name;
use super::tar::{Tar, description, gz, header, source};
use crate::support::{data, rscript};
use rstudio_pm::r::archive::{self, ArchiveLimits, Members, PackageArchive};
use rstudio_pm::r::rewrite::{self, RewriteError, RewriteOptions};

fn read(bytes: &[u8]) -> PackageArchive {
    archive::read(bytes, None, ArchiveLimits::default()).expect("a package")
}

fn rewrite_package(bytes: &[u8], options: RewriteOptions) -> Vec<u8> {
    rewrite::archive(bytes, &read(bytes), "RSPM", None, Vec::new(), options).expect("rewritten").1
}

/// Raw name and contents of every member.
fn members(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all_members = Vec::new();
    let mut members = Members::new(bytes, ArchiveLimits::default()).expect("an archive");
    while let Some(member) = members.advance().expect("a member") {
        let contents = members.contents(&member, 1 << 30).expect("contents");
        all_members.push((String::from_utf8_lossy(&member.name).into_owned(), contents));
    }
    members.finish().expect("an intact stream");
    all_members
}

#[test]
fn only_description_and_its_checksum_change_in_real_packages() {
    let options = RewriteOptions { level: 1, ..RewriteOptions::default() };
    for path in data::tarballs() {
        let name = file_name(&path);
        let bytes = std::fs::read(&path).expect("a tarball");
        if bytes.len() > 1 << 20 {
            continue;
        }
        let old_package = read(&bytes);
        let new_bytes = rewrite_package(&bytes, options);
        let new_package = read(&new_bytes);
        assert_eq!(new_package.description.get("Repository"), Some("RSPM"), "{name}");
        let changed_paths: Vec<String> = members(&bytes)
            .into_iter()
            .zip(members(&new_bytes))
            .filter(|(a, b)| a != b)
            .map(|(a, b)| {
                assert_eq!(a.0, b.0, "{name}");
                a.0
            })
            .collect();
        let folder = &old_package.folder;
        let allowed_paths = [format!("{folder}/DESCRIPTION"), format!("{folder}/MD5")];
        assert!(changed_paths.iter().all(|d| allowed_paths.contains(d)), "{name}: {changed_paths:?}");
        assert_eq!(changed_paths.len(), 2, "{name}: {changed_paths:?}");
        // The fields differ only in Repository.
        let other_fields = |archive: &PackageArchive| -> Vec<(String, String)> {
            let fields = archive.description.fields().filter(|(tag, _)| *tag != "Repository");
            fields.map(|(tag, value)| (tag.to_owned(), value.to_owned())).collect()
        };
        assert_eq!(other_fields(&old_package), other_fields(&new_package), "{name}");
    }
}

#[test]
fn a_rewritten_package_installs_and_its_checksums_agree() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes = std::fs::read(data::path("cran-mirror/src/contrib").join(data::cran().file("pkgconfig")))
        .expect("a tarball");
    let file = folder.path().join(data::cran().file("pkgconfig"));
    std::fs::write(&file, rewrite_package(&bytes, RewriteOptions::default())).expect("a file");
    let script = r#"
        args <- commandArgs(TRUE)
        setwd(args[1])
        untar(args[2])
        stopifnot(isTRUE(tools::checkMD5sums("pkgconfig", file.path(getwd(), "pkgconfig"))))
        dir.create("lib")
        r <- file.path(R.home("bin"), "R")
        status <- system2(r, c("CMD", "INSTALL", "--no-docs", "--no-test-load", "-l", "lib", args[2]), stdout = FALSE, stderr = FALSE)
        stopifnot(status == 0L)
        cat(packageDescription("pkgconfig", "lib")$Repository, "\n", sep = "")
    "#;
    let args = [folder.path().to_owned(), file];
    assert_eq!(rscript::run(script, &args).lines().last(), Some("RSPM"));
}

#[test]
fn the_result_depends_only_on_input_and_options() {
    let bytes = source("a1", "1.0", &[("R/x.R", &b"x <- 1\n".repeat(4000))]);
    let options = |level, buffer| RewriteOptions { level, buffer, ..RewriteOptions::default() };
    let rewritten_bytes = rewrite_package(&bytes, options(6, 32 << 10));
    assert_eq!(rewritten_bytes, rewrite_package(&bytes, options(6, 32 << 10)));
    assert_eq!(&rewritten_bytes[..8], b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "no time, no name");
    let all_members: Vec<_> =
        (1..=9).map(|level| members(&rewrite_package(&bytes, options(level, 1)))).collect();
    assert!(all_members.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(
        rewrite_package(&bytes, options(9, 4096)).len() <= rewrite_package(&bytes, options(1, 4096)).len()
    );
}

#[test]
fn the_tar_of_a_package_that_already_has_the_value_does_not_change() {
    let text = format!("{}Repository: RSPM\n", description("a1", "1.0"));
    let digest = hex::encode(<md5::Md5 as md5::Digest>::digest(&text));
    let list = format!("{} *R/x.R\n{digest} *DESCRIPTION\n", "0".repeat(32));
    let mut odd_header = header(b'0', b"a1/odd", b"", 3);
    odd_header[500..512].copy_from_slice(b"not padding!");
    super::tar::set_checksum(&mut odd_header);
    let tar = Tar::default()
        .member(b'x', b"p", b"", b"11 path=a1\n")
        .member(b'5', b"ignored/", b"", b"")
        .file("a1/MD5", list.as_bytes())
        .raw(odd_header, b"abc")
        .file("a1/DESCRIPTION", text.as_bytes())
        .end();
    let tar = [&tar[..], &[0; 5000]].concat();
    let new_bytes = rewrite_package(&gz(&tar), RewriteOptions::default());
    let mut inflated_tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&new_bytes[..]), &mut inflated_tar)
        .expect("gzip");
    assert!(inflated_tar == tar);
}

#[test]
fn checksums_may_precede_description() {
    let text = description("a1", "1.0");
    let digest = hex::encode(<md5::Md5 as md5::Digest>::digest(&text));
    let other_digest = "0123456789abcdef".repeat(2);
    let list =
        format!("{digest} *DESCRIPTION\n{other_digest} *inst/x/DESCRIPTION\n{other_digest}  NAMESPACE\n");
    let bytes = Tar::default().file("a1/MD5", list.as_bytes()).file("a1/DESCRIPTION", text.as_bytes()).gz();
    let all_members = members(&rewrite_package(&bytes, RewriteOptions::default()));
    let new_digest = hex::encode(<md5::Md5 as md5::Digest>::digest(&all_members[1].1));
    assert_ne!(new_digest, digest);
    assert_eq!(all_members[0].1, list.replace(&digest, &new_digest).into_bytes());
}

#[test]
fn a_file_other_than_the_checked_one_is_refused() {
    let checked_package = read(&source("a1", "1.0", &[]));
    let other_package = source("a1", "1.1", &[]);
    let result = rewrite::archive(
        &other_package[..],
        &checked_package,
        "RSPM",
        None,
        Vec::new(),
        RewriteOptions::default(),
    );
    assert!(matches!(result, Err(RewriteError::Changed)));
}

#[test]
fn a_description_whose_size_is_in_an_extended_header_is_refused() {
    let text = description("a1", "1.0");
    let size = format!("12 size={}\n", text.len());
    assert_eq!(size.len(), 12, "the record contains its own length");
    let bytes =
        Tar::default().member(b'x', b"p", b"", size.as_bytes()).file("a1/DESCRIPTION", text.as_bytes()).gz();
    let result =
        rewrite::archive(&bytes[..], &read(&bytes), "RSPM", None, Vec::new(), RewriteOptions::default());
    assert!(matches!(result, Err(RewriteError::ExtendedSize(_))));
}

#[test]
fn records_of_extended_headers_that_no_installation_needs_are_left_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let long_name = format!("a1/inst/{}/x.txt", "long".repeat(40));
    let attributes: &[&[(&str, &str)]] = &[
        &[("SCHILY.xattr.com.apple.provenance", "\u{1}\0\0x")],
        &[("LIBARCHIVE.xattr.com.apple.quarantine", "AAAA"), ("mtime", "1700000000.5")],
        &[("VENDOR.note", "a\0b"), ("SCHILY.fflags", "nodump")],
        &[("comment", "a\0b")],
        &[],
    ];
    for (number, attributes) in attributes.iter().enumerate() {
        let text = description("a1", "1.0");
        let with_path: Vec<(&str, &str)> =
            attributes.iter().copied().chain([("path", long_name.as_str())]).collect();
        let mut tar = Tar::default();
        if !attributes.is_empty() {
            tar = tar.member(b'g', b"g", b"", &pax(attributes)).member(b'x', b"p", b"", &pax(attributes));
        }
        let bytes = tar
            .file("a1/DESCRIPTION", text.as_bytes())
            .member(b'x', b"p", b"", &pax(&with_path))
            .file("a1/short", b"contents")
            .gz();
        let old_members = members(&bytes);
        let new_bytes = rewrite_package(&bytes, RewriteOptions::default());
        let names =
            |members: &[(String, Vec<u8>)]| members.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&members(&new_bytes)), names(&old_members));
        let mut inflated_tar = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&new_bytes[..]), &mut inflated_tar)
            .expect("gzip");
        for (key, _) in *attributes {
            assert!(
                !inflated_tar.windows(key.len()).any(|bytes| bytes == key.as_bytes()),
                "{key} was copied"
            );
        }
        let file = folder.path().join(format!("{number}.tar.gz"));
        std::fs::write(&file, &new_bytes).expect("a file");
        let script = r#"
            args <- commandArgs(TRUE)
            utils::untar(args[1], exdir = "out", tar = "internal")
            stopifnot(file.exists("out/a1/DESCRIPTION"), readLines(file.path("out", args[2]), warn = FALSE) == "contents")
        "#;
        rscript::run(script, &[file, long_name.clone().into()]);
    }
}
