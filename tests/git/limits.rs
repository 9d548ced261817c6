//! Limits of builds: each ends as a failed build with its reason, and the server continues to work.

use super::{installed_version, repository, server};
use crate::builder::repository::Repository;
use crate::support::server::Server;

/// Builds an R package that runs this script during the build; returns the reason and the log of the failure.
fn failure(server: &Server, script: &str) -> (String, String) {
    let repository = repository("1.0");
    repository.run_in_build(script);
    failed_build(server, &repository, "dev", "", script)
}

/// Builds a Python package with this `setup.py`; returns the reason and the log of the failure. Unlike R, `build` does not
/// redirect the output of the package to a file.
fn python_failure(server: &Server, setup: &str) -> (String, String) {
    let repository = Repository::new();
    let backend = "[build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n";
    repository.write("pyproject.toml", backend);
    repository.write("setup.py", setup);
    failed_build(server, &repository, "py", "--name=tested", setup)
}

/// Returns the reason and the log of the build of the newest commit, which fails at its first attempt.
fn failed_build(
    server: &Server,
    repository: &Repository,
    source: &str,
    flags: &str,
    code: &str,
) -> (String, String) {
    let commit = repository.commit();
    let url = repository.url();
    let created = server.rspm(&format!("create git-builder --source={source} --url={url} {flags} --no-wait"));
    assert_eq!(created.code, 0, "{}", created.err);
    let build = super::wait_for_build(server, "commit", &commit, "failed");
    assert_eq!(build["attempt"], 1, "the same would happen again: {build}");
    let log = server.rspm_stdout(&format!("logs --build-id={}", build["id"]));
    server.rspm_stdout(&format!("delete git-builder --source={source} --name=tested"));
    let reason = build["reason"].as_str().unwrap().to_owned();
    println!("{code}: {reason}");
    assert!(log.contains(&format!("== Failed: {reason}")), "{reason}: {log}");
    (reason, log)
}

/// Asserts that the server builds the next package.
fn builds_again(server: &Server) {
    let repository = repository("1.0");
    server.rspm_stdout(&format!("create git-builder --source=dev --url={}", repository.url()));
    assert_eq!(installed_version(server), "1.0");
}

#[test]
fn time_and_processes_are_limited_and_no_process_remains() {
    let patient = server("PollInterval = 1h\nBuildTimeout = 10m");
    let (reason, _) = failure(&patient, "setsid sleep 86412 > /dev/null 2>&1 &");
    assert!(reason.contains("left processes behind"), "{reason}");
    drop(patient);
    let server = server("PollInterval = 1h\nBuildTimeout = 12s");
    let (reason, _) = failure(&server, "sleep 86411");
    assert_eq!(reason, "the time limit of 12 seconds was reached");
    // More processes than the limit of 512. The kernel does not apply it to a server that is root: then it is the time limit.
    let script = "n=0; while [ $n -lt 600 ]; do sleep 86413 & n=$((n+1)); done; wait";
    let (reason, log) = failure(&server, script);
    assert!(reason.contains("time limit") || log.contains("fork"), "{reason}: {log}");
    for argument in ["86411", "86412", "86413"] {
        let output = std::process::Command::new("pgrep").args(["-fx", &format!("sleep {argument}")]).output();
        assert_eq!(String::from_utf8_lossy(&output.unwrap().stdout), "", "sleep {argument} is left");
    }
    builds_again(&server);
}

#[test]
fn memory_and_disk_space_are_limited() {
    let server = server("PollInterval = 1h\nBuildTimeout = 10m");
    let (reason, _) =
        failure(&server, "for n in 1 2 3 4; do head -c 1000000000 /dev/zero > \"$HOME/$n\"; done");
    assert!(reason.contains("the disk space of the sandbox was exhausted"), "{reason}");
    let (reason, log) = failure(
        &server,
        "head -c 3000000000 /dev/zero > \"$HOME/large\" || { echo exit $?; rm \"$HOME/large\"; exit 1; }",
    );
    assert!(reason.contains("R CMD build failed") && log.contains("exit "), "{reason}: {log}");
    // Memory beyond the limit is not allocated.
    let (reason, log) = failure(&server, "perl -e '$x = \"x\" x 5e9; print length $x'");
    assert!(reason.contains("R CMD build failed") && log.contains("Out of memory"), "{reason}: {log}");
    builds_again(&server);
}

#[test]
fn an_endless_log_ends_the_build_and_is_not_kept_in_memory() {
    let server = server("PollInterval = 1h\nBuildTimeout = 10m");
    server.rspm_stdout("create source --name=py --type=git-python");
    let (reason, log) =
        python_failure(&server, "import sys\nwhile True:\n    sys.stdout.write('x' * 200 + '\\n')\n");
    assert_eq!(reason, "it wrote more than 100 MB to its log");
    assert!(log.len() < 11 << 20 && log.contains("bytes are left out"), "{}", log.len());
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kilobytes < 400_000, "{line}");
    // One endless line.
    let (reason, _) = python_failure(&server, "import sys\nwhile True:\n    sys.stdout.write('x' * 65536)\n");
    assert_eq!(reason, "it wrote more than 100 MB to its log");
    builds_again(&server);
}

#[test]
fn a_build_runs_when_no_other_process_needs_the_processor() {
    let server = server("PollInterval = 1h");
    // Field 41 of proc(5) is the scheduling policy; 5 is SCHED_IDLE. No command can choose another one.
    let script = "chrt --other --pid 0 $$; echo policy $(cut -d ' ' -f 41 /proc/$$/stat); exit 1";
    let (_, log) = failure(&server, script);
    assert!(log.contains("policy 5\n"), "{log}");
}
