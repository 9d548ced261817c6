//! Proofs of the log of history: the root of a state, the end of a day, answers over HTTP, and verification by three
//! programs.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sha2::{Digest, Sha256};

use rstudio_pm::config::{EncryptionKey, KeySource, key_file};
use rstudio_pm::edit::{self, Actor};
use rstudio_pm::history::{self, History};
use rstudio_pm::model::rule_effect::RuleEffect;
use rstudio_pm::model::snapshot::Snapshot;
use rstudio_pm::model::time::{Clock, Timestamp};
use rstudio_pm::policy::{Criteria, Rule};
use rstudio_pm::r::layout::IndexFormat;
use rstudio_pm::serve::document::DocumentRequest;
use rstudio_pm::serve::r::document::RDocument;
use rstudio_pm::serve::{self, point};
use rstudio_pm::state::State;
use rstudio_pm::tlog::record_proof::records_of;
use rstudio_pm::tlog::tree::Root;

use super::admin::Admin;
use super::history::{add_upstream, is_cosigned, status, wait_for, witness_key};
use super::mirror::Mirror;
use super::nginx::fetch;
use super::report::{Report, median};
use super::scrubbing::seconds;
use super::server::{Server, package};
use super::{answers, cpu, index};

const ROUNDS: usize = 41;
/// Rounds of programs.
const RUNS: usize = 5;
const DAYS: usize = 3;
const REPOSITORIES: usize = 10;
/// Number of packages of a small repository.
const SMALL: usize = 60;
const DAY: i64 = 86_400_000_000;

