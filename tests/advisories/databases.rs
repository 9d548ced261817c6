//! Every advisory of the real databases is read, and every version that it lists is found affected.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;

use rstudio_pm::advisory::{Advisory, AdvisoryFeed, Batch, Index, base_score};
use rstudio_pm::language::Ecosystem;
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::fetch;
use crate::support::data;

const NOW: Timestamp = Timestamp(1_800_000_000 * SECOND);

async fn database(path: &str) -> Batch {
    let path = data::path(path).canonicalize().expect("it exists");
    fetch(&format!("file://{}", path.display())).await.unwrap_or_else(|e| panic!("{e}")).0
}

fn index(batch: &Batch) -> Index {
    Index::new(vec![AdvisoryFeed { name: "data".to_owned(), digest: Sha256([0; 32]), batch: batch.clone() }])
}

fn affected(index: &Index, ecosystem: Ecosystem, name: &str, version: &str) -> BTreeSet<String> {
    let findings = index
        .package(ecosystem, name)
        .map(|package| package.vulnerabilities(version, NOW))
        .unwrap_or_default();
    let names = |f: &rstudio_pm::advisory::Finding<'_>| {
        std::iter::once(f.id.to_owned()).chain(f.aliases.iter().map(|a| (*a).to_owned())).collect::<Vec<_>>()
    };
    findings.iter().flat_map(names).collect()
}

/// Asserts that every version listed by an advisory is affected by it; returns the number of versions.
fn check_listed_versions(batch: &Batch, index: &Index) -> usize {
    let mut count = 0;
    let mut cache = HashMap::new();
    for Advisory { id, affected: packages, withdrawn, .. } in batch.advisories() {
        for row in packages {
            let (Some(ecosystem), Some(package)) = (row.ecosystem(), &row.package) else { continue };
            for version in &row.versions {
                let ids = cache
                    .entry((ecosystem, package.name.clone(), version.clone()))
                    .or_insert_with(|| affected(index, ecosystem, &package.name, version));
                assert_eq!(ids.contains(id), withdrawn.is_none(), "{id}: {} {version}", package.name);
                count += 1;
            }
        }
    }
    count
}

#[tokio::test]
async fn the_advisories_of_the_r_consortium() {
    let batch = database("advisories/cran").await;
    let texts = data::advisories();
    assert_eq!((batch.len(), batch.skipped_files().0), (texts.len(), 0), "{:?}", batch.skipped_files());
    let index = index(&batch);
    let name = |text: &String| text.lines().find_map(|l| l.strip_prefix("    name: ")).map(str::to_owned);
    assert_eq!(index.package_count(Ecosystem::Cran), texts.iter().map(name).collect::<BTreeSet<_>>().len());
    assert!(check_listed_versions(&batch, &index) > 60);
    let ids_of = |name: &str, version: &str| {
        affected(&index, Ecosystem::Cran, name, version).into_iter().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids_of("png", "0.1-8"), "RSEC-2026-1");
    assert_eq!(ids_of("png", "0.1.8"), "RSEC-2026-1", "0.1.8 equals 0.1-8");
    assert_eq!((ids_of("png", "0.1-2"), ids_of("png", "0.1-9"), ids_of("png", "0.1.9")), Default::default());
    let readxl = (ids_of("readxl", "1.0.0"), ids_of("readxl", "1.2.0"));
    assert_eq!(readxl, ("RSEC-2023-0 RSEC-2023-1".to_owned(), "RSEC-2023-1".to_owned()));
    assert_eq!(ids_of("readxl", "1.4.3"), "");
    assert_eq!(ids_of("igraph", "1.2.2"), "RSEC-2023-4");
    assert_eq!(
        (ids_of("igraph", "1.2.2-2"), ids_of("igraph", "1.2.2.1")),
        ("".to_owned(), "RSEC-2023-4".to_owned())
    );
    assert_eq!(ids_of("commonmark", "1.7"), "RSEC-2023-6 RSEC-2023-7 RSEC-2023-8");
}

#[tokio::test]
async fn the_advisories_of_the_python_packaging_authority() {
    let batch = database("advisories/pypi-advisories.tar.gz").await;
    let mut files = tar::Archive::new(flate2::read::GzDecoder::new(
        std::fs::File::open(data::path("advisories/pypi-advisories.tar.gz")).expect("the archive"),
    ));
    let (mut expected, mut scores) = (0, 0);
    for entry in files.entries().expect("members") {
        let mut entry = entry.expect("a member");
        if entry.path().expect("a path").extension().is_some_and(|e| e == "yaml") {
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("UTF-8");
            let lines = |begin| text.lines().filter(move |line| line.starts_with(begin)).count();
            expected += lines("id: ");
            scores += lines("  score: ");
        }
    }
    assert_eq!((batch.len(), batch.skipped_files().0), (expected, 0), "{:?}", batch.skipped_files());
    assert!(expected > 2_600, "{expected}");
    let index = index(&batch);
    assert!(index.package_count(Ecosystem::Pypi) > 600, "{}", index.package_count(Ecosystem::Pypi));
    assert!(check_listed_versions(&batch, &index) > 50_000);
    // 2.10 is not a decimal number: it is higher than 2.9.
    let jinja = |version| affected(&index, Ecosystem::Pypi, "Jinja2", version);
    assert!(jinja("2.10").contains("CVE-2019-10906") && !jinja("2.10.1").contains("CVE-2019-10906"));
    assert!(jinja("2.9.5").contains("CVE-2019-10906"));
    let mut score_count = 0;
    for severity in batch.advisories().flat_map(|advisory| &advisory.severity) {
        assert!(base_score(&severity.score).is_some(), "{severity:?}");
        score_count += 1;
    }
    assert!(score_count == scores && score_count > 100, "{score_count} of {scores}");
}

#[tokio::test]
async fn the_stored_document_of_a_database_is_complete() {
    let batch = database("advisories/pypi-advisories.tar.gz").await;
    let mut copy = Batch::default();
    copy.add_lines("document", &batch.document());
    assert_eq!(copy.document(), batch.document());
    assert!(copy.advisories().eq(batch.advisories()));
}
