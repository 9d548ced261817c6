//! Closures of dependencies, compared with `tools::package_dependencies`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::{data, rscript};
use rstudio_pm::r::closure::{DependencyIndex, Kinds, Root};
use rstudio_pm::r::description::Description;
use rstudio_pm::r::{name, packages};

/// Number of roots.
const ROOTS: usize = 1000;

/// Number of packages of the index that are compared, unless `RSPM_TEST_CLOSURES` has another one. The generated index
/// has more dependencies than CRAN: R needs minutes for some of its complete closures.
const PACKAGES: usize = 3000;

/// The names that R returns for a root, without itself and without the packages that are part of R.
fn dependencies<'a>(list: &'a str, root: &str) -> BTreeSet<&'a str> {
    list.split(',').filter(|name| !name.is_empty() && *name != root && !name::is_base(name)).collect()
}

#[test]
fn closures_of_random_packages_are_those_of_r() {
    let compressed_index = fs::read(data::path("cran-index-full/PACKAGES.gz")).expect("the index");
    let text = packages::decode_text(&compressed_index, 1 << 30).expect("a text");
    let records: Vec<_> = packages::records(&text).map(|record| record.expect("a record")).collect();
    let count = std::env::var("RSPM_TEST_CLOSURES")
        .map_or(PACKAGES, |count| count.parse().expect("RSPM_TEST_CLOSURES is a number"));
    let step = (records.len() / count.max(ROOTS)).max(1);
    let (mut index, mut dcf) = (DependencyIndex::default(), Vec::new());
    for record in records.iter().step_by(step) {
        let description = Description::from_bytes(record.stanza).expect("a record");
        index.insert(record.package, record.version, &description);
        dcf.extend_from_slice(record.stanza);
        dcf.extend_from_slice(b"\n\n");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("PACKAGES"), folder.path().join("closures"));
    fs::write(&input, dcf).expect("the index is written");
    let script = r#"
        args <- commandArgs(TRUE)
        kinds <- c("Depends", "Imports", "LinkingTo", "Suggests")
        db <- read.dcf(args[1], fields = c("Package", kinds))
        set.seed(19)
        roots <- sample(db[, "Package"], as.integer(args[3]))
        strong <- tools::package_dependencies(roots, db, "strong", recursive = TRUE)
        most <- tools::package_dependencies(roots, db, "most", recursive = "strong")
        join <- function(closures) vapply(closures[roots], paste, "", collapse = ",")
        writeLines(paste(roots, join(strong), join(most), sep = "|"), args[2])
    "#;
    rscript::run(script, &[input.as_os_str(), output.as_os_str(), ROOTS.to_string().as_ref()]);

    let output = fs::read_to_string(output).expect("R's closures");
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in output.lines() {
        let [root, strong, most] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        for (kinds, list) in [(Kinds::STRONG, strong), (Kinds::MOST, most)] {
            let closure = index.closure(&[Root { name: root, kinds }], Kinds::STRONG);
            let members = closure.members.iter().map(|member| member.name);
            let missing = closure.missing.iter().map(|missing| missing.name);
            let names: BTreeSet<&str> = members.chain(missing).filter(|name| *name != root).collect();
            assert_eq!(names, dependencies(list, root), "{root}, {kinds:?}");
        }
        all.insert(root, dependencies(most, root));
    }
    assert_eq!(all.len(), ROOTS);
    let longest = all.values().map(BTreeSet::len).max();
    assert!(longest > Some(5), "the closures are too small to compare: {longest:?}");

    // The closure of all of them consists of the closures of each.
    let roots: Vec<Root<'_>> = all.keys().map(|name| Root { name, kinds: Kinds::MOST }).collect();
    let closure = index.closure(&roots, Kinds::STRONG);
    let members = closure.members.iter().map(|member| member.name);
    let names: BTreeSet<&str> = members.chain(closure.missing.iter().map(|missing| missing.name)).collect();
    let expected: BTreeSet<&str> =
        all.iter().flat_map(|(root, names)| names.iter().chain([root])).copied().collect();
    assert_eq!(names, expected);
}
