//! Steps and lives: the content of a step does not change after its publication.

use rstudio_pm::db::life::{self, ListedName};
use rstudio_pm::db::{DbError, clock, file, import, tree};
use rstudio_pm::model::change::{Change, LifeState, NewFile};
use rstudio_pm::model::ids::{ReleaseId, Seq};
use rstudio_pm::model::time::Timestamp;

use super::samples::{CRAN, NEW_YEAR, change, introduce, keys, publish_of, release, step_content, target};
use crate::support::db::TestDb;

both! {
    a_superseded_release_moves_to_the_archive
    a_running_import_is_invisible_until_it_is_published
    an_abandoned_import_leaves_no_trace_in_any_step
    only_open_lives_are_ended
    the_same_version_with_other_bytes_is_a_revision
    an_existing_release_is_refused
    a_release_may_have_several_files
    names_have_one_order
    a_second_record_of_a_package_has_a_path
    facts_that_are_recorded_later_do_not_change_an_index
    history_can_be_prepended_without_changing_later_steps
}

fn listed_names(db: &TestDb, seq: i64) -> Vec<String> {
    db.read(move |c| life::names(c, CRAN, Seq(seq)))
        .into_iter()
        .map(|n| format!("{} {}", n.name, n.version))
        .collect()
}

fn a_superseded_release_moves_to_the_archive(db: &mut TestDb) {
    let old = db.write(|c| change(c, CRAN, NEW_YEAR, &[introduce("a", "1.0", LifeState::Listed)])).0[0];
    db.write(move |c| {
        let ends = keys(c, CRAN, Seq(1), "a")?.into_iter().map(Change::EndLife);
        let archive = Change::BeginLife {
            state: LifeState::Archived,
            package: old.package,
            release: old.release,
            variant: 0,
            path: String::new(),
        };
        let all: Vec<Change> = ends.chain([archive, introduce("a", "1.1", LifeState::Listed)]).collect();
        change(c, CRAN, NEW_YEAR, &all)
    });
    assert_eq!(listed_names(db, 1), ["a 1.0"]);
    assert_eq!(listed_names(db, 2), ["a 1.1"]);
    assert!(db.read(|c| life::archived_files(c, CRAN, Seq(1))).is_empty());
    let archived = db.read(|c| life::archived_files(c, CRAN, Seq(2)));
    assert_eq!(archived.len(), 1);
    assert_eq!((archived[0].file.as_str(), archived[0].published_at), ("a_1.0.tar.gz", Some(NEW_YEAR)));
    let find = |seq, state, file: &'static str| {
        db.read(move |c| life::find_file(c, CRAN, Seq(seq), state, "a", file))
            .map(|f| (f.state, f.release == old.release))
    };
    assert_eq!(find(1, None, "a_1.0.tar.gz"), Some((LifeState::Listed, true)));
    assert_eq!(find(2, None, "a_1.0.tar.gz"), Some((LifeState::Archived, true)));
    assert_eq!(find(2, Some(LifeState::Listed), "a_1.0.tar.gz"), None);
    assert_eq!(find(2, None, "a_1.1.tar.gz"), Some((LifeState::Listed, false)));
    assert_eq!(find(1, None, "a_1.1.tar.gz"), None);
    let detail = db.read(|c| life::package_detail(c, CRAN, Seq(2), "a"));
    assert_eq!(detail.iter().map(|f| f.version.as_str()).collect::<Vec<_>>(), ["1.1", "1.0"]);
}

fn a_running_import_is_invisible_until_it_is_published(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, NEW_YEAR, &[introduce("a", "1.0", LifeState::Listed)]));
    let before = db.read(|c| step_content(c, CRAN, Seq(1)));
    let pending = db.write(|c| tree::begin(c, CRAN, 1));
    for n in 0..3 {
        let bulk = db.db.bulk(move |c| {
            import::apply(c, &target(CRAN, pending), &[introduce(&format!("p{n}"), "1", LifeState::Listed)])
        });
        db.block(bulk).expect("a chunk");
        assert_eq!(db.read(|c| step_content(c, CRAN, Seq(1))), before);
    }
    db.write(|c| clock::publish(c, &publish_of(&[CRAN], NEW_YEAR)));
    assert_eq!(db.read(|c| step_content(c, CRAN, Seq(1))), before);
    assert_eq!(listed_names(db, 2), ["a 1.0", "p0 1", "p1 1", "p2 1"]);
}

