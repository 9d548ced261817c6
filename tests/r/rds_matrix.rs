//! The matrix that we write, compared with the one that real R makes of the same index text.

use crate::support::{data, rscript};
use rstudio_pm::r::packages::{BINARY_FIELDS, SOURCE_FIELDS};
use rstudio_pm::r::rds::RdsLimits;
use rstudio_pm::r::rds::matrix::write_matrix;
use rstudio_pm::r::rds::packages::read_package_table;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Compares for each directory: our matrix with `read.dcf` of the text, `available.packages` of both, and our bytes
/// with those of `saveRDS`, except bytes 7 to 10, which are the writer's version.
const COMPARE: &str = r#"
for (dir in commandArgs(TRUE)) {
    text <- read.dcf(file.path(dir, "text", "PACKAGES"))
    file <- file.path(dir, "rds", "PACKAGES.rds")
    own_matrix <- readRDS(file)
    stopifnot(is.character(own_matrix), is.matrix(own_matrix), nrow(own_matrix) == nrow(text))
    if (nrow(own_matrix)) {
        rownames(text) <- text[, "Package"]
        stopifnot(identical(own_matrix[, colnames(text), drop = FALSE], text))
        stopifnot(all(is.na(own_matrix[, setdiff(colnames(own_matrix), colnames(text))])))
    }
    available <- function(kind) {
        url <- paste0("file://", file.path(dir, kind))
        a <- available.packages(url, filters = list(), fields = colnames(text))
        a[, "Repository"] <- sub(url, "", a[, "Repository"], fixed = TRUE)
        a
    }
    stopifnot(identical(available("rds"), available("text")))
    r_file <- tempfile()
    saveRDS(own_matrix, r_file, version = 2, compress = FALSE)
    a <- readBin(r_file, "raw", 1e9)
    b <- readBin(file, "raw", 1e9)
    b[7:10] <- a[7:10]
    stopifnot(identical(a, b))
    cat(basename(dir), dim(own_matrix), "\n")
}
"#;

fn stanzas(text: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8(text.to_vec()).expect("indexes are UTF-8");
    text.split("\n\n").filter(|s| !s.trim().is_empty()).map(|s| s.as_bytes().to_vec()).collect()
}

/// A directory to compare: the text, and our matrix of its records.
fn folder(root: &Path, name: &str, text: &[u8], fields: &[&str], stanzas: &[Vec<u8>]) -> PathBuf {
    let folder = root.join(name);
    fs::create_dir_all(folder.join("text")).expect("a folder");
    fs::create_dir_all(folder.join("rds")).expect("a folder");
    fs::write(folder.join("text/PACKAGES"), text).expect("the text");
    let mut rds = Vec::new();
    write_matrix(&mut rds, fields, stanzas).expect("writing to a Vec does not fail");
    fs::write(folder.join("rds/PACKAGES.rds"), &rds).expect("the matrix");
    let table = read_package_table(&rds[..], RdsLimits::INDEX).expect("our own matrix is read");
    assert_eq!(table.len(), stanzas.len(), "{name}");
    folder
}

fn compare(folders: &[PathBuf]) {
    let output = rscript::run(COMPARE, folders);
    assert_eq!(output.lines().count(), folders.len(), "{output}");
}

#[test]
fn every_real_index_becomes_the_matrix_r_reads_from_its_text() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut folders = Vec::new();
    let mut add = |name: &str, text: &[u8], fields: &[&str]| {
        folders.push(folder(root.path(), name, text, fields, &stanzas(text)));
    };
    for (name, path) in [
        ("cran", "cran-mirror/src/contrib/PACKAGES"),
        ("linux", "linux-index/ubuntu-24.04-aarch64-4.5/PACKAGES"),
        ("bioc-3.16", "bioc-mirror/packages/3.16/bioc/src/contrib/PACKAGES"),
        ("bioc-3.20", "bioc-mirror/packages/3.20/bioc/src/contrib/PACKAGES"),
        ("books-3.16", "bioc-mirror/packages/3.16/books/src/contrib/PACKAGES"),
        ("annotation-3.20", "bioc-mirror/packages/3.20/data/annotation/src/contrib/PACKAGES"),
    ] {
        add(name, &fs::read(data::path(path)).expect("readable"), &SOURCE_FIELDS);
    }
    let windows = data::path("cran-mirror/bin/windows/contrib/4.5/PACKAGES");
    add("windows", &fs::read(windows).expect("readable"), BINARY_FIELDS);
    let file = fs::File::open(data::path("cran-index-full/PACKAGES.gz")).expect("readable");
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut text).expect("valid gzip");
    add("full", &text, &SOURCE_FIELDS);
    compare(&folders);
}

