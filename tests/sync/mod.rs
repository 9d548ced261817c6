//! Syncs: plans, faults of mirrors, and recovery after a crash.

mod backfill;
mod backfill_crash;
mod backfill_model;
mod backfill_real_packages;
mod backfill_second_records;
mod binaries;
mod bioconductor;
mod crash;
mod http;
mod mirrors;
mod refusals;

/// Runs the same test on both databases.
macro_rules! on_both_databases {
    ($($(#[doc = $doc:literal])* async fn $name:ident($engine:ident) $body:block)*) => {$(
        mod $name {
            use super::*;
            async fn run($engine: Engine) $body
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                run(Engine::Sqlite).await;
            }
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                run(Engine::Postgres).await;
            }
        }
    )*};
}
use on_both_databases;

/// Compresses the text of an index, for `src/contrib/PACKAGES.gz`.
fn gz(text: impl AsRef<[u8]>) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = rstudio_pm::r::packages::gzip(Vec::new());
    encoder.write_all(text.as_ref()).expect("writing to a Vec cannot fail");
    encoder.finish().expect("writing to a Vec cannot fail")
}

/// An index of `count` packages, `p0` to …, each of version 1.0.
fn index(count: usize) -> String {
    (0..count).map(|n| format!("Package: p{n}\nVersion: 1.0\nMD5sum: {n:032x}\n\n")).collect()
}

/// A mirror that has only an index of `count` packages.
fn small_mirror(count: usize) -> crate::support::upstream::Upstream {
    let upstream = crate::support::upstream::Upstream::empty();
    upstream.put(INDEX, gz(index(count)));
    upstream
}

const INDEX: &str = "src/contrib/PACKAGES.gz";
const CURRENT: &str = "src/contrib/Meta/current.rds";
const ARCHIVE: &str = "src/contrib/Meta/archive.rds";