fn an_abandoned_import_leaves_no_trace_in_any_step(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, NEW_YEAR, &[introduce("a", "1.0", LifeState::Listed)]));
    let lives = |db: &TestDb| {
        db.read(|c| c.query("SELECT package_id, from_seq, to_seq FROM life ORDER BY package_id", &[]))
    };
    let (before, rows) = (db.read(|c| step_content(c, CRAN, Seq(1))), lives(db));
    let pending = db.write(|c| tree::begin(c, CRAN, 1));
    db.write(move |c| {
        let mut all: Vec<Change> = keys(c, CRAN, Seq(1), "a")?.into_iter().map(Change::EndLife).collect();
        all.push(introduce("b", "1.0", LifeState::Listed));
        import::apply(c, &target(CRAN, pending), &all)
    });
    db.reopen();
    assert_ne!(lives(db), rows, "the import wrote rows");
    db.write(|c| tree::abandon(c, CRAN));
    assert_eq!(lives(db), rows);
    assert_eq!(db.read(|c| step_content(c, CRAN, Seq(1))), before);
    db.write(|c| rstudio_pm::db::release::sweep(c, rstudio_pm::model::ids::SourceId::CRAN, 100));
    db.write(|c| change(c, CRAN, NEW_YEAR, &[introduce("b", "1.0", LifeState::Listed)]));
    assert_eq!(listed_names(db, 2), ["a 1.0", "b 1.0"]);
    assert_eq!(db.read(|c| step_content(c, CRAN, Seq(1))), before);
}

fn only_open_lives_are_ended(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, NEW_YEAR, &[introduce("a", "1.0", LifeState::Listed)]));
    let key = db.read(|c| keys(c, CRAN, Seq(1), "a")).remove(0);
    let end = Change::EndLife(key);
    let same_end = end.clone();
    db.write(move |c| change(c, CRAN, NEW_YEAR, std::slice::from_ref(&end)));
    let result = db.try_write(move |c| change(c, CRAN, NEW_YEAR, std::slice::from_ref(&same_end)));
    assert!(matches!(result, Err(DbError::Conflict(_))), "{result:?}");
    assert_eq!(
        db.read(|c| tree::get(c, CRAN)).expect("a tree").pending,
        None,
        "the whole change was rolled back"
    );
}

fn the_same_version_with_other_bytes_is_a_revision(db: &mut TestDb) {
    let first = db.write(|c| change(c, CRAN, NEW_YEAR, &[introduce("a", "1.0", LifeState::Listed)])).0[0];
    let newest = db.read(move |c| {
        life::newest_revision(c, rstudio_pm::model::ids::SourceId::CRAN, first.package, "1.0")
    });
    assert_eq!(newest, Some((first.release, 0)));
    let second = db.write(|c| {
        let mut all: Vec<Change> = keys(c, CRAN, Seq(1), "a")?.into_iter().map(Change::EndLife).collect();
        let mut same_version = release("a", "1.0");
        same_version.revision = 1;
        all.push(Change::Introduce { release: same_version, state: LifeState::Listed, path: String::new() });
        change(c, CRAN, NEW_YEAR, &all)
    });
    let find = |seq| {
        db.read(move |c| life::find_file(c, CRAN, Seq(seq), None, "a", "a_1.0.tar.gz")).expect("a file")
    };
    assert_eq!((find(1).release, find(2).release, find(2).revision), (first.release, second.0[0].release, 1));
}

fn an_existing_release_is_refused(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, NEW_YEAR, &[introduce("a", "1.0", LifeState::Listed)]));
    let result = db.try_write(|c| change(c, CRAN, NEW_YEAR, &[introduce("a", "1.0", LifeState::Listed)]));
    assert!(matches!(result, Err(DbError::Conflict(_))), "{result:?}");
}

fn a_release_may_have_several_files(db: &mut TestDb) {
    let mut several = release("a", "1.0");
    let other = NewFile { name: "a-1.0.whl".into(), ..several.files[0].clone() };
    several.files.push(other);
    let known = db.write(move |c| {
        let several =
            Change::Introduce { release: several.clone(), state: LifeState::Listed, path: String::new() };
        change(c, CRAN, NEW_YEAR, &[several, introduce("b", "1.0", LifeState::Listed)])
    });
    let [a, b] = known.0[..] else { panic!("two releases: {known:?}") };
    let rows = db.read(|c| {
        let rows = c.query("SELECT id, release_id, name FROM file ORDER BY id", &[])?;
        rows.into_iter()
            .map(|mut row| Ok((row.int(0)?, row.int(1)?, row.text(2)?)))
            .collect::<Result<Vec<_>, DbError>>()
    });
    let file = |id: i64, release: ReleaseId, name: &str| (id, release.0, name.to_owned());
    assert_eq!(
        rows,
        [
            file(a.first_file.0, a.release, "a_1.0.tar.gz"),
            file(a.first_file.0 + 1, a.release, "a-1.0.whl"),
            file(b.first_file.0, b.release, "b_1.0.tar.gz"),
        ]
    );
}

fn names_have_one_order(db: &mut TestDb) {
    let all = ["b", "A3", "a_x", "abc", "ABC", "Zoo", "a.b", "data.table", "ä"];
    db.write(move |c| change(c, CRAN, NEW_YEAR, &all.map(|n| introduce(n, "1", LifeState::Listed))));
    let ordered = ["a.b", "A3", "a_x", "ABC", "abc", "b", "data.table", "Zoo", "ä"];
    let only = |found: Vec<ListedName>| found.into_iter().map(|n| n.name).collect::<Vec<_>>();
    assert_eq!(only(db.read(|c| life::names(c, CRAN, Seq(1)))), ordered);
    let index: Vec<_> = db.read(|c| life::listed(c, CRAN, Seq(1))).into_iter().map(|l| l.name).collect();
    assert_eq!(index, ordered);
    let listed = db.read(|c| {
        let names = life::names(c, CRAN, Seq(1))?.into_iter();
        let packages: Vec<_> = names.filter(|n| n.normalized_name == "abc").map(|n| n.package).collect();
        life::listed_of(c, CRAN, Seq(1), &packages)
    });
    assert_eq!(listed.iter().map(|l| l.name.as_str()).collect::<Vec<_>>(), ["ABC", "abc"]);
}