#[test]
fn unusual_records_become_the_matrix_of_read_dcf() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let records = [
        "Package: aa\nVersion:   1.0  \t \nDepends: x,\n \t y \n    z  \nFoo: a\n b\nFoo:  dup\nEmpty:\nBar:\tq",
        "Package: bb\nBelow:\n  cont\nDots: a\n .\n .\n b\n\t.\n\tc\nTwo:\n  one\n  two\nFirst:\n .\n x",
        "Version: 3\nPackage: cc\nDesc: a\n   .\n   c\n.x: 1\nColon: a: b\nURL:http://e\nForm: \u{b}v\u{c}",
        "Package: dd\nPath: 4.6.0/Recommended\nFile: x.tar.gz\nVersion: NA\nAuthor: J\u{f6}rg \u{4e2d}\nCont: a\n ..\n b",
        "Package: aa\nPath: 4.5.0/Recommended\nX-Odd field: 1\nAuthors@R: c(\"\\n\")\nPriority: base",
    ];
    let text = format!("{}\n", records.join("\n\n"));
    let record_bytes: Vec<Vec<u8>> = records.iter().map(|r| r.as_bytes().to_vec()).collect();
    let crlf_text = text.replace('\n', "\r\n");
    let crlf_record_bytes: Vec<Vec<u8>> =
        records.iter().map(|r| r.replace('\n', "\r\n").into_bytes()).collect();
    let record_lines: Vec<Vec<u8>> = records.iter().map(|r| format!("{r}\n").into_bytes()).collect();
    let numbered_fields: Vec<String> = (0..200).map(|n| format!("F{}: {n}", n * 7 % 200)).collect();
    let text_with_many_fields = format!(
        "Package: a\n{}\n\nPackage: b\n{}\n",
        numbered_fields[..150].join("\n"),
        numbered_fields[50..].join("\n")
    );
    compare(&[
        folder(root.path(), "odd", text.as_bytes(), &SOURCE_FIELDS, &record_bytes),
        folder(root.path(), "crlf", crlf_text.as_bytes(), &SOURCE_FIELDS, &crlf_record_bytes),
        folder(root.path(), "ended", text.as_bytes(), BINARY_FIELDS, &record_lines),
        folder(
            root.path(),
            "wide",
            text_with_many_fields.as_bytes(),
            &SOURCE_FIELDS,
            &stanzas(text_with_many_fields.as_bytes()),
        ),
    ]);
}

#[test]
fn r_continues_with_the_next_repository_after_an_empty_index() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let empty_folder = folder(root.path(), "none", b"", &SOURCE_FIELDS, &[]);
    let folder_with_package = folder(
        root.path(),
        "one",
        b"Package: a\nVersion: 1.0\n",
        &SOURCE_FIELDS,
        &[b"Package: a\nVersion: 1.0".to_vec()],
    );
    let output = rscript::run(
        r#"options(warn = 2)
        url <- paste0("file://", commandArgs(TRUE), "/rds")
        a <- available.packages(url, filters = list())
        m <- readRDS(file.path(commandArgs(TRUE)[1], "rds", "PACKAGES.rds"))
        stopifnot(identical(dim(m), c(0L, 15L)), is.null(rownames(m)), colnames(m)[15] == "NeedsCompilation")
        cat(nrow(available.packages(url[1])), nrow(a), a[1, "Version"])"#,
        &[empty_folder, folder_with_package],
    );
    assert_eq!(output, "0 1 1.0");
}

#[test]
fn bytes_that_r_would_refuse_do_not_make_the_index_unreadable() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let file = root.path().join("PACKAGES.rds");
    let mut rds = Vec::new();
    let rows: [&[u8]; 4] = [
        b"Package: a\nAuthor: J\xf6rg",
        b"Package: b\nAuthor: x\0y",
        b"Version: 1.0\nNew: 1",
        b"Package: c\nnonsense\n more",
    ];
    write_matrix(&mut rds, &["Package", "Version", "Author"], &rows).expect("written");
    fs::write(&file, rds).expect("a file");
    let output = rscript::run(
        r#"m <- readRDS(commandArgs(TRUE)); stopifnot(all(validUTF8(m))); cat(rownames(m), m[, "Author"], dim(m))"#,
        &[file],
    );
    assert_eq!(output, "a b c J\u{f6}rg x NA 3 4");
}
