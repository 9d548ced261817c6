//! The check of DESCRIPTION and of index records, compared with R's own verdicts on generated ones.

use std::fmt::Write;

use super::index::file_name;
use crate::support::{data, rscript};
use rstudio_pm::r::archive::{self, ArchiveLimits};
use rstudio_pm::r::description::check::ServedRecord;
use rstudio_pm::r::description::{Description, check};
use rstudio_pm::r::rds::matrix::matrix;
use rstudio_pm::r::{index, name, packages, version};

/// Number of generated files.
const COUNT: usize = 4_000;

/// Prints for each file of a folder whether R builds, installs and lists the package.
const SCRIPT: &str = r#"
    index_filter <- get("available_packages_filters_db", environment(utils::available.packages))$R_version
    is_accepted <- function(file) {
        problems <- suppressWarnings(tools:::.check_package_description(file))
        if (any(lengths(problems) > 0L)) return(FALSE)
        db <- suppressWarnings(tools:::.read_description(file))
        if (is.na(db["Package"]) || is.na(db["Version"])) return(FALSE)
        suppressWarnings(tools:::.split_description(db))
        if (anyNA(suppressWarnings(unlist(package_version(db["Version"]))))) return(FALSE)
        record <- rbind(db[c("Package", "Version", "Depends")], c("other", "1.0", NA))
        dimnames(record) <- list(record[, 1], c("Package", "Version", "Depends"))
        # A warning means that R has compared with NA.
        old <- options(warn = 2)
        on.exit(options(old))
        index_filter(record)
        TRUE
    }
    for (file in sort(list.files(commandArgs(TRUE), full.names = TRUE), method = "radix")) {
        cat(basename(file), tryCatch(is_accepted(file), error = function(e) FALSE), "\n")
    }
"#;

