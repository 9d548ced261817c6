//! Our reading of files that real R wrote, compared with R's own reading.

use crate::support::{data, rscript};
use rstudio_pm::r::rds::item::{Data, Item};
use rstudio_pm::r::rds::packages::{PackageTable, read_package_table};
use rstudio_pm::r::rds::read::read;
use rstudio_pm::r::rds::{RdsError, RdsLimits};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;

/// Writes the fields as the first line, and then every cell in column order, each ended by \001; \002 stands for NA.
fn dump(table: &PackageTable, file: &Path) {
    let fields: Vec<&str> = table.fields().collect();
    let records: Vec<HashMap<&str, &str>> = (0..table.len()).map(|r| table.record(r).collect()).collect();
    let mut cells = String::new();
    for field in &fields {
        for record in &records {
            cells.push_str(record.get(field).copied().unwrap_or("\u{2}"));
            cells.push('\u{1}');
        }
    }
    fs::write(file, cells).expect("a file");
    fs::write(file.with_extension("fields"), format!("{}\n", fields.join("\n"))).expect("a file");
}

/// Compares dumps with the files that were dumped.
const COMPARE: &str = r#"
args <- commandArgs(TRUE)
for (i in seq(1, length(args), 2)) {
    x <- readRDS(args[i])
    fields <- readLines(paste0(args[i + 1], ".fields"), encoding = "UTF-8")
    size <- file.size(args[i + 1])
    cells <- if (size) strsplit(readChar(args[i + 1], size, useBytes = TRUE), "\001", fixed = TRUE, useBytes = TRUE)[[1]] else character()
    Encoding(cells) <- "UTF-8"
    cells[cells == "\002"] <- NA
    if (is.data.frame(x)) {
        keep <- vapply(unique(names(x)), function(n) {
            at <- which(names(x) == n)
            at[which.max(colSums(!is.na(as.matrix(x[at]))))]
        }, 1L)
        x <- unname(as.matrix(x)[, keep])
        colnames(x) <- names(keep)
    }
    stopifnot(identical(fields, as.character(colnames(x))))
    theirs <- as.vector(x)
    stopifnot(length(cells) == length(theirs), identical(is.na(cells), is.na(theirs)))
    stopifnot(identical(enc2utf8(cells), enc2utf8(theirs)))
    cat(basename(args[i]), dim(x), "\n")
}
"#;

#[test]
fn every_real_table_is_read_as_r_reads_it() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut arguments = Vec::new();
    for (name, path) in [
        ("cran", "cran-mirror/src/contrib/PACKAGES.rds"),
        ("windows", "cran-mirror/bin/windows/contrib/4.5/PACKAGES.rds"),
        ("linux", "linux-index/ubuntu-24.04-aarch64-4.5/PACKAGES.rds"),
        ("bioc-16", "bioc-mirror/packages/3.16/bioc/src/contrib/PACKAGES.rds"),
        ("bioc-20", "bioc-mirror/packages/3.20/bioc/src/contrib/PACKAGES.rds"),
        ("drat", "odd-rds/PACKAGES-drat.rds"),
        ("database", "cran-db-2018/packages.rds"),
    ] {
        let path = data::path(path);
        let table = read_package_table(File::open(&path).expect("readable"), RdsLimits::META).expect(name);
        let file = root.path().join(name);
        dump(&table, &file);
        arguments.extend([path, file]);
    }
    let output = rscript::run(COMPARE, &arguments);
    assert_eq!(output.lines().count(), 7, "{output}");
}

#[test]
fn the_column_with_values_is_used_if_two_have_the_same_name() {
    let file = File::open(data::path("cran-db-2018/packages.rds")).expect("readable");
    let table = read_package_table(file, RdsLimits::META).expect("read");
    let sums = (0..table.len()).filter_map(|r| table.get(r, "MD5sum")).filter(|md5| md5.len() == 32).count();
    let rows = rscript::run(
        "x <- readRDS(commandArgs(TRUE)); stopifnot(sum(names(x) == 'MD5sum') == 2); cat(nrow(x))",
        &[data::path("cran-db-2018/packages.rds")],
    );
    assert_eq!((table.len().to_string(), sums), (rows, table.len()));
}

