//! The committed corpus of every fuzz target, run once: inputs that reach what a parser can do, and those that made it fail.

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
    assert!(failed.is_empty(), "FUZZ_TARGET={{folder}} fuzz {{file}} shows why: {failed:#?}");
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
    assert!(total < 1 << 20, "the corpus has {total} bytes: minimise it");
}
