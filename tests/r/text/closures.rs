//! Closures of dependencies, compared with `tools::package_dependencies`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::{data, rscript};
use rstudio_pm::r::closure::{ClosureRoot, DependencyIndex, Kinds};
use rstudio_pm::r::description::Description;
use rstudio_pm::r::{name, packages};

/// Number of random roots.
const ROOTS: usize = 1000;

/// The seed with which R selects them.
const SEED: u32 = 19;

/// Packages with dependencies that no package of CRAN has: on itself, in cycles, on missing packages, on a future version
/// of R. They are roots, too.
const ODD_PACKAGES: &str = "\
Package: odd.cycle1\nVersion: 1.0\nImports: odd.cycle2 (>= 2.0), odd.missing\n
Package: odd.cycle2\nVersion: 1.0\nDepends: R (>= 99), odd.cycle3\nSuggests: odd.absent, odd.self\n
Package: odd.cycle3\nVersion: 1.0\nLinkingTo: odd.cycle1\nSuggests: odd.cycle2\n
Package: odd.self\nVersion: 1.0\nDepends: odd.self, base, R\nImports: stats4, methods,odd.absent\nSuggests: odd.cycle3\n
Package: odd.none\nVersion: 1.0\n";

/// The names that R returns for a root, without itself and without the packages that are part of R.
fn dependencies<'a>(list: &'a str, root: &str) -> BTreeSet<&'a str> {
    list.split(',').filter(|name| !name.is_empty() && *name != root && !name::is_base(name)).collect()
}

#[test]
fn closures_of_random_packages_of_the_full_index_are_those_of_r() {
    let compressed_index = fs::read(data::path("cran-index-full/PACKAGES.gz")).expect("the index");
    let text = packages::decode_text(&compressed_index, 1 << 30).expect("a text");
    let text = [&*text, b"\n", ODD_PACKAGES.as_bytes()].concat();
    let mut index = DependencyIndex::default();
    let (mut count, mut odd_names) = (0, Vec::new());
    for record in packages::records(&text) {
        let record = record.expect("a record");
        let description = Description::from_bytes(record.stanza).expect("a record");
        index.insert(record.package, record.version, &description);
        count += 1;
        odd_names.extend(record.package.starts_with("odd.").then_some(record.package));
    }
    assert!(count > 20_000, "{count} packages are not a full index");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("PACKAGES"), folder.path().join("closures"));
    fs::write(&input, &text).expect("the index is written");
    let script = r#"
        args <- commandArgs(TRUE)
        kinds <- c("Depends", "Imports", "LinkingTo", "Suggests")
        db <- read.dcf(args[1], fields = c("Package", kinds))
        odd <- args[-(1:4)]
        set.seed(as.integer(args[3]))
        roots <- c(sample(setdiff(db[, "Package"], odd), as.integer(args[4])), odd)
        strong <- tools::package_dependencies(roots, db, "strong", recursive = TRUE)
        most <- tools::package_dependencies(roots, db, "most", recursive = "strong")
        join <- function(closures) vapply(closures[roots], paste, "", collapse = ",")
        writeLines(paste(roots, join(strong), join(most), sep = "|"), args[2])
    "#;
    println!("{ROOTS} of {count} packages, which R selects with the seed {SEED}");
    let (seed, roots) = (SEED.to_string(), ROOTS.to_string());
    let mut args = vec![input.as_os_str(), output.as_os_str(), seed.as_ref(), roots.as_ref()];
    args.extend(odd_names.iter().map(std::ffi::OsStr::new));
    rscript::run(script, &args);

    let output = fs::read_to_string(output).expect("R's closures");
    let mut all: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    // Roots whose closure is larger with the packages that they suggest.
    let mut larger = 0;
    for line in output.lines() {
        let [root, strong, most] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let [strong, most] = [strong, most].map(|list| dependencies(list, root));
        for (kinds, expected) in [(Kinds::STRONG, &strong), (Kinds::MOST, &most)] {
            let closure = index.closure(&[ClosureRoot { name: root, kinds }], Kinds::STRONG);
            let members = closure.members.iter().map(|member| member.name);
            let missing = closure.missing.iter().map(|missing| missing.name);
            let names: BTreeSet<&str> = members.chain(missing).filter(|name| *name != root).collect();
            assert_eq!(names, *expected, "{root}, {kinds:?}");
        }
        larger += usize::from(most.len() > strong.len());
        all.insert(root, most);
    }
    assert_eq!(all.len(), ROOTS + odd_names.len());
    let largest = all.values().map(BTreeSet::len).max();
    assert!(largest > Some(100) && larger > ROOTS / 4, "the closures are too small: {largest:?}, {larger}");

    // The closure of all of them consists of the closures of each.
    let roots: Vec<ClosureRoot<'_>> =
        all.keys().map(|name| ClosureRoot { name, kinds: Kinds::MOST }).collect();
    let closure = index.closure(&roots, Kinds::STRONG);
    let members = closure.members.iter().map(|member| member.name);
    let names: BTreeSet<&str> = members.chain(closure.missing.iter().map(|missing| missing.name)).collect();
    let expected: BTreeSet<&str> =
        all.iter().flat_map(|(root, names)| names.iter().chain([root])).copied().collect();
    assert_eq!(names, expected);
}
