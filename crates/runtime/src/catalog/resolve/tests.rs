//! Tests of `resolve`: each kind of snapshot, and histories extended by publishes and back-fills.

use proptest::prelude::*;

use super::*;
use crate::catalog::{Source, Tree};
use base::model::ids::{RepoId, Seq, SourceId, TreeId, TxId};
use base::model::kind::{ChangePolicy, RepoKind, SourceKind};
use base::model::time::SECOND;
use store::db::tree::Role;

mod empty_days;

/// Returns the instant of `2024-01-01 09:00`; without a time, noon.
fn instant(text: &str) -> Timestamp {
    let (day, time) = text.split_once(' ').unwrap_or((text, "12:00"));
    let (hour, minute) = time.split_once(':').expect("a time");
    let number = |t: &str| t.parse::<i64>().expect("a number");
    let start = day.parse::<Day>().expect("a day").start();
    Timestamp(start.0 + (number(hour) * 3600 + number(minute) * 60) * SECOND)
}

fn date(text: &str) -> Snapshot {
    Snapshot::Date(text.parse().expect("a day"))
}

/// Builds a catalog from events: each is one transaction, in order of time.
#[derive(Default)]
struct CatalogBuilder {
    catalog: Catalog,
}

impl CatalogBuilder {
    fn new(sources: &[&str]) -> CatalogBuilder {
        let mut catalog = Catalog::default();
        for (id, name) in (1..).zip(sources) {
            let kind = if *name == "cran" { SourceKind::Cran } else { SourceKind::Local };
            let (id, created_at) = (SourceId(id), Timestamp(0));
            catalog.sources.push(Source { id, name: name.parse().expect("a name"), kind, created_at });
            let (label, role) = ("src/contrib".to_owned(), Role::Source);
            let id_of_tree = TreeId(id.0 * 10);
            catalog.trees.push(Tree {
                id: id_of_tree,
                source: id,
                label,
                role,
                steps: Vec::new(),
                time_head: None,
                bases: Vec::new(),
            });
        }
        catalog.repos.push(Repository {
            id: RepoId(1),
            name: "all".parse().expect("a name"),
            kind: RepoKind::R,
            description: String::new(),
            hidden: false,
            authenticated: false,
            changes: ChangePolicy::Any,
            created_at: Timestamp(0),
            steps: Vec::new(),
        });
        CatalogBuilder { catalog }
    }

    fn tx(&mut self, at: Timestamp) -> TxId {
        let tx = TxId(self.catalog.transactions.len() as i64 + 1);
        assert!(self.catalog.clock_at.is_none_or(|clock| clock < at), "events are in order");
        self.catalog.transactions.push((tx, at));
        self.catalog.clock_at = Some(at);
        tx
    }

    fn publish(&mut self, source: i64, at: Timestamp) -> TxId {
        let tx = self.tx(at);
        let tree = self.catalog.trees.get_mut(source as usize - 1);
        let seq = tree.steps.last().map_or(Seq(1), |step| step.seq.next());
        tree.steps.push(Step { seq, at, tx });
        tx
    }

    fn subscribe(&mut self, sources: &[i64], at: Timestamp) -> TxId {
        self.promote(sources, None, at)
    }

    fn promote(&mut self, sources: &[i64], pinned_at: Option<Timestamp>, at: Timestamp) -> TxId {
        let tx = self.tx(at);
        let steps = &mut self.catalog.repos.get_mut(0).steps;
        let seq = Seq(steps.len() as i64 + 1);
        steps.push(RepoStep {
            seq,
            at,
            tx,
            list: sources.iter().map(|id| Subscription::to(SourceId(*id))).collect(),
            pinned_at,
            has_withheld: false,
        });
        tx
    }

    fn backfill(&mut self, source: i64, step_at: Timestamp, published: Timestamp) {
        let tx = self.tx(published);
        let tree = self.catalog.trees.get_mut(source as usize - 1);
        let seq = Seq(tree.steps[0].seq.0 - 1);
        tree.steps.insert(0, Step { seq, at: step_at, tx });
    }

    fn close(&mut self, day: &str) {
        let end = day.parse::<Day>().expect("a day").end();
        self.catalog.clock_at = self.catalog.clock_at.max(Some(end));
    }

    fn resolve_at(&self, snapshot: Snapshot, now: Timestamp) -> Result<Point, Unresolved> {
        resolve(&self.catalog, &self.catalog.repos[0], None, snapshot, now)
    }

