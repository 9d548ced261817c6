//! Block rules: their changes are recorded, and catalogs read only the changed ones.

use std::sync::Arc;

use rstudio_pm::catalog::{Catalog, CatalogHandle};
use rstudio_pm::db::block_rule::{self, BlockRule};
use rstudio_pm::db::clock;
use rstudio_pm::policy::Rule;

use super::counting::Counting;
use super::samples::NEW_YEAR;
use crate::support::db::TestDb;

both! {
    a_catalog_reads_only_the_rules_that_changed
    a_change_by_an_older_program_is_read_with_all_rules
    the_ids_of_changed_rules_are_recorded
    records_of_old_changes_are_deleted
    rules_are_those_of_a_database_that_lost_a_change
}

/// Number of rules before the changes of a test.
const RULES: i64 = 50;

fn row(name: &str) -> BlockRule {
    BlockRule {
        id: 0,
        priority: 100,
        exception: false,
        source: None,
        repo: None,
        criteria: format!(r#"{{"package":"{name}"}}"#),
        description: String::new(),
        created_by: "ada".to_owned(),
        created_at: NEW_YEAR,
    }
}

fn insert(db: &TestDb, names: &[&str]) -> i64 {
    let rows: Vec<BlockRule> = names.iter().map(|name| row(name)).collect();
    db.write(move |c| block_rule::insert(c, &rows))
}

fn update(db: &TestDb, id: i64, name: &str, priority: i64) {
    let row = BlockRule { id, priority, ..row(name) };
    assert!(db.write(move |c| block_rule::update(c, &row)), "there is no rule {id}");
}

/// Catalogs that follow the changes of a database.
struct Follower<'a> {
    db: &'a TestDb,
    handle: CatalogHandle,
}

impl Follower<'_> {
    fn start(db: &TestDb) -> Follower<'_> {
        let handle = db.block(CatalogHandle::open(&db.db)).expect("a catalog");
        Follower { db, handle }
    }

    fn rules(&self) -> Vec<Arc<Rule>> {
        self.handle.get().rules.in_order().into_iter().map(|stored| Arc::clone(&stored.rule)).collect()
    }

    /// Reads the catalog again. Returns the number of rows of rules that were read, and the ids of rules that the new catalog
    /// does not share with the one before.
    fn refresh(&self) -> (usize, Vec<i64>) {
        let handle = self.handle.clone();
        let read = self.db.read(move |c| {
            let mut counting = Counting { inner: c, table: "block_rule", count: 0 };
            let catalog: Option<Catalog> = handle.read_in_write(&mut counting)?;
            Ok((catalog, counting.count))
        });
        let before = self.rules();
        self.handle.install(read.0.expect("the catalog changed"));
        let now = self.rules();
        let is_new = |rule: &&Arc<Rule>| !before.iter().any(|known| Arc::ptr_eq(known, rule));
        // A handle without a previous catalog reads all rules.
        assert_eq!(now, Follower::start(self.db).rules());
        (read.1, now.iter().filter(is_new).map(|rule| rule.id).collect())
    }
}

fn with_rules(db: &TestDb) -> Follower<'_> {
    let names: Vec<String> = (1..=RULES).map(|number| format!("p{number}")).collect();
    insert(db, &names.iter().map(String::as_str).collect::<Vec<_>>());
    Follower::start(db)
}

fn a_catalog_reads_only_the_rules_that_changed(db: &mut TestDb) {
    let follower = with_rules(db);
    assert_eq!(follower.rules().len(), 50);
    assert_eq!(insert(db, &["new", "newer"]), RULES + 1);
    assert_eq!(follower.refresh(), (2, vec![51, 52]));
    update(db, 7, "other", 5);
    assert_eq!(follower.refresh(), (1, vec![7]));
    assert_eq!(follower.rules()[0].id, 7, "it is evaluated first now");
    update(db, 7, "other", 5);
    assert_eq!(follower.refresh(), (1, vec![]), "the values are the same");
    assert_eq!(db.write(|c| block_rule::delete(c, &[(3, 5)])), 3);
    assert_eq!(follower.refresh(), (0, vec![]));
    db.write(|c| block_rule::delete(c, &[(10, 10)]));
    update(db, 20, "twenty", 100);
    update(db, 20, "twenty", 200);
    insert(db, &["last"]);
    assert_eq!(follower.refresh(), (2, vec![53, 20]), "four changes at once");
    db.write(|c| clock::bump_catalog(c, clock::Change::Nothing));
    assert_eq!(follower.refresh(), (0, vec![]), "another change of the catalog");
    db.write(|c| block_rule::delete(c, &[(1, i64::MAX)]));
    assert_eq!(follower.refresh(), (0, vec![]));
    assert!(follower.rules().is_empty());
    insert(db, &["again"]);
    assert_eq!(follower.refresh(), (1, vec![54]));
    let catalog = follower.handle.get();
    let stored = catalog.rules.get(54).expect("the rule");
    assert_eq!((&*stored.created_by, stored.created_at), ("ada", NEW_YEAR));
}

