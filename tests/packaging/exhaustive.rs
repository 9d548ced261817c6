//! The list of the tests and modules of which `make test` runs a tenth.

use std::process::Command;

#[test]
fn every_exhaustive_test_exists() {
    let program = std::env::current_exe().expect("a path");
    let output = Command::new(program).arg("--list").output().expect("it runs");
    let all = String::from_utf8(output.stdout).expect("text");
    let names: Vec<&str> = all.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    let listed = include_str!("../exhaustive.txt");
    let exists =
        |line: &str| names.iter().any(|name| *name == line || name.starts_with(&format!("{line}::")));
    let missing: Vec<&str> = listed.lines().filter(|line| !exists(line)).collect();
    assert_eq!(missing, [""; 0]);
    assert!(listed.lines().count() >= 10, "each tenth has one");
}
