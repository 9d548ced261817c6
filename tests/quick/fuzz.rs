//! Runs the committed corpus of every fuzz target once: inputs that cover the parser, and inputs that made it fail.

use std::collections::BTreeSet;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/targets/mod.rs"]
#[allow(unreachable_pub, reason = "the fuzzing program, which has no lints, has the same files")]
mod targets;

use targets::TARGETS;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_input_of_the_corpus_passes_its_fuzz_target() {
    let mut failed = Vec::new();
    for target in TARGETS {
        let inputs = entries(&corpus().join(target.name));
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for input in inputs {
            let bytes = fs::read(&input).unwrap();
            if panic::catch_unwind(|| (target.run)(&bytes)).is_err() {
                failed.push(input);
            }
        }
    }
    assert!(failed.is_empty(), "FUZZ_TARGET={{folder}} fuzz {{file}} shows the reason: {failed:#?}");
}

#[test]
fn every_folder_of_the_corpus_has_a_fuzz_target_and_all_are_small() {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert!(names.is_sorted(), "{names:?}");
    let folders = entries(&corpus());
    let found: BTreeSet<_> = folders.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(found, names.iter().copied().collect());
    let inputs = folders.iter().flat_map(|folder| entries(folder));
    let total: u64 = inputs.map(|input| fs::metadata(input).unwrap().len()).sum();
    assert!(total < 1 << 20, "the corpus has {total} bytes: minimize it");
}

/// The packages of a `Cargo.lock`: name, version and the names of the dependencies.
fn locked_packages(file: &str) -> Vec<(String, String, BTreeSet<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let value = |entry: &str, name: &str| {
        let found = entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        found.unwrap_or_default().trim_matches('"').to_owned()
    };
    let dependency_names = |entry: &str| {
        let lines = entry.lines().filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","));
        lines.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
    };
    let entries = text.split("[[package]]").skip(1);
    entries.map(|entry| (value(entry, "name"), value(entry, "version"), dependency_names(entry))).collect()
}

#[test]
fn the_fuzzing_program_uses_the_same_versions() {
    let (ours, fuzzing) = (locked_packages("Cargo.lock"), locked_packages("fuzz/Cargo.lock"));
    let known: BTreeSet<_> = ours.iter().map(|(name, version, _)| (name, version)).collect();
    let additional =
        fuzzing.iter().map(|(name, version, _)| (name, version)).filter(|one| !known.contains(one));
    let additional: Vec<&str> = additional.map(|(name, _)| name.as_str()).collect();
    assert_eq!(additional, ["arbitrary", "libfuzzer-sys", "rstudio-pm-fuzz"], "make fuzz-lock");
    // The dependencies of each crate of this project, without those of its tests.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in entries(&root.join("crates")).into_iter().chain([root.to_owned()]) {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
        let (_, rest) = manifest.split_once("\n[dependencies]\n").expect("its dependencies");
        let (table, _) = rest.split_once("\n[").expect("an end");
        let declared = table.lines().filter_map(|line| line.strip_suffix(".workspace = true"));
        let declared: BTreeSet<_> = declared.map(str::to_owned).collect();
        let name = if folder == root { "rstudio-pm" } else { folder.file_name().unwrap().to_str().unwrap() };
        let (_, _, needed) = fuzzing.iter().find(|(known, ..)| known == name).expect(name);
        assert_eq!(*needed, declared, "{name}: make fuzz-lock");
    }
}