/// A reproducible sequence of choices (xorshift).
struct Choices(u64);

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("a small number") % limit
    }

    fn one<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.below(list.len())]
    }

    /// Mostly the first of a list, sometimes another one.
    fn mostly<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        if self.below(8) > 0 { list[0] } else { self.one(list) }
    }

    fn requirement(&mut self) -> String {
        let operator =
            self.mostly(&[">=", "<=", "<", ">", "==", "!=", "=>", "=", ">>", "~>", "> =", "", "[", "!"]);
        let number = self.mostly(&[
            "3.5",
            "3.5.0",
            "3",
            "4.x",
            "v3.5",
            "3.5.",
            "\"3.5\"",
            "4.1.0-rc1",
            "4,1",
            "r56550",
            "3.5;",
            "R 3.5",
            "2147483647",
            "1.2147483648",
            "20240115123456",
            "1.00000000000000000001",
            "03-5",
            "",
            "3..5",
            "NA",
        ]);
        let blank = self.mostly(&[" ", "", "  ", "\t", "\n   "]);
        let (open, close) =
            (self.mostly(&["(", "( ", "[", ""]), self.mostly(&[")", " )", "", ") (< 5)", ") x", "))"]));
        format!("{open}{operator}{blank}{number}{close}")
    }

    fn item(&mut self) -> String {
        let name =
            self.one(&["R", "R", "utils", "stats", "Rcpp", "R2", "NA", "a", "a.", "a-b", "2a", "x.y", ""]);
        if self.below(3) == 0 {
            return name.to_owned();
        }
        let blank = self.mostly(&[" ", "", "\t", "\n    ", "  "]);
        format!("{name}{blank}{}", self.requirement())
    }

    fn items(&mut self) -> Vec<u8> {
        let count = 1 + self.below(3);
        let separator = self.mostly(&[", ", ",", "\n  , ", ",\n  ", ",\t", ",,", ";", ", \u{a0}"]);
        let items: Vec<String> = (0..count).map(|_| self.item()).collect();
        if self.below(40) == 0 {
            return self.one(&[",", " ,", ",,", ",\n  "]).into();
        }
        let end = self.mostly(&["", ",", " ", ", ", ",,"]);
        (items.join(separator) + end).into_bytes()
    }

    /// A record of an index with the same fields in many forms.
    fn record(&mut self, number: usize) -> String {
        let mut text = format!("Package: p{number}\nVersion: 1.0\n");
        for _ in 0..1 + self.below(2) {
            let before =
                self.mostly(&["", "License: MIT\r", "License: MIT\r ", "X: y\x0c", "\x0c", "License: x\r\n"]);
            let tag = self.mostly(&["Depends", "Depends ", "Depends\t", "depends", "Suggests"]);
            let separator = self.mostly(&[
                ": ",
                ":",
                ":\n ",
                ":\n .\n ",
                ":\r\t",
                ":\x0c",
                ":\n \x0c.\n ",
                ":\n \x0c\n ",
            ]);
            let requirement =
                self.one(&["R (>= 3)", "R (>=3)", "R(>=\n 3)", "R\r (>= 3)", "R (>= 3)\x0c", "R ( >= 3)"]);
            let item =
                self.mostly(&["utils,", "utils,\n .\n ", "utils,\r ", "utils\rImports: x, ", "utils,\x0b"]);
            let item = if self.below(2) == 0 { item } else { "" };
            let end = self.mostly(&["\n", "\r\n", "\r", ",\n .\n", "\n \x0c.\n"]);
            text += &format!("{before}{tag}{separator}{item}{requirement}{end}");
        }
        text.trim_end_matches(['\n', '\r']).to_owned()
    }

    fn text(&mut self) -> &'static [u8] {
        self.mostly(&[
            &b"A Title"[..],
            "na\u{ef}ve".as_bytes(),
            b"na\xefve",
            "\u{200b}Small".as_bytes(),
            b"\x93quoted\x94",
            "\u{17a}".as_bytes(),
            b"\xff\xfe",
            b"",
        ])
    }

    fn description(&mut self) -> Vec<u8> {
        let package = self.mostly(&[
            "a1",
            "NA",
            "NULL",
            "if",
            "base",
            "stats",
            "MASS",
            "translations",
            "a1.",
            "1a",
            "a_b",
            "x",
            "na\u{ef}f",
        ]);
        let version = self.mostly(&[
            "1.0",
            "1.0-1",
            "1.2147483647",
            "1.2147483648",
            "0.1.0.20240115123456",
            "1.00000000000000000001",
            "1",
            "1.0a",
            "1.0.",
            "01.2",
            "99999999999999999999.1",
            "1.0 ",
        ]);
        let mut fields: Vec<(&str, Vec<u8>)> = vec![
            (self.mostly(&["Package", "package", "Package "]), package.into()),
            ("Version", version.into()),
            ("Title", self.text().into()),
            ("Author", self.text().into()),
            ("License", self.mostly(&["MIT", "GPL-2 | GPL-3", "\u{a9}"]).into()),
            ("Maintainer", {
                self.mostly(&[
                    "A Person <a@example.org>",
                    "A <a.b+c@localhost>",
                    "nobody",
                    "ORPHANED",
                    "A <a@b@c>",
                    "<a@b.c> x",
                    "A <a@b.c>, B <b@c.d>",
                    "\u{c5}sa <a@b.c>",
                    "A <\"a b\"@c.d>",
                    "A <a.@b.c>",
                    "A <a@b.>",
                ])
                .into()
            }),
        ];
        for tag in ["Depends", "Imports", "Suggests", "Enhances", "LinkingTo"] {
            if self.below(4) == 0 {
                fields.push((tag, self.items()));
            }
        }
        if self.below(3) == 0 {
            fields.push((
                "Encoding",
                self.mostly(&["UTF-8", "latin1", "latin2", "utf-8", "ISO-8859-15", "latin-1", "none"]).into(),
            ));
        }
        if self.below(6) == 0 {
            let priority =
                self.one(&["optional", "recommended", "base", "Base", "RECOMMENDED", "defunct-base", "high"]);
            fields.push(("Priority", priority.into()));
        }
        if self.below(12) == 0 {
            let tag = self.one(&["Depends", "Version", "Title", "T\u{ef}tle", "X-Note"]);
            fields.push((tag, b"1.0".to_vec()));
        }
        let mut lines: Vec<Vec<u8>> = fields
            .into_iter()
            .map(|(tag, value)| {
                let separator = self.mostly(&[": ", ":", ":\t", ":\n  "]);
                [tag.as_bytes(), separator.as_bytes(), &value].concat()
            })
            .collect();
        let odd_line =
            self.mostly(&["", "# a comment", "no tag", " stray", "\n", "\nSecond: record", "  more"]);
        if !odd_line.is_empty() {
            lines.insert(self.below(lines.len() + 1), odd_line.into());
        }
        let line_end = self.mostly(&["\n", "\r\n", "\r"]);
        let mut text = lines.join(&b'\n');
        text.extend_from_slice(self.mostly(&["\n", "", "\n\n"]).as_bytes());
        if line_end != "\n" {
            let lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
            text = lines.join(line_end.as_bytes());
        }
        [self.mostly(&["", "\u{feff}", "\n"]).as_bytes(), &text].concat()
    }
}

