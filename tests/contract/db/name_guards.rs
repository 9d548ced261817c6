//! Name guards: which rows are read by catalogs, by publishes and for a project that an index does not list.

use std::convert::Infallible;

use rstudio_pm::catalog::{Catalog, CatalogHandle};
use rstudio_pm::db::name_guard::{self, GuardState, NameGuardRow};
use rstudio_pm::db::tree::{self, Axis, Role};
use rstudio_pm::db::tx::{Publish, TxKind};
use rstudio_pm::db::{DbError, WriteError, clock, project, source};
use rstudio_pm::model::change::{Counts, LifeState};
use rstudio_pm::model::ids::{SourceId, TreeId};
use rstudio_pm::model::kind::{Language, SourceKind, Supply};
use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::publish::edit::{EditPlan, publish_step};

use super::counting::Counting;
use super::samples::{CRAN, NEW_YEAR, change, introduce};
use crate::support::db::TestDb;

both! {
    a_catalog_reads_only_the_guards_of_added_names
    a_change_by_an_older_program_is_read_with_all_guards
    only_a_publish_of_a_mirror_reads_its_source
    a_discovered_project_reads_only_the_guards_of_its_name
    a_name_that_was_imported_with_an_earlier_time_is_guarded
    the_mirrors_are_the_sources_of_a_new_database
}

/// Number of names before the changes of a test.
const NAMES: usize = 600;

/// Catalogs that follow the changes of a database, whose source `team` has packages.
struct Follower<'a> {
    db: &'a TestDb,
    handle: CatalogHandle,
    team: SourceId,
    tree: TreeId,
}

impl Follower<'_> {
    fn start(db: &TestDb) -> Follower<'_> {
        let (team, tree) = db.write(|c| {
            let team = source::create(c, &"team".parse().expect("a name"), SourceKind::Local, NEW_YEAR)?;
            Ok((team, tree::create(c, team, "", Role::Source, Axis::Step)?))
        });
        let names: Vec<String> = (0..NAMES).map(|number| format!("own{number}")).collect();
        let handle = db.block(CatalogHandle::open(&db.db)).expect("a catalog");
        let follower = Follower { db, handle, team, tree };
        follower.publish(tree, 1, &names.iter().map(String::as_str).collect::<Vec<_>>());
        follower.refresh();
        follower
    }

    /// Publishes packages with new names, some seconds after the start.
    fn publish(&self, tree: TreeId, seconds: i64, names: &[&str]) {
        self.publish_at(tree, seconds, names, None);
    }

    /// Publishes packages with new names, some seconds after the start, with a time in the past.
    fn publish_at(&self, tree: TreeId, seconds: i64, names: &[&str], at: Option<Timestamp>) {
        let version = format!("1.{seconds}");
        let changes: Vec<_> = names.iter().map(|name| introduce(name, &version, LifeState::Listed)).collect();
        let now = Timestamp(NEW_YEAR.0 + seconds * SECOND);
        if tree == CRAN {
            return self.db.write(move |c| change(c, tree, now, &changes).map(drop));
        }
        let publish = Publish { at, ..Publish::new(TxKind::Add, now, now, "test") };
        let source = self.team;
        self.db.write(move |c| {
            publish_step(c, source, tree, &publish, |_, _| {
                let (changes, counts) = (changes.clone(), Counts::default());
                Ok::<_, WriteError<Infallible>>(EditPlan { changes, counts, result: () })
            })
            .map_err(DbError::from)
        });
    }

    fn row(&self, id: i64) -> NameGuardRow {
        let rows = self.db.read(name_guard::list);
        rows.into_iter().find(|row| row.id == id).expect("a guard")
    }

    /// Reads the catalog again. Returns the number of rows of guards that were read.
    fn refresh(&self) -> usize {
        let handle = self.handle.clone();
        let (catalog, count): (Option<Catalog>, usize) = self.db.read(move |c| {
            let mut counting = Counting { inner: c, table: "name_guard", count: 0 };
            let catalog = handle.read_in_write(&mut counting)?;
            Ok((catalog, counting.count))
        });
        self.handle.install(catalog.expect("the catalog changed"));
        // A handle without a previous catalog reads all guards.
        let complete = self.db.block(CatalogHandle::open(&self.db.db)).expect("a catalog");
        let (guards, complete) = (&self.handle.get().guards, &complete.get().guards);
        assert_eq!((&guards.all, &guards.created), (&complete.all, &complete.created));
        count
    }

    /// Returns the source of the guard of a name, and whether the guard hides the name in CRAN.
    fn guard(&self, name: &str) -> Option<(SourceId, bool)> {
        let catalog = self.handle.get();
        let hiding = catalog.guards.all.select(Language::R, &[(SourceId::CRAN, false)], true);
        let guard = catalog.guards.all.find(Language::R, name)?;
        Some((guard.source, hiding.find(Language::R, name).is_some()))
    }
}

