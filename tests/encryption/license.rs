//! License commands of scripts that were written for Posit Package Manager succeed.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::rspm::{RspmOutput, rspm_without_server};

const SENTENCE: &str =
    "No license is needed: this server is free software, and all of its features are enabled.\n";

fn assert_sentence(line: &str, output: &RspmOutput) {
    assert_eq!((output.code, output.out.as_str(), output.err.as_str()), (0, SENTENCE, ""), "{line}");
}

#[test]
fn every_license_command_with_any_flags_prints_one_sentence() {
    // The program `license-manager`, as installed beside rspm.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("license-manager");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("units/license-manager"), &program).unwrap();
    symlink(env!("CARGO_BIN_EXE_rspm"), dir.path().join("rspm")).unwrap();
    for line in [
        "",
        "status",
        "status --userspace",
        "status-offline",
        "initialize --userspace",
        "activate ABCD-1234",
        "activate-file /etc/x.lic -c",
        "deactivate",
        "license-server host:1234 --unknown=1 -o",
        "--help",
        "--version",
    ] {
        assert_sentence(line, &rspm_without_server(&format!("license {line}")));
        let output = Command::new(&program).args(line.split_whitespace()).output().expect("sh runs");
        assert_sentence(line, &output.into());
    }
    assert_sentence("", &rspm_without_server("-c /nowhere.gcfg license activate x --force"));
}
