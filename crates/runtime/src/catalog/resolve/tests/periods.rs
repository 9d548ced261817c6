//! Tests of the periods of subscription lists.

use super::*;

#[test]
fn periods_have_the_trees_of_every_snapshot_in_them() {
    let builder = typical_builder();
    let (repo, now) = (&builder.catalog.repos[0], instant("2024-01-20"));
    let all = periods(&builder.catalog, repo, None, Snapshot::Latest, now);
    assert_eq!((all[0].from, all[all.len() - 1].until), (Timestamp(i64::MIN), NEWEST));
    assert!(all.windows(2).all(|pair| pair[0].until == pair[1].from), "{all:?}");
    let transactions = (1..=8).map(|id| Snapshot::Transaction(TxId(id)));
    let days = ["2024-01-01", "2024-01-09", "2024-01-10", "2024-01-14", "2024-01-16"];
    for snapshot in transactions.chain(days.map(date)).chain([Snapshot::Latest]) {
        let end = snapshot_end(&builder.catalog, repo, snapshot, now).expect("a snapshot");
        let covers = |period: &&Period| period.from < end && end <= period.until;
        let period = all.iter().find(covers).expect("a period");
        let point = builder.resolve_at(snapshot, now).expect("a point");
        let published = |(_, tree): &&(SourceId, TreeId)| point.trees.iter().any(|of| of.tree == *tree);
        let trees: Vec<_> = period.trees.iter().filter(published).copied().collect();
        assert_eq!(trees, point.trees.iter().map(|tree| (tree.source, tree.tree)).collect::<Vec<_>>());
        let until = periods(&builder.catalog, repo, None, snapshot, now);
        assert_eq!(until.last().map(|period| period.until), Some(end), "{snapshot}");
    }
    assert_eq!(
        periods(
            &Catalog::default(),
            &Repository { steps: Vec::new(), ..repo.clone() },
            None,
            Snapshot::Latest,
            now
        ),
        []
    );
}
