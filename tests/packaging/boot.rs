//! The script that boots systems for the tests of the packages, with systems that do not boot.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::process::run_to_end;

/// Runs `boot` of `tests/packaging/system` with `nspawn` in place of systemd-nspawn; returns its exit code and
/// standard error.
fn boot(nspawn: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let program = dir.path().join("systemd-nspawn");
    std::fs::write(&program, format!("#!/bin/sh\n{nspawn}\n")).expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("executable");
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").expect("set"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packaging/system");
    let mut bash = Command::new("bash");
    bash.args(["-c", "set -u; . \"$0\"; boot"]).arg(script);
    let output = run_to_end(bash.env("PATH", path).env("TMPDIR", dir.path()).env("BOOT_TENTHS", "20"));
    (output.code, output.err)
}

#[test]
fn a_system_that_does_not_boot_is_ended_and_fails_the_test() {
    for nspawn in
        ["exec sleep 600", "sleep 600 & wait", "trap '' TERM; while :; do sleep 600; done", "exit 3"]
    {
        let (code, errors) = boot(nspawn);
        assert_eq!(code, Some(1), "{nspawn}: {errors}");
        assert!(errors.contains("the system does not boot"), "{nspawn}: {errors}");
    }
}