#[test]
fn a_record_written_as_text_is_read_back_by_r() {
    let file = File::open(data::path("cran-db-2018/packages.rds")).expect("readable");
    let table = read_package_table(file, RdsLimits::META).expect("read");
    let root = tempfile::tempdir().expect("a temporary folder");
    let mut text = Vec::new();
    for record in 0..4000 {
        table.write_stanza(record, &mut text);
        text.push(b'\n');
    }
    fs::write(root.path().join("PACKAGES"), text).expect("a file");
    let output = rscript::run(
        r#"args <- commandArgs(TRUE)
        x <- readRDS(args[1]); x <- as.matrix(x[1:4000, -which(names(x) == "MD5sum")[1]])
        d <- read.dcf(args[2]); Encoding(d) <- "UTF-8"
        x <- enc2utf8(x[, colnames(d)])
        # Both sides without what DCF cannot keep: blanks around lines and empty values.
        plain <- function(v) { v <- gsub("[ \t\r]*\n[ \t\r\n]*", "\n", v); v <- gsub("^[ \t\n\v\f\r]+|[ \t\n\v\f\r]+$", "", v); v[!is.na(v) & v == ""] <- NA; unname(v) }
        a <- plain(as.vector(x)); b <- plain(as.vector(d))
        b <- as.vector(b); w <- which(is.na(a) != is.na(b) | (!is.na(a) & !is.na(b) & a != b))
        if (length(w)) print(list(a[w[1:3]], b[w[1:3]]))
        cat(nrow(d), length(w))"#,
        &[data::path("cran-db-2018/packages.rds"), root.path().join("PACKAGES")],
    );
    assert_eq!(output, "4000 0");
}

/// An R script that writes one object in every version and container, objects in forms that only version 3 has, and
/// code.
const FORMS: &str = r#"
x <- matrix(c("a", NA, "Jörg", ""), 2, dimnames = list(c("p", "q"), c("Package", "V")))
for (v in 2:3) for (z in c("none", "gzip", "bzip2", "xz"))
    saveRDS(x, sprintf("matrix.%d.%s", v, z), version = v, compress = if (z == "none") FALSE else z)
latin1 <- iconv("Jörg", "UTF-8", "latin1"); bytes <- latin1; Encoding(bytes) <- "bytes"
saveRDS(list(latin1, bytes, "Jörg", "plain"), "encodings", version = 3)
saveRDS(x, "ascii", ascii = TRUE, compress = FALSE)
con <- file("binary", "wb"); invisible(serialize(x, con, xdr = FALSE)); invisible(close(con))
s <- sort(c(3L, 1L, 2L)); chars <- as.character(1:3); r <- sort(c(2.5, 0.5)); l <- sort(c(TRUE, FALSE))
saveRDS(list(1:100000, 5:2, as.numeric(1:3) , s, chars, r, l, sort(c("b", "a")), as.character(c(4L, NA, 6L))), "altrep", version = 3)
df <- data.frame(Package = c("a", "b"), V = c("1", NA), stringsAsFactors = FALSE)
saveRDS(df, "frame.3", version = 3); saveRDS(df, "frame.2", version = 2)
saveRDS(list(NULL, 1i, as.raw(1:3), pairlist(a = 1, 2), quote(sym), NA, structure(1L, class = "f")), "values", version = 2)
saveRDS(as.character(c(1.5, 2)), "text.real", version = 3)
saveRDS(function(x) x, "closure"); saveRDS(quote(f(x)), "call"); saveRDS(new.env(), "environment")
saveRDS(globalenv(), "global"); saveRDS(asNamespace("stats"), "namespace"); saveRDS(sum, "builtin")
saveRDS(compiler::cmpfun(function(x) x), "bytecode"); saveRDS(y ~ x, "formula")
setClass("P", representation(a = "numeric")); saveRDS(new("P", a = 1), "s4")
saveRDS(structure(1, f = function() 1), "attribute"); saveRDS(expression(a + b), "expression")
cat(Encoding(latin1))
"#;

