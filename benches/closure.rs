//! Closures of dependencies over the full index.

use std::time::Instant;

use rstudio_pm::r::closure::{ClosureRoot, DependencyClosure, DependencyIndex, Kinds};
use rstudio_pm::r::description::Description;
use rstudio_pm::r::packages;

use super::mirror::data;
use super::report::{Report, median};

const ROUNDS: usize = 21;
const ROOTS: usize = 500;

pub(crate) fn run(report: &mut Report) {
    let path = data().join("cran-index-full/PACKAGES.gz");
    let compressed_index = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = packages::decode_text(&compressed_index, 1 << 30).expect("an index");
    let records: Vec<_> = packages::records(&text).map(|record| record.expect("a record")).collect();
    let start = Instant::now();
    let mut index = DependencyIndex::default();
    for record in &records {
        let description = Description::from_bytes(record.stanza).expect("a record");
        index.insert(record.package, record.version, &description);
    }
    let time = format!("{:.0} ms", start.elapsed().as_secs_f64() * 1e3);
    let count = records.len();
    report.row(format!("reading the dependencies of {count} packages"), time.clone(), "—", time, "—");
    let step = (count / ROOTS).max(1);
    for (name, kinds) in [("", Kinds::STRONG), (" and what they suggest", Kinds::MOST)] {
        let roots: Vec<ClosureRoot<'_>> = records
            .iter()
            .step_by(step)
            .take(ROOTS)
            .map(|record| ClosureRoot { name: record.package, kinds })
            .collect();
        let mut members = 0;
        let times = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            let DependencyClosure { members: all, .. } =
                std::hint::black_box(index.closure(&roots, Kinds::STRONG));
            let time = start.elapsed().as_secs_f64() * 1e3;
            members = all.len();
            time
        });
        let time = format!("{:.2} ms", median(times.collect()));
        let row = format!("closure of {} packages{name} over {count} ({members} packages)", roots.len());
        report.row(row, time.clone(), "—", time, "≤ 15 ms");
    }
}
