//! The cost of tokens: requests with a valid token against the same requests without, refused tokens against
//! a 401 that needs no look-up, the memory of 100,000 tokens, and one decision about a permission.

use std::time::Instant;

use rstudio_pm::access::{self, Action, Actor, Grant, Object, Scope, Selection};
use rstudio_pm::config;
use rstudio_pm::db::{Db, token};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::ids::{Identity, RepoId};
use rstudio_pm::model::time::Timestamp;

use super::nginx::{fetch, wrk, wrk_refused};
use super::report::Report;
use super::server::Server;
use super::serving::small_mirror;

const ROUNDS: usize = 5;
const SECONDS: u32 = 2;
const CONNECTIONS: u32 = 64;
const TOKENS: usize = 100_000;
const FILE: &str = "/bench/latest/src/contrib/kb1_1.0.0.tar.gz";
/// A token with a valid checksum, which no server has issued.
const UNKNOWN: &str = "rspm_000000000000000000000000000000";

pub(crate) fn run(report: &mut Report) {
    let server = Server::start(&format!("[CRAN]\nURL = {}", small_mirror()));
    server.create_repository(&[("kb1", 400)]);
    server.rspm(&["create", "repo", "--name=private", "--authenticated"]);
    let create = ["create", "token", "--scope=repos:read", "--repos=*", "--description=bench", "--quiet"];
    let token = server.rspm(&create).trim().to_owned();
    let folder = server.folder();
    server.stop();
    let (server, before) = start_again(folder.clone());
    compare_requests(report, &server, &token, "");
    server.stop();
    insert_tokens(folder.path());
    let (server, after) = start_again(folder);
    report.row(
        format!("memory of {TOKENS} tokens"),
        format!("{:.0} MB", after - before),
        format!("{before:.0} MB without"),
        format!("{:.1}", after / before),
        "≤ 40 MB",
    );
    compare_requests(report, &server, &token, ", 100,000 tokens");
    check_permissions(report);
}

/// Starts the server on its data; returns its private memory in MB after one request.
fn start_again(folder: std::sync::Arc<tempfile::TempDir>) -> (Server, f64) {
    let server = Server::start_in(folder, &format!("[CRAN]\nURL = {}", small_mirror()));
    fetch(&server.url(FILE), &server.path().join("copy"));
    let memory = server.memory("RssAnon");
    (server, memory)
}

/// Runs a measurement and its reference alternately; returns the results of the round with the median ratio.
fn rounds(mut measure: impl FnMut() -> f64, mut reference: impl FnMut() -> f64) -> (f64, f64) {
    let mut rounds: Vec<(f64, f64)> = (0..ROUNDS)
        .map(|round| {
            if round % 2 == 0 {
                let rate = measure();
                (rate, reference())
            } else {
                let rate = reference();
                (measure(), rate)
            }
        })
        .collect();
    rounds.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
    rounds[ROUNDS / 2]
}

fn compare_requests(report: &mut Report, server: &Server, token: &str, suffix: &str) {
    let url = server.url(FILE);
    let tag = fetch(&url, &server.path().join("copy"));
    let authorization = format!("Authorization: Bearer {token}");
    for (name, condition) in [("1 kB file", Vec::new()), ("304", vec![format!("If-None-Match: {tag}")])] {
        let with_token = [condition.clone(), vec![authorization.clone()]].concat();
        let (value, reference) = rounds(
            || wrk(&url, CONNECTIONS, SECONDS, &with_token),
            || wrk(&url, CONNECTIONS, SECONDS, &condition),
        );
        report.row(
            format!("{name} with a token, {CONNECTIONS} connections{suffix}"),
            format!("{value:.0}/s"),
            format!("without {reference:.0}/s"),
            format!("{:.2}", value / reference),
            "≥ 0.95",
        );
    }
    let url = server.url("/private/latest/src/contrib/PACKAGES");
    let unknown = vec![format!("Authorization: Bearer {UNKNOWN}{}", checksum())];
    let (value, reference) = rounds(
        || wrk_refused(&url, CONNECTIONS, SECONDS, &unknown),
        || wrk_refused(&url, CONNECTIONS, SECONDS, &[]),
    );
    report.row(
        format!("401 for an unknown token, {CONNECTIONS} connections{suffix}"),
        format!("{value:.0}/s"),
        format!("401 without a token {reference:.0}/s"),
        format!("{:.2}", value / reference),
        "≥ 0.9",
    );
}

/// The checksum of [`UNKNOWN`]: CRC-32 of its 30 characters, in base 62.
fn checksum() -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut crc = flate2::Crc::new();
    crc.update(&UNKNOWN.as_bytes()["rspm_".len()..]);
    let mut rest = crc.sum() as usize;
    let mut digits = vec![0; 6];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % 62];
        rest /= 62;
    }
    String::from_utf8(digits).expect("ASCII")
}

/// Writes tokens into the database of a stopped server.
fn insert_tokens(folder: &std::path::Path) {
    let text = std::fs::read(folder.join("rstudio-pm.gcfg")).expect("the server's");
    let config = config::parse("bench.gcfg", &text, []).expect("a configuration").config;
    let db = Db::open(&config).expect("a database");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    for chunk in 0..TOKENS / 1_000 {
        let write = db.write(move |c| {
            for number in 0..1_000 {
                let mut digest = [0; 32];
                digest[..8].copy_from_slice(&(chunk * 1_000 + number).to_be_bytes());
                // The digests are distributed like those of real tokens.
                digest[31] = u8::try_from(number % 251).unwrap_or(0);
                let new = token::NewToken {
                    guid: Identity(rand::random()),
                    digest: Sha256(digest),
                    excerpt: "rspm_abcd…wxyz".to_owned(),
                    user: format!("user{number}@example.org"),
                    description: "bench".to_owned(),
                    created_by: "bench".to_owned(),
                    expires_at: None,
                    scopes: vec![token::ScopeRow { scope: "repos:read".to_owned(), object: 1 }],
                };
                token::create(c, &new, Timestamp(0))?;
            }
            Ok(())
        });
        runtime.block_on(write).expect("written");
    }
    db.close();
}

fn check_permissions(report: &mut Report) {
    const CHECKS: u32 = 10_000_000;
    let repositories = (1..=10).map(RepoId).collect();
    let grant = Grant::new(vec![Scope::ReposRead(Selection::Only(repositories))]);
    let start = Instant::now();
    for number in 0..CHECKS {
        let object = Object::Repository { id: RepoId(i64::from(number % 20)), authenticated: true };
        let result = access::permit(Actor::Token(&grant), Action::Read, std::hint::black_box(object));
        let _ = std::hint::black_box(result);
    }
    let nanoseconds = start.elapsed().as_secs_f64() * 1e9 / f64::from(CHECKS);
    report.row("one decision about a permission", format!("{nanoseconds:.0} ns"), "—", "—", "≤ 1 µs");
}
