//! A mirror of the size of CRAN, with the same bytes in every run: 23,000 listed packages, 137,000 archived releases.
//!
//! Names, versions and dependencies are those of a real index if one is given, otherwise generated. Tests and
//! benchmarks include this file (`#[path]`), so it uses no other module of theirs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::r::packages;
use rstudio_pm::r::rds::archive_meta::{MetaRow, write_archive_meta, write_current_meta};

/// Size of a mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Packages in the index.
    pub(crate) listed_count: usize,
    /// Releases in `Archive/`.
    pub(crate) archived_count: usize,
}

/// CRAN as it is in 2026.
#[allow(dead_code, reason = "the benchmarks use it")]
pub(crate) const CRAN: Size = Size { listed_count: 23_000, archived_count: 137_000 };

/// The earliest time of a file: 2012-01-01.
const BEGIN: i64 = 1_325_376_000;

/// Writes `src/contrib/PACKAGES.gz` and `src/contrib/Meta/{current,archive}.rds` below `root`; no package files.
/// `index` is the `PACKAGES.gz` of a real repository.
pub(crate) fn write(root: &Path, size: Size, index: Option<&Path>) -> io::Result<()> {
    let mut random = Random(0x5EED);
    let listed = listed_packages(size.listed_count, index, &mut random)?;
    let contrib = root.join("src/contrib");
    fs::create_dir_all(contrib.join("Meta"))?;

    let stanzas: Vec<Vec<u8>> = listed.iter().map(|package| package.stanza.clone()).collect();
    let mut gz = packages::gzip(Vec::new());
    packages::render(&mut gz, &stanzas)?;
    fs::write(contrib.join("PACKAGES.gz"), gz.finish()?)?;

    let mut current = Vec::with_capacity(listed.len());
    let mut archive = Vec::with_capacity(size.archived_count);
    for (position, package) in listed.iter().enumerate() {
        // Each package gets a random number around its share, and the last one the rest.
        let share = (size.archived_count * (position + 1) / listed.len()).saturating_sub(archive.len());
        let is_last = position + 1 == listed.len();
        let remaining = size.archived_count - archive.len();
        let count = if is_last { remaining } else { random.below(2 * share + 1).min(remaining) };
        let newest = BEGIN + random.below(440_000_000) as i64;
        for release in 0..count {
            archive.push(MetaRow {
                package: package.name.clone(),
                file: format!("{}_0.{}.{release}.tar.gz", package.name, release / 10),
                size: 2_000 + random.below(3_000_000) as u64,
                mtime: Timestamp((newest - (count - release) as i64 * 5_000_000) * SECOND),
            });
        }
        current.push(MetaRow {
            package: package.name.clone(),
            file: format!("{}_{}.tar.gz", package.name, package.version),
            size: 2_000 + random.below(3_000_000) as u64,
            mtime: Timestamp(newest * SECOND),
        });
    }
    let compress = |write: &dyn Fn(&mut Vec<u8>) -> io::Result<()>| -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        write(&mut bytes)?;
        let mut gz = packages::gzip(Vec::new());
        gz.write_all(&bytes)?;
        gz.finish()
    };
    fs::write(contrib.join("Meta/current.rds"), compress(&|writer| write_current_meta(writer, &current))?)?;
    fs::write(contrib.join("Meta/archive.rds"), compress(&|writer| write_archive_meta(writer, &archive))?)
}

struct Package {
    name: String,
    version: String,
    stanza: Vec<u8>,
}

/// The packages of `index`, followed by generated ones, `count` in total.
fn listed_packages(count: usize, index: Option<&Path>, random: &mut Random) -> io::Result<Vec<Package>> {
    let bytes = index.map(fs::read).transpose()?.unwrap_or_default();
    let text = packages::decode_text(&bytes, 1 << 30).map_err(io::Error::other)?;
    let mut listed = Vec::with_capacity(count);
    let mut names = BTreeSet::new();
    for record in packages::records(&text).take(count) {
        let record = record.map_err(io::Error::other)?;
        if record.path.is_none() && names.insert(record.package.to_owned()) {
            let mut stanza = record.stanza.to_vec();
            if record.md5.is_none() {
                let compiled = if random.below(4) == 0 { "yes" } else { "no" };
                let fields = format!("\nMD5sum: {}\nNeedsCompilation: {compiled}", random.md5());
                stanza.truncate(stanza.trim_ascii_end().len());
                stanza.extend(fields.bytes());
            }
            let (name, version) = (record.package.to_owned(), record.version.to_owned());
            listed.push(Package { name, version, stanza });
        }
    }
    let mut number = 0;
    while listed.len() < count {
        number += 1;
        let name = format!("synth{}{number}", ["stat", "viz", "Bio", "geo", "ml"][number % 5]);
        if !names.insert(name.clone()) {
            continue;
        }
        let version = format!("{}.{}.{}", 1 + random.below(4), random.below(12), random.below(30));
        let dependency = |random: &mut Random| {
            let bound = listed.len().max(1);
            listed
                .get(random.below(bound))
                .map_or("methods".to_owned(), |package: &Package| package.name.clone())
        };
        let imports: Vec<String> = (0..1 + random.below(6)).map(|_| dependency(random)).collect();
        let stanza = format!(
            "Package: {name}\nVersion: {version}\nDepends: R (>= 3.5.0)\nImports: {}\nSuggests: testthat (>= 3.0.0), \
             knitr, rmarkdown\nLicense: MIT + file LICENSE\nMD5sum: {}\nNeedsCompilation: no",
            imports.join(", "),
            random.md5()
        );
        listed.push(Package { name, version, stanza: stanza.into_bytes() });
    }
    Ok(listed)
}

/// A linear congruential generator (Knuth's MMIX): the same numbers on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 20
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn md5(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }
}
