//! The examination of a database: no problem if it is consistent, and one sentence for each rule that rows violate.

use rstudio_pm::db::invariants::{self, Examination};
use rstudio_pm::db::{Conn, DbError};
use rstudio_pm::model::change::LifeState;

use super::samples::{CRAN, NEW_YEAR, change, introduce};
use crate::support::db::{Engine, TestDb};

both! {
    rows_that_violate_a_rule_are_named
    the_checks_of_the_database_are_recorded
}

/// A database with two steps, three packages and a list of subscriptions.
fn fill(db: &mut TestDb) {
    let steps: [&'static [&'static str]; 2] = [&["a", "b"], &["c"]];
    for packages in steps {
        db.write(move |c| {
            let changes: Vec<_> =
                packages.iter().map(|package| introduce(package, "1.0", LifeState::Listed)).collect();
            change(c, CRAN, NEW_YEAR, &changes)
        });
    }
    for statement in [
        "INSERT INTO repo (id, name, kind, description, hidden, authenticated, changes, created_at) \
            VALUES (1, 'prod', 'r', '', 0, 0, 'any', 0)",
        "INSERT INTO repo_step (repo_id, seq, at, tx_id) VALUES (1, 1, 0, 1)",
        "INSERT INTO subscription (repo_id, seq, position, source_id, label) VALUES (1, 1, 1, 1, '')",
        "INSERT INTO subscription_list (repo_id, seq, entries) VALUES (1, 1, '1 ')",
    ] {
        db.write(move |c| c.execute(statement, &[]));
    }
}

fn examine(db: &TestDb) -> Examination {
    db.block(invariants::examine(&db.db)).unwrap_or_else(|e| panic!("{e}"))
}

type Change = fn(&mut dyn Conn) -> Result<u64, DbError>;

fn rows_that_violate_a_rule_are_named(db: &mut TestDb) {
    fill(db);
    assert_eq!(examine(db).problems, [""; 0]);
    // The first statement violates the rule, the second one undoes the violation.
    let cases: [(Change, Change, &str); 10] = [
        (
            |c| c.execute("UPDATE clock SET tx = tx + 1", &[]),
            |c| c.execute("UPDATE clock SET tx = tx - 1", &[]),
            "the clock row does not have the newest transaction: clock row 3, newest 2",
        ),
        (
            |c| c.execute("UPDATE clock SET at = at - 1000000000", &[]),
            |c| c.execute("UPDATE clock SET at = at + 1000000000", &[]),
            "a transaction is later than the clock row: transaction 1",
        ),
        (
            |c| c.execute("UPDATE tree SET head = 1 WHERE id = 1", &[]),
            |c| c.execute("UPDATE tree SET head = 2 WHERE id = 1", &[]),
            "the first or the newest step of a tree is not the one in its row: tree 1, first 1, newest 1",
        ),
        (
            |c| c.execute("UPDATE step SET seq = 5 WHERE seq = 2", &[]),
            |c| c.execute("UPDATE step SET seq = 2 WHERE seq = 5", &[]),
            "the steps of a tree have gaps: tree 1, steps 2, first 1, newest 5",
        ),
        (
            |c| c.execute("UPDATE step SET at = at - 1000000000 WHERE seq = 2", &[]),
            |c| c.execute("UPDATE step SET at = at + 1000000000 WHERE seq = 2", &[]),
            "a step is earlier than the one before it: tree 1, step 2",
        ),
        (
            |c| c.execute("UPDATE life SET from_seq = to_seq + 1 WHERE from_seq = 2", &[]),
            |c| c.execute("UPDATE life SET from_seq = 2 WHERE from_seq > to_seq", &[]),
            "a life ends before it begins: tree 1, release 3",
        ),
        (
            |c| c.execute("UPDATE life SET release_id = 99 WHERE release_id = 3", &[]),
            |c| c.execute("UPDATE life SET release_id = 3 WHERE release_id = 99", &[]),
            "a life has no release: tree 1, release 99",
        ),
        (
            |c| c.execute("UPDATE file SET release_id = 99 WHERE release_id = 3", &[]),
            |c| c.execute("UPDATE file SET release_id = 3 WHERE release_id = 99", &[]),
            "a file has no release: file 3, release 99",
        ),
        (
            |c| c.execute("UPDATE file SET state = 1 WHERE release_id = 3", &[]),
            |c| c.execute("UPDATE file SET state = 0 WHERE release_id = 3", &[]),
            "a stored file has no object: file 3, name c_1.0.tar.gz",
        ),
        (
            |c| c.execute("UPDATE subscription SET source_id = 2", &[]),
            |c| c.execute("UPDATE subscription SET source_id = 1", &[]),
            "a list of subscriptions is not the one that is read: repository 1, list 1",
        ),
    ];
    for (violate, restore, expected) in cases {
        assert!(db.write(violate) > 0, "{expected}");
        let problems = examine(db).problems;
        assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{expected}: {problems:?}");
        assert!(db.write(restore) > 0, "{expected}");
        assert_eq!(examine(db).problems, [""; 0], "{expected}");
    }
    // Overlaps: the second life of a release, and another release of the package.
    const COPY: &str = "INSERT INTO life (tree_id, state, package_id, path, from_seq, to_seq, release_id, variant, file_id, \
        mark) SELECT tree_id, state, package_id, path, 2, to_seq, release_id, variant, file_id, mark FROM life \
        WHERE package_id = 1";
    db.write(|c| c.execute(COPY, &[]));
    let problems = examine(db).problems;
    assert!(problems.iter().any(|p| p.starts_with("two lives of a file overlap: tree 1, release 1")));
    db.write(|c| c.execute("UPDATE life SET release_id = 2 WHERE package_id = 1 AND from_seq = 2", &[]));
    let problems = examine(db).problems;
    let expected =
        "two releases of a package are listed at the same time: tree 1, package 1, release 1, and release 2";
    assert!(problems.iter().any(|problem| problem.starts_with(expected)), "{problems:?}");
}

fn the_checks_of_the_database_are_recorded(db: &mut TestDb) {
    fill(db);
    let notes = examine(db).notes.join("\n");
    match db.engine {
        Engine::Sqlite => assert!(notes.contains("integrity_check"), "{notes}"),
        Engine::Postgres => {
            // Another test may have created the extension in the shared database: the notes name it in either case.
            assert!(notes.contains("amcheck"), "{notes}");
            crate::support::postgres::server().sql("CREATE EXTENSION IF NOT EXISTS amcheck SCHEMA public");
            let examination = examine(db);
            assert_eq!(examination.problems, [""; 0]);
            let notes = examination.notes.join("\n");
            assert!(notes.contains("amcheck checked") && !notes.contains("not checked"), "{notes}");
        }
    }
}
