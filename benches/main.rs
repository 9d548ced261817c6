//! The performance targets: `make bench` prints ratios measured in one run rather than absolute times.
//!
//! Every measurement is relative to a reference measured in turn with it, so that a busy machine slows down both.
//! `make bench ARGS="serving index"` runs only these groups. Absolute values are printed for orientation.

#![allow(clippy::unwrap_used, reason = "a panic ends the benchmark with its location")]

mod access;
mod adding;
mod admin;
mod answers;
mod attacks;
mod backing_up;
mod builders;
mod bundle;
mod closure;
mod clustering;
mod cpu;
mod folder;
mod git_server;
mod growth;
mod history;
mod history_large;
mod history_proofs;
mod importing;
mod index;
mod migrating;
mod mirror;
mod negotiating;
mod nginx;
mod pages;
mod pages_cold;
mod pypi;
mod python_index;
mod python_peers;
mod report;
mod resolving;
mod rules;
mod scrubbing;
mod server;
mod serving;
mod soak;
mod starting;
mod tls;
mod uploading;
mod wheel;

#[path = "../tests/support/helper_program.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod helper_program;

#[path = "../tests/support/port.rs"]
mod port;

#[path = "../tests/support/postgres.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod postgres;

#[path = "../tests/support/postgres_proxy.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod postgres_proxy;

#[path = "../tests/support/zip.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod zip;

use report::Report;

/// The allocator of the daemon, for measurements in this process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Group = (&'static str, fn(&mut Report));

/// Runs only on request: it takes an hour.
const SOAK: Group = ("soak", soak::run);

const GROUPS: [Group; 27] = [
    ("serving", serving::run),
    ("tls", tls::run),
    ("attacks", attacks::run),
    ("negotiating", negotiating::run),
    ("index", index::run),
    ("importing", importing::run),
    ("migrate", migrating::run),
    ("backup", backing_up::run),
    ("scrub", scrubbing::run),
    ("builders", builders::run),
    ("cluster", clustering::run),
    ("folder", folder::run),
    ("adding", adding::run),
    ("starting", starting::run),
    ("answers", answers::run),
    ("pages", pages::run),
    ("bundle", bundle::run),
    ("access", access::run),
    ("pypi", pypi::run),
    ("pages-cold", pages_cold::run),
    ("upload", uploading::run),
    ("peers", python_peers::run),
    ("resolving", resolving::run),
    ("closure", closure::run),
    ("rules", rules::run),
    ("growth", growth::run),
    ("history", history::run),
];

fn main() {
    // cargo passes --bench.
    let selected: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let mut report = Report::new();
    let is_selected = |name: &str| selected.iter().any(|group| group == name);
    for (name, run) in GROUPS.into_iter().chain([SOAK]) {
        if is_selected(name) || selected.is_empty() && name != SOAK.0 {
            eprintln!("… {name}");
            run(&mut report);
        }
    }
    report.print();
}