    /// Formats the result as `source@seq …` and `open` or `closed`.
    fn result(&self, snapshot: Snapshot, now: &str) -> String {
        match self.resolve_at(snapshot, instant(now)) {
            Ok(point) => {
                let trees = point.trees.iter().map(|t| format!("{}@{}", t.source, t.seq)).collect::<Vec<_>>();
                format!("{} {}", trees.join(" "), if point.open { "open" } else { "closed" })
            }
            Err(error) => error.to_string(),
        }
    }
}

fn typical_builder() -> CatalogBuilder {
    let mut builder = CatalogBuilder::new(&["cran", "team"]);
    builder.publish(1, instant("2024-01-01"));
    builder.publish(1, instant("2024-01-03"));
    builder.publish(2, instant("2024-01-05"));
    builder.subscribe(&[1], instant("2024-01-10 09:00"));
    builder.publish(1, instant("2024-01-10 10:00"));
    builder.subscribe(&[2, 1], instant("2024-01-10 11:00"));
    builder.publish(2, instant("2024-01-12"));
    builder.subscribe(&[1, 2], instant("2024-01-15"));
    builder
}

#[test]
fn latest_has_the_newest_subscriptions_and_every_head() {
    assert_eq!(typical_builder().result(Snapshot::Latest, "2024-01-15"), "1@3 2@2 open");
    assert_eq!(typical_builder().result(Snapshot::Latest, "2023-01-01"), "1@3 2@2 open");
}

#[test]
fn a_date_is_the_state_at_the_end_of_its_day() {
    let mut builder = typical_builder();
    builder.close("2024-01-14");
    for (text, expected) in [
        ("2024-01-01", "1@1 closed"),
        ("2024-01-02", "1@1 closed"),
        ("2024-01-03", "1@2 closed"),
        ("2024-01-05", "2@1 1@2 closed"),
        ("2024-01-10", "2@1 1@3 closed"),
        ("2024-01-12", "2@2 1@3 closed"),
        ("2024-01-14", "2@2 1@3 closed"),
        ("2024-01-15", "1@3 2@2 open"),
    ] {
        assert_eq!(builder.result(date(text), "2024-01-15"), expected, "{text}");
    }
}

#[test]
fn a_step_at_midnight_belongs_to_the_new_day() {
    let mut builder = CatalogBuilder::new(&["cran"]);
    builder.subscribe(&[1], instant("2024-01-01"));
    builder.publish(1, instant("2024-01-02"));
    builder.publish(1, instant("2024-01-04 00:00"));
    assert_eq!(builder.result(date("2024-01-03"), "2024-01-09"), "1@1 closed");
    assert_eq!(builder.result(date("2024-01-04"), "2024-01-09"), "1@2 open");
}

#[test]
fn a_day_that_is_over_but_not_closed_is_open() {
    let mut builder = typical_builder();
    assert_eq!(builder.result(date("2024-01-15"), "2024-01-20"), "1@3 2@2 open");
    builder.close("2024-01-15");
    assert_eq!(builder.result(date("2024-01-15"), "2024-01-20"), "1@3 2@2 closed");
    assert_eq!(builder.result(date("2024-01-16"), "2024-01-20"), "1@3 2@2 open");
}

#[test]
fn a_day_after_today_is_refused_and_a_faster_clock_of_another_server_counts() {
    let mut builder = typical_builder();
    let expected = "2024-01-16 is in the future; the newest snapshot is 2024-01-15";
    assert_eq!(builder.result(date("2024-01-16"), "2024-01-15 23:59"), expected);
    builder.close("2024-01-15");
    assert_eq!(builder.result(date("2024-01-16"), "2024-01-15 23:59"), "1@3 2@2 open");
}

#[test]
fn with_transactions_of_next_year_today_is_latest_and_tomorrow_is_refused() {
    let mut builder = typical_builder();
    builder.publish(1, instant("2025-03-01"));
    for now in ["2024-01-20", "2024-02-20"] {
        let today = now.parse().expect("a day");
        let latest = builder.result(Snapshot::Latest, now);
        assert_eq!(latest, "1@4 2@2 open");
        assert_eq!(builder.result(Snapshot::Date(today), now), latest);
        let tomorrow = Snapshot::Date(today.end().day());
        assert!(builder.result(tomorrow, now).contains("is in the future"), "{now}");
    }
}

#[test]
fn a_date_before_history_names_the_first_day_that_has_a_state() {
    let builder = typical_builder();
    let expected = "no snapshot of this repository is as old as 2023-12-31; its history starts at 2024-01-01";
    assert_eq!(builder.result(date("2023-12-31"), "2024-01-15"), expected);
    let expected = "no snapshot of this repository is as old as 0001-01-01; its history starts at 2024-01-01";
    assert_eq!(builder.result(date("0001-01-01"), "2024-01-15"), expected);
}