fn a_change_by_an_older_program_is_read_with_all_rules(db: &mut TestDb) {
    let follower = with_rules(db);
    db.write(|c| {
        clock::bump_catalog(c, clock::Change::Nothing)?;
        c.execute("UPDATE sequence SET next = next + 1 WHERE name = 'block_rule_change'", &[])?;
        c.execute("UPDATE block_rule SET priority = 1 WHERE id = 9", &[])
    });
    insert(db, &["new"]);
    assert_eq!(follower.refresh(), (51, vec![9, 51]));
    insert(db, &["newer"]);
    assert_eq!(follower.refresh(), (1, vec![52]));
}

fn the_ids_of_changed_rules_are_recorded(db: &mut TestDb) {
    let changed = |from: i64, to: i64| {
        let mut ids = db.read(move |c| block_rule::changed_ids(c, from, to));
        ids.iter_mut().for_each(|ids| ids.sort_unstable());
        ids
    };
    let start = db.read(block_rule::revision);
    assert_eq!(changed(start, start), Some(vec![]));
    insert(db, &["a", "b"]);
    update(db, 2, "c", 100);
    db.write(|c| block_rule::delete(c, &[(1, 9)]));
    assert_eq!(db.read(block_rule::revision), start + 3);
    assert_eq!(changed(start, start + 3), Some(vec![(1, 2), (1, 9), (2, 2)]));
    assert_eq!(changed(start + 1, start + 2), Some(vec![(2, 2)]));
    assert_eq!(changed(start, start + 4), None, "there was no such change");
    assert_eq!(changed(start - 1, start + 3), None, "a change before the records");
    assert_eq!(changed(start + 3, start), None, "in the wrong order");
}

fn records_of_old_changes_are_deleted(db: &mut TestDb) {
    let start = db.read(block_rule::revision);
    db.write(|c| {
        for _ in 0..1005 {
            block_rule::delete(c, &[(8, 9)])?;
        }
        Ok(())
    });
    let end = start + 1005;
    let count = |from: i64| db.read(move |c| Ok(block_rule::changed_ids(c, from, end)?.map(|ids| ids.len())));
    assert_eq!((count(start), count(start + 5), count(end - 1)), (None, Some(1000), Some(1)));
}

fn rules_are_those_of_a_database_that_lost_a_change(db: &mut TestDb) {
    let follower = with_rules(db);
    insert(db, &["lost"]);
    assert_eq!(follower.refresh(), (1, vec![RULES + 1]));
    // A standby of PostgreSQL that lacks the last change becomes the primary server, and makes another one.
    db.write(|c| {
        for sql in [
            "DELETE FROM block_rule WHERE description = '' AND id = (SELECT max(id) FROM block_rule)",
            "DELETE FROM block_rule_change WHERE revision = (SELECT max(revision) FROM block_rule_change)",
            "UPDATE sequence SET next = next - 1 WHERE name IN ('block_rule', 'block_rule_change')",
            "UPDATE clock SET catalog = catalog - 1 WHERE id = 1",
        ] {
            c.execute(sql, &[])?;
        }
        Ok(())
    });
    update(db, 7, "other", 5);
    db.block(follower.handle.refresh(&db.db)).expect("a catalog");
    let before = follower.rules();
    assert_eq!(before.last().map(|rule| rule.id), Some(RULES + 1), "the numbers of changes are the same");
    db.block(follower.handle.refresh_all(&db.db)).expect("a catalog");
    let now = follower.rules();
    assert_eq!(now, Follower::start(db).rules());
    let is_new = |rule: &&Arc<Rule>| !before.iter().any(|known| Arc::ptr_eq(known, rule));
    assert_eq!(now.iter().filter(is_new).map(|rule| rule.id).collect::<Vec<_>>(), [7]);
    assert_eq!(now.len() as i64, RULES);
}
