//! Sources, repositories, blobs, details, rendered indexes, validators of upstreams, leases, ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rstudio_pm::db::repo::{self, Edit, NewRepo, NewRepoStep, Subscription};
use rstudio_pm::db::{
    Conn, DbError, WriteError, blob, clock, detail, file, ids, import, lease, package, rendered, source,
    tree, tx, upstream,
};
use rstudio_pm::model::change::{Change, LifeState};
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::ids::{PackageId, RepoId, Seq, SourceId};
use rstudio_pm::model::kind::{ChangePolicy, RepoKind, SourceKind};
use rstudio_pm::model::time::{SECOND, Timestamp};

use super::samples::{CRAN, NEW_YEAR, introduce, publish_of, release, target};
use crate::support::db::TestDb;

both! {
    a_deleted_source_frees_its_name
    a_repository_is_created_edited_and_deleted
    subscriptions_have_steps
    a_list_is_read_as_one_value_or_from_its_subscriptions
    a_name_is_unique
    an_error_rolls_everything_back
    a_refused_write_is_rolled_back_once
    a_refusal_is_returned_with_its_type
    packages_keep_their_ids
    a_blob_is_deleted_only_if_nothing_refers_to_it
    a_transaction_has_the_properties_of_its_publish
    details_are_replaced
    a_rendered_index_is_recorded_once
    validators_of_upstreams_are_stored_and_deleted
    a_lease_has_one_holder_and_an_increasing_fence
    bytes_that_are_not_text_are_preserved
    a_text_with_a_nul_character_is_refused_wherever_it_is_bound
    a_read_has_a_consistent_snapshot
    a_closed_database_reports_that_it_is_closed
    a_panic_is_rolled_back_and_the_database_stays_usable
}

fn digest(byte: u8) -> Sha256 {
    Sha256([byte; 32])
}

fn later(seconds: i64) -> Timestamp {
    Timestamp(NEW_YEAR.0 + seconds * SECOND)
}

fn new_repo(name: &str) -> NewRepo {
    NewRepo {
        name: name.parse().expect("a name"),
        kind: RepoKind::R,
        description: "first".into(),
        hidden: false,
        authenticated: false,
        changes: ChangePolicy::Any,
    }
}

fn a_deleted_source_frees_its_name(db: &mut TestDb) {
    let create = |c: &mut dyn rstudio_pm::db::Conn| {
        let id = source::create(c, &"team".parse().expect("a name"), SourceKind::Local, NEW_YEAR)?;
        tree::create(c, id, "src/contrib", tree::Role::Source, tree::Axis::Step)?;
        Ok(id)
    };
    let first = db.write(create);
    assert_eq!(first, SourceId(4), "after the built-in ones");
    assert!(matches!(db.try_write(create), Err(DbError::Conflict(_))));
    assert!(db.write(move |c| source::delete(c, first, NEW_YEAR)));
    assert!(!db.write(move |c| source::delete(c, first, NEW_YEAR)));
    assert_eq!(db.read(|c| source::deleted(c)), [(first, SourceKind::Local)]);
    let list = db.read(move |c| tree::of_source(c, first))[0].id;
    let published = db.try_write(move |c| {
        tree::begin(c, list, 1)?;
        clock::publish(c, &publish_of(&[list], NEW_YEAR))
    });
    assert!(matches!(&published, Err(DbError::SourceDeleted(name)) if name == "team"), "{published:?}");
    assert_eq!(db.read(|c| source::by_name(c, "team")), None);
    let second = db.write(create);
    assert_ne!(first, second);
    assert_eq!(db.read(|c| source::by_name(c, "team")).map(|s| s.id), Some(second));
    assert_eq!(db.read(move |c| tree::of_source(c, second)).len(), 1);
}