#[test]
fn a_repository_without_sources_or_states_is_empty_and_has_no_history() {
    let mut builder = CatalogBuilder::new(&["cran", "team"]);
    let empty = Unresolved::Empty.to_string();
    assert_eq!(builder.result(Snapshot::Latest, "2024-01-01"), " open");
    assert_eq!(builder.result(date("2023-12-31"), "2024-01-01"), empty);
    builder.subscribe(&[2], instant("2024-01-01"));
    assert_eq!(builder.result(Snapshot::Latest, "2024-01-01"), " open");
    assert_eq!(builder.result(date("2024-01-01"), "2024-01-01"), " open");
    let expected = "no snapshot of this repository is as old as 2023-12-31; its history starts at 2024-01-01";
    assert_eq!(builder.result(date("2023-12-31"), "2024-01-01"), expected);
    assert_eq!(builder.result(Snapshot::Transaction(TxId(1)), "2024-01-01"), " open");
    builder.publish(2, instant("2024-01-02"));
    assert_eq!(builder.result(Snapshot::Latest, "2024-01-02"), "2@1 open");
    assert_eq!(builder.result(date("2024-01-01"), "2024-01-02"), " open", "a back-fill can add packages");
    assert_eq!(builder.result(date("2023-12-31"), "2024-01-02"), expected);
}

#[test]
fn a_transaction_is_resolved_to_its_instant_inclusive() {
    let builder = typical_builder();
    for (tx, expected) in [
        (1, "1@1 closed"),
        (2, "1@2 closed"),
        // Before the first subscription: the list at the end of that day, which names both.
        (3, "2@1 1@2 closed"),
        // From the first subscription on: the list at the instant.
        (4, "1@2 closed"),
        (5, "1@3 closed"),
        (6, "2@1 1@3 closed"),
        (7, "2@2 1@3 closed"),
        (8, "1@3 2@2 closed"),
        (9, "there is no transaction 9"),
        (0, "there is no transaction 0"),
    ] {
        assert_eq!(builder.result(Snapshot::Transaction(TxId(tx)), "2024-01-15"), expected, "{tx}");
    }
}

#[test]
fn a_transaction_of_a_source_outside_the_repository_is_an_instant_too() {
    let mut builder = CatalogBuilder::new(&["cran", "other"]);
    builder.subscribe(&[1], instant("2024-01-01"));
    builder.publish(1, instant("2024-01-02"));
    let tx = builder.publish(2, instant("2024-01-03"));
    builder.publish(1, instant("2024-01-04"));
    assert_eq!(builder.result(Snapshot::Transaction(tx), "2024-01-04"), "1@1 closed");
}

#[test]
fn dates_before_the_first_subscription_stay_open_until_its_day_is_over() {
    let mut builder = CatalogBuilder::new(&["cran", "team"]);
    builder.publish(1, instant("2024-01-01"));
    builder.publish(2, instant("2024-01-01 13:00"));
    builder.subscribe(&[1], instant("2024-02-01 09:00"));
    assert_eq!(builder.result(date("2024-01-01"), "2024-02-01"), "1@1 open");
    builder.subscribe(&[1, 2], instant("2024-02-01 17:00"));
    assert_eq!(builder.result(date("2024-01-01"), "2024-02-01"), "1@1 2@1 open");
    builder.close("2024-02-01");
    assert_eq!(builder.result(date("2024-01-01"), "2024-02-02"), "1@1 2@1 closed");
    builder.subscribe(&[2], instant("2025-01-01"));
    assert_eq!(builder.result(date("2024-01-01"), "2025-01-01"), "1@1 2@1 closed");
}

#[test]
fn an_empty_list_at_the_start_is_not_a_subscription() {
    let mut builder = CatalogBuilder::new(&["cran"]);
    builder.publish(1, instant("2024-01-01"));
    builder.subscribe(&[], instant("2024-01-02"));
    builder.subscribe(&[1], instant("2024-01-05"));
    builder.close("2024-01-09");
    assert_eq!(builder.result(date("2024-01-03"), "2024-01-10"), "1@1 closed");
}

#[test]
fn last_modified_changes_with_the_list_too() {
    let builder = typical_builder();
    let modified = |snapshot| builder.resolve_at(snapshot, instant("2024-01-15")).expect("a point").modified;
    assert_eq!(modified(Snapshot::Latest), Some(instant("2024-01-15")));
    assert_eq!(modified(date("2024-01-12")), Some(instant("2024-01-12")));
}

