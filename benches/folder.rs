//! Reading, hashing and checking a folder of source archives against R's own `tools::write_PACKAGES`, and what
//! rewriting costs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use md5::Md5;
use rstudio_pm::r::archive::{self, Limits};
use rstudio_pm::r::rewrite;
use sha2::{Digest, Sha256};

use super::report::{Report, median};

/// How often each real archive stands in the folder, under another name.
const COPIES: usize = 6;

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let archives = fill(folder.path());
    let full = || {
        pass(&archives, |bytes| drop(archive::read(bytes, None, Limits::default()).expect("a real package")))
    };
    let light =
        || pass(&archives, |bytes| drop(archive::description(bytes, Limits::default()).expect("a package")));
    let script = format!("tools::write_PACKAGES('{}', type = 'source')", folder.path().display());
    full();
    let rounds: Vec<(f64, f64, f64)> = (0..3)
        .map(|_| {
            let ours = (full(), light());
            let began = Instant::now();
            let status =
                Command::new("Rscript").args(["-e", &script]).status().expect("R is installed: tests/setup");
            assert!(status.success());
            (ours.0, ours.1, began.elapsed().as_secs_f64())
        })
        .collect();
    let bytes: u64 = archives.iter().map(|a| fs::metadata(a).expect("just written").len()).sum();
    let theirs = median(rounds.iter().map(|r| r.2).collect());
    type Pick = fn(&(f64, f64, f64)) -> f64;
    let ways: [(&str, Pick); 2] =
        [("every member checked", |r| r.0), ("only DESCRIPTION, as R does", |r| r.1)];
    for (what, pick) in ways {
        report.row(
            format!("reading and hashing {} archives, {} MB, {what}", archives.len(), bytes >> 20),
            format!("{:.0} ms", 1e3 * median(rounds.iter().map(pick).collect())),
            format!("write_PACKAGES {:.0} ms", 1e3 * theirs),
            format!("{:.0} × faster", median(rounds.iter().map(|r| r.2 / pick(r)).collect())),
            "≥ 100 ×",
        );
    }
    rewriting(report, &archives[..archives.len() / COPIES]);
}

/// Seconds for all archives on two threads: read, SHA-256, MD5, and `check`.
fn pass(archives: &[PathBuf], check: impl Fn(&[u8]) + Sync) -> f64 {
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(path) = archives.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let bytes = fs::read(path).expect("an archive");
                    std::hint::black_box((Sha256::digest(&bytes), Md5::digest(&bytes)));
                    check(&bytes);
                }
            });
        }
    });
    began.elapsed().as_secs_f64()
}

/// `Server.PackageRewriteCompressionLevel` and `Server.PackageRewriteBufferSize`, as they are documented.
fn rewriting(report: &mut Report, archives: &[PathBuf]) {
    let rewrite_all = |level: u32, buffer: usize| {
        let (began, mut size) = (Instant::now(), 0);
        for path in archives {
            let bytes = fs::read(path).expect("an archive");
            let checked = archive::read(&bytes[..], None, Limits::default()).expect("a real package");
            let options = rewrite::Options { level, buffer, ..rewrite::Options::default() };
            let (_, out) =
                rewrite::archive(&bytes[..], &checked, "RSPM", None, Vec::new(), options).expect("memory");
            size += out.len();
        }
        (began.elapsed().as_secs_f64(), size as f64)
    };
    let (base, base_size) = rewrite_all(6, 32 << 10);
    for (what, level, buffer) in [
        ("rewriting at level 1", 1, 32 << 10),
        ("rewriting at level 9", 9, 32 << 10),
        ("rewriting at level 6, buffer 2 MB", 6, 2 << 20),
    ] {
        let (time, size) = rewrite_all(level, buffer);
        report.row(
            what,
            format!("{:.0} ms, {:.2} × the bytes", 1e3 * time, size / base_size),
            format!("level 6, 32 kB {:.0} ms", 1e3 * base),
            format!("{:.2}", time / base),
            "—",
        );
    }
}

fn fill(folder: &Path) -> Vec<PathBuf> {
    let contrib = super::mirror::data().join("cran-mirror/src/contrib");
    let mut archives = Vec::new();
    for copy in 0..COPIES {
        for entry in fs::read_dir(&contrib).expect("the test data is there").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(stem) = name.strip_suffix(".tar.gz") {
                let path = folder.join(format!("{stem}.{copy}.tar.gz"));
                fs::copy(entry.path(), &path).expect("a copy");
                archives.push(path);
            }
        }
    }
    archives.sort_by_key(|path| path.to_string_lossy().rsplit('.').nth(2).map(str::to_owned));
    archives
}