fn a_repository_is_created_edited_and_deleted(db: &mut TestDb) {
    let id = db.write(|c| repo::create(c, &new_repo("prod"), NEW_YEAR));
    let edit = Edit { description: Some("second".into()), hidden: Some(true), ..Edit::default() };
    assert!(db.write(move |c| repo::edit(c, id, &edit)));
    let repo = db.read(|c| repo::by_name(c, "prod")).expect("it was created");
    assert_eq!((repo.description.as_str(), repo.hidden, repo.authenticated), ("second", true, false));
    assert!(!db.write(|c| repo::edit(c, RepoId(99), &Edit::default())));
    let mut publish = publish_of(&[], NEW_YEAR);
    publish.repo_steps.push(NewRepoStep {
        repo: id,
        subscriptions: vec![],
        pinned_at: None,
        withheld: Vec::new(),
    });
    db.write(move |c| clock::publish(c, &publish));
    assert_eq!(db.write(move |c| repo::delete(c, &[id].into())), 1);
    assert_eq!(db.write(move |c| repo::delete(c, &[id].into())), 0);
    assert!(
        db.read(|c| repo::list(c, repo::ALL)).is_empty()
            && db.read(|c| repo::steps(c, repo::ALL, Seq(0))).is_empty()
    );
    let mut publish = publish_of(&[], NEW_YEAR);
    publish.repo_steps.push(NewRepoStep {
        repo: id,
        subscriptions: vec![],
        pinned_at: None,
        withheld: Vec::new(),
    });
    let result = db.try_write(move |c| clock::publish(c, &publish));
    assert!(matches!(result, Err(DbError::NoRepo(_))), "{result:?}");
}

fn subscriptions_have_steps(db: &mut TestDb) {
    let (a, b) = db.write(|c| {
        Ok((repo::create(c, &new_repo("a"), NEW_YEAR)?, repo::create(c, &new_repo("b"), NEW_YEAR)?))
    });
    let list = |numbers: &[i64]| -> Vec<Subscription> {
        numbers.iter().map(|n| Subscription { source: SourceId(*n), label: String::new() }).collect()
    };
    for (repo, numbers) in [(a, vec![1]), (b, vec![]), (a, vec![2, 1])] {
        let mut publish = publish_of(&[], NEW_YEAR);
        publish.repo_steps.push(NewRepoStep {
            repo,
            subscriptions: list(&numbers),
            pinned_at: None,
            withheld: Vec::new(),
        });
        db.write(move |c| clock::publish(c, &publish));
    }
    assert_eq!(db.read(move |c| repo::subscriptions(c, a)), list(&[2, 1]));
    assert_eq!(db.read(move |c| repo::subscriptions(c, b)), []);
    let steps = db.read(|c| repo::steps(c, repo::ALL, Seq(0)));
    let rows: Vec<_> = steps.iter().map(|s| (s.repo, s.seq, s.tx.0, s.subscriptions.clone())).collect();
    assert_eq!(rows, [(a, 1, 1, list(&[1])), (a, 2, 3, list(&[2, 1])), (b, 1, 2, vec![])]);
}

