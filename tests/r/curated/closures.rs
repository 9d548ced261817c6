//! Selections, compared with `tools::package_dependencies`.

use std::collections::{BTreeMap, BTreeSet};

use rstudio_pm::r::closure::{DependencyIndex, Kinds};
use rstudio_pm::r::curated::read;
use rstudio_pm::r::curated::selection::{KnownReleases, SelectionRequest, SelectionStep, select};
use rstudio_pm::r::description::Description;
use rstudio_pm::r::packages;

use crate::support::server::Builder;
use crate::support::upstream::Upstream;
use crate::support::{data, rscript};

/// Number of roots.
const ROOTS: usize = 300;

/// The records of the full index, without required versions: those of the generated index are random, and no selection
/// meets them.
fn index() -> Vec<u8> {
    let compressed = std::fs::read(data::path("cran-index-full/PACKAGES.gz")).expect("the index");
    let text = packages::decode_text(&compressed, 1 << 30).expect("a text");
    let mut index = Vec::new();
    for record in packages::records(&text) {
        let mut stanza = Vec::new();
        let mut is_kept = true;
        for byte in record.expect("a record").stanza {
            is_kept = is_kept && *byte != b'(';
            if is_kept {
                stanza.push(*byte);
            }
            is_kept = is_kept || *byte == b')';
        }
        // A line that only had a required version would end the record.
        for line in stanza.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            index.extend_from_slice(line);
            index.push(b'\n');
        }
        index.push(b'\n');
    }
    index
}

/// For each root, R's closures without and with `Suggests`; only names that the index has.
fn closures_of_r(index: &[u8]) -> BTreeMap<String, [BTreeSet<String>; 2]> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (input, output) = (folder.path().join("PACKAGES"), folder.path().join("closures"));
    std::fs::write(&input, index).expect("the index is written");
    let script = r#"
        args <- commandArgs(TRUE)
        db <- read.dcf(args[1], fields = c("Package", "Depends", "Imports", "LinkingTo", "Suggests"))
        set.seed(27)
        roots <- sample(db[, "Package"], as.integer(args[3]))
        strong <- tools::package_dependencies(roots, db, "strong", recursive = TRUE)
        most <- tools::package_dependencies(roots, db, "most", recursive = "strong")
        join <- function(closures) vapply(roots, function(root)
            paste(intersect(union(root, closures[[root]]), db[, "Package"]), collapse = ","), "")
        writeLines(paste(roots, join(strong), join(most), sep = "|"), args[2])
    "#;
    rscript::run(script, &[input.as_os_str(), output.as_os_str(), ROOTS.to_string().as_ref()]);
    let text = std::fs::read_to_string(output).expect("R's closures");
    let closures = text.lines().map(|line| {
        let [root, strong, most] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        (root.to_owned(), [strong, most].map(|list| list.split(',').map(str::to_owned).collect()))
    });
    closures.collect()
}

#[test]
fn selections_of_random_packages_are_the_closures_of_r() {
    let bytes = index();
    let expected = closures_of_r(&bytes);
    assert_eq!(expected.len(), ROOTS);
    let mut index = DependencyIndex::default();
    for record in packages::records(&bytes) {
        let record = record.expect("a record");
        index.insert(
            record.package,
            record.version,
            &Description::from_bytes(record.stanza).expect("a record"),
        );
    }
    for (root, closures) in &expected {
        for (extras, closure) in ["", " [suggests]"].iter().zip(closures) {
            let line = format!("{root}{extras}\n");
            let definition = read(&[("packages.txt", line.as_bytes())]).expect("a definition");
            let outcome = select(&SelectionRequest {
                roots: &definition.roots,
                include: Kinds::STRONG,
                listed: &index,
                known: &KnownReleases::new(),
                snapshot: "2025-10-12",
                allow_missing: true,
            });
            let SelectionStep::Complete(selection) = outcome else { panic!("{line}: {outcome:?}") };
            assert_eq!(selection.packages.into_keys().collect::<BTreeSet<_>>(), *closure, "{line}");
        }
    }

    // One definition with all of them, on a server.
    let web = Upstream::empty();
    let mut gz = packages::gzip(Vec::new());
    std::io::Write::write_all(&mut gz, &bytes).expect("memory");
    web.put("src/contrib/PACKAGES.gz", gz.finish().expect("memory"));
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = {}", web.url())).start();
    server.rspm_stdout("sync");
    server.rspm_stdout("create source --name=subset --type=curated-cran");
    let file = server.dir().join("packages.txt");
    for (position, include) in
        ["imports,depends,linking-to", "imports,depends,linking-to,suggests"].iter().enumerate()
    {
        let names: Vec<&str> = expected.keys().map(String::as_str).collect();
        std::fs::write(&file, names.join("\n")).expect("written");
        let plan = server.rspm(&format!(
            "update --source=subset --file-in={} --include={include} --allow-missing -o json",
            file.display()
        ));
        assert_eq!(plan.code, 0, "{}", plan.err);
        let plan: serde_json::Value = serde_json::from_str(&plan.out).expect("JSON");
        let rows = plan["packages"].as_array().expect("packages");
        let selected: BTreeSet<&str> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
        let all: BTreeSet<&str> =
            expected.values().flat_map(|closures| closures[position].iter().map(String::as_str)).collect();
        assert_eq!(selected, all, "{include}");
        assert!(all.len() > ROOTS, "the closures are too small to compare");
    }
}
