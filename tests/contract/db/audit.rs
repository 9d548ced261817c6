//! The audit trail: rows in the transaction of the change, and what a verification finds.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rstudio_pm::config::{Config, Secret};
use rstudio_pm::db::audit::{self, AuditRow, Filter, NO_DIGEST, Verification};
use rstudio_pm::db::author::{self, Author, AuthorKind};
use rstudio_pm::db::{Conn, Db, DbError, clock, source, tree};
use rstudio_pm::model::change::LifeState;
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::samples::{CRAN, NEW_YEAR, change, introduce, publish_of};
use crate::support::db::{Engine, TestDb};

both! {
    rows_follow_each_other_and_have_an_author
    a_changed_a_removed_and_a_moved_row_are_found
    a_replaced_trail_is_found_by_a_row_recorded_elsewhere
    a_failed_change_leaves_no_row
    a_publish_is_recorded_in_its_transaction
    a_killed_server_leaves_a_row_for_each_change
    concurrent_changes_have_one_order
}

fn author(name: &str) -> Author {
    Author {
        kind: AuthorKind::Token,
        name: name.to_owned(),
        address: "203.0.113.5".to_owned(),
        at: Timestamp(NEW_YEAR.0 + 7 * SECOND),
    }
}

fn create_source(c: &mut dyn Conn, name: &str) -> Result<(), DbError> {
    source::create(c, &name.parse().expect("a name"), SourceKind::Local, NEW_YEAR)?;
    audit::record(c, "create source", "source", name, "local")?;
    clock::bump_catalog(c, clock::Change::Nothing)
}

/// Creates the sources `s1` to `s{count}`.
fn create_sources(db: &TestDb, count: usize) {
    for number in 1..=count {
        db.write(move |c| create_source(c, &format!("s{number}")));
    }
}

fn rows(db: &TestDb) -> Vec<AuditRow> {
    db.read(|c| {
        audit::list(c, &Filter { since: i64::MIN, until: i64::MAX, limit: 100_000, ..Filter::default() })
    })
}

fn verify(db: &TestDb) -> Verification {
    db.read(|c| audit::verify(c, None))
}

fn rows_follow_each_other_and_have_an_author(db: &mut TestDb) {
    let before = verify(db);
    assert_eq!((before.rows, before.last, before.sha256.as_str()), (0, 0, NO_DIGEST));
    db.block(author::scope(author("ann (token 01)"), db.db.write(|c| create_source(c, "one"))))
        .expect("written");
    db.write(|c| create_source(c, "two"));
    let all = rows(db);
    assert_eq!(all.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2]);
    let first = &all[0];
    assert_eq!((first.actor_kind.as_str(), first.actor.as_str()), ("token", "ann (token 01)"));
    assert_eq!((first.address.as_str(), first.at), ("203.0.113.5", author("").at));
    assert_eq!((first.action.as_str(), first.object.as_str()), ("create source", "one"));
    assert_eq!((first.outcome.as_str(), first.detail.as_str()), ("success", "local"));
    assert_eq!(first.previous, NO_DIGEST);
    assert_eq!((all[1].actor_kind.as_str(), all[1].previous.as_str()), ("job", first.sha256.as_str()));
    let after = verify(db);
    assert_eq!((after.rows, after.last, &after.sha256), (2, 2, &all[1].sha256));
    assert_eq!(after.problems, Vec::<String>::new());
    let selected = |filter: Filter| {
        let filter = Filter { until: i64::MAX, limit: 10, ..filter };
        let rows = db.read(move |c| audit::list(c, &filter));
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(selected(Filter { newest_first: true, ..Filter::default() }), [2, 1]);
    assert_eq!(selected(Filter { newest_first: true, after: 2, ..Filter::default() }), [1]);
    assert_eq!(selected(Filter { after: 1, ..Filter::default() }), [2]);
    assert_eq!(selected(Filter { actor: "ann".to_owned(), ..Filter::default() }), [1]);
    assert_eq!(selected(Filter { actor: "ann (token 01)".to_owned(), ..Filter::default() }), [1]);
    assert!(selected(Filter { actor: "an".to_owned(), ..Filter::default() }).is_empty());
    assert_eq!(selected(Filter { object: "two".to_owned(), ..Filter::default() }), [2]);
    assert!(selected(Filter { outcome: "refused".to_owned(), ..Filter::default() }).is_empty());
    assert!(selected(Filter { action: "' OR 1=1 --".to_owned(), ..Filter::default() }).is_empty());
}

