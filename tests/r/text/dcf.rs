//! DCF, compared with `read.dcf` and `write.dcf` of real R, on unusual texts and all fields of a real package database.

use crate::support::{data, rscript};
use rstudio_pm::r::dcf;
use std::fmt::Write;

/// An R script that prints one line per field, in the order of the columns of R's matrix; `error` for a text that R
/// refuses.
const READ: &str = r#"
args <- commandArgs(TRUE)
for (file in args) {
    x <- tryCatch(read.dcf(file, keep.white = c("Description", "Authors@R", "Author", "Built", "Packaged")),
                  error = function(e) NULL)
    if (is.null(x)) { cat("error\n"); next }
    for (i in seq_len(nrow(x))) for (tag in sort(colnames(x), method = "radix")) if (!is.na(x[i, tag]))
        cat(i, tag, gsub("\n", "\\n", gsub("\\", "\\\\", x[i, tag], fixed = TRUE), fixed = TRUE), "\n", sep = "|")
    cat("end\n")
}
"#;

/// The output of [`READ`] with our reader.
fn own_output(text: &[u8]) -> String {
    let mut lines = String::new();
    for (n, record) in dcf::records(text).enumerate() {
        let Ok(record) = record else { return "error\n".to_owned() };
        let mut tags: Vec<&[u8]> = record.fields.iter().map(|f| f.tag).collect();
        tags.sort_unstable();
        tags.dedup();
        for tag in tags {
            let tag = String::from_utf8_lossy(tag).into_owned();
            let value = record.get(&tag).expect("a tag of the record");
            let has_significant_white_space = dcf::KEEP_WHITE.contains(&tag.as_str());
            let value = if has_significant_white_space { value.keep_white() } else { value.fold() };
            let value = String::from_utf8_lossy(&value).replace('\\', "\\\\").replace('\n', "\\n");
            writeln!(lines, "{}|{tag}|{value}|", n + 1).expect("writing to a String does not fail");
        }
    }
    lines + "end\n"
}

#[test]
fn unusual_texts_are_read_as_r_reads_them() {
    let texts: [&[u8]; 42] = [
        b"A: 1\nB: 2\n",
        b"A:1\nB:  two words  \nC:\n",
        b"A: x\n  y\n .\n  z  \n\t. \n .a\nB:q\n",
        b"A:\n  y\n",
        b"A:\n .\n .\n  y\n .\n .\n",
        b"A:\n .\n .\n .\nB: x",
        b"A: x\n .\n .\n y\n .",
        b"Author:  x  \n  y \n .\n\t.\n  z  \n",
        b"Author:\n  y\n",
        b"Description: a\n   b  \n .\n  c\n",
        b"Version : 1\nA\t: 1\n",
        b"A: 1\r\n b\r\nB: 2\r\n\r\nA:3",
        b"A: 1\rB: 2\r\rA: 3\r",
        b"A: 1\nA: 2\n",
        b": x\nA: 1\n",
        b"A: 1\n \t \nB: 2",
        b"A: 1\n\n\n\n \nB: 2\n\n",
        b"\n\nA: 1\n",
        b"A: x\x0b\n",
        b"A: x\x0c \n\x0cz: 1\n",
        b"A: b\n\x0b c\n",
        b" A: 1\n",
        b"A: b\n\x0c\nB: 1\n",
        b"A: b\n \x0c\nB: 1\n",
        b"A: 1\n# note\n",
        b"A: 1\nno tag\n",
        b"A: x\n\n  y: z\n",
        b"A: http://x:80/ : y\n",
        b"Config/Needs/website: a\nAuthors@R: person(\"A\",\n    role = 'x')\nDate/Publication: 1\n",
        b"A: . \n .\n ..\n . x\n",
        b"Depends : x\nDepends: y\nDepends\t:z\ndepends: w\n",
        b"Depends:\n .\n x\n",
        b"Depends: x,\n .\n y\nDepends: z\n",
        b"A: x\n \x0c.\x0c\n y\n",
        b"A: x\n .\x0b\n y\n",
        b"Author: x\n \x0b.\x0c\n y\n",
        b"A:\x0cx\x0c\n \x0by\n",
        b"\x0cA: x\nB: y\n",
        b"A: x\rB: y\r\nC: z",
        b"A: x\r B: y\rC : z",
        b"A: 1\r\r\nC: 2\n",
        b"A: x\n : y\n",
    ];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut files = Vec::new();
    let mut expected = String::new();
    for (n, text) in texts.iter().enumerate() {
        let file = folder.path().join(format!("{n}.dcf"));
        std::fs::write(&file, text).expect("a file");
        files.push(file);
        write!(expected, "{n}\n{}", own_output(text)).expect("writing to a String does not fail");
    }
    let script = READ.replace(
        "for (file in args) {",
        "for (n in seq_along(args)) { file <- args[n]; cat(n - 1, \"\\n\", sep = \"\")",
    );
    let r_output = rscript::run(&script, &files);
    for (own_output, r_output) in expected.lines().zip(r_output.lines()) {
        assert_eq!(own_output, r_output);
    }
    assert_eq!(expected, r_output);
}