fn a_catalog_reads_only_the_guards_of_added_names(db: &mut TestDb) {
    let follower = Follower::start(db);
    let team = follower.team;
    assert_eq!((follower.guard("own7"), follower.guard("new")), (Some((team, false)), None));
    follower.publish(follower.tree, 2, &["new"]);
    assert_eq!(follower.refresh(), 1);
    follower.publish(follower.tree, 3, &["newer", "newest"]);
    follower.publish(follower.tree, 4, &["latest"]);
    assert_eq!(follower.refresh(), 3, "two changes at once");
    assert_eq!(follower.guard("latest"), Some((team, false)));
    db.write(|c| clock::bump_catalog(c, clock::Change::Nothing));
    assert_eq!(follower.refresh(), 0, "another change of the catalog");

    // CRAN lists a name of the team: its guard is in force now.
    follower.publish(CRAN, 5, &["other"]);
    follower.publish(CRAN, 6, &["own7"]);
    assert!(follower.refresh() >= NAMES);
    assert_eq!(follower.guard("own7"), Some((team, true)));
    follower.publish(follower.tree, 7, &["other"]);
    assert_eq!((follower.refresh(), follower.guard("other")), (1, None), "CRAN listed the name before");
    let ended = NameGuardRow { state: GuardState::Ended, ..follower.row(9) };
    let name = ended.pattern.clone();
    db.write(move |c| {
        clock::bump_catalog(c, clock::Change::Nothing)?;
        name_guard::update(c, std::slice::from_ref(&ended))
    });
    follower.publish(follower.tree, 8, &["last"]);
    assert!(follower.refresh() >= NAMES, "a change of a guard and a new one");
    assert_eq!((follower.guard(&name), follower.guard("last")), (None, Some((team, false))));
    let created = NameGuardRow { id: 0, pattern: "own*".to_owned(), automatic: false, ..follower.row(1) };
    db.write(move |c| {
        clock::bump_catalog(c, clock::Change::Nothing)?;
        name_guard::insert(c, std::slice::from_ref(&created))
    });
    assert!(follower.refresh() >= NAMES);
    assert_eq!(follower.guard("ownership"), Some((team, true)));
    follower.publish(follower.tree, 9, &["final"]);
    assert_eq!(follower.refresh(), 1);
    assert_eq!(follower.guard("ownership"), Some((team, true)));
}

fn a_change_by_an_older_program_is_read_with_all_guards(db: &mut TestDb) {
    let follower = Follower::start(db);
    let name = follower.row(9).pattern;
    db.write(|c| {
        clock::bump_catalog(c, clock::Change::Nothing)?;
        c.execute("UPDATE sequence SET next = next + 1 WHERE name = 'name_guard_change'", &[])?;
        c.execute("UPDATE name_guard SET state = 2 WHERE id = 9", &[])
    });
    follower.publish(follower.tree, 2, &["new"]);
    assert_eq!(follower.refresh(), NAMES + 1);
    assert_eq!((follower.guard(&name), follower.guard("new")), (None, Some((follower.team, false))));
    follower.publish(follower.tree, 3, &["newer"]);
    assert_eq!(follower.refresh(), 1);
}

fn only_a_publish_of_a_mirror_reads_its_source(db: &mut TestDb) {
    let follower = Follower::start(db);
    let (team, tree) = (follower.team, follower.tree);
    let at = |seconds: i64| Timestamp(NEW_YEAR.0 + seconds * SECOND);
    let own = db.write(move |c| {
        let mut counting = Counting { inner: c, table: "tree t", count: 0 };
        let publish = Publish::new(TxKind::Add, at(2), at(2), "test");
        publish_step(&mut counting, team, tree, &publish, |_, _| {
            let changes = vec![introduce("new", "1.0", LifeState::Listed)];
            Ok::<_, WriteError<Infallible>>(EditPlan { changes, counts: Counts::default(), result: () })
        })?;
        Ok(counting.count)
    });
    let of_mirror = db.write(move |c| {
        let mut counting = Counting { inner: c, table: "tree t", count: 0 };
        change(&mut counting, CRAN, at(3), &[introduce("other", "1.0", LifeState::Listed)])?;
        Ok(counting.count)
    });
    assert_eq!((own, of_mirror), (0, 1));
}

