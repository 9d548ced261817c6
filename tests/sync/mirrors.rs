//! A sync imports everything that a mirror lists, and nothing twice.

use rstudio_pm::db::{life, tx};
use rstudio_pm::model::ids::SourceId;
use rstudio_pm::model::kind::SourceKind;
use rstudio_pm::sync::task::Task;

use super::{ARCHIVE, CURRENT, INDEX, gz, index, on_both_databases, small_mirror};
use crate::support::data;
use crate::support::db::Engine;
use crate::support::full_mirror::{self, Size};
use crate::support::sync_backend::{SyncBackend, until};
use crate::support::upstream::{Fault, Upstream};

fn real_mirror() -> String {
    format!("file://{}", data::path("cran-mirror").canonicalize().expect("it exists").display())
}

/// Sorts without regard to the case of letters.
fn sorted_by_name(files: &[String]) -> Vec<String> {
    let mut sorted_files = files.to_vec();
    sorted_files.sort_by_key(|file| file.to_lowercase());
    sorted_files
}

on_both_databases! {
    async fn the_first_sync_of_a_real_mirror_lists_everything_and_the_second_makes_no_transaction(engine) {
        let server = SyncBackend::new(engine, &real_mirror()).await;
        let message = server.sync().await.expect("a valid mirror");
        let cran = data::cran();
        assert!(message.contains(&cran.added_message()), "{message}");
        let listed = server.listed().await;
        let files: Vec<String> = listed.iter().map(|name| format!("{name}.tar.gz")).collect();
        assert_eq!(files, sorted_by_name(&cran.listed));
        let archived = server.archived().await;
        assert_eq!(sorted_by_name(&archived), sorted_by_name(&cran.archived));
        let (tree, seq) = server.head().expect("published");
        let file = server.read(move |c| life::find_file(c, tree, seq, None, "R6", "R6_2.5.1.tar.gz")).await;
        let file = file.expect("R6 2.5.1 is archived");
        assert_eq!(file.locator, "Archive/R6/R6_2.5.1.tar.gz");
        assert_eq!(file.published_at.expect("in Meta").day().to_string(), "2021-08-19");
        assert!(file.size.is_some_and(|size| size > 10_000));

        let message = server.sync().await.expect("a valid mirror");
        assert!(message.contains("nothing changed"), "{message}");
        assert_eq!(server.transactions().await, 1);
    }

    async fn the_second_sync_over_http_sends_conditional_requests(engine) {
        let mirror = Upstream::of(&data::path("cran-mirror"));
        let server = SyncBackend::new(engine, &mirror.url()).await;
        server.sync().await.expect("a valid mirror");
        assert_eq!((server.listed().await.len(), server.archived().await.len()), data::cran().counts());
        mirror.take_requests();
        server.sync().await.expect("a valid mirror");
        let requests: Vec<(String, u16)> = mirror.take_requests().into_iter().map(|a| (a.path, a.status)).collect();
        let expected = [INDEX, CURRENT, ARCHIVE].map(|path| (path.to_owned(), 304));
        assert_eq!(requests, expected);
        assert_eq!(server.transactions().await, 1);
    }

    async fn changes_are_one_transaction_with_their_counts(engine) {
        let mirror = small_mirror(4);
        let server = SyncBackend::new(engine, &mirror.url()).await;
        server.sync().await.expect("a valid mirror");
        let text = index(3).replace("Package: p0\nVersion: 1.0", "Package: p0\nVersion: 1.1")
            + "Package: new\nVersion: 0.1\n";
        mirror.put(INDEX, gz(text.replace("MD5sum: 00000000000000000000000000000000", "MD5sum: ffffffffffffffffffffffffffffffff")));
        let message = server.sync().await.expect("a valid mirror");
        assert!(message.contains("1 package added, 1 updated, 1 removed, 1 release archived"), "{message}");
        assert_eq!(server.listed().await, ["new_0.1", "p0_1.1", "p1_1.0", "p2_1.0"]);
        assert_eq!(server.archived().await, ["p0_1.0.tar.gz"]);
        let transactions = server.read(|c| tx::list(c, SourceId::CRAN, 10)).await;
        assert_eq!((transactions.len(), transactions[0].actor.as_str(), transactions[0].counts.updated), (2, "rspm sync", 1));
    }

    async fn an_index_with_the_same_records_publishes_nothing(engine) {
        let mirror = small_mirror(3);
        let server = SyncBackend::new(engine, &mirror.url()).await;
        server.sync().await.expect("a valid mirror");
        // The same packages with different bytes: another order and other blanks.
        let text = index(3);
        let mut records: Vec<String> = text.trim().split("\n\n").map(|r| r.replace(": ", ":   ")).collect();
        records.reverse();
        mirror.put(INDEX, gz(records.join("\n\n")));
        let message = server.sync().await.expect("a valid mirror");
        assert!(message.contains("nothing changed"), "{message}");
        assert_eq!(server.transactions().await, 1);
        mirror.take_requests();
        server.sync().await.expect("a valid mirror");
        assert_eq!(mirror.take_requests()[0].status, 304, "the validators of the new form are stored");
    }

    async fn a_large_mirror_is_written_in_many_chunks_and_visible_at_once(engine) {
        let dir = tempfile::tempdir().expect("a folder");
        let size = Size { listed_count: 1_500, archived_count: 6_000 };
        let real = data::path("cran-index-full/PACKAGES.gz");
        full_mirror::write(dir.path(), size, Some(&real)).expect("written");
        let server = SyncBackend::new(engine, &format!("file://{}", dir.path().display())).await;
        server.sync().await.expect("a valid mirror");
        assert_eq!((server.listed().await.len(), server.archived().await.len()), (size.listed_count, size.archived_count));
        assert_eq!(server.transactions().await, 1);
        // Every record is stored as it was read, so nothing changed.
        let index = dir.path().join(INDEX);
        let bytes = std::fs::read(&index).expect("read");
        std::fs::write(&index, bytes).expect("touched");
        let message = server.sync().await.expect("a valid mirror");
        assert!(message.contains("nothing changed"), "{message}");
    }

    async fn a_removed_package_remains_in_earlier_steps(engine) {
        let mirror = small_mirror(3);
        let server = SyncBackend::new(engine, &mirror.url()).await;
        server.sync().await.expect("a valid mirror");
        let (tree, before) = server.head().expect("published");
        mirror.put(INDEX, gz(index(2)));
        server.sync().await.expect("a valid mirror");
        assert_eq!(server.listed().await.len(), 2);
        assert_eq!(server.read(move |c| life::names(c, tree, before)).await.len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_three_forms_of_an_index_list_the_same_packages() {
    let source_mirror = Upstream::of(&data::path("cran-mirror"));
    let mut lists = Vec::new();
    for form in [INDEX, "src/contrib/PACKAGES.rds", "src/contrib/PACKAGES"] {
        let mirror = Upstream::empty();
        mirror.put(form, source_mirror.bytes(form));
        let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
        server.sync().await.expect("a valid mirror");
        lists.push(server.listed().await);
    }
    assert_eq!(lists[0].len(), data::cran().listed.len());
    assert!(lists[0] == lists[1] && lists[1] == lists[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_in_another_form_changes_nothing() {
    let mirror = Upstream::of(&data::path("cran-mirror"));
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    server.sync().await.expect("a valid mirror");
    mirror.remove(INDEX);
    let message = server.sync().await.expect("a valid mirror");
    assert!(message.contains("nothing changed"), "{message}");
    assert_eq!(server.transactions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_without_meta_works() {
    let mirror = Upstream::of(&data::path("cran-mirror"));
    mirror.remove(CURRENT);
    mirror.remove(ARCHIVE);
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    server.sync().await.expect("a valid mirror");
    assert_eq!((server.listed().await.len(), server.archived().await.len()), (data::cran().listed.len(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_index_without_validators_publishes_nothing() {
    let mirror = small_mirror(3);
    mirror.always(INDEX, Fault::NoValidators);
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    server.sync().await.expect("a valid mirror");
    let message = server.sync().await.expect("a valid mirror");
    assert!(message.contains("nothing changed"), "{message}");
    assert_eq!(server.transactions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_changes_while_meta_is_read_is_read_again() {
    let mirror = Upstream::of(&data::path("cran-mirror"));
    mirror.always(ARCHIVE, Fault::NoAnswer);
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    let job = server.sync.start(SourceKind::Cran).expect("cran is synced");
    // The index was served; it changes while `Meta/` is read.
    until("`Meta/` is read", async || mirror.pending().contains(&ARCHIVE.to_owned())).await;
    let mut text = String::from_utf8(mirror.bytes("src/contrib/PACKAGES")).expect("ASCII");
    text.push_str("\nPackage: justnow\nVersion: 1.0\n");
    mirror.put(INDEX, gz(text));
    mirror.release(ARCHIVE);
    job.job().wait_end().await.expect("a valid mirror");
    assert!(server.listed().await.contains(&"justnow_1.0".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_mirror_is_read_completely_and_replaces_the_state() {
    let (mirror_of_3, mirror_of_5) = (small_mirror(3), small_mirror(5));
    let server = SyncBackend::new(Engine::Sqlite, &mirror_of_3.url()).await;
    server.sync().await.expect("a valid mirror");
    let server = server.restart(&mirror_of_5.url()).await;
    server.sync().await.expect("a valid mirror");
    assert_eq!(server.listed().await.len(), 5);
    let server = server.restart(&mirror_of_3.url()).await;
    server.sync().await.expect("a valid mirror");
    assert_eq!(
        server.listed().await.len(),
        3,
        "an earlier state of the first mirror is not used instead of its current one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_concurrent_syncs_share_one_job() {
    let mirror = small_mirror(3);
    mirror.fail(INDEX, [Fault::Slow(std::time::Duration::from_millis(200))]);
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    let (message, second_message) = tokio::join!(server.sync(), server.sync());
    assert_eq!(message, second_message);
    assert_eq!(server.transactions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_database_do_not_sync_at_the_same_time() {
    let mirror = small_mirror(3);
    mirror.always(INDEX, Fault::NoAnswer);
    let server = SyncBackend::new(Engine::Postgres, &mirror.url()).await;
    let second_server = server.open_second(&mirror.url()).await;
    let job = server.sync.start(SourceKind::Cran).expect("cran is synced");
    until("the mirror received the request", async || mirror.pending().contains(&INDEX.to_owned())).await;
    let error = second_server.sync().await.expect_err("the other server has the lease");
    assert!(error.contains("another server"), "{error}");
    mirror.release(INDEX);
    job.job().wait_end().await.expect("a valid mirror");
    second_server.sync().await.expect("the lease is free again");
    assert_eq!(server.transactions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_a_mirror_is_not_synced() {
    let server = SyncBackend::new(Engine::Sqlite, "file:///nowhere").await;
    let error = server.sync.start(SourceKind::Local).err().map(|e| e.to_string());
    assert!(error.is_some_and(|error| error.contains("local")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_sync_runs_at_start_and_one_that_never_ran_does_not() {
    let mirror = small_mirror(3);
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    let start_schedule = |server: &SyncBackend| {
        let sync = server.sync.clone();
        tokio::spawn(async move { sync.run_schedule(Task::Cran).await })
    };
    let task = start_schedule(&server);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    task.abort();
    assert_eq!(
        mirror.take_requests(),
        [],
        "a new server sends no request to a mirror before a sync is started"
    );
    server.sync().await.expect("a valid mirror");
    mirror.put(INDEX, gz(index(4)));
    server.advance_clock(86_400);
    let task = start_schedule(&server);
    until("the missed sync has run", async || server.transactions().await >= 2).await;
    task.abort();
    let newest = server.read(|c| tx::list(c, SourceId::CRAN, 1)).await;
    assert_eq!(newest[0].actor, "schedule");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_over_a_month_ahead_is_accepted_when_the_mirror_has_the_same_time() {
    let mirror = small_mirror(3);
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    server.sync().await.expect("a valid mirror");
    mirror.put(INDEX, gz(index(4)));
    server.advance_clock(40 * 86_400);
    mirror.always(INDEX, Fault::ExtraHeader("Date: Thu, 09 Oct 2025 08:53:20 GMT"));
    let error = server.sync().await.expect_err("the mirror has another time");
    assert!(error.contains("over a month after the last publish"), "{error}");
    assert!(error.contains("rspm repair clock"), "{error}");
    assert_eq!(server.transactions().await, 1);
    mirror.always(INDEX, Fault::ExtraHeader("Date: Tue, 18 Nov 2025 08:53:20 GMT"));
    server.sync().await.expect("both have the same time");
    assert_eq!(server.transactions().await, 2);
}
