//! The list of the tests and modules of which `make test` runs a tenth.

use std::fs;
use std::path::Path;

/// The source of a module of the integration tests.
fn source(module: &str) -> Option<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let path = module.replace("::", "/");
    let files = [format!("{path}.rs"), format!("{path}/mod.rs"), format!("quick/{path}.rs")];
    files.iter().find_map(|file| fs::read_to_string(tests.join(file)).ok())
}

#[test]
fn every_exhaustive_test_exists() {
    let exists = |line: &str| {
        let is_test = |(module, name): (&str, &str)| source(module).is_some_and(|text| text.contains(name));
        source(line).is_some() || line.rsplit_once("::").is_some_and(is_test)
    };
    let listed = include_str!("../exhaustive.txt");
    let missing: Vec<&str> = listed.lines().filter(|line| !exists(line)).collect();
    assert_eq!(missing, [""; 0]);
    assert!(listed.lines().count() >= 10, "each tenth has one");
}
