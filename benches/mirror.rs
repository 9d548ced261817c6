//! A full-size CRAN mirror without package files: 23,000 current packages, 160,000 releases, the same every time.
//!
//! Calibrated on the real index in the test data (late 2024), and made of it when it is there: names, versions,
//! dependencies. MD5 sums, sizes, dates and the archive are made up from a fixed seed.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::r::packages;
use rstudio_pm::r::rds::archive_meta::{MetaRow, write_archive_meta, write_current_meta};

/// Current packages.
pub(crate) const PACKAGES: usize = 23_000;
/// Current and archived releases.
pub(crate) const RELEASES: usize = 160_000;

/// A mirror on disk; removed on drop.
pub(crate) struct Mirror {
    folder: tempfile::TempDir,
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

impl Mirror {
    /// Writes it.
    pub(crate) fn write() -> Mirror {
        let folder = tempfile::tempdir().expect("a folder");
        let contrib = folder.path().join("src/contrib");
        fs::create_dir_all(contrib.join("Meta")).expect("folders");
        let mut random = Random(20_261_120);
        let current = records(&mut random);
        let index: Vec<u8> =
            current.iter().map(|(_, _, s)| s.as_str()).collect::<Vec<_>>().join("\n").into_bytes();
        let day =
            |random: &mut Random| Timestamp((1_300_000_000 + random.below(480_000_000) as i64) * SECOND);
        let size = |random: &mut Random| 8_000 + random.below(250_000);
        let mut listed = Vec::new();
        let mut archived = Vec::new();
        for (n, (name, version, _)) in current.iter().enumerate() {
            listed.push(MetaRow {
                package: name.clone(),
                file: format!("{name}_{version}.tar.gz"),
                size: size(&mut random),
                mtime: day(&mut random),
            });
            let left = (RELEASES - PACKAGES - archived.len()) as u64;
            let fair = left / (PACKAGES - n) as u64;
            let mut count = if n + 1 == PACKAGES { left } else { random.below(2 * fair + 1).min(left) };
            let mut at = day(&mut random).0;
            while count > 0 {
                count -= 1;
                at += 86_400 * SECOND;
                archived.push(MetaRow {
                    package: name.clone(),
                    file: format!("{name}_0.0.{}.tar.gz", 1000 - count.min(999)),
                    size: size(&mut random),
                    mtime: Timestamp(at),
                });
            }
        }
        let gz = |path: PathBuf, bytes: &[u8]| {
            let mut out = packages::gzip(fs::File::create(path).expect("a file"));
            out.write_all(bytes).expect("written");
            out.finish().expect("written");
        };
        gz(contrib.join("PACKAGES.gz"), &index);
        let mut meta = Vec::new();
        write_archive_meta(&mut meta, &archived).expect("memory");
        gz(contrib.join("Meta/archive.rds"), &meta);
        meta.clear();
        write_current_meta(&mut meta, &listed).expect("memory");
        gz(contrib.join("Meta/current.rds"), &meta);
        Mirror { folder }
    }

    /// Its `file://` address.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.folder.path().display())
    }
}

/// Name, version and record of each current package, by name.
fn records(random: &mut Random) -> Vec<(String, String, String)> {
    let text = real_index().unwrap_or_default();
    let field = |record: &str, tag: &str| {
        record.lines().find_map(|line| line.strip_prefix(tag)?.strip_prefix(": ")).map(str::to_owned)
    };
    let mut all: Vec<(String, String, String)> = text
        .split("\n\n")
        .filter_map(|record| {
            let (name, version) = (field(record, "Package")?, field(record, "Version")?);
            Some((name, version, record.trim_end().to_owned()))
        })
        .collect();
    all.sort_by(|a, b| packages::order(&a.0, &b.0));
    all.dedup_by(|a, b| a.0 == b.0);
    all.truncate(PACKAGES);
    let mut number = 0;
    while all.len() < PACKAGES {
        number += 1;
        let name = format!("zsynthetic{number:05}");
        let imports: Vec<String> =
            (0..random.below(9)).map(|_| format!("zsynthetic{:05}", random.below(600))).collect();
        let record = format!(
            "Package: {name}\nVersion: 1.{}.{}\nDepends: R (>= 3.5.0)\nImports: {}\nSuggests: testthat (>= 3.0.0), knitr, rmarkdown\nLicense: GPL-3",
            random.below(9),
            random.below(9),
            imports.join(", ")
        );
        let version = field(&record, "Version").expect("just written");
        all.push((name, version, record));
    }
    for (_, _, record) in &mut all {
        let md5 = format!("{:016x}{:016x}", random.next(), random.next());
        record.push_str(&format!("\nMD5sum: {md5}\nNeedsCompilation: no\n"));
    }
    all
}

fn real_index() -> Option<String> {
    let data = std::env::var_os("RSPM_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    let bytes = fs::read(data.join("cran-index-full/PACKAGES.gz")).ok()?;
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).ok()?;
    Some(text)
}
