//! The license texts and the SBOM in the packages, compared with `Cargo.lock` and `cargo tree`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The output of `tests/packaging/inventory`: texts, SBOM.
fn inventory() -> (String, Value) {
    let dir = tempfile::tempdir().expect("a directory");
    let (texts, sbom) = (dir.path().join("texts"), dir.path().join("sbom"));
    let python = std::env::var("RSPM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = root().join("tests/packaging/inventory");
    let output = Command::new(python).arg(script).args([&texts, &sbom]).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sbom = serde_json::from_slice(&std::fs::read(sbom).expect("written")).expect("JSON");
    (std::fs::read_to_string(texts).expect("written"), sbom)
}

/// Name and version of each package of `Cargo.lock`, with its checksum.
fn locked_packages() -> BTreeMap<String, Option<String>> {
    let text = std::fs::read_to_string(root().join("Cargo.lock")).expect("readable");
    let value = |part: &str, key: &str| {
        let line = part.lines().find_map(|line| line.strip_prefix(&format!("{key} = \"")))?;
        line.strip_suffix('"').map(str::to_owned)
    };
    let package = |part: &str| {
        let key = format!("{} {}", value(part, "name")?, value(part, "version")?);
        Some((key, value(part, "checksum")))
    };
    text.split("[[package]]").skip(1).filter_map(package).collect()
}

/// The crates linked into the programs according to `cargo tree`, without those of this project.
fn linked_crates() -> BTreeSet<String> {
    let words =
        "tree --locked --offline --edges normal --target x86_64-unknown-linux-gnu --prefix none --format {p}";
    let output = Command::new(env!("CARGO")).current_dir(root()).args(words.split(' ')).output();
    let output = output.expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let package = |line: &str| {
        let mut words = line.split(' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        // `(/path)` follows the version of a crate of this project.
        (!line.contains("(/")).then(|| format!("{name} {version}"))
    };
    text.lines().filter_map(package).collect()
}

#[test]
fn every_linked_crate_is_in_the_sbom_with_the_checksum_of_the_lock_file() {
    let (_, sbom) = inventory();
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
    let locked = locked_packages();
    let mut packages = BTreeSet::new();
    for component in sbom["components"].as_array().expect("a list") {
        let text = |key: &str| component[key].as_str().expect("text").to_owned();
        let package = format!("{} {}", text("name"), text("version"));
        let checksum = locked.get(&package).unwrap_or_else(|| panic!("{package} is not in Cargo.lock"));
        assert_eq!(component["hashes"][0]["content"].as_str(), checksum.as_deref(), "{package}");
        let purl = format!("pkg:cargo/{}", package.replace(' ', "@").replace('+', "%2B"));
        assert_eq!(text("purl"), purl);
        let license = component["licenses"][0]["expression"].as_str().expect("text");
        assert!(!license.is_empty() && !license.contains('/'), "{package}: {license}");
        packages.insert(package);
    }
    assert!(packages.len() > 100);
    assert_eq!(packages, linked_crates());
}

#[test]
fn every_linked_crate_has_its_license_and_its_texts() {
    let (texts, _) = inventory();
    let lines: Vec<&str> = texts.lines().collect();
    for package in linked_crates() {
        let at = lines.iter().position(|line| line.starts_with(&format!("{package}: ")));
        let at = at.unwrap_or_else(|| panic!("{package} has no license"));
        let numbers: Vec<&str> =
            lines[at + 1].split('[').skip(1).filter_map(|part| part.split(']').next()).collect();
        assert!(!numbers.is_empty(), "{package}");
        for number in numbers {
            assert!(lines.contains(&&*format!("[{number}]")), "{package}: text {number}");
        }
    }
    assert!(
        texts.contains("Permission is hereby granted, free of charge") && texts.contains("Apache License")
    );
}
