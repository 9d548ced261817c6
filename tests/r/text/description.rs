//! DESCRIPTION of every real package, compared field by field with the reader of R's tools.

use super::index::file_name;
use crate::support::{data, rscript};
use rstudio_pm::r::archive::{self, ArchiveLimits};
use rstudio_pm::r::description::Description;
use std::collections::BTreeMap;
use std::fmt::Write;

/// An R script that prints the fields of each file of a folder.
const SCRIPT: &str = r#"
    flat <- function(x) gsub("\n", "\\n", gsub("\\", "\\\\", x, fixed = TRUE), fixed = TRUE)
    for (file in sort(list.files(commandArgs(TRUE), full.names = TRUE), method = "radix")) {
        d <- enc2utf8(tools:::.read_description(file))
        d <- d[sort(names(d), method = "radix")]
        cat(paste0(basename(file), "|", names(d), "|", flat(d), "|\n"), sep = "")
    }
"#;

#[test]
fn every_real_description_is_read_as_r_reads_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut descriptions = BTreeMap::new();
    for path in data::tarballs() {
        let bytes = std::fs::read(&path).expect("a tarball");
        let identity = archive::read_identity(&bytes[..], None, ArchiveLimits::default()).expect("a release");
        descriptions.insert(file_name(&path), identity.description_raw);
    }
    // The real packages are UTF-8 or ASCII; the following have older encodings.
    let latin1_text =
        b"Package: old\nVersion: 0.1\nAuthor: Fran\xe7ois,\n    M\xfcller\nEncoding: latin1\n".to_vec();
    descriptions.insert("old_latin1".to_owned(), latin1_text);
    let latin2_text =
        b"Package: old\nVersion: 0.1\nAuthor: Micha\xb3 \xa3\xf3d\xbc\nEncoding: latin2\n".to_vec();
    descriptions.insert("old_latin2".to_owned(), latin2_text);
    let mut own_lines = String::new();
    for (name, raw) in &descriptions {
        std::fs::write(folder.path().join(name), raw).expect("a file");
        let description = Description::from_bytes(raw).expect("a description");
        let fields: BTreeMap<&str, &str> = description.fields().collect();
        for (tag, value) in fields {
            let value = value.replace('\\', "\\\\").replace('\n', "\\n");
            writeln!(own_lines, "{name}|{tag}|{value}|").expect("writing to a String does not fail");
        }
    }
    let r_lines = rscript::run(SCRIPT, &[folder.path()]);
    assert_eq!(
        r_lines.lines().zip(own_lines.lines()).find(|(r_lines, own_lines)| r_lines != own_lines),
        None
    );
    assert_eq!(r_lines.lines().count(), own_lines.lines().count());
}