fn a_list_is_read_as_one_value_or_from_its_subscriptions(db: &mut TestDb) {
    let list = |entries: &[(i64, &str)]| -> Vec<Subscription> {
        let entry =
            |(id, label): &(i64, &str)| Subscription { source: SourceId(*id), label: (*label).into() };
        entries.iter().map(entry).collect()
    };
    let lists = [list(&[(3, ""), (2, "3.20"), (1, ""), (2, "3.9")]), list(&[]), list(&[(1, "3.20")])];
    let repo = db.write(|c| repo::create(c, &new_repo("prod"), NEW_YEAR));
    for subscriptions in lists.clone() {
        let mut publish = publish_of(&[], NEW_YEAR);
        publish.repo_steps.push(NewRepoStep { repo, subscriptions, pinned_at: None, withheld: Vec::new() });
        db.write(move |c| clock::publish(c, &publish));
    }
    let read = |db: &TestDb| {
        let steps = db.read(move |c| repo::steps(c, repo..=repo, Seq(0)));
        steps.into_iter().map(|step| step.subscriptions).collect::<Vec<_>>()
    };
    let values = |db: &TestDb| {
        db.read(|c| c.query("SELECT seq, entries FROM subscription_list ORDER BY seq", &[]))
            .into_iter()
            .map(|mut row| (row.int(0).expect("a number"), row.text(1).expect("text")))
            .collect::<Vec<_>>()
    };
    let expected = [(1, "3 ,2 3.20,1 ,2 3.9".to_owned()), (3, "1 3.20".to_owned())];
    assert_eq!((read(db), values(db)), (lists.to_vec(), expected.to_vec()));
    // An earlier program writes no values.
    db.write(|c| c.execute("DELETE FROM subscription_list", &[]));
    assert_eq!(read(db), lists);
    db.write(|c| {
        for table in [
            "DROP TABLE subscription_list",
            "DROP TABLE tlog",
            "DROP TABLE tlog_entry",
            "DROP TABLE tlog_tile",
            "DROP TABLE tlog_event",
            "DROP TABLE tlog_witnessed",
            "DROP TABLE tlog_timestamp",
            "DROP TABLE tlog_cosigned",
            "DELETE FROM sequence WHERE name = 'tlog_event'",
        ] {
            c.execute(table, &[])?;
        }
        c.execute("DELETE FROM migration WHERE number >= 4", &[])
    });
    db.reopen();
    assert_eq!((read(db), values(db)), (lists.to_vec(), expected.to_vec()), "after the migration");
    for damaged in ["1", "x ", "1 ,,2 "] {
        db.write(move |c| c.execute("UPDATE subscription_list SET entries = $1", &[damaged.into()]));
        let steps = db.block(db.db.read(|c| repo::steps(c, repo::ALL, Seq(0))));
        assert!(matches!(steps, Err(DbError::Shape { .. })), "{damaged}: {steps:?}");
    }
    assert_eq!(db.write(move |c| repo::delete(c, &[repo].into())), 1);
    assert_eq!(values(db), []);
}

fn a_name_is_unique(db: &mut TestDb) {
    db.write(|c| repo::create(c, &new_repo("prod"), NEW_YEAR));
    let second_repo = db.try_write(|c| repo::create(c, &new_repo("prod"), NEW_YEAR));
    assert!(matches!(second_repo, Err(DbError::Conflict(_))), "{second_repo:?}");
    db.write(|c| repo::create(c, &new_repo("Prod"), NEW_YEAR));
}

fn an_error_rolls_everything_back(db: &mut TestDb) {
    let result = db.try_write(|c| {
        repo::create(c, &new_repo("prod"), NEW_YEAR)?;
        Err::<(), _>(DbError::NoRepo(RepoId(1)))
    });
    assert!(matches!(result, Err(DbError::NoRepo(_))));
    assert!(db.read(|c| repo::list(c, repo::ALL)).is_empty());
    // Also if the database itself refuses a statement in the middle of the write.
    let result = db.try_write(|c| {
        repo::create(c, &new_repo("prod"), NEW_YEAR)?;
        repo::create(c, &new_repo("prod"), NEW_YEAR)
    });
    assert!(matches!(result, Err(DbError::Conflict(_))));
    assert!(db.read(|c| repo::list(c, repo::ALL)).is_empty());
    assert_eq!(db.write(|c| repo::create(c, &new_repo("prod"), NEW_YEAR)), RepoId(1));
}

fn a_refused_write_is_rolled_back_once(db: &mut TestDb) {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&attempts);
    let write = db.db.write_unless_refused(move |c| {
        counter.fetch_add(1, Ordering::Relaxed);
        repo::create(c, &new_repo("prod"), NEW_YEAR)?;
        Err::<(), _>(WriteError::Refused("on purpose"))
    });
    let result = db.block(write);
    assert!(matches!(result, Err(WriteError::Refused("on purpose"))), "{result:?}");
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
    assert!(db.read(|c| repo::list(c, repo::ALL)).is_empty(), "it was rolled back");
    db.write(|c| repo::create(c, &new_repo("prod"), NEW_YEAR));
}

fn a_refusal_is_returned_with_its_type(db: &mut TestDb) {
    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("package {0} is not wanted")]
    struct Unwanted(&'static str);
    let result = db.try_write(|c| {
        repo::create(c, &new_repo("prod"), NEW_YEAR)?;
        Err::<(), _>(DbError::refuse(Unwanted("a")))
    });
    let error = result.expect_err("it was refused");
    assert_eq!(error.to_string(), "package a is not wanted");
    assert_eq!(error.into_refusal::<Unwanted>().ok(), Some(Unwanted("a")));
    assert!(db.read(|c| repo::list(c, repo::ALL)).is_empty());
}

