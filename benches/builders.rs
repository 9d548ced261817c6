//! Builds from git in bubblewrap: their effect on the response times of requests, and the processor time of polls.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::git_server;
use super::report::{Report, median};
use super::scrubbing::{add, p99};
use super::server::Server;

/// Number of builders that are polled, and their interval in seconds during the measurement and by default.
const BUILDERS: usize = 500;
const INTERVAL: f64 = 60.0;
const DEFAULT_INTERVAL: f64 = 300.0;

pub(crate) fn run(report: &mut Report) {
    // The sandbox reads repositories as another user.
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("our own folder");
    measure_requests(folder.path(), report);
    measure_polls(folder.path(), None, report);
    let address = git_server::start(folder.path().to_owned());
    measure_polls(folder.path(), Some(address), report);
}

fn gcfg(interval: &str) -> String {
    format!("[Git]\nSandbox = bubblewrap\nLocalPaths = /tmp\nPollInterval = {interval}\nBuildTimeout = 30m")
}

/// Creates a repository with a package; `cleanup` is a script that R runs before the build.
fn repository(folder: &Path, name: &str, cleanup: Option<&str>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir(&path).expect("a new folder");
    let description = format!("Package: {name}\nVersion: 1.0\nTitle: T\nDescription: D.\nLicense: MIT\n");
    fs::write(path.join("DESCRIPTION"), description).expect("written");
    if let Some(script) = cleanup {
        fs::write(path.join("cleanup"), script).expect("written");
        fs::set_permissions(path.join("cleanup"), PermissionsExt::from_mode(0o755)).expect("written");
    }
    for words in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--message=x"],
    ] {
        let status = Command::new("git").args(words).current_dir(&path).status();
        assert!(status.is_ok_and(|status| status.success()), "git {words:?}");
    }
    path
}

/// The 99th percentile of response times without builds and while two builds use all processors, measured
/// alternately.
fn measure_requests(folder: &Path, report: &mut Report) {
    let server = Server::start(&gcfg("1h"));
    server.rspm(&["create", "source", "--name=team"]);
    server.rspm(&["create", "repo", "--name=bench"]);
    server.rspm(&["subscribe", "--repo=bench", "--source=team"]);
    add(&server, 100_000, 50);
    server.rspm(&["create", "source", "--name=dev", "--type=git"]);
    let names = ["busya", "busyb"];
    for name in names {
        repository(folder, name, Some("#!/bin/sh\nwhile :; do :; done\n"));
    }
    let (mut times_without, mut times_with) = (vec![], vec![]);
    for _ in 0..3 {
        times_without.push(p99(&server));
        for name in names {
            let url = format!("--url=file://{}/{name}", folder.display());
            server.rspm(&["create", "git-builder", "--source=dev", &url, "--no-wait"]);
        }
        let limit = Instant::now() + Duration::from_secs(60);
        while server.rspm(&["list", "git-builds", "--count=2"]).matches("building").count() < 2 {
            assert!(Instant::now() < limit, "two builds run");
            std::thread::sleep(Duration::from_millis(200));
        }
        times_with.push(p99(&server));
        for name in names {
            server.rspm(&["delete", "git-builder", "--source=dev", &format!("--name={name}")]);
        }
        // A build ends with the next renewal of its claim.
        std::thread::sleep(Duration::from_secs(12));
    }
    let (time_without, time_with) = (median(times_without), median(times_with));
    report.row(
        "500 requests/s of a 100 kB package while two builds run, p99",
        format!("{:.2} ms", 1e3 * time_with),
        format!("without them {:.2} ms", 1e3 * time_without),
        format!("{:.2}", time_with / time_without),
        "≤ 2.0",
    );
    server.stop();
}

/// Measures the processor time of polls that find no change, including that of the sandbox and of git.
/// `address` is that of a git server; if it is `None`, the repositories are local.
fn measure_polls(folder: &Path, address: Option<SocketAddr>, report: &mut Report) {
    let server = Server::start(&gcfg("60s"));
    server.rspm(&["create", "source", "--name=dev", "--type=git"]);
    let (kind, prefix) = match address {
        Some(_) => ("over HTTP", "remote"),
        None => ("of local repositories", "local"),
    };
    for number in 0..BUILDERS {
        let name = format!("{prefix}{number}");
        let path = repository(folder, &name, None);
        // There are no tags, so that nothing is built.
        let url = match address {
            Some(address) => format!("--url=http://{address}/{name}/.git"),
            None => format!("--url=file://{}", path.display()),
        };
        server.rspm(&["create", "git-builder", "--source=dev", &url, "--build-trigger=tags", "--no-wait"]);
    }
    // The first interval of a builder is longer.
    std::thread::sleep(Duration::from_secs_f64(2.0 * INTERVAL));
    let (own, all) = (server.cpu_time(), server.cpu_time_with_children());
    std::thread::sleep(Duration::from_secs_f64(2.0 * INTERVAL));
    let (own, all) = (server.cpu_time() - own, server.cpu_time_with_children() - all);
    // Percent of one processor at the default interval.
    let percent = |seconds: f64| 100.0 * seconds / (2.0 * INTERVAL) * INTERVAL / DEFAULT_INTERVAL;
    report.row(
        format!("polls of {BUILDERS} builders {kind} every 5 minutes, processor time"),
        format!("{:.2} % of one", percent(all)),
        format!("the server alone {:.2} %", percent(own)),
        "",
        "≤ 1 %",
    );
    server.stop();
}
