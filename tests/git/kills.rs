//! kill -9 of the server, of builders and of git at many points: every build is published exactly once, or has failed.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{builds, repository, server, wait_for};
use crate::builder::repository::Repository;
use crate::support::kills;
use crate::support::server::Server;

/// Number of simultaneous builds, each of a separate source.
const BUILDERS: usize = 4;

/// Creates a source with a builder; its build takes `tenths` of a second longer than others.
fn create(server: &Server, number: usize) -> (String, Repository) {
    let name = format!("s{number}");
    server.rspm_stdout(&format!("create source --name={name} --type=git"));
    let repository = repository("1.0");
    let tenths = number * 4;
    let script = format!("#!/bin/sh\nsleep {}.{}\n", tenths / 10, tenths % 10);
    let cleanup = repository.write("cleanup", &script);
    std::fs::set_permissions(cleanup, PermissionsExt::from_mode(0o755)).unwrap();
    repository.commit();
    server.rspm_stdout(&format!("create git-builder --source={name} --url={}", repository.url()));
    (name, repository)
}

/// Commits this version to all repositories and polls them; returns the commits.
fn commit_all(server: &Server, sources: &[(String, Repository)], version: &str) -> Vec<String> {
    let commit = |(name, repository): &(String, Repository)| {
        repository.package("", version);
        let commit = repository.commit();
        server.rspm_stdout(&format!("run git-builder --source={name} --name=tested --no-wait"));
        commit
    };
    sources.iter().map(commit).collect()
}

/// Waits until the builds of these commits have ended, and asserts that each was published at most once.
fn check_all(
    server: &Server,
    sources: &[(String, Repository)],
    commits: &[String],
    version: &str,
) -> Vec<Value> {
    let ended = wait_for("all builds end", || {
        let all = builds(server);
        let of =
            |commit: &String| all.iter().filter(|b| b["commit"] == **commit).cloned().collect::<Vec<_>>();
        let found: Vec<Vec<Value>> = commits.iter().map(of).collect();
        let is_final = |build: &Value| ["published", "failed"].contains(&build["state"].as_str().unwrap());
        found.iter().all(|list| !list.is_empty() && list.iter().all(is_final)).then_some(found)
    });
    for (((name, _), commit), found) in sources.iter().zip(commits).zip(&ended) {
        assert_eq!(found.len(), 1, "{name} {commit}: {found:?}");
        let build = &found[0];
        let transactions = server.get(&format!("/__api__/sources/{name}/transactions")).json();
        let published = transactions
            .as_array()
            .unwrap()
            .iter()
            .filter(|t| t["packages_updated"] == 1 || t["packages_added"] == 1);
        // One for each version.
        let count: usize = version.rsplit('.').next().unwrap().parse().unwrap();
        let is_published = build["state"] == "published";
        assert!(is_published || build["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{build}");
        assert!(published.count() <= count + 1, "{name}: {transactions}");
        assert!(build["transaction"].is_i64() || !is_published, "{build}");
    }
    ended.into_iter().flatten().collect()
}

/// Kills the processes of this machine whose first words are these and which belong to a build of the server.
fn kill_descendants(server: &Server, pattern: &str) -> usize {
    let mut killed = 0;
    let mut parents = vec![server.pid().to_string()];
    while let Some(parent) = parents.pop() {
        let Ok(tasks) = std::fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            parents.extend(children.split_whitespace().map(str::to_owned));
        }
        let command = std::fs::read(format!("/proc/{parent}/cmdline")).unwrap_or_default();
        if parent != server.pid().to_string()
            && String::from_utf8_lossy(&command).replace('\0', " ").starts_with(pattern)
        {
            let pid = nix::unistd::Pid::from_raw(parent.parse().unwrap());
            killed += usize::from(nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok());
        }
    }
    killed
}

/// Kills these processes from the first one on for this time. Returns false if there is none in five seconds.
fn kill_for(server: &Server, pattern: &str, time: Duration) -> bool {
    let (begin, mut first_kill) = (Instant::now(), None::<Instant>);
    while first_kill.is_none_or(|at| at.elapsed() < time) {
        if kill_descendants(server, pattern) > 0 {
            first_kill.get_or_insert_with(Instant::now);
        } else if first_kill.is_none() && begin.elapsed() > Duration::from_secs(5) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
    true
}

#[test]
fn builds_of_a_server_that_is_killed_at_any_time_are_published_once() {
    let mut server = server("PollInterval = 1h\nBuildConcurrency = 4\nBuildRetries = 9");
    let sources: Vec<_> = (0..BUILDERS).map(|number| create(&server, number)).collect();
    let points = kills::points(2);
    let mut repeated = 0;
    for point in 0..points {
        let version = format!("1.{}", point + 1);
        let commits = commit_all(&server, &sources, &version);
        // From the beginning of the first fetch until the last builds are published.
        let pause = Duration::from_millis(300 + u64::from(point) * 2500 / u64::from(points));
        let until = Instant::now() + pause;
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
        server.kill();
        server.launch();
        let ended = check_all(&server, &sources, &commits, &version);
        for build in &ended {
            assert_eq!(build["state"], "published", "{build}");
        }
        repeated += ended.iter().filter(|build| build["attempt"] != 1).count();
    }
    assert!(repeated > 0, "no build was interrupted");
    for (name, _) in &sources {
        let transactions = server.get(&format!("/__api__/sources/{name}/transactions")).json();
        assert_eq!(
            transactions.as_array().map(Vec::len),
            Some(points as usize + 1),
            "{name}: {transactions}"
        );
    }
}

#[test]
fn builds_whose_programs_are_killed_are_repeated_or_fail_with_the_reason() {
    let server = server("PollInterval = 1h\nBuildConcurrency = 4\nBuildRetries = 3");
    let sources: Vec<_> = (0..BUILDERS).map(|number| create(&server, number)).collect();
    // A commit that could not be fetched by its name is fetched again by that of its branch: git is killed for two seconds.
    let patterns = [("/usr/bin/bwrap", 0), ("git ", 2), ("/usr/lib/R/bin/exec/R", 0)];
    let mut number = 0;
    for (pattern, seconds) in patterns {
        let (version, commits) = loop {
            number += 1;
            let version = format!("1.{number}");
            let commits = commit_all(&server, &sources, &version);
            if kill_for(&server, pattern, Duration::from_secs(seconds)) {
                break (version, commits);
            }
            // On a busy machine, git may end before it is found.
            check_all(&server, &sources, &commits, &version);
            assert!(number < 20, "no process {pattern} runs");
        };
        let ended = check_all(&server, &sources, &commits, &version);
        let affected = |b: &&Value| b["attempt"] != 1 || b["state"] == "failed";
        for build in ended.iter().filter(affected) {
            println!("{pattern}: {} in attempt {}: {}", build["state"], build["attempt"], build["reason"]);
        }
        assert!(ended.iter().any(|b| affected(&b)), "{pattern}: {ended:?}");
    }
}