fn packages_keep_their_ids(db: &mut TestDb) {
    let first = db.write(|c| package::upsert_many(c, SourceId::CRAN, &["b", "a", "b", "A"]));
    assert_eq!(first[0], first[2]);
    let second = db.write(|c| package::upsert_many(c, SourceId::CRAN, &["A", "new", "b"]));
    assert_eq!((second[0], second[2]), (first[3], first[0]));
    let python = db.write(|c| package::upsert_many(c, SourceId::PYPI, &["a"]));
    assert_ne!(python[0], first[1]);
    let packages = db.read(|c| package::by_normalized_name(c, SourceId::CRAN, "a"));
    assert_eq!(packages, [(first[3], "A".to_owned()), (first[1], "a".to_owned())]);
    assert_eq!(db.read(|c| package::by_name(c, SourceId::CRAN, "B")), None);
    let many: Vec<String> = (0..1500).map(|n| format!("p{n}")).collect();
    let numbers = db.write(move |c| {
        package::upsert_many(c, SourceId::CRAN, &many.iter().map(String::as_str).collect::<Vec<_>>())
    });
    assert_eq!(numbers.iter().collect::<std::collections::HashSet<_>>().len(), 1500);
    assert!(
        numbers.contains(&db.read(|c| package::by_name(c, SourceId::CRAN, "p1499")).expect("it was created"))
    );
    let block = db.write(|c| ids::reserve(c, ids::Sequence::Package, 10));
    assert!(numbers.iter().all(|n: &PackageId| n.0 < block), "blocks do not overlap");
}

fn a_blob_is_deleted_only_if_nothing_refers_to_it(db: &mut TestDb) {
    let blob =
        |byte| blob::Blob { sha256: digest(byte), class: "cran".into(), size: 5, created_at: NEW_YEAR };
    assert!(db.write(move |c| blob::insert(c, &blob(1))));
    assert!(!db.write(move |c| blob::insert(c, &blob(1))));
    db.write(move |c| blob::insert(c, &blob(2)));
    let known = db.write(|c| {
        let mut new = release("a", "1");
        new.readme = Some(digest(2));
        let change = Change::Introduce { release: new, state: LifeState::Listed, path: String::new() };
        import::apply(c, &target(CRAN, rstudio_pm::model::ids::Seq(1)), &[change])
    })[0];
    let unreferenced = |db: &TestDb, seconds| -> Vec<Sha256> {
        db.read(move |c| blob::unreferenced(c, later(seconds), None, 10))
            .into_iter()
            .map(|b| b.sha256)
            .collect()
    };
    assert_eq!(unreferenced(db, 1), [digest(1)]);
    assert!(unreferenced(db, 0).is_empty(), "too young");
    let facts = move |state| file::FetchedFacts {
        file: known.first_file,
        sha256: Some(digest(1)),
        size: Some(5),
        state,
        built: None,
    };
    db.write(move |c| file::update(c, &[facts(file::FileState::Stored)]));
    assert!(unreferenced(db, 1).is_empty());
    assert_eq!(
        (db.read(|c| blob::references(c, digest(1))), db.read(|c| blob::references(c, digest(2)))),
        (1, 1)
    );
    assert!(!db.write(|c| blob::delete(c, digest(1), later(1))));
    db.write(move |c| file::update(c, &[facts(file::FileState::Evicted)]));
    assert!(db.write(|c| blob::delete(c, digest(1), later(1))));
    assert_eq!(db.read(|c| blob::get(c, digest(1))), None);
    assert_eq!(db.read(|c| blob::get(c, digest(2))).map(|b| b.size), Some(5));
}