fn a_second_record_of_a_package_has_a_path(db: &mut TestDb) {
    db.write(|c| {
        let nested = |path: &str, version| Change::Introduce {
            release: release("Matrix", version),
            state: LifeState::Listed,
            path: path.to_owned(),
        };
        change(c, CRAN, NEW_YEAR, &[nested("4.6.0/Recommended", "1.8"), nested("", "1.7")])
    });
    let listed = db.read(|c| life::listed(c, CRAN, Seq(1)));
    assert_eq!(listed.iter().map(|l| l.path.as_str()).collect::<Vec<_>>(), ["", "4.6.0/Recommended"]);
    assert_eq!(listed_names(db, 1), ["Matrix 1.7"]);
}

fn facts_that_are_recorded_later_do_not_change_an_index(db: &mut TestDb) {
    let known = db.write(|c| change(c, CRAN, NEW_YEAR, &[introduce("a", "1.0", LifeState::Listed)])).0[0];
    let index = |db: &TestDb| db.read(|c| life::listed(c, CRAN, Seq(1)));
    let before = index(db);
    let digest = "ab".repeat(32).parse().expect("a digest");
    db.write(move |c| {
        let stored = file::FileState::Stored;
        file::update(
            c,
            &[file::FetchedFacts {
                file: known.first_file,
                sha256: Some(digest),
                size: None,
                state: stored,
                built: None,
            }],
        )
    });
    assert_eq!(index(db), before);
    let file = db.read(|c| life::find_file(c, CRAN, Seq(1), None, "a", "a_1.0.tar.gz")).expect("a file");
    assert_eq!(
        (file.sha256, file.size, file.file_state),
        (Some(digest), Some(1000), file::FileState::Stored)
    );
    assert!(db.read(move |c| file::is_stored(c, file.release, digest)));
}

fn history_can_be_prepended_without_changing_later_steps(db: &mut TestDb) {
    for version in ["1.0", "1.1", "1.2"] {
        db.write(move |c| {
            let head = tree::get(c, CRAN)?.and_then(|t| t.head).unwrap_or(Seq(0));
            let ends = keys(c, CRAN, head, "a")?.into_iter().map(Change::EndLife);
            let all: Vec<Change> = ends.chain([introduce("a", version, LifeState::Listed)]).collect();
            change(c, CRAN, NEW_YEAR, &all)
        });
    }
    let answers_of_steps = |db: &TestDb| {
        (1..=3).map(|seq| db.read(move |c| step_content(c, CRAN, Seq(seq)))).collect::<Vec<_>>()
    };
    let before = answers_of_steps(db);
    // Earlier steps 0 and -1, with releases that ended before step 1 and one that existed since step 0.
    db.write(|c| {
        let new = [introduce("a", "0.9", LifeState::Listed), introduce("gone", "1", LifeState::Listed)];
        let known = import::apply(c, &target(CRAN, Seq(-1)), &new)?;
        c.execute("UPDATE life SET to_seq = 0 WHERE release_id = $1", &[known[0].release.into()])?;
        c.execute("UPDATE life SET to_seq = 1 WHERE release_id = $1", &[known[1].release.into()])?;
        const EARLY: &str = "INSERT INTO life (tree_id, state, package_id, path, from_seq, to_seq, release_id, \
            variant, file_id, mark) SELECT tree_id, state, package_id, path, 0, 1, release_id, variant, file_id, mark \
            FROM life WHERE release_id = $1 AND from_seq = 1 AND state = 0";
        let first = keys(c, CRAN, Seq(1), "a")?.remove(0);
        assert_eq!(c.execute(EARLY, &[first.release.into()])?, 1);
        let published = clock::publish(c, &publish_of(&[], Timestamp(NEW_YEAR.0 + 1)))?;
        for (seq, at) in [(-1, 1000), (0, 2000)] {
            const STEP: &str = "INSERT INTO step (tree_id, seq, at, tx_id) VALUES (CAST($1 AS BIGINT), \
                CAST($2 AS BIGINT), CAST($3 AS BIGINT), CAST($4 AS BIGINT))";
            c.execute(STEP, &[CRAN.into(), seq.into(), at.into(), published.tx.into()])?;
        }
        c.execute("UPDATE tree SET first = -1 WHERE id = $1", &[CRAN.into()])
    });
    assert_eq!(answers_of_steps(db), before);
    assert_eq!(listed_names(db, -1), ["a 0.9", "gone 1"]);
    assert_eq!(listed_names(db, 0), ["a 1.0", "gone 1"]);
    assert_eq!(listed_names(db, -2), [""; 0]);
}
