//! Index records, compared with `tools::write_PACKAGES` on every current and archived tarball of the mirror.

use crate::support::{data, rscript};
use md5::{Digest, Md5};
use rstudio_pm::model::digest;
use rstudio_pm::r::archive::{self, ArchiveLimits};
use rstudio_pm::r::name::SourceFileName;
use rstudio_pm::r::{description, packages};
use std::path::Path;

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).expect("a file name")
}

#[test]
fn records_of_real_packages_are_those_of_write_packages() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut stanzas = Vec::new();
    for path in data::tarballs() {
        let name = file_name(&path);
        std::os::unix::fs::symlink(&path, folder.path().join(&name)).expect("a link");
        let bytes = std::fs::read(&path).expect("a tarball");
        let file = SourceFileName::parse(&name).expect("a file name");
        let archive = archive::read(&bytes[..], Some(file), ArchiveLimits::default())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        archive.require_source().expect("a source package");
        let md5 = digest::Md5(Md5::digest(&bytes).into());
        let stanza = description::index_stanza(
            &archive.description,
            md5,
            digest::Sha256([0; 32]),
            bytes.len() as u64,
            archive.needs_compilation,
        );
        stanzas.push((file.package.to_owned(), file.version.to_owned(), stanza));
    }
    let script = r#"
        setwd(commandArgs(TRUE))
        n <- tools::write_PACKAGES(".", type = "source", latestOnly = FALSE)
        cat(n, "\n")
    "#;
    rscript::run(script, &[folder.path()]);
    let r_index = std::fs::read(folder.path().join("PACKAGES")).expect("R's index");
    let mut record_count = 0;
    for record in packages::records(&r_index) {
        let record = record.expect("a record of R");
        let (_, _, own_stanza) = stanzas
            .iter()
            .find(|(package, version, _)| package == record.package && version == record.version)
            .unwrap_or_else(|| panic!("{} {} is missing", record.package, record.version));
        let field = |bytes: &[u8], tag: &str| {
            let record = rstudio_pm::r::dcf::records(bytes).next()?.ok()?;
            Some(String::from_utf8_lossy(record.get(tag)?.raw()).into_owned())
        };
        for tag in packages::SOURCE_FIELDS {
            assert_eq!(field(record.stanza, tag), field(own_stanza, tag), "{} {tag}", record.package);
        }
        record_count += 1;
    }
    assert_eq!(record_count, stanzas.len());
}

#[test]
fn r_reads_our_index_as_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = std::fs::read(data::path("cran-mirror/src/contrib/PACKAGES")).expect("R's index");
    let mut records: Vec<_> = packages::records(&text).map(|r| r.expect("a record")).collect();
    records.sort_by_key(|record| (record.package.to_lowercase(), record.package));
    let mut out = packages::gzip(Vec::new());
    packages::render(&mut out, records.iter().map(|r| r.stanza)).expect("writing to a Vec does not fail");
    let compressed_index = out.finish().expect("writing to a Vec does not fail");
    std::fs::write(folder.path().join("PACKAGES.gz"), &compressed_index).expect("a file");
    let script = r#"
        args <- commandArgs(TRUE)
        ours <- read.dcf(gzfile(file.path(args[1], "PACKAGES.gz")))
        real <- read.dcf(file.path(args[2], "PACKAGES"))
        real <- real[match(ours[, "Package"], real[, "Package"]), colnames(ours)]
        stopifnot(nrow(ours) == as.integer(args[3]), identical(ours, real), !is.unsorted(tolower(ours[, "Package"])))
        cat("identical\n")
    "#;
    let listed_count = data::cran().listed.len().to_string();
    let args = [folder.path().to_owned(), data::path("cran-mirror/src/contrib"), listed_count.into()];
    assert_eq!(rscript::run(script, &args), "identical\n");
}