fn a_transaction_has_the_properties_of_its_publish(db: &mut TestDb) {
    let mut publish = publish_of(&[], later(5));
    publish.comment = "why 'not'; é".into();
    publish.published_from = Some(NEW_YEAR);
    publish.kind = tx::TxKind::Subscribe;
    publish.repo = Some(RepoId(3));
    let expected = publish.clone();
    let published = db.write(move |c| clock::publish(c, &publish));
    let transaction = db.read(move |c| tx::get(c, published.tx)).expect("it was published");
    assert_eq!(
        (transaction.id, transaction.at, transaction.kind, transaction.repo),
        (published.tx, published.at, expected.kind, expected.repo)
    );
    assert_eq!(
        (transaction.comment, transaction.actor, transaction.counts),
        (expected.comment, expected.actor, expected.counts)
    );
    assert_eq!((transaction.published_from, transaction.published_to), (Some(NEW_YEAR), None));
    assert_eq!(db.read(|c| tx::list(c, SourceId::PYPI, 5)), []);
    assert_eq!(db.read(|c| tx::list_all(c, 5)).len(), 1);
}

fn details_are_replaced(db: &mut TestDb) {
    let release = rstudio_pm::model::ids::ReleaseId(5);
    let put = |description: &[u8], readme| {
        let detail = detail::Detail { description: description.to_owned(), readme };
        db.write(move |c| detail::put(c, release, &detail));
        db.read(move |c| detail::get(c, release))
    };
    let first = put(b"Package: a\r\n", None).expect("it was put");
    assert_eq!((first.description.as_slice(), first.readme), (&b"Package: a\r\n"[..], None));
    let second = put(b"", Some(digest(3))).expect("it was put");
    assert_eq!((second.description.as_slice(), second.readme), (&b""[..], Some(digest(3))));
}

fn a_rendered_index_is_recorded_once(db: &mut TestDb) {
    let row = |byte: u8| rendered::RenderedRow {
        key: "1:5/PACKAGES.gz".into(),
        content: digest(byte),
        encoder: "gzip-6".into(),
        sha256: digest(9),
        size: 10,
        created_at: NEW_YEAR,
    };
    assert!(db.write(move |c| rendered::put(c, &row(1))));
    assert!(!db.write(move |c| rendered::put(c, &row(2))));
    assert_eq!(db.read(|c| rendered::get(c, "1:5/PACKAGES.gz")), Some(row(1)));
    assert_eq!(db.read(|c| rendered::get(c, "other")), None);
}

fn validators_of_upstreams_are_stored_and_deleted(db: &mut TestDb) {
    let validators = |n: u8| upstream::StoredValidators {
        etag: Some(format!("\"{n}\"")),
        modified: None,
        sha256: digest(n),
        fetched_at: later(n.into()),
    };
    for n in [1, 2] {
        db.write(move |c| upstream::put(c, "http://mirror/PACKAGES", &validators(n)));
    }
    assert_eq!(db.read(|c| upstream::get(c, "http://mirror/PACKAGES")), Some(validators(2)));
    db.write(|c| upstream::delete(c, "http://mirror/PACKAGES"));
    assert_eq!(db.read(|c| upstream::get(c, "http://mirror/PACKAGES")), None);
}

fn a_lease_has_one_holder_and_an_increasing_fence(db: &mut TestDb) {
    let claim = |holder: &'static str, now, until| {
        db.write(move |c| lease::claim(c, "sync", holder, later(now), later(until)))
    };
    let first = claim("a", 0, 10).expect("it has no holder");
    assert_eq!(claim("b", 5, 15), None);
    assert!(db.write(move |c| lease::renew(c, "sync", first, later(20))));
    assert_eq!(claim("b", 15, 25), None, "it was renewed");
    let second = claim("b", 20, 30).expect("it expired");
    assert!(second > first);
    assert!(!db.write(move |c| lease::renew(c, "sync", first, later(99))));
    assert!(
        !db.write(move |c| lease::is_held(c, "sync", first))
            && db.write(move |c| lease::is_held(c, "sync", second))
    );
    db.write(move |c| lease::release(c, "sync", second));
    let third = claim("a", 21, 31).expect("it was released");
    assert!(third > second);
    // The clock of the database was set back by a little, and by an hour.
    assert_eq!(claim("b", -60, 0), None);
    assert!(claim("b", -3600, -3540).expect("a lease that ends too far in the future is not held") > third);
}