/// Proofs over HTTP and their verification: of a repository with CRAN and of a small one, both promoted.
pub(crate) fn measure_answers(report: &mut Report, server: &Server, witnesses: &[(&str, Server)]) {
    server.rspm(&["create", "source", "--name=small"]);
    let files = (0..SMALL).map(|number| package(server.path(), &format!("small{number}"), 500));
    let files: Vec<_> = files.map(|file| file.display().to_string()).collect();
    server.rspm(&["add", "--source=small", &format!("--path={}", files.join(","))]);
    server.rspm(&["create", "repo", "--name=small"]);
    server.rspm(&["subscribe", "--repo=small", "--source=small"]);
    let [small, large] = [("small", "prod-small"), ("bench", "prod")].map(|(from, to)| {
        server.rspm(&["create", "repo", &format!("--name={to}"), "--changes=promotion"]);
        server.rspm(&["promote", &format!("--from={from}"), &format!("--to={to}")]);
        let transaction = wait_for(&mut Admin::connect(server), is_cosigned)["transaction"].clone();
        format!("/{to}/{transaction}/src/contrib")
    });
    let index = server.path().join("PACKAGES");
    fetch(&server.url(&format!("{large}/PACKAGES")), &index);
    let text = fs::read_to_string(&index).expect("just fetched");
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name)).expect("a record");
    let file = format!("{}_{}.tar.gz", field("Package: "), field("Version: "));
    let count = text.lines().filter(|line| line.starts_with("Package: ")).count();
    for (name, path) in [
        (format!("PACKAGES.proof, {count} packages"), format!("{large}/PACKAGES.proof")),
        (format!("proof of a package of {SMALL}"), format!("{small}/small7_1.0.0.tar.gz.proof")),
        (format!("proof of a package of {count}"), format!("{large}/{file}.proof")),
    ] {
        let (mut times, mut ping_times, mut size) = (vec![], vec![], 0);
        for _ in 0..ROUNDS {
            times.push(seconds(|| size = answers::get(server, &path)));
            ping_times.push(seconds(|| _ = answers::get(server, "/__ping__")));
        }
        let (time, ping_time) = (median(times), median(ping_times));
        report.row(
            format!("{name} over HTTP ({size} bytes)"),
            format!("{:.2} ms", 1e3 * time),
            format!("`/__ping__` {:.2} ms", 1e3 * ping_time),
            format!("{:.1}", time / ping_time),
            "≤ 3",
        );
    }
    let policy = server.path().join("policy");
    fs::write(&policy, policy_text(server, witnesses)).expect("written");
    let transaction = large.split('/').nth(2).expect("a transaction");
    let (proof, index_proof) = (server.path().join("proof"), server.path().join("index-proof"));
    fetch(&server.url(&format!("{large}/{file}.proof")), &proof);
    fetch(&server.url(&format!("{large}/PACKAGES.proof")), &index_proof);
    let options = |program: &[&str], proof: &Path| {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(proof).arg("--policy").arg(&policy);
        command.args(["--repo", "prod", "--snapshot", transaction]);
        command
    };
    let rspm = env!("CARGO_BIN_EXE_rspm");
    for (name, program, start, targets) in [
        ("rspm", &[rspm, "history", "verify"][..], &[rspm, "--version"][..], ["≤ 20 ms", "≤ 0.1 s"]),
        (
            "Python",
            &["python3", "docs/verify/verify.py"][..],
            &["python3", "-c", ""][..],
            ["≤ 0.3 s", "≤ 0.5 s"],
        ),
        ("R", &["Rscript", "docs/verify/verify.R"][..], &["Rscript", "-e", "0"][..], ["≤ 1 s", "≤ 2 s"]),
    ] {
        let mut whole = options(program, &index_proof);
        whole.arg("--packages").arg(&index);
        let mut one = options(program, &proof);
        let mut start_command = Command::new(start[0]);
        start_command.args(&start[1..]);
        let mut times = [vec![], vec![], vec![]];
        let mut cpu_times = times.clone();
        for _ in 0..RUNS {
            for (position, command) in [&mut one, &mut whole, &mut start_command].into_iter().enumerate() {
                let elapsed = seconds(|| cpu_times[position].push(cpu::seconds_of_command(command)));
                times[position].push(elapsed);
            }
        }
        let ([one, whole, start], [one_cpu, whole_cpu, _]) = (times.map(median), cpu_times.map(median));
        for (what, time, cpu_time, target) in [
            (format!("one proof with two cosignatures verified by {name}"), one, one_cpu, targets[0]),
            (format!("PACKAGES of {count} packages verified by {name}"), whole, whole_cpu, targets[1]),
        ] {
            report.row(
                format!("{what}, the process"),
                format!("{:.0} ms, {:.0} ms CPU", 1e3 * time, 1e3 * cpu_time),
                format!("its start alone {:.0} ms", 1e3 * start),
                format!("{:.1}", time / start),
                target,
            );
        }
    }
}

/// A policy that requires the cosignatures of all witnesses.
fn policy_text(server: &Server, witnesses: &[(&str, Server)]) -> String {
    let key = status(&mut Admin::connect(server))["key"].as_str().expect("a key").to_owned();
    let lines = witnesses.iter().map(|(name, server)| format!("witness {name} {}\n", witness_key(server)));
    let names: Vec<&str> = witnesses.iter().map(|(name, _)| *name).collect();
    format!(
        "log {key}\n{}group all-of-them all {}\nquorum all-of-them\n",
        lines.collect::<String>(),
        names.join(" ")
    )
}

/// CPU time of the root of a state, and of the entries of a day.
pub(crate) fn measure_states(report: &mut Report, mirror: &Mirror) {
    let text = answers::index(mirror.path());
    let (mut root_times, mut flat_times, mut ratios) = (vec![], vec![], vec![]);
    let mut count = 0;
    for _ in 0..ROUNDS {
        let (root_time, root) = cpu::seconds_of(|| Root::of(records_of(text.as_bytes())));
        let (flat_time, _) = cpu::seconds_of(|| std::hint::black_box(Sha256::digest(text.as_bytes())));
        count = root.count;
        ratios.push(root_time / flat_time);
        root_times.push(root_time);
        flat_times.push(flat_time);
    }
    report.row(
        format!("root of {count} records, {:.1} MB, CPU", text.len() as f64 / 1e6),
        format!("{:.1} ms", 1e3 * median(root_times)),
        format!("SHA-256 of the text {:.1} ms", 1e3 * median(flat_times)),
        format!("{:.1}", median(ratios)),
        "≤ 4",
    );
    end_days(report, mirror);
}

