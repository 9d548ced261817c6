//! The table of fuzz targets: parsers of untrusted bytes and their invariants. Used by the fuzzing program and, with
//! the committed corpus, by the integration tests.

mod advisory;
mod archive;
mod builder;
mod bundle;
mod config;
mod dump;
mod encryption;
mod index;
mod python;
mod rds;
mod text;
mod tlog;
mod web;

/// A fuzz target.
pub struct Target {
    /// The value of `FUZZ_TARGET`, and the directory of the corpus.
    pub name: &'static str,
    /// Runs the target on an input; panics when an invariant is violated.
    pub run: fn(&[u8]),
}

/// Every target, sorted by name.
pub const TARGETS: &[Target] = &[
    Target { name: "advisory_file", run: advisory::file },
    Target { name: "advisory_json", run: advisory::json },
    Target { name: "advisory_yaml", run: advisory::yaml },
    Target { name: "api_body", run: web::api_body },
    Target { name: "archive", run: archive::package },
    Target { name: "archive_decoder", run: archive::decoder },
    Target { name: "bioconductor_config", run: config::bioconductor },
    Target { name: "builder_message", run: builder::message },
    Target { name: "bundle_head", run: bundle::head },
    Target { name: "bundle_segment", run: bundle::segment },
    Target { name: "conditional", run: web::conditional },
    Target { name: "dcf", run: index::dcf },
    Target { name: "dependency", run: text::dependency },
    Target { name: "description", run: index::description },
    Target { name: "dump", run: dump::dump },
    Target { name: "encrypted_value", run: encryption::value },
    Target { name: "encryption_key", run: encryption::key },
    Target { name: "gcfg", run: config::gcfg },
    Target { name: "git_url", run: builder::git_url },
    Target { name: "history", run: index::history },
    Target { name: "layout", run: text::layout },
    Target { name: "packages", run: index::packages },
    Target { name: "python_archive", run: python::archive },
    Target { name: "python_lock", run: python::lock },
    Target { name: "python_metadata", run: python::metadata },
    Target { name: "python_page_html", run: python::page_html },
    Target { name: "python_page_json", run: python::page_json },
    Target { name: "python_provenance", run: python::provenance },
    Target { name: "python_requirements", run: python::requirements },
    Target { name: "python_text", run: python::text },
    Target { name: "python_upload", run: python::upload },
    Target { name: "rds_description", run: rds::description },
    Target { name: "rds_item", run: rds::item },
    Target { name: "rds_meta", run: rds::meta },
    Target { name: "rds_packages", run: rds::packages },
    Target { name: "route", run: web::route },
    Target { name: "score", run: advisory::score },
    Target { name: "sysreqs_file", run: config::sysreqs_file },
    Target { name: "sysreqs_rules", run: config::sysreqs_rules },
    Target { name: "time", run: text::time },
    Target { name: "tlog_audit", run: tlog::audit },
    Target { name: "tlog_note", run: tlog::note },
    Target { name: "tlog_policy", run: tlog::policy },
    Target { name: "tlog_proof", run: tlog::proof },
    Target { name: "tlog_tile", run: tlog::tile },
    Target { name: "user_agent", run: text::user_agent },
    Target { name: "version", run: text::version },
    Target { name: "zip", run: archive::zip },
    Target { name: "zip_package", run: archive::zip_package },
];

/// Splits off the first byte, which selects a variant.
fn choice(data: &[u8]) -> (u8, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (*first, rest))
}

/// Splits off the first line, without its end.
fn line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|b| *b == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[]),
    }
}