#[test]
fn a_back_fill_answers_older_dates_and_changes_no_later_one() {
    let mut builder = typical_builder();
    builder.close("2024-01-15");
    let before = builder.result(date("2024-01-01"), "2024-01-16");
    builder.backfill(1, instant("2023-06-01"), instant("2024-01-16"));
    assert_eq!(builder.result(date("2024-01-01"), "2024-01-16"), before);
    assert_eq!(builder.result(date("2023-07-01"), "2024-01-16"), "1@0 closed");
}

#[derive(Clone, Debug)]
enum Event {
    Publish(i64),
    Subscribe(Vec<i64>),
    Backfill(i64),
    CloseDay,
}

fn event() -> impl Strategy<Value = (Event, i64)> {
    let list = prop::sample::subsequence(vec![1_i64, 2, 3], 0..=3).prop_shuffle();
    let event = prop_oneof![
        4 => (1..=3_i64).prop_map(Event::Publish),
        2 => list.prop_map(Event::Subscribe),
        1 => (1..=3_i64).prop_map(Event::Backfill),
        1 => Just(Event::CloseDay),
    ];
    (event, 1..200_000_i64)
}

/// Applies events, each with its pause in seconds after the previous one.
fn apply(builder: &mut CatalogBuilder, clock: &mut Timestamp, events: Vec<(Event, i64)>) {
    for (event, pause) in events {
        clock.0 = clock.max(&mut builder.catalog.clock_at.unwrap_or(Timestamp(0))).0 + pause * SECOND;
        match event {
            Event::Publish(source) => drop(builder.publish(source, *clock)),
            Event::Subscribe(list) => drop(builder.subscribe(&list, *clock)),
            Event::Backfill(source) => {
                if let Some(first) = builder.catalog.trees[source as usize - 1].steps.first().copied() {
                    builder.backfill(source, Timestamp(first.at.0 - pause * SECOND), *clock);
                }
            }
            Event::CloseDay => builder.close(&Timestamp(clock.0 - 86_400 * SECOND).day().to_string()),
        }
    }
}