/// Whether an upload with this DESCRIPTION is accepted.
fn is_accepted(raw: &[u8]) -> bool {
    let Ok(description) = Description::from_bytes(raw) else { return false };
    check::check(raw).is_ok()
        && description.package().is_some_and(name::is_package)
        && description.version().is_some_and(version::is_package_version)
}

#[test]
fn generated_descriptions_are_refused_as_by_r() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut choices = Choices(0x5eed_0123_4567_89ab);
    let (mut texts, mut own_verdicts) = (Vec::new(), String::new());
    for number in 0..COUNT {
        let text = choices.description();
        std::fs::write(folder.path().join(format!("{number:05}")), &text).expect("a file");
        let verdict = if is_accepted(&text) { "TRUE" } else { "FALSE" };
        writeln!(own_verdicts, "{number:05} {verdict} ").expect("writing to a String does not fail");
        texts.push(text);
    }
    let r_verdicts = rscript::run(SCRIPT, &[folder.path()]);
    let differences: Vec<String> = r_verdicts
        .lines()
        .zip(own_verdicts.lines())
        .zip(&texts)
        .filter(|((r_verdict, own_verdict), _)| r_verdict != own_verdict)
        .map(|((r_verdict, _), text)| {
            let own_reason = check::check(text).err().map(|refusal| refusal.to_string());
            format!("R: {r_verdict}, own: {own_reason:?}\n{}\n", String::from_utf8_lossy(text).escape_debug())
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences[..differences.len().min(20)].join("\n")
    );
    assert_eq!(r_verdicts.lines().count(), COUNT);
    let accepted = r_verdicts.lines().filter(|line| line.contains("TRUE")).count();
    assert!(
        (COUNT / 10..COUNT * 9 / 10).contains(&accepted),
        "{accepted} are accepted: the others test nothing"
    );
}

