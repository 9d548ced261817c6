//! `Meta/archive.rds` and `Meta/current.rds`: R reads our tables, and we read R's tables.

use crate::support::{data, rscript};
use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::r::rds::archive_meta::{
    MetaRow, read_archive_meta, read_current_meta, write_archive_meta, write_current_meta,
};
use rstudio_pm::r::rds::{RdsError, RdsLimits};
use std::fs::{self, File};

/// Name, size and time of each row.
fn lines(rows: &[MetaRow<String>], is_archive: bool) -> String {
    let name =
        |r: &MetaRow<String>| if is_archive { format!("{}/{}", r.package, r.file) } else { r.file.clone() };
    rows.iter().map(|r| format!("{} {} {}\n", name(r), r.size, r.mtime.seconds())).collect()
}

#[test]
fn real_tables_are_read_as_r_reads_them() {
    let archive = data::path("cran-mirror/src/contrib/Meta/archive.rds");
    let current = data::path("cran-mirror/src/contrib/Meta/current.rds");
    let archive_rows =
        read_archive_meta(File::open(&archive).expect("readable"), RdsLimits::META).expect("archive");
    let current_rows =
        read_current_meta(File::open(&current).expect("readable"), RdsLimits::META).expect("current");
    assert_eq!((current_rows.len(), archive_rows.len()), data::cran().counts());
    let output = rscript::run(
        r#"show <- function(d) cat(sprintf("%s %.0f %.0f\n", rownames(d), d$size, floor(as.numeric(d$mtime))), sep = "")
        args <- commandArgs(TRUE)
        for (d in readRDS(args[1])) show(d)
        show(readRDS(args[2]))"#,
        &[archive, current],
    );
    assert_eq!(output, lines(&archive_rows, true) + &lines(&current_rows, false));
}

#[test]
fn a_table_with_only_na_rows_has_no_rows() {
    let file = File::open(data::path("odd-rds/archive-all-na-r3.4.rds")).expect("readable");
    assert_eq!(read_archive_meta(file, RdsLimits::META).expect("a valid table"), []);
}

#[test]
fn each_table_is_refused_as_the_other_one() {
    let open =
        |name: &str| File::open(data::path(&format!("cran-mirror/src/contrib/{name}"))).expect("readable");
    assert!(matches!(
        read_archive_meta(open("Meta/current.rds"), RdsLimits::META),
        Err(RdsError::Shape { .. })
    ));
    assert!(matches!(
        read_current_meta(open("Meta/archive.rds"), RdsLimits::META),
        Err(RdsError::Shape { .. })
    ));
    assert!(matches!(read_archive_meta(open("PACKAGES.rds"), RdsLimits::META), Err(RdsError::Shape { .. })));
    assert!(matches!(read_archive_meta(open("PACKAGES"), RdsLimits::META), Err(RdsError::NotRds(_))));
}

fn rows() -> Vec<MetaRow<String>> {
    let row = |package: &str, version: &str, size: u64, seconds: i64| MetaRow {
        package: package.to_owned(),
        file: format!("{package}_{version}.tar.gz"),
        size,
        mtime: Timestamp(seconds * SECOND),
    };
    vec![
        row("A3", "0.9.1", 45_252, 1_360_000_000),
        row("A3", "0.9.2", 600_000, 1_364_000_000),
        row("data.table", "1.17-0", 5_368_709_120, 1_700_000_000),
    ]
}

#[test]
fn our_tables_have_the_bytes_of_save_rds() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let rows = rows();
    for (name, rows) in [("some", &rows[..]), ("none", &[])] {
        let (mut archive, mut current) = (Vec::new(), Vec::new());
        write_archive_meta(&mut archive, rows).expect("written");
        write_current_meta(&mut current, rows).expect("written");
        assert_eq!(read_archive_meta(&archive[..], RdsLimits::META).expect("read"), rows);
        assert_eq!(read_current_meta(&current[..], RdsLimits::META).expect("read"), rows);
        fs::write(root.path().join(format!("archive.{name}")), archive).expect("a file");
        fs::write(root.path().join(format!("current.{name}")), current).expect("a file");
    }
    let output = rscript::run(
        r#"setwd(commandArgs(TRUE))
        table <- function(files, size, time) {
            n <- length(files); time <- .POSIXct(time)
            d <- list(size = size, isdir = logical(n), mode = structure(rep(420L, n), class = "octmode"), mtime = time,
                ctime = time, atime = time, uid = integer(n), gid = integer(n), uname = rep("root", n), grname = rep("root", n))
            structure(d, class = "data.frame", row.names = files)
        }
        same <- function(x, file) {
            stopifnot(identical(readRDS(file), x))
            saveRDS(x, "r_file", version = 2, compress = FALSE)
            a <- readBin("r_file", "raw", 1e6); b <- readBin(file, "raw", 1e6); b[7:10] <- a[7:10]
            stopifnot(identical(a, b)); cat("same\n")
        }
        f <- c("A3_0.9.1.tar.gz", "A3_0.9.2.tar.gz", "data.table_1.17-0.tar.gz")
        s <- c(45252, 600000, 5368709120); t <- c(1360000000, 1364000000, 1700000000); p <- paste0(sub("_.*", "", f), "/", f)
        same(table(f, s, t), "current.some")
        same(list(A3 = table(p[1:2], s[1:2], t[1:2]), data.table = table(p[3], s[3], t[3])), "archive.some")
        same(setNames(list(), character()), "archive.none")
        same(table(character(), numeric(), numeric()), "current.none")
        a <- readRDS("archive.some"); d <- a$A3
        stopifnot(inherits(d$mtime, "POSIXct"), is.null(attr(d$mtime, "tzone")), is.data.frame(do.call(rbind, unname(a))))
        cat(format(d$mode[1]), nrow(d))"#,
        &[root.path()],
    );
    assert_eq!(output, "same\nsame\nsame\nsame\n644 2");
}

#[test]
fn rows_without_a_valid_package_file_are_left_out() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let file = root.path().join("archive.rds");
    rscript::run(
        r#"n <- c("a/a_1.0.tar.gz", "a/b_1.0.tar.gz", "a_1.0.tar.gz", "../a_1.0.tar.gz", "a/../a_1.0.tar.gz", "a/a_1.0.txt", "a/a.tar.gz",
            "a/x/a_1.0.tar.gz", NA, "a/a_2.0.tar.gz", "a/a_3.0.tgz", "a/a_4.0.tar.gz", "a/a_5.0.tar.gz")
        k <- length(n); s <- rep(5L, k); s[10] <- NA; t <- rep(1.9, k); t[12] <- Inf; t[13] <- NaN
        d <- structure(list(size = s, mtime = .POSIXct(t)), class = "data.frame", row.names = n)
        saveRDS(list(a = d, b = d[0, ]), commandArgs(TRUE), version = 3, compress = "xz")"#,
        &[&file],
    );
    let rows = read_archive_meta(File::open(&file).expect("readable"), RdsLimits::META).expect("read");
    assert_eq!(lines(&rows, true), "a/a_1.0.tar.gz 5 1\na/a_3.0.tgz 5 1\n");
}