proptest! {
    /// A closed point is final: neither later steps nor prepended ones, without an earlier state, change it.
    #[test]
    fn closed_points_never_change(
        past_events in prop::collection::vec(event(), 1..30),
        future_events in prop::collection::vec(event(), 1..30),
    ) {
        let mut builder = CatalogBuilder::new(&["cran", "team", "lab"]);
        let mut clock = instant("2024-01-01");
        apply(&mut builder, &mut clock, past_events);
        let mut snapshots: Vec<Snapshot> = builder.catalog.transactions.iter().map(|(tx, _)| Snapshot::Transaction(*tx)).collect();
        let (mut day, today) = (instant("2023-12-01").day(), clock.day());
        while day <= today {
            snapshots.push(Snapshot::Date(day));
            day = day.end().day();
        }
        let before: Vec<_> = snapshots.iter().map(|snapshot| builder.resolve_at(*snapshot, clock)).collect();
        apply(&mut builder, &mut clock, future_events);
        for (snapshot, before) in snapshots.into_iter().zip(before) {
            let after = builder.resolve_at(snapshot, clock);
            match before {
                Ok(before) if !before.open => {
                    let mut after = after.expect("a closed point does not change");
                    prop_assert!(!after.open);
                    after.trees.retain(|tree| before.trees.iter().any(|old| old.tree == tree.tree));
                    prop_assert_eq!(&after.trees, &before.trees, "{}", snapshot);
                }
                Ok(open) => {
                    // An open point moves forward only.
                    for tree in after.map(|point| point.trees).unwrap_or_default() {
                        let old = open.trees.iter().find(|old| old.tree == tree.tree);
                        prop_assert!(old.is_none_or(|old| old.seq <= tree.seq));
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// The date of today equals `latest`, regardless of the times of the transactions and of the clock.
    #[test]
    fn the_day_of_the_clock_is_latest(events in prop::collection::vec(event(), 1..20), days in -500_i64..500) {
        let mut builder = CatalogBuilder::new(&["cran", "team", "lab"]);
        let mut clock = instant("2024-01-01");
        apply(&mut builder, &mut clock, events);
        let now = Timestamp(clock.0 + days * 86_400 * SECOND);
        let today = today(&builder.catalog, now);
        prop_assert_eq!(builder.resolve_at(Snapshot::Date(today), now), builder.resolve_at(Snapshot::Latest, now));
    }

    /// No snapshot makes `resolve` panic.
    #[test]
    fn any_snapshot_is_resolved_or_refused(events in prop::collection::vec(event(), 0..20), text in "[0-9]{1,6}|[0-9]{4}-[01][0-9]-[0-3][0-9]") {
        let mut builder = CatalogBuilder::new(&["cran", "team", "lab"]);
        let mut clock = instant("2024-01-01");
        apply(&mut builder, &mut clock, events);
        if let Ok(snapshot) = text.parse::<Snapshot>() {
            let _ = builder.resolve_at(snapshot, clock);
        }
    }
}

#[test]
fn a_promoted_list_has_the_states_before_its_pin_until_the_next_one() {
    let mut builder = CatalogBuilder::new(&["cran", "team"]);
    builder.publish(1, instant("2024-01-01"));
    builder.publish(2, instant("2024-01-02"));
    builder.publish(1, instant("2024-01-03"));
    builder.promote(&[2, 1], Some(instant("2024-01-03")), instant("2024-01-05"));
    builder.publish(1, instant("2024-01-06"));
    builder.publish(2, instant("2024-01-07"));
    let latest = |builder: &CatalogBuilder, now: &str| builder.result(Snapshot::Latest, now);
    assert_eq!(latest(&builder, "2024-01-07"), "2@1 1@1 open", "the step at the pin itself is not in it");
    assert_eq!(builder.result(date("2024-01-02"), "2024-01-07"), "2@1 1@1 closed");
    assert_eq!(builder.result(date("2024-01-06"), "2024-01-08"), "2@1 1@1 closed");
    builder.promote(&[1], Some(instant("2024-01-06 12:01")), instant("2024-01-08"));
    assert_eq!(latest(&builder, "2024-01-08"), "1@3 open");
    assert_eq!(builder.result(date("2024-01-07"), "2024-01-08"), "2@1 1@1 closed");
    builder.promote(&[2, 1], Some(instant("2024-01-03")), instant("2024-01-09"));
    assert_eq!(latest(&builder, "2024-01-09"), "2@1 1@1 open", "back to the first state");
    builder.subscribe(&[2, 1], instant("2024-01-10"));
    assert_eq!(latest(&builder, "2024-01-10"), "2@2 1@3 open", "without a pin, the newest states");
    let selected =
        selection(&builder.catalog, &builder.catalog.repos[0], date("2024-01-09"), instant("2024-01-10"));
    let selected = selected.expect("a snapshot");
    assert_eq!((selected.list.len(), selected.end), (2, instant("2024-01-03")));
    let point = selected_point(&builder.catalog, &builder.catalog.repos[0], &selected, None);
    assert_eq!(point.trees.iter().map(|tree| tree.seq.0).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_source_is_open_as_its_repositories_are() {
    let mut catalog = CatalogBuilder::new(&[]).catalog;
    let step = |seq: i64, sources: &[i64]| RepoStep {
        seq: Seq(seq),
        at: Timestamp(seq),
        tx: TxId(seq),
        list: sources.iter().map(|id| Subscription::to(SourceId(*id))).collect(),
        pinned_at: None,
        has_withheld: false,
    };
    let template = catalog.repos[0].clone();
    let repo = |id: i64, authenticated, lists: &[&[i64]]| {
        let steps = (1..).zip(lists).map(|(seq, sources)| step(seq, sources)).collect();
        let name = format!("r{id}").parse().expect("a name");
        Repository { id: RepoId(id), name, authenticated, steps, ..template.clone() }
    };
    catalog.repos.push(repo(2, true, &[&[1], &[1, 2], &[2, 3, 4]]));
    catalog.repos.push(repo(3, true, &[&[4], &[4]]));
    catalog.repos.push(repo(4, false, &[&[5], &[3]]));
    let of = |catalog: &Catalog, id| {
        let id = SourceId(id);
        (catalog.is_private(id), catalog.is_open(id), catalog.authenticated_readers(id).to_vec())
    };
    let expected = [
        (1, (true, false, vec![])),
        (2, (true, false, vec![RepoId(2)])),
        (3, (true, true, vec![RepoId(2)])),
        (4, (true, false, vec![RepoId(2), RepoId(3)])),
        (5, (false, true, vec![])),
        (6, (false, true, vec![])),
    ];
    expected.iter().for_each(|(id, readers)| assert_eq!(of(&catalog, *id), *readers, "source {id}"));
    catalog.repos.push(repo(4, true, &[&[5], &[3]]));
    assert_eq!(of(&catalog, 3), (true, false, vec![RepoId(2), RepoId(4)]));
    assert_eq!(of(&catalog, 5), (true, false, vec![]));
}