fn bytes_that_are_not_text_are_preserved(db: &mut TestDb) {
    let bytes: Vec<u8> = (0..=255).chain([0, 0xc3, 0x28]).collect();
    let stanza = bytes.clone();
    db.write(move |c| {
        let mut new = release("a", "1");
        new.stanza = Some(stanza.clone());
        let all = [Change::Introduce { release: new, state: LifeState::Listed, path: String::new() }];
        super::samples::change(c, CRAN, NEW_YEAR, &all)
    });
    let listed = db.read(|c| rstudio_pm::db::life::listed(c, CRAN, rstudio_pm::model::ids::Seq(1)));
    assert_eq!(listed[0].stanza, bytes);
}

fn a_text_with_a_nul_character_is_refused_wherever_it_is_bound(db: &mut TestDb) {
    type Bind = Box<dyn Fn(&mut dyn Conn) -> Result<(), DbError> + Send>;
    const FIND: &str = "SELECT id FROM repo WHERE name = $1";
    const CHANGE: &str = "UPDATE repo SET description = $1";
    let rows = || vec![vec!["team".into()], vec!["a\0b".into()]];
    let introduced = |c: &mut dyn Conn| {
        let release = introduce("a", "a\0b", LifeState::Listed);
        super::samples::change(c, CRAN, NEW_YEAR, &[release]).map(drop)
    };
    let binds: [(&str, Bind); 5] = [
        ("query", Box::new(|c| c.query(FIND, &["a\0b".into()]).map(drop))),
        ("query_many", Box::new(move |c| c.query_many(FIND, &rows()).map(drop))),
        ("execute", Box::new(|c| c.execute(CHANGE, &["a\0b".into()]).map(drop))),
        ("execute_many", Box::new(move |c| c.execute_many(CHANGE, &rows()).map(drop))),
        ("batch_insert", Box::new(introduced)),
    ];
    for (name, bind) in binds {
        let error = db.try_write(move |c| {
            repo::create(c, &new_repo("prod"), NEW_YEAR)?;
            bind(c)
        });
        let error = error.expect_err(name);
        assert!(matches!(error, DbError::Nul(_)), "{name}: {error:?}");
        assert!(error.to_string().starts_with("the text 'a\\0b' contains a NUL character"), "{error}");
    }
    assert!(db.read(|c| repo::list(c, repo::ALL)).is_empty(), "each write was rolled back");
}

#[allow(clippy::async_yields_async, reason = "the read continues while the test writes")]
fn a_read_has_a_consistent_snapshot(db: &mut TestDb) {
    let handle = db.db.clone();
    let (ready, wait) = (std::sync::mpsc::channel(), std::sync::mpsc::channel::<()>());
    let gate = std::sync::Mutex::new((ready.0, wait.1));
    let reading = db.block(async {
        let reading = tokio::spawn(async move {
            let read = handle.read(move |c| {
                let before = clock::get(c)?.catalog;
                let gate = gate.lock().expect("one reader");
                gate.0.send(()).expect("the test waits");
                gate.1.recv().expect("the test writes");
                Ok((before, clock::get(c)?.catalog))
            });
            read.await.expect("a read")
        });
        tokio::task::block_in_place(|| ready.1.recv().expect("the reader began"));
        reading
    });
    db.write(|c| clock::bump_catalog(c, clock::Change::Nothing));
    wait.0.send(()).expect("the reader waits");
    let (before, after) = db.block(reading).expect("no panic");
    assert_eq!(before, after);
    assert_eq!(db.read(|c| clock::get(c)).catalog, before + 1);
}

fn a_closed_database_reports_that_it_is_closed(db: &mut TestDb) {
    db.db.close();
    assert!(matches!(db.try_write(|c| clock::get(c)), Err(DbError::Closed)));
    db.reopen();
    db.read(|c| clock::get(c));
}

fn a_panic_is_rolled_back_and_the_database_stays_usable(db: &mut TestDb) {
    let result = db.try_write(|c| -> Result<(), DbError> {
        repo::create(c, &new_repo("prod"), NEW_YEAR)?;
        panic!("on purpose")
    });
    assert!(matches!(result, Err(DbError::Closed)), "{result:?}");
    assert!(db.read(|c| repo::list(c, repo::ALL)).is_empty(), "it was rolled back");
    db.write(|c| repo::create(c, &new_repo("prod"), NEW_YEAR));
}