fn a_changed_a_removed_and_a_moved_row_are_found(db: &mut TestDb) {
    const CHANGES: [(&str, &[&str]); 8] = [
        ("UPDATE audit SET actor = 'eve' WHERE id = 3", &["row 3 was changed"]),
        ("UPDATE audit SET at = at + 1 WHERE id = 5", &["row 5 was changed"]),
        ("DELETE FROM audit WHERE id = 2", &["row 2 is missing"]),
        ("DELETE FROM audit WHERE id > 3", &["the rows 4 to 5 are missing"]),
        ("DELETE FROM audit", &["the rows 1 to 5 are missing"]),
        (
            "UPDATE audit SET sha256 = previous, previous = sha256 WHERE id = 4",
            &[
                "row 4 does not continue the row before it: one of them was changed",
                "row 4 was changed",
                "row 5 does not continue the row before it: one of them was changed",
            ],
        ),
        ("UPDATE audit SET detail = 'x' || detail WHERE id = 1", &["row 1 was changed"]),
        (
            "UPDATE audit SET id = -9223372036854775808 WHERE id = 1",
            &[
                "row 1 is missing",
                "row -9223372036854775808 was changed",
                "the rows -9223372036854775807 to 1 are missing",
            ],
        ),
    ];
    create_sources(db, 5);
    let original = rows(db);
    for (sql, problems) in CHANGES {
        // Rolled back: the next change begins with the original.
        let found: Result<(), DbError> = db.block(db.db.write(move |c| {
            c.execute(sql, &[])?;
            Err(DbError::refuse(Found(audit::verify(c, None)?.problems)))
        }));
        let found = found.expect_err("rolled back").into_refusal::<Found>().expect("the problems").0;
        assert_eq!(found, problems, "{sql}");
    }
    assert_eq!(rows(db), original);
    // Two rows change places, with all their columns.
    db.write(|c| {
        c.execute("UPDATE audit SET id = 100 WHERE id = 2", &[])?;
        c.execute("UPDATE audit SET id = 2 WHERE id = 3", &[])?;
        c.execute("UPDATE audit SET id = 3 WHERE id = 100", &[])
    });
    let moved = verify(db).problems;
    assert!(moved.contains(&"row 2 was changed".to_owned()), "{moved:?}");
    assert!(moved.contains(&"row 3 was changed".to_owned()), "{moved:?}");
}

/// The result of a verification within a transaction that is rolled back.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}")]
struct Found(Vec<String>);

fn a_replaced_trail_is_found_by_a_row_recorded_elsewhere(db: &mut TestDb) {
    create_sources(db, 3);
    let recorded = rows(db).swap_remove(1);
    let known = (recorded.id, recorded.sha256.clone());
    let with_known =
        |db: &TestDb, known: (i64, String)| db.read(move |c| audit::verify(c, Some(&known))).problems;
    assert_eq!(with_known(db, known.clone()), Vec::<String>::new());
    // An attacker who rewrites every row with valid digests.
    db.write(|c| {
        let filter = Filter { since: i64::MIN, until: i64::MAX, limit: 100, ..Filter::default() };
        let mut previous = NO_DIGEST.to_owned();
        for mut row in audit::list(c, &filter)? {
            row.actor = "eve".to_owned();
            row.previous = previous;
            row.sha256 = row.digest();
            let params = [row.previous.into(), row.sha256.as_str().into(), row.id.into()];
            c.execute("UPDATE audit SET actor = 'eve', previous = $1, sha256 = $2 WHERE id = $3", &params)?;
            previous = row.sha256;
        }
        c.execute("UPDATE audit_head SET sha256 = $1", &[previous.into()])
    });
    assert_eq!(verify(db).problems, Vec::<String>::new(), "the trail is consistent");
    let problems = with_known(db, known);
    assert!(problems[0].starts_with("row 2 has a different digest than the given one"), "{problems:?}");
    assert_eq!(with_known(db, (9, recorded.sha256)), ["there is no row 9"]);
}

fn a_failed_change_leaves_no_row(db: &mut TestDb) {
    create_sources(db, 1);
    let error = db.block(db.db.write(|c| create_source(c, "s1"))).expect_err("the name is taken");
    assert!(matches!(error, DbError::Conflict(_)), "{error}");
    let undone: Result<(), DbError> = db.block(db.db.write(|c| {
        create_source(c, "s2")?;
        Err(DbError::Conflict("later".to_owned()))
    }));
    undone.expect_err("undone");
    create_sources_named(db, "s3");
    let all = rows(db);
    assert_eq!(all.iter().map(|row| row.object.as_str()).collect::<Vec<_>>(), ["s1", "s3"]);
    assert_eq!(verify(db).problems, Vec::<String>::new(), "numbers have no gap");
}

fn create_sources_named(db: &TestDb, name: &'static str) {
    db.write(move |c| create_source(c, name));
}

fn a_publish_is_recorded_in_its_transaction(db: &mut TestDb) {
    db.write(|c| change(c, CRAN, NEW_YEAR, &[introduce("a", "1.0", LifeState::Listed)]));
    let all = rows(db);
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].action.as_str(), all[0].object_kind.as_str(), all[0].object.as_str()),
        ("sync", "source", "cran")
    );
    assert_eq!((all[0].actor.as_str(), all[0].detail.as_str()), ("test", "transaction 1, 1 added"));
    // A refused publish leaves no row.
    let refused = db.block(db.db.write(|c| clock::publish(c, &publish_of(&[CRAN], NEW_YEAR))));
    assert!(matches!(refused, Err(DbError::NothingPending(_))), "{refused:?}");
    db.block(author::scope(
        author("ann (token 01)"),
        db.db.write(|c| {
            tree::begin(c, CRAN, 7)?;
            clock::publish(c, &publish_of(&[CRAN], NEW_YEAR))
        }),
    ))
    .expect("published");
    let all = rows(db);
    assert_eq!((all.len(), all[1].actor.as_str()), (2, "ann (token 01)"));
    assert_eq!(verify(db).problems, Vec::<String>::new());
}