/// The entries of days with ten repositories of CRAN, which changes each day, in this process, against one cold index of the
/// same packages: all with the same state, and each with a block rule and so a state of its own.
fn end_days(report: &mut Report, mirror: &Mirror) {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let guard = runtime.enter();
    let time = Arc::new(AtomicI64::new(jiff::Timestamp::now().as_microsecond()));
    let clock: Clock = {
        let time = Arc::clone(&time);
        Arc::new(move || Timestamp(time.load(Ordering::SeqCst)))
    };
    let state = runtime.block_on(index::open(folder.path(), "", mirror, clock));
    let mut config = (*state.config.load_full()).clone();
    let key = key_file::random().expect("random bytes");
    config.encryption_key = Some(Arc::new(EncryptionKey { key, source: KeySource::Environment }));
    state.config.store(Arc::new(config));
    let repositories = index::repositories(&state);
    let history = History::new(Arc::clone(&repositories), Arc::clone(&state));
    let write = || runtime.block_on(history::write_all(&history)).expect("written");
    let entries = || {
        let status = runtime.block_on(history::status(&history)).expect("read");
        status.expect("a log").entries
    };
    runtime.block_on(async {
        for number in 1..REPOSITORIES {
            index::create_repository(&state, &format!("bench{number}")).await;
        }
        let origin = Some("bench.example.org/__log__".to_owned());
        assert!(history::init(&history, origin, false).await.expect("a log"));
    });
    for (states, what) in [(1, "the same state"), (REPOSITORIES, "a block rule each")] {
        if states > 1 {
            runtime.block_on(create_rules(&state));
        }
        let (mut times, mut index_times, mut elapsed_times) = (vec![], vec![], vec![]);
        for day in 0..DAYS {
            add_upstream(mirror, &format!("zzz{states}x{day}"));
            runtime.block_on(index::sync(&state));
            write();
            time.fetch_add(DAY, Ordering::SeqCst);
            runtime.block_on(point::close_past_days(&repositories));
            let before = entries();
            elapsed_times.push(seconds(|| times.push(cpu::seconds_of(write).0)));
            assert_eq!(entries() - before, REPOSITORIES as u64);
            // New `Repositories` have empty caches.
            let cold = index::repositories(&state);
            let read = async {
                let point = point::resolve(&cold, "bench", Snapshot::Latest).await.expect("a point");
                let request = DocumentRequest::new(point, RDocument::Packages(IndexFormat::Gz));
                serve::index::document(&cold, &request).await.expect("an index")
            };
            index_times.push(cpu::seconds_of(|| runtime.block_on(read)).0);
        }
        let (time, index_time) = (median(times), median(index_times));
        report.row(
            format!("end of a day, {REPOSITORIES} repositories with CRAN, {what}, CPU"),
            format!("{time:.2} s; elapsed {:.2} s", median(elapsed_times)),
            format!("one cold gz index {index_time:.2} s"),
            format!("{:.1}", time / index_time),
            "≤ 1 s",
        );
    }
    let db = state.db.clone();
    drop(guard);
    drop((history, repositories, state, runtime));
    db.close();
}

/// Creates a block rule for each repository.
async fn create_rules(state: &State) {
    let catalog = state.catalog.get();
    let rules = catalog.repos.iter().map(|repo| {
        let criteria =
            Criteria { package: Some("abind".to_owned()), repo: Some(repo.id), ..Criteria::default() };
        Rule { id: 0, priority: 100, effect: RuleEffect::Block, criteria, description: String::new() }
    });
    let actor = Actor("bench".to_owned());
    edit::block_rule::create(state, &rules.collect::<Vec<_>>(), &actor).await.expect("rules");
}