fn a_discovered_project_reads_only_the_guards_of_its_name(db: &mut TestDb) {
    db.write(|c| {
        tree::create(c, SourceId::PYPI, "simple", Role::Source, Axis::Time)?;
        let team = source::create(c, &"team".parse().expect("a name"), SourceKind::LocalPython, NEW_YEAR)?;
        let guard = |pattern: String, automatic: bool| NameGuardRow {
            id: 0,
            language: Language::Python.as_str().to_owned(),
            pattern,
            source: team,
            automatic,
            state: GuardState::InForce,
            description: String::new(),
            created_by: String::new(),
            created_at: NEW_YEAR,
        };
        let mut guards: Vec<_> = (0..NAMES).map(|number| guard(format!("own{number}"), true)).collect();
        guards.push(guard("acme-*".to_owned(), false));
        name_guard::insert(c, &guards)
    });
    let discover = |name: &'static str| {
        db.write(move |c| {
            let mut counting = Counting { inner: c, table: "name_guard", count: 0 };
            let guards = project::add_unlisted(&mut counting, SourceId::PYPI, name, NEW_YEAR.0)?;
            let patterns = guards.unwrap_or_default().into_iter().map(|guard| guard.pattern);
            Ok((patterns.collect::<Vec<String>>(), counting.count))
        })
    };
    let guarded = |pattern: &str, count| (vec![pattern.to_owned()], count);
    assert_eq!(discover("acme-tool"), guarded("acme-*", 2));
    assert_eq!(discover("acme"), (Vec::new(), 0), "the prefix ends with a hyphen");
    assert_eq!(discover("own7"), guarded("own7", 2));
    assert_eq!(discover("owner"), (Vec::new(), 0));
    let overlaps = db.read(name_guard::overlaps);
    let names: Vec<&str> = overlaps.iter().map(|overlap| overlap.name.as_str()).collect();
    assert_eq!(names, ["acme-tool", "own7"]);
}

fn a_name_that_was_imported_with_an_earlier_time_is_guarded(db: &mut TestDb) {
    let follower = Follower::start(db);
    // The releases of the mirror are of the first day of 2024.
    follower.publish(CRAN, 2, &["before", "same", "now"]);
    let time = |days: i64| Some(Timestamp(NEW_YEAR.0 - days * 86_400 * SECOND));
    let team = follower.team;
    let tree = db.write(move |c| tree::create(c, team, "new", Role::Source, Axis::Step));
    follower.publish_at(tree, 3, &["before"], time(30));
    follower.publish_at(tree, 4, &["same"], time(0));
    follower.publish(tree, 5, &["now"]);
    let rows = follower.db.read(name_guard::list);
    let state = |name: &str| rows.iter().find(|row| row.pattern == name).expect("a guard").state;
    assert_eq!(state("before"), GuardState::InForce);
    assert_eq!(state("same"), GuardState::ListedBefore, "a copy with the dates of the mirror");
    assert_eq!(state("now"), GuardState::ListedBefore);
    follower.refresh();
    let hidden = follower.db.read(name_guard::overlaps);
    let names: Vec<&str> = hidden.iter().map(|overlap| overlap.name.as_str()).collect();
    assert_eq!(names, ["before"], "the package of the mirror is hidden");
}

fn the_mirrors_are_the_sources_of_a_new_database(db: &mut TestDb) {
    let sources = db.read(source::list);
    assert!(sources.iter().all(|source| source.kind.supply() == Supply::Mirror), "{sources:?}");
    let ids: Vec<SourceId> = sources.iter().map(|source| source.id).collect();
    assert_eq!(ids, [SourceId::CRAN, SourceId::BIOCONDUCTOR, SourceId::PYPI]);
    let own = db.write(|c| source::create(c, &"own".parse().expect("a name"), SourceKind::Local, NEW_YEAR));
    assert!(!own.is_mirror());
}