/// Not a test: the process that is killed. It prints a line after each change.
#[test]
#[ignore = "run by the test that kills it"]
fn child() {
    let dir = std::env::var("RSPM_CRASH_DIR").expect("run by the other test");
    let url = std::env::var("RSPM_CRASH_URL").unwrap_or_default();
    let provider = if url.is_empty() { "sqlite" } else { "postgres\n[Postgres]\nURL = postgres://u@h/d" };
    let example = Config::example(dir.as_ref(), &format!("[Database]\nProvider = {provider}\n"));
    let mut config = (*example.unwrap_or_else(|e| panic!("{e}")).config).clone();
    config.postgres.url = Some(Secret(url));
    let db = Db::open(&config).unwrap_or_else(|e| panic!("{e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        for number in 0..100_000 {
            db.write(move |c| create_source(c, &format!("s{number}"))).await.expect("created");
            println!("changed");
        }
    });
}

fn a_killed_server_leaves_a_row_for_each_change(db: &mut TestDb) {
    db.db.close();
    let url = match db.engine {
        Engine::Sqlite => String::new(),
        Engine::Postgres => db.config.postgres.url.as_ref().expect("a URL").0.clone(),
    };
    for kill in 0..3 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "contract::db::audit::child", "--ignored", "--nocapture"])
            .env("RSPM_CRASH_DIR", db.dir())
            .env("RSPM_CRASH_URL", &url)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let changes =
            lines.map_while(Result::ok).filter(|line| line.contains("changed")).take(7 + kill).count();
        child.kill().expect("it runs");
        child.wait().expect("it ended");
        assert_eq!(changes, 7 + kill, "the child changed something");
        db.reopen();
        let all = rows(db);
        let sources = db.read(source::list);
        let created: Vec<&str> = sources
            .iter()
            .filter(|source| source.kind == SourceKind::Local)
            .map(|s| s.name.as_str())
            .collect();
        assert!(created.len() >= changes);
        assert_eq!(all.iter().map(|row| row.object.as_str()).collect::<Vec<_>>(), created);
        assert_eq!(verify(db).problems, Vec::<String>::new());
        db.write(|c| {
            c.execute("DELETE FROM audit", &[])?;
            c.execute(
                "DELETE FROM tree WHERE source_id IN (SELECT id FROM source WHERE kind = 'local')",
                &[],
            )?;
            c.execute("DELETE FROM source WHERE kind = 'local'", &[])?;
            c.execute("UPDATE audit_head SET last = 0, sha256 = $1", &[NO_DIGEST.into()])
        });
        db.db.close();
    }
    db.reopen();
}

/// Two servers on PostgreSQL; two tasks on SQLite, which has one server.
fn concurrent_changes_have_one_order(db: &mut TestDb) {
    let other = match db.engine {
        Engine::Sqlite => db.db.clone(),
        Engine::Postgres => Db::open(&db.config).unwrap_or_else(|e| panic!("{e}")),
    };
    let run = |db: Db, name: &'static str| async move {
        for number in 0..50 {
            // Half of the changes publish, which locks the clock first; the others record first.
            if number % 2 == 0 {
                let create = move |c: &mut dyn Conn| {
                    audit::record(c, "create source", "source", name, "")?;
                    source::create(
                        c,
                        &format!("{name}{number}").parse().expect("a name"),
                        SourceKind::Local,
                        NEW_YEAR,
                    )?;
                    clock::bump_catalog(c, clock::Change::Nothing)
                };
                db.write(create).await.expect("created");
            } else {
                let publish = move |c: &mut dyn Conn| {
                    clock::lock(c)?;
                    tree::begin(c, CRAN, 7)?;
                    clock::publish(c, &publish_of(&[CRAN], NEW_YEAR)).map(drop)
                };
                db.write(publish).await.expect("published");
            }
        }
    };
    let (one, two) = (run(db.db.clone(), "a"), run(other.clone(), "b"));
    let ends = db.block(async { tokio::join!(tokio::spawn(one), tokio::spawn(two)) });
    ends.0.and(ends.1).expect("no panic");
    if db.engine == Engine::Postgres {
        other.close();
    }
    let all = rows(db);
    assert_eq!(all.len(), 100);
    assert_eq!(verify(db).problems, Vec::<String>::new());
    let txs: Vec<&str> =
        all.iter().filter(|row| row.action == "sync").map(|row| row.detail.as_str()).collect();
    let expected: Vec<String> = (1..=50).map(|tx| format!("transaction {tx}, 1 added")).collect();
    assert_eq!(txs, expected, "the order of rows is that of transactions");
}
