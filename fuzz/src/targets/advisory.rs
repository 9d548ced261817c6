//! Targets for advisories: OSV as JSON and YAML, archives, scores.

use rstudio_pm::advisory::{AdvisoryFeed, Batch, Format, Index, base_score};
use rstudio_pm::language::Ecosystem;
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::upstream::advisories;

/// An advisory as JSON.
pub fn json(data: &[u8]) {
    let mut batch = Batch::default();
    batch.add_file("X-1.json", Format::Json, data);
    check_batch(batch);
}

/// An advisory as YAML.
pub fn yaml(data: &[u8]) {
    let mut batch = Batch::default();
    batch.add_file("X-1.yaml", Format::Yaml, data);
    check_batch(batch);
}

/// A file with many advisories.
pub fn file(data: &[u8]) {
    const NAMES: [&str; 4] = ["x.tar.gz", "x.zip", "x.jsonl", "x.ndjson.zst"];
    let (variant, rest) = super::choice(data);
    if let Ok(batch) = advisories::parse_file(NAMES[usize::from(variant) % NAMES.len()], rest) {
        check_batch(batch);
    }
}

/// Stored advisories are read back unchanged, and lookups of their packages succeed.
fn check_batch(batch: Batch) {
    let document = batch.document();
    let mut reread = Batch::default();
    reread.add_lines("stored", &document);
    assert_eq!(reread.document(), document);
    let mut names: Vec<(Ecosystem, String, Option<String>)> = Vec::new();
    for affected in batch.advisories().flat_map(|advisory| &advisory.affected).take(16) {
        if let (Some(ecosystem), Some(package)) = (affected.ecosystem(), &affected.package) {
            names.push((ecosystem, package.name.clone(), affected.versions.first().cloned()));
        }
    }
    let (count, now) = (batch.len(), Timestamp(1_800_000_000 * SECOND));
    let index = Index::new(vec![AdvisoryFeed { name: "one".to_owned(), digest: Sha256([0; 32]), batch }]);
    assert_eq!(index.len(), count);
    for (ecosystem, name, version) in names {
        let lookup = index.package(ecosystem, &name).expect("an advisory is about it");
        for version in [version.as_deref().unwrap_or("1.0"), "0", "1.2-3"] {
            assert!(lookup.vulnerabilities(version, now).len() <= count);
        }
    }
}

/// A score is between 0 and 10.
pub fn score(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(score) = base_score(&text) {
        assert!((0.0..=10.0).contains(&score), "{score}");
    }
}