#[test]
fn a_full_size_index_is_read_as_r_reads_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("PACKAGES");
    let compressed_index = std::fs::read(data::path("cran-index-full/PACKAGES.gz")).expect("the index");
    let text = rstudio_pm::r::packages::decode_text(&compressed_index, 1 << 30).expect("an index");
    std::fs::write(&file, &text).expect("a file");
    let script = r#"
        x <- read.dcf(commandArgs(TRUE))
        x <- x[, sort(colnames(x), method = "radix")]
        x[] <- gsub("\n", "\\n", x, fixed = TRUE)
        for (i in seq_len(nrow(x))) { r <- x[i, ]; r <- r[!is.na(r)]; cat(paste0(i, "|", names(r), "|", r, "|\n"), sep = "") }
        cat("end\n")
    "#;
    let r_output = rscript::run(script, &[&file]);
    let own_output = own_output(&text);
    assert!(r_output.lines().count() > 100_000);
    assert_eq!(
        r_output.lines().zip(own_output.lines()).find(|(r_output, own_output)| r_output != own_output),
        None
    );
    assert_eq!(r_output.len(), own_output.len());
}

#[test]
fn long_fields_of_a_real_database_are_folded_as_r_folds_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (values, folded_file) = (folder.path().join("values"), folder.path().join("folded"));
    let script = r#"
        args <- commandArgs(TRUE)
        db <- readRDS(args[1])
        x <- unique(unlist(db[c("Depends", "Imports", "Suggests", "License", "SystemRequirements", "Title")]))
        x <- x[!is.na(x) & nzchar(trimws(x)) & !grepl("[^\\x20-\\x7e\n\t]", x, perl = TRUE)]
        x <- x[!grepl("\n[ \t\n]*\n", x) & nchar(x) > 50]
        x <- x[seq(1, length(x), by = 3)]
        writeLines(gsub("\t", "\\t", gsub("\n", "\\n", gsub("\\", "\\\\", x, fixed = TRUE), fixed = TRUE), fixed = TRUE), args[2])
        write.dcf(list(Suggests = x), args[3])
    "#;
    let args = [data::path("cran-db-2018/packages.rds"), values.clone(), folded_file.clone()];
    rscript::run(script, &args);
    let (mut own_output, mut count) = (Vec::new(), 0);
    for value in std::fs::read_to_string(values).expect("values").lines() {
        let value = value.replace("\\\\", "\0").replace("\\n", "\n").replace("\\t", "\t").replace('\0', "\\");
        dcf::write_field(&mut own_output, "Suggests", &value).expect("writing to a Vec does not fail");
        count += 1;
    }
    let own_output = String::from_utf8(own_output).expect("ASCII");
    let r_output = std::fs::read_to_string(folded_file).expect("R's text");
    let r_output: Vec<&str> = r_output.lines().filter(|line| !line.is_empty()).collect();
    assert!(count > 2_500, "{count}");
    assert_eq!(
        r_output.iter().zip(own_output.lines()).find(|(r_output, own_output)| **r_output != *own_output),
        None
    );
    assert_eq!(r_output.len(), own_output.lines().count());
}