fn forms() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    let code = format!("setwd(commandArgs(TRUE)); {FORMS}");
    assert_eq!(rscript::run(&code, &[root.path()]), "latin1");
    root
}

fn strings(item: &Item) -> Vec<Option<&str>> {
    item.text().expect("a character vector").iter().collect()
}

#[test]
fn versions_containers_encodings_and_compact_forms_are_read_and_code_is_not() {
    let root = forms();
    let open = |name: &str| fs::read(root.path().join(name)).expect("R wrote it");
    let item = |name: &str| read(&open(name)[..], RdsLimits::INDEX);

    let matrix = read(&open("matrix.2.none")[..], RdsLimits::INDEX).expect("plain");
    assert_eq!(strings(&matrix), [Some("a"), None, Some("J\u{f6}rg"), Some("")]);
    for version in [2, 3] {
        for container in ["none", "gzip", "bzip2", "xz"] {
            let name = format!("matrix.{version}.{container}");
            assert_eq!(item(&name).expect(&name), matrix, "{name}");
        }
    }
    let zstd = zstd::encode_all(&open("matrix.3.none")[..], 3).expect("packed");
    assert_eq!(read(&zstd[..], RdsLimits::INDEX).expect("zstd"), matrix);
    let mut first_part = open("matrix.2.none");
    let second_part = first_part.split_off(40);
    let members = [first_part, second_part].map(|part| {
        use std::io::Write;
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(&part).expect("packed");
        gz.finish().expect("packed")
    });
    assert_eq!(read(&members.concat()[..], RdsLimits::INDEX).expect("two members"), matrix);

    let Data::List(texts) = item("encodings").expect("encodings").data else { panic!("a list") };
    let texts: Vec<_> = texts.iter().flat_map(strings).collect();
    assert_eq!(texts, [Some("J\u{f6}rg"), Some("J\u{f6}rg"), Some("J\u{f6}rg"), Some("plain")]);

    let Data::List(forms) = item("altrep").expect("altrep").data else { panic!("a list") };
    assert_eq!(forms[0].data, Data::Integer((1..=100_000).collect()));
    assert_eq!(forms[1].data, Data::Integer(vec![5, 4, 3, 2]));
    assert_eq!(forms[2].data, Data::Real(vec![1.0, 2.0, 3.0]));
    assert_eq!(forms[3].data, Data::Integer(vec![1, 2, 3]));
    assert_eq!(strings(&forms[4]), [Some("1"), Some("2"), Some("3")]);
    assert_eq!(forms[5].data, Data::Real(vec![0.5, 2.5]));
    assert_eq!(forms[6].data, Data::Logical(vec![0, 1]));
    assert_eq!(strings(&forms[7]), [Some("a"), Some("b")]);
    assert_eq!(strings(&forms[8]), [Some("4"), None, Some("6")]);

    for name in ["frame.2", "frame.3"] {
        let table = read_package_table(&open(name)[..], RdsLimits::INDEX).expect(name);
        assert_eq!(table.record(1).collect::<Vec<_>>(), [("Package", "b")]);
    }
    assert!(item("values").is_ok());
    for name in ["ascii", "binary"] {
        assert!(matches!(item(name), Err(RdsError::Form(_))), "{name}: {:?}", item(name));
    }
    for name in [
        "closure",
        "call",
        "environment",
        "global",
        "namespace",
        "builtin",
        "bytecode",
        "formula",
        "s4",
        "attribute",
        "expression",
    ] {
        assert!(matches!(item(name), Err(RdsError::Refused { .. })), "{name}: {:?}", item(name));
    }
    let result = item("text.real");
    assert!(matches!(result, Err(RdsError::Malformed { .. })), "only R can format doubles: {result:?}");
}

#[test]
fn metadata_of_installed_packages_is_read() {
    let home = rscript::run("cat(R.home())", &[] as &[&str]);
    let file = File::open(Path::new(home.trim()).join("library/stats/Meta/package.rds")).expect("readable");
    let item = read(file, RdsLimits::INDEX).expect("data only");
    let description = item.element("DESCRIPTION").expect("an element");
    assert!(strings(description).contains(&Some("stats")));
}
