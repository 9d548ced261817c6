//! Tests of the days without packages after the first subscription, and of the periods of subscription lists.

use super::*;

#[test]
fn a_repository_without_sources_after_its_first_subscription_has_empty_days() {
    let mut builder = CatalogBuilder::new(&["cran"]);
    builder.publish(1, instant("2024-01-01"));
    builder.subscribe(&[1], instant("2024-01-10"));
    let unsubscription = builder.subscribe(&[], instant("2024-01-11"));
    assert_eq!(builder.result(date("2024-01-13"), "2024-01-13"), " open", "the current day");
    builder.close("2024-01-13");
    for now in ["2024-01-14", "2024-02-14"] {
        assert_eq!(builder.result(date("2024-01-10"), now), "1@1 closed");
        assert_eq!(builder.result(date("2024-01-11"), now), " closed");
        assert_eq!(builder.result(date("2024-01-13"), now), " closed");
        assert_eq!(builder.result(Snapshot::Transaction(unsubscription), now), " closed");
        assert_eq!(builder.result(date("2024-01-05"), now), "1@1 closed", "by the first list");
        let expected =
            "no snapshot of this repository is as old as 2023-12-31; its history starts at 2024-01-01";
        assert_eq!(builder.result(date("2023-12-31"), now), expected);
        builder.subscribe(&[1], instant(&format!("{now} 11:00")));
    }
}

#[test]
fn a_repository_that_was_subscribed_for_a_part_of_a_day_starts_on_that_day() {
    let mut builder = CatalogBuilder::new(&["cran"]);
    builder.publish(1, instant("2024-01-01"));
    builder.subscribe(&[1], instant("2024-01-10 09:00"));
    builder.subscribe(&[], instant("2024-01-10 10:00"));
    builder.subscribe(&[1], instant("2024-01-20"));
    builder.close("2024-01-20");
    assert_eq!(builder.result(date("2024-01-10"), "2024-01-21"), " closed");
    assert_eq!(builder.result(date("2024-01-19"), "2024-01-21"), " closed");
    assert_eq!(builder.result(date("2024-01-20"), "2024-01-21"), "1@1 closed");
    let expected = "no snapshot of this repository is as old as 2024-01-09; its history starts at 2024-01-10";
    assert_eq!(builder.result(date("2024-01-09"), "2024-01-21"), expected);
}

#[test]
fn a_pin_before_the_first_package_has_empty_days_from_the_first_subscription_on() {
    let mut builder = CatalogBuilder::new(&["team"]);
    builder.promote(&[1], Some(instant("2024-01-02")), instant("2024-01-05"));
    builder.publish(1, instant("2024-01-07"));
    builder.close("2024-01-08");
    assert_eq!(builder.result(Snapshot::Latest, "2024-01-09"), " open");
    for day in ["2024-01-05", "2024-01-07", "2024-01-08"] {
        assert_eq!(builder.result(date(day), "2024-01-09"), " open", "{day}");
    }
    let expected = "no snapshot of this repository is as old as 2024-01-04; its history starts at 2024-01-05";
    assert_eq!(builder.result(date("2024-01-04"), "2024-01-09"), expected);
}

proptest! {
    /// Each day and transaction from the first subscription on is served.
    #[test]
    fn states_since_the_first_subscription_are_served(events in prop::collection::vec(event(), 1..30)) {
        let mut builder = CatalogBuilder::new(&["cran", "team", "lab"]);
        let mut clock = instant("2024-01-01");
        apply(&mut builder, &mut clock, events);
        let steps = &builder.catalog.repos[0].steps;
        if let Some(first) = steps.iter().find(|step| !step.list.is_empty()) {
            let transactions = builder.catalog.transactions.iter().filter(|(_, at)| *at >= first.at);
            let mut snapshots: Vec<Snapshot> = transactions.map(|(tx, _)| Snapshot::Transaction(*tx)).collect();
            let (mut day, today) = (first.at.day(), clock.day());
            while day <= today {
                snapshots.push(Snapshot::Date(day));
                day = day.end().day();
            }
            for snapshot in snapshots {
                let point = builder.resolve_at(snapshot, clock);
                prop_assert!(point.is_ok(), "{}: {:?}", snapshot, point);
            }
        }
    }
}

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