#[test]
fn requirements_of_generated_records_are_read_as_by_the_index_reader() {
    let mut choices = Choices(0x0dd_5eed_4567_89ab);
    let stanza = |depends: &str| {
        let mut text = b"Package: a1\nVersion: 1.0\n".to_vec();
        rstudio_pm::r::dcf::write_field(&mut text, "Depends", depends)
            .expect("writing to a Vec does not fail");
        text
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("PACKAGES");
    let mut depends = Vec::new();
    while depends.len() < 3_000 {
        let text = String::from_utf8(choices.items()).expect("UTF-8");
        if text.is_ascii() && !text.trim().is_empty() {
            depends.push(text);
        }
    }
    let script = r#"
        args <- commandArgs(TRUE)
        index_filter <- get("available_packages_filters_db", environment(utils::available.packages))$R_version
        db <- read.dcf(args[1], fields = c("Package", "Version", "Depends"))
        rownames(db) <- db[, 1]
        options(warn = 2)
        for (i in seq_len(nrow(db))) {
            cat(tryCatch({ index_filter(db[i, , drop = FALSE]); TRUE }, error = function(e) FALSE), "\n")
        }
    "#;
    let verdicts = |stanzas: &[Vec<u8>]| {
        let texts: Vec<String> =
            stanzas.iter().map(|s| String::from_utf8_lossy(s).trim_end().to_owned()).collect();
        std::fs::write(&file, texts.join("\n\n") + "\n").expect("a file");
        rscript::run(script, &[&file]).lines().map(|line| line.trim() == "TRUE").collect::<Vec<bool>>()
    };
    let stanzas: Vec<Vec<u8>> = depends.iter().map(|text| stanza(text)).collect();
    let r_verdicts = verdicts(&stanzas);
    assert_eq!(r_verdicts.len(), stanzas.len());
    for (stanza, r_verdict) in stanzas.iter().zip(&r_verdicts) {
        let is_readable = check::served_record(stanza) == ServedRecord::Unchanged;
        assert_eq!(is_readable, *r_verdict, "{}", String::from_utf8_lossy(stanza));
    }
    assert!(r_verdicts.iter().filter(|is_readable| !**is_readable).count() > 100);
    // R reads every mended record.
    let rewritten = |stanza: &Vec<u8>| match check::served_record(stanza) {
        ServedRecord::Rewritten(record) => Some(record),
        _ => None,
    };
    let mended: Vec<Vec<u8>> = stanzas.iter().filter_map(rewritten).collect();
    for (stanza, r_verdict) in mended.iter().zip(verdicts(&mended)) {
        assert!(r_verdict, "{}", String::from_utf8_lossy(stanza));
    }
}

/// Prints for each record of an index whether `available.packages()` can evaluate its requirements, then its `Depends`.
const READ_INDEX: &str = r#"
    args <- commandArgs(TRUE)
    index_filter <- get("available_packages_filters_db", environment(utils::available.packages))$R_version
    db <- if (endsWith(args, "rds")) readRDS(args) else read.dcf(args)
    rownames(db) <- db[, "Package"]
    for (i in seq_len(nrow(db))) {
        is_readable <- tryCatch({ index_filter(db[i, , drop = FALSE]); TRUE }, error = function(e) FALSE)
        depends <- gsub("[[:space:]]+", " ", db[i, "Depends"])
        cat(db[i, "Package"], is_readable, trimws(depends), "\n", sep = "|")
    }
"#;

#[test]
fn records_in_every_form_are_checked_and_served_as_r_reads_them() {
    let mut choices = Choices(0x0dd_5eed_0dcf_89ab);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (text_file, rds_file) = (folder.path().join("PACKAGES"), folder.path().join("PACKAGES.rds"));
    let texts: Vec<String> = (0..3_000).map(|number| choices.record(number)).collect();
    let index = texts.join("\n\n") + "\n";
    std::fs::write(&text_file, &index).expect("a file");
    let r_lines = rscript::run(READ_INDEX, &[&text_file]);
    let mut warnings = Vec::new();
    let records = index::records(index.as_bytes(), &mut warnings).expect("an index");
    assert_eq!((r_lines.lines().count(), records.len()), (texts.len(), texts.len()));
    for (record, line) in records.iter().zip(r_lines.lines()) {
        let verdict = if check::unreadable_item(record.stanza).is_none() { "TRUE" } else { "FALSE" };
        assert_eq!(line.split('|').nth(1), Some(verdict), "{:?}", String::from_utf8_lossy(record.stanza));
    }
    let unreadable_count = r_lines.lines().filter(|line| line.contains("|FALSE|")).count();
    assert!((300..2_700).contains(&unreadable_count), "{unreadable_count}");
    assert!(
        warnings.iter().any(|warning| warning.contains(&format!("{unreadable_count} records"))),
        "{warnings:?}"
    );
    // What is served is the same for R as text and as a matrix, and for clients that do not end a line at a CR.
    let served: Vec<Vec<u8>> = records
        .iter()
        .map(|record| match check::served_record(record.stanza) {
            ServedRecord::Unchanged => record.stanza.to_vec(),
            ServedRecord::Rewritten(stanza) => stanza,
            ServedRecord::Omitted => panic!("{:?}", String::from_utf8_lossy(record.stanza)),
        })
        .collect();
    for stanza in &served {
        let text = String::from_utf8_lossy(stanza).replace("\r\n", "\n");
        assert!(!text.trim_end().contains('\r'), "{text:?}");
        assert_eq!(check::served_record(stanza), ServedRecord::Unchanged, "{text:?}");
    }
    let mut text = Vec::new();
    packages::render(&mut text, &served).expect("writing to a Vec does not fail");
    std::fs::write(&text_file, text).expect("a file");
    let matrix = matrix(&packages::SOURCE_FIELDS, &served).expect("a matrix");
    std::fs::write(&rds_file, matrix).expect("a file");
    let (from_text, from_rds) =
        (rscript::run(READ_INDEX, &[&text_file]), rscript::run(READ_INDEX, &[&rds_file]));
    assert_eq!(from_text.lines().zip(from_rds.lines()).find(|(text, rds)| text != rds), None);
    assert!(from_text.lines().all(|line| line.contains("|TRUE|")));
    // Where R could read the requirements, it reads the same ones.
    for (served, original) in
        from_text.lines().zip(r_lines.lines()).filter(|(_, line)| line.contains("|TRUE|"))
    {
        assert_eq!(served, original);
    }
}

#[test]
fn encodings_are_known_as_to_r() {
    let script = r#"
        more <- c("UTF-8//TRANSLIT", "utf 8", "latin-1", "latin-2", "none", "unknown", "bytes", "C", "utf-8-sig", "Latin9",
                  "utf8", "unknown-8bit", "MacRoman", "\"UTF-8\"", "UTF-8,", "x,UTF-8", "iso8859-1", "UTF_8", "ASCII?")
        file <- tempfile()
        for (name in c(sub("/.*", "", trimws(iconvlist())), more)) {
            writeLines(c("Package: a1", "Version: 1.0", "Title: A [b] {c}", "License: MIT + file LICENSE",
                         "Maintainer: A <a@b.org>", paste("Encoding:", name)), file)
            is_accepted <- tryCatch(!any(lengths(suppressWarnings(tools:::.check_package_description(file))) > 0L),
                                    error = function(e) FALSE)
            cat(name, is_accepted, "\n", sep = "|")
        }
    "#;
    let verdicts = rscript::run::<&str>(script, &[]);
    let differences: Vec<&str> = verdicts
        .lines()
        .filter(|line| {
            let (name, verdict) = line.split_once('|').expect("a verdict");
            let text = format!("Package: a1\nVersion: 1.0\nMaintainer: A <a@b.org>\nEncoding: {name}\n");
            check::check(text.as_bytes()).is_ok() != verdict.starts_with("TRUE")
        })
        .collect();
    assert_eq!(differences, [""; 0]);
    let accepted = verdicts.lines().filter(|line| line.contains("|TRUE|")).count();
    assert!(accepted > 200 && verdicts.lines().count() - accepted > 200, "{accepted} are accepted");
}

#[test]
fn no_real_package_and_no_real_record_is_refused() {
    for path in data::tarballs() {
        let bytes = std::fs::read(&path).expect("a tarball");
        let identity = archive::read_identity(&bytes[..], None, ArchiveLimits::default()).expect("a release");
        check::check(&identity.description_raw).unwrap_or_else(|e| panic!("{}: {e}", file_name(&path)));
    }
    for file in ["cran-mirror/src/contrib/PACKAGES", "cran-index-full/PACKAGES.gz"] {
        let bytes = std::fs::read(data::path(file)).expect("an index");
        let text = index::text(file, &bytes).expect("an index");
        let mut warnings = Vec::new();
        let records = index::records(&text, &mut warnings).expect("an index");
        assert_eq!((records.is_empty(), warnings), (false, Vec::new()), "{file}");
    }
}
