//! Tests of parts of a Bioconductor repository: their package lists, and the days before the first sync.

use std::sync::Arc;

use super::*;
use crate::catalog::Source;
use base::model::ids::{RepoId, Seq, SourceId, TreeId, TxId};
use base::model::kind::{ChangePolicy, RepoKind, SourceKind};
use formats::r::bioconductor::config::Config;
use store::db::tree::{Role, Step};

const NOW: &str = "2026-11-20";
const CONFIG: &str = "release_version: \"3.20\"\ndevel_version: \"3.21\"\nr_ver_for_bioc_ver:\n  \"3.19\": \"4.4\"\n  \
    \"3.20\": \"4.4\"\n  \"3.21\": \"4.5\"\nrelease_dates:\n  \"3.20\": \"10/30/2024\"\n";

const TEAM: SourceId = SourceId(4);

fn noon(day: &str) -> Timestamp {
    Timestamp(day.parse::<Day>().expect("a day").start().0 + 12 * 3600 * base::model::time::SECOND)
}

fn part(label: &str) -> Option<Part> {
    Some(Part::parse(label).expect("a part"))
}

/// Returns a catalog with Bioconductor 3.19 and 3.20 synced at NOW, a local source, and a repository.
fn catalog(subscriptions: &[(SourceId, Option<&str>)]) -> Catalog {
    let mut catalog = Catalog {
        bioconductor: Some(Arc::new(Config::parse(CONFIG.as_bytes()).expect("a config"))),
        clock_at: Some(noon(NOW)),
        ..Catalog::default()
    };
    for (id, name, kind) in [
        (SourceId::BIOCONDUCTOR, "bioconductor", SourceKind::Bioconductor),
        (TEAM, "team", SourceKind::Local),
    ] {
        let name = name.parse().expect("a name");
        catalog.sources.push(Source { id, name, kind, created_at: Timestamp(0) });
    }
    let labels = ["3.20/bioc", "3.20/data/annotation", "3.19/bioc", "3.19/data/annotation", "src/contrib"];
    for (id, label) in (1..).zip(labels) {
        let source = if label == "src/contrib" { TEAM } else { SourceId::BIOCONDUCTOR };
        let steps = vec![Step { seq: Seq(1), at: noon(NOW), tx: TxId(1) }];
        let (label, role) = (label.to_owned(), Role::Source);
        catalog.trees.push(Tree {
            id: TreeId(id),
            source,
            label,
            role,
            steps,
            time_head: None,
            bases: Vec::new(),
        });
    }
    let entry = |(source, version): &(SourceId, Option<&str>)| Subscription {
        source: *source,
        version: version.map(|text| text.parse().expect("a version")),
    };
    catalog.repos.push(Repository {
        id: RepoId(1),
        name: "bioc".parse().expect("a name"),
        kind: RepoKind::Bioconductor,
        description: String::new(),
        hidden: false,
        authenticated: false,
        created_at: noon(NOW),
        changes: ChangePolicy::Any,
        steps: vec![RepoStep {
            seq: Seq(1),
            at: noon(NOW),
            tx: TxId(1),
            list: subscriptions.iter().map(entry).collect(),
            pinned_at: None,
            has_withheld: false,
        }],
    });
    catalog
}

fn resolve_at(catalog: &Catalog, part: Option<Part>, snapshot: &str) -> Result<Vec<i64>, Unresolved> {
    let snapshot = snapshot.parse().expect("a snapshot");
    let point = resolve(catalog, &catalog.repos[0], part, snapshot, noon(NOW))?;
    Ok(point.trees.iter().map(|tree| tree.tree.0).collect())
}

#[test]
fn a_part_has_its_own_package_lists_and_those_of_sources_before_the_software() {
    let catalog_of_all = catalog(&[(TEAM, None), (SourceId::BIOCONDUCTOR, None)]);
    assert_eq!(resolve_at(&catalog_of_all, part("3.20/bioc"), "latest"), Ok(vec![5, 1]));
    assert_eq!(resolve_at(&catalog_of_all, part("3.20/data/annotation"), "latest"), Ok(vec![2]));
    assert_eq!(resolve_at(&catalog_of_all, part("3.19"), "latest"), Ok(vec![5, 3, 4]));
    let catalog_of_one_version = catalog(&[(TEAM, Some("3.19")), (SourceId::BIOCONDUCTOR, None)]);
    assert_eq!(resolve_at(&catalog_of_one_version, part("3.20/bioc"), "latest"), Ok(vec![1]));
    assert_eq!(resolve_at(&catalog_of_one_version, part("3.19/bioc"), "latest"), Ok(vec![5, 3]));
    // A repository of R packages serves a version as one list.
    let r_catalog = catalog(&[(TEAM, None), (SourceId::BIOCONDUCTOR, Some("3.19"))]);
    assert_eq!(resolve_at(&r_catalog, None, "latest"), Ok(vec![5, 3, 4]));
    let limited_catalog = catalog(&[(SourceId::BIOCONDUCTOR, Some("3.19"))]);
    let result = resolve_at(&limited_catalog, part("3.20/bioc"), "latest");
    assert_eq!(result, Err(Unresolved::NoPart(Part::parse("3.20/bioc").expect("a part"))));
}

#[test]
fn an_unpublished_part_has_a_hint() {
    let catalog_of_all = catalog(&[(SourceId::BIOCONDUCTOR, None)]);
    for label in ["3.21/bioc", "3.20/books"] {
        let error = resolve_at(&catalog_of_all, part(label), "latest").expect_err("not here");
        let (text, hint) = (error.to_string(), error.hint().expect("a hint"));
        assert!(text.contains(label) && !text.contains("rspm"), "{text}");
        assert!(hint.contains("rspm sync --type=bioconductor --version=3.2"), "{hint}");
    }
}

#[test]
fn days_between_the_last_update_and_the_first_sync_have_the_synced_state() {
    let catalog_of_all = catalog(&[(SourceId::BIOCONDUCTOR, None)]);
    // Bioconductor's last update of 3.19 was when 3.20 was released.
    assert_eq!(resolve_at(&catalog_of_all, part("3.19/bioc"), "2024-10-30"), Ok(vec![3]));
    assert_eq!(resolve_at(&catalog_of_all, part("3.19/bioc"), "2025-06-01"), Ok(vec![3]));
    let day = |text: &str| text.parse::<Day>().expect("a day");
    let expected = Unresolved::BeforeHistory { requested: "2024-10-29".to_owned(), first: day("2024-10-30") };
    assert_eq!(resolve_at(&catalog_of_all, part("3.19/bioc"), "2024-10-29"), Err(expected));
    // 3.20 is the current release: its earlier states are unknown.
    let expected = Unresolved::BeforeHistory { requested: "2025-06-01".to_owned(), first: day(NOW) };
    assert_eq!(resolve_at(&catalog_of_all, part("3.20/bioc"), "2025-06-01"), Err(expected));
    assert_eq!(resolve_at(&catalog_of_all, part("3.20/bioc"), NOW), Ok(vec![1]));
}
