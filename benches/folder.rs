//! Time to read, hash and check a directory of source archives relative to the sum of its necessary parts (reading, two
//! digests, inflating), and relative to R's `tools::write_PACKAGES`; and the cost of rewriting.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use md5::Md5;
use rstudio_pm::r::archive::{self, ArchiveLimits};
use rstudio_pm::r::rewrite;
use sha2::{Digest, Sha256};

use super::report::{Report, median};

/// Number of copies of each real archive in the directory, under different names.
const COPIES: usize = 6;
const ROUNDS: usize = 5;

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().expect("a folder");
    let archives = copy_archives(folder.path());
    let read_members = || {
        read_all(&archives, |bytes| {
            drop(archive::read(bytes, None, ArchiveLimits::default()).expect("a real package"))
        })
    };
    let read_descriptions = || {
        read_all(&archives, |bytes| {
            drop(archive::read_description(bytes, ArchiveLimits::default()).expect("a package"))
        })
    };
    let contents: Vec<Vec<u8>> = archives.iter().map(|path| fs::read(path).expect("an archive")).collect();
    let script = format!("tools::write_PACKAGES('{}', type = 'source')", folder.path().display());
    read_members();
    let rounds: Vec<Round> = (0..ROUNDS)
        .map(|_| Round {
            full_time: read_members(),
            parts: measure_parts(&archives, &contents),
            description_time: read_descriptions(),
        })
        .collect();
    let start = Instant::now();
    let status = Command::new("Rscript").args(["-e", &script]).status().expect("R is installed: tests/setup");
    assert!(status.success());
    let r_time = start.elapsed().as_secs_f64();
    let megabytes = contents.iter().map(Vec::len).sum::<usize>() >> 20;
    drop(contents);
    let median_of = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let [read, sha256, md5, inflate] = [0, 1, 2, 3].map(|part| 1e3 * median_of(&|round| round.parts[part]));
    report.row(
        format!("reading and hashing {} archives, {megabytes} MB, every member checked", archives.len()),
        format!("{:.0} ms", 1e3 * median_of(&|round| round.full_time)),
        format!(
            "sum of its parts {:.0} ms: read {read:.0}, SHA-256 {sha256:.0}, MD5 {md5:.0}, inflate {inflate:.0}",
            1e3 * median_of(&Round::sum)
        ),
        format!("{:.2}", median_of(&|round| round.full_time / round.sum())),
        "≤ 1.25",
    );
    for (name, time) in [
        ("the same, against R", median_of(&|round| round.full_time)),
        ("only DESCRIPTION, as R does", median_of(&|round| round.description_time)),
    ] {
        report.row(
            name,
            format!("{:.0} ms", 1e3 * time),
            format!("write_PACKAGES {:.0} ms", 1e3 * r_time),
            format!("{:.0} × faster", r_time / time),
            "—",
        );
    }
    measure_rewriting(report, &archives[..archives.len() / COPIES]);
}

/// Seconds of each way to process the directory, measured in sequence.
struct Round {
    /// Reading, hashing and checking every member.
    full_time: f64,
    /// Reading, hashing and checking DESCRIPTION.
    description_time: f64,
    /// Seconds of reading, SHA-256, MD5 and inflating, each measured alone.
    parts: [f64; 4],
}

impl Round {
    fn sum(&self) -> f64 {
        self.parts.iter().sum()
    }
}

/// Measures the necessary parts, one after the other, with as many threads as [`read_all`].
fn measure_parts(archives: &[PathBuf], contents: &[Vec<u8>]) -> [f64; 4] {
    let inflate = |bytes: &Vec<u8>| {
        let mut stream = flate2::bufread::MultiGzDecoder::new(bytes.as_slice());
        let mut buffer = vec![0; 64 << 10];
        while stream.read(&mut buffer).expect("a real package") > 0 {}
    };
    [
        run_parallel(archives, |path| drop(std::hint::black_box(fs::read(path).expect("an archive")))),
        run_parallel(contents, |bytes| {
            std::hint::black_box(Sha256::digest(bytes));
        }),
        run_parallel(contents, |bytes| {
            std::hint::black_box(Md5::digest(bytes));
        }),
        run_parallel(contents, inflate),
    ]
}

/// Seconds to read, hash (SHA-256 and MD5) and `check` all archives.
fn read_all(archives: &[PathBuf], check: impl Fn(&[u8]) + Sync) -> f64 {
    run_parallel(archives, |path| {
        let bytes = fs::read(path).expect("an archive");
        std::hint::black_box((Sha256::digest(&bytes), Md5::digest(&bytes)));
        check(&bytes);
    })
}

/// Seconds for two threads to do `work` for all items.
fn run_parallel<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) -> f64 {
    let next_index = AtomicUsize::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(item) = items.get(next_index.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
    start.elapsed().as_secs_f64()
}

/// Measures the effect of `Server.PackageRewriteCompressionLevel` and `Server.PackageRewriteBufferSize`.
fn measure_rewriting(report: &mut Report, archives: &[PathBuf]) {
    let rewrite_all = |level: u32, buffer: usize| {
        let (start, mut size) = (Instant::now(), 0);
        for path in archives {
            let bytes = fs::read(path).expect("an archive");
            let package_archive =
                archive::read(&bytes[..], None, ArchiveLimits::default()).expect("a real package");
            let options = rewrite::RewriteOptions { level, buffer, ..rewrite::RewriteOptions::default() };
            let (_, rewritten_archive) =
                rewrite::archive(&bytes[..], &package_archive, "RSPM", None, Vec::new(), options)
                    .expect("memory");
            size += rewritten_archive.len();
        }
        (start.elapsed().as_secs_f64(), size as f64)
    };
    let (base_time, base_size) = rewrite_all(6, 32 << 10);
    for (name, level, buffer) in [
        ("rewriting at level 1", 1, 32 << 10),
        ("rewriting at level 9", 9, 32 << 10),
        ("rewriting at level 6, buffer 2 MB", 6, 2 << 20),
    ] {
        let (time, size) = rewrite_all(level, buffer);
        report.row(
            name,
            format!("{:.0} ms, {:.2} × the bytes", 1e3 * time, size / base_size),
            format!("level 6, 32 kB {:.0} ms", 1e3 * base_time),
            format!("{:.2}", time / base_time),
            "—",
        );
    }
}

/// Copies every archive of the test data [`COPIES`] times; the copies of each number are adjacent.
fn copy_archives(folder: &Path) -> Vec<PathBuf> {
    let contrib = super::mirror::data().join("cran-mirror/src/contrib");
    let mut archives = Vec::new();
    for copy in 0..COPIES {
        for entry in fs::read_dir(&contrib).expect("the test data: run tests/setup").flatten() {
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
