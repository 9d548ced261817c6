//! The order of versions, compared with R's on every version of the real indexes.

use crate::support::{data, rscript};
use rstudio_pm::r::version;
use std::cmp::Ordering;

#[test]
fn every_real_version_is_ordered_as_r_orders_it() {
    let script = r#"
        args <- commandArgs(TRUE)
        full <- read.dcf(gzfile(args[2]), fields = c("Version", "Depends", "Imports"))
        deps <- regmatches(full[, -1], gregexpr("[0-9]+([.-][0-9]+)+", full[, -1]))
        v <- unique(c(readRDS(args[1])$Version, full[, "Version"], unlist(deps)))
        v <- v[grepl("^([0-9]+[.-])+[0-9]+$", v)]
        cat(v, sep = "\n")
    "#;
    let sources = [data::path("cran-db-2018/packages.rds"), data::path("cran-index-full/PACKAGES.gz")];
    let text = rscript::run(script, &sources);
    let mut versions: Vec<&str> = text.lines().collect();
    assert!(versions.len() > 4_000, "{}", versions.len());
    assert!(versions.iter().all(|v| version::is_package_version(v)));
    versions.sort_by(|a, b| version::compare(a, b));

    let folder = tempfile::tempdir().expect("a temporary folder");
    let sorted_file = folder.path().join("sorted");
    std::fs::write(&sorted_file, versions.join("\n") + "\n").expect("a file");
    let script = r#"
        v <- readLines(commandArgs(TRUE))
        for (i in seq_len(length(v) - 1)) cat(c("<", "=", ">")[compareVersion(v[i], v[i + 1]) + 2], "\n", sep = "")
    "#;
    let r_output = rscript::run(script, &[&sorted_file]);
    let own_output = versions.windows(2).map(|pair| match version::compare(pair[0], pair[1]) {
        Ordering::Less => "<",
        Ordering::Equal => "=",
        Ordering::Greater => ">",
    });
    let difference = r_output
        .lines()
        .zip(own_output)
        .zip(versions.windows(2))
        .find(|((r_output, own_output), _)| r_output != own_output);
    assert_eq!(difference, None);
    assert_eq!(r_output.lines().count(), versions.len() - 1);
}

#[test]
fn validity_is_that_of_package_version() {
    let texts =
        ["1.0", "1", "1.0a", "1.0.", "1..0", "0-0", "1.0-", "1.0 ", "1_0", "", "a", "2024.01.01", "1.0-1-1"];
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("texts");
    std::fs::write(&file, texts.join("\n") + "\n").expect("a file");
    let script = r#"
        ok <- grepl(sprintf("^%s$", .standard_regexps()$valid_package_version), readLines(commandArgs(TRUE)))
        cat(ok, sep = "\n")
    "#;
    let r_output = rscript::run(script, &[&file]);
    let own_output: Vec<String> =
        texts.iter().map(|t| version::is_package_version(t).to_string().to_uppercase()).collect();
    assert_eq!(r_output.lines().collect::<Vec<_>>(), own_output);
}
