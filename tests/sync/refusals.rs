//! Does a mirror that is broken, half written or no mirror leave the last good state as it is?

use std::time::Duration;

use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::r::rds::archive_meta::{MetaRow, write_archive_meta};

use super::{ARCHIVE, CURRENT, INDEX, gz, index, small};
use crate::support::data;
use crate::support::db::Engine;
use crate::support::sync_backend::Server;
use crate::support::upstream::{Fault, Upstream};

const PACKAGES: usize = 60;

/// A server that synced a mirror of 60 packages once.
async fn synced() -> (Upstream, Server) {
    let mirror = small(PACKAGES);
    let server = Server::new(Engine::Sqlite, &mirror.url()).await;
    server.sync().await.expect("a good mirror");
    (mirror, server)
}

/// The next sync fails with a reason that says `words`; what was published stays.
async fn refused(server: &Server, words: &str) {
    let error = server.sync().await.expect_err("this mirror is not to be taken");
    assert!(error.contains(words), "{error}");
    assert_eq!(server.listed().await.len(), PACKAGES);
    assert_eq!(server.transactions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_with_status_200_is_refused() {
    let (mirror, server) = synced().await;
    mirror.always(INDEX, Fault::Html);
    refused(&server, "HTML page").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_index_that_is_cut_short_is_refused() {
    let (mirror, server) = synced().await;
    mirror.put(INDEX, gz(index(PACKAGES + 1)));
    mirror.always(INDEX, Fault::Truncate(300));
    refused(&server, "cut short").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_compressed_index_is_refused() {
    let (mirror, server) = synced().await;
    let mut bytes = gz(index(PACKAGES + 1));
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0x5a);
    mirror.put(INDEX, bytes);
    refused(&server, "damaged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_index_is_refused() {
    let (mirror, server) = synced().await;
    for empty in [Vec::new(), gz(""), gz("\n\n")] {
        mirror.put(INDEX, empty);
        refused(&server, "lists no package").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_something_else_is_refused() {
    let (mirror, server) = synced().await;
    mirror.put(INDEX, gz("Name: pip\nKind: python\n\nName: uv\nKind: python\n"));
    refused(&server, "records are invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_bad_records_are_passed_over() {
    let (mirror, server) = synced().await;
    mirror.put(INDEX, gz(index(PACKAGES + 1) + "Package: ../../etc\nVersion: 1.0\n\nPackage: nover\n"));
    server.sync().await.expect("the other records are good");
    assert_eq!(server.listed().await.len(), PACKAGES + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lost_a_fifth_is_refused_until_it_is_asked_for_again() {
    let (mirror, server) = synced().await;
    mirror.put(INDEX, gz(index(PACKAGES * 4 / 5)));
    refused(&server, "12 of 60 packages are no longer in the index").await;
    // Another half-written state is another question.
    mirror.put(INDEX, gz(index(PACKAGES / 2)));
    refused(&server, "rspm sync").await;
    server.sync().await.expect("the same files, asked for again by hand");
    assert_eq!(server.listed().await.len(), PACKAGES / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lost_a_few_is_taken() {
    let (mirror, server) = synced().await;
    mirror.put(INDEX, gz(index(PACKAGES * 4 / 5 + 1)));
    server.sync().await.expect("eleven of sixty");
    assert_eq!(server.listed().await.len(), PACKAGES * 4 / 5 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_table_that_lost_a_fifth_is_refused() {
    let (mirror, server) = synced().await;
    let table = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| format!("p{n}")).collect();
        let rows: Vec<MetaRow<String>> = names
            .iter()
            .map(|package| MetaRow {
                package: package.clone(),
                file: format!("{package}_0.9.tar.gz"),
                size: 10,
                mtime: Timestamp(1_000_000_000 * SECOND),
            })
            .collect();
        let mut bytes = Vec::new();
        write_archive_meta(&mut bytes, &rows).expect("a Vec takes it");
        bytes
    };
    mirror.put(ARCHIVE, table(50));
    server.sync().await.expect("a good mirror");
    assert_eq!(server.archived().await.len(), 50);
    mirror.put(ARCHIVE, table(40));
    let error = server.sync().await.expect_err("ten of fifty are gone");
    assert!(error.contains("10 of 50") && error.contains("archive.rds"), "{error}");
    assert_eq!(server.archived().await.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_meta_table_costs_dates_and_nothing_else() {
    let mirror = Upstream::of(&data::path("cran-mirror"));
    mirror.put(CURRENT, &b"<html>not found</html>"[..]);
    let server = Server::new(Engine::Sqlite, &mirror.url()).await;
    server.sync().await.expect("without dates");
    assert_eq!((server.listed().await.len(), server.archived().await.len()), data::cran().counts());
    let mut cut = mirror.bytes(ARCHIVE);
    cut.truncate(cut.len() / 2);
    mirror.put(ARCHIVE, cut);
    server.sync().await.expect("what is archived is not known, so it stays");
    assert_eq!((server.listed().await.len(), server.archived().await.len()), data::cran().counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_rds_index_is_refused() {
    let mirror = Upstream::of(&data::path("cran-mirror"));
    mirror.remove(INDEX);
    let mut cut = mirror.bytes("src/contrib/PACKAGES.rds");
    cut.truncate(cut.len() / 2);
    mirror.put("src/contrib/PACKAGES.rds", cut);
    let server = Server::new(Engine::Sqlite, &mirror.url()).await;
    let error = server.sync().await.expect_err("cut short");
    assert!(error.contains("PACKAGES.rds"), "{error}");
    assert_eq!(server.transactions().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_errs_now_and_then_is_asked_again() {
    let (mirror, server) = synced().await;
    mirror.put(INDEX, gz(index(PACKAGES + 1)));
    mirror.fail(INDEX, [Fault::Status(500, ""), Fault::CutAfter(100), Fault::Longer(10)]);
    server.sync().await.expect("the fourth answer is good");
    assert_eq!(server.listed().await.len(), PACKAGES + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_asks_for_patience_gets_it() {
    let (mirror, server) = synced().await;
    mirror.put(INDEX, gz(index(PACKAGES + 1)));
    mirror.fail(INDEX, [Fault::Status(429, "Retry-After: 1")]);
    let begun = std::time::Instant::now();
    server.sync().await.expect("the second answer is good");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.listed().await.len(), PACKAGES + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_asks_for_too_much_patience_is_left_alone() {
    let (mirror, server) = synced().await;
    mirror.asked();
    mirror.always(INDEX, Fault::Status(503, "Retry-After: 3600"));
    refused(&server, "503").await;
    assert_eq!(mirror.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_falls_silent_is_given_up() {
    let (mirror, server) = synced().await;
    mirror.always(INDEX, Fault::Slow(Duration::from_secs(2)));
    refused(&server, "timed out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_is_down_is_said_to_be() {
    let (mirror, server) = synced().await;
    let address = mirror.url();
    drop(mirror);
    tokio::time::sleep(Duration::from_millis(50)).await;
    refused(&server, &address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_loop_is_refused_at_once() {
    let (mirror, server) = synced().await;
    mirror.asked();
    mirror.always(INDEX, Fault::Redirect(format!("/{INDEX}")));
    refused(&server, "redirected more than 5 times").await;
    assert!(mirror.asked().len() <= 7, "a loop is not worth a retry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_forbids_reading_is_said_to() {
    let (mirror, server) = synced().await;
    mirror.always(INDEX, Fault::Status(403, ""));
    refused(&server, "403").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_any_index_names_what_was_looked_for() {
    let (mirror, server) = synced().await;
    mirror.remove(INDEX);
    refused(&server, "src/contrib/PACKAGES.gz, src/contrib/PACKAGES.rds, src/contrib/PACKAGES").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_no_mirror_and_a_bundle_without_cran_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}", dir.path().display());
    let server = Server::new(Engine::Sqlite, &url).await;
    let error = server.sync().await.expect_err("empty");
    assert!(error.contains("looked for src/contrib/PACKAGES.gz"), "{error}");
    std::fs::create_dir(dir.path().join("v3")).expect("a folder");
    std::fs::write(dir.path().join("v3/version.txt"), "3\n").expect("written");
    let error = server.sync().await.expect_err("a bundle");
    assert!(
        error.contains("has no cran: looked for v3/1/head.json") && error.contains("rspm-offline-downloader"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_the_url_is_sent_and_never_told() {
    let (mirror, server) = synced().await;
    let with_password = mirror.url().replace("http://", "http://team:s3cret@");
    let server = server.restarted(&with_password).await;
    mirror.asked();
    server.sync().await.expect("a good mirror");
    let sent = mirror.asked()[0].headers.get("authorization").cloned();
    assert_eq!(sent.as_deref(), Some("Basic dGVhbTpzM2NyZXQ="));
    mirror.always(INDEX, Fault::Status(500, ""));
    let error = server.sync().await.expect_err("500");
    assert!(!error.contains("s3cret") && error.contains(&mirror.url()), "{error}");
}
