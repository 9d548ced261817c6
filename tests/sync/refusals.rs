//! Mirrors that are damaged, partly written or not mirrors do not change the last good state.

use std::time::Duration;

use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::r::rds::archive_meta::{MetaRow, write_archive_meta};

use super::{ARCHIVE, CURRENT, INDEX, gz, index, small_mirror};
use crate::support::data;
use crate::support::db::Engine;
use crate::support::sync_backend::SyncBackend;
use crate::support::upstream::{Fault, Upstream};

const PACKAGES: usize = 60;

/// A server that synced a mirror of 60 packages once.
async fn synced_server() -> (Upstream, SyncBackend) {
    let mirror = small_mirror(PACKAGES);
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    server.sync().await.expect("a valid mirror");
    (mirror, server)
}

/// Asserts that the next sync fails with an error that contains `words`, and changes nothing.
async fn assert_refused(server: &SyncBackend, words: &str) {
    let error = server.sync().await.expect_err("the mirror is invalid");
    assert!(error.contains(words), "{error}");
    assert_eq!(server.listed().await.len(), PACKAGES);
    assert_eq!(server.transactions().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_with_status_200_is_refused() {
    let (mirror, server) = synced_server().await;
    mirror.always(INDEX, Fault::Html);
    assert_refused(&server, "HTML page").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_index_that_is_cut_short_is_refused() {
    let (mirror, server) = synced_server().await;
    mirror.put(INDEX, gz(index(PACKAGES + 1)));
    mirror.always(INDEX, Fault::Truncate(300));
    assert_refused(&server, "truncated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_compressed_index_is_refused() {
    let (mirror, server) = synced_server().await;
    let mut bytes = gz(index(PACKAGES + 1));
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0x5a);
    mirror.put(INDEX, bytes);
    assert_refused(&server, "damaged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_index_is_refused() {
    let (mirror, server) = synced_server().await;
    for empty in [Vec::new(), gz(""), gz("\n\n")] {
        mirror.put(INDEX, empty);
        assert_refused(&server, "lists no package").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_something_else_is_refused() {
    let (mirror, server) = synced_server().await;
    mirror.put(INDEX, gz("Name: pip\nKind: python\n\nName: uv\nKind: python\n"));
    assert_refused(&server, "records are invalid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_invalid_records_are_ignored() {
    let (mirror, server) = synced_server().await;
    mirror.put(INDEX, gz(index(PACKAGES + 1) + "Package: ../../etc\nVersion: 1.0\n\nPackage: nover\n"));
    server.sync().await.expect("the other records are good");
    assert_eq!(server.listed().await.len(), PACKAGES + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lost_a_fifth_is_refused_until_the_sync_is_repeated() {
    let (mirror, server) = synced_server().await;
    mirror.put(INDEX, gz(index(PACKAGES * 4 / 5)));
    assert_refused(&server, "12 of 60 packages are no longer in the index").await;
    // Another partly written state is refused again.
    mirror.put(INDEX, gz(index(PACKAGES / 2)));
    assert_refused(&server, "rspm sync").await;
    server.sync().await.expect("the same files, synced again by hand");
    assert_eq!(server.listed().await.len(), PACKAGES / 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_lost_less_than_a_fifth_is_accepted() {
    let (mirror, server) = synced_server().await;
    mirror.put(INDEX, gz(index(PACKAGES * 4 / 5 + 1)));
    server.sync().await.expect("eleven of sixty are missing");
    assert_eq!(server.listed().await.len(), PACKAGES * 4 / 5 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_table_that_lost_a_fifth_is_refused() {
    let (mirror, server) = synced_server().await;
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
        write_archive_meta(&mut bytes, &rows).expect("writing to a Vec cannot fail");
        bytes
    };
    mirror.put(ARCHIVE, table(50));
    server.sync().await.expect("a valid mirror");
    assert_eq!(server.archived().await.len(), 50);
    mirror.put(ARCHIVE, table(40));
    let error = server.sync().await.expect_err("ten of fifty are missing");
    assert!(error.contains("10 of 50") && error.contains("archive.rds"), "{error}");
    assert_eq!(server.archived().await.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_meta_table_removes_only_dates() {
    let mirror = Upstream::of(&data::path("cran-mirror"));
    mirror.put(CURRENT, &b"<html>not found</html>"[..]);
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    server.sync().await.expect("the sync succeeds without dates");
    assert_eq!((server.listed().await.len(), server.archived().await.len()), data::cran().counts());
    let mut cut = mirror.bytes(ARCHIVE);
    cut.truncate(cut.len() / 2);
    mirror.put(ARCHIVE, cut);
    server.sync().await.expect("without a table the archive does not change");
    assert_eq!((server.listed().await.len(), server.archived().await.len()), data::cran().counts());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_rds_index_is_refused() {
    let mirror = Upstream::of(&data::path("cran-mirror"));
    mirror.remove(INDEX);
    let mut cut = mirror.bytes("src/contrib/PACKAGES.rds");
    cut.truncate(cut.len() / 2);
    mirror.put("src/contrib/PACKAGES.rds", cut);
    let server = SyncBackend::new(Engine::Sqlite, &mirror.url()).await;
    let error = server.sync().await.expect_err("truncated");
    assert!(error.contains("PACKAGES.rds"), "{error}");
    assert_eq!(server.transactions().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_fail_are_repeated() {
    let (mirror, server) = synced_server().await;
    mirror.put(INDEX, gz(index(PACKAGES + 1)));
    mirror.fail(INDEX, [Fault::Status(500, ""), Fault::CutAfter(100), Fault::LengthTooLarge(10)]);
    server.sync().await.expect("the fourth response is valid");
    assert_eq!(server.listed().await.len(), PACKAGES + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_retry_after_is_respected() {
    let (mirror, server) = synced_server().await;
    mirror.put(INDEX, gz(index(PACKAGES + 1)));
    mirror.fail(INDEX, [Fault::Status(429, "Retry-After: 1")]);
    let start = std::time::Instant::now();
    server.sync().await.expect("the second response is valid");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.listed().await.len(), PACKAGES + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_retry_after_ends_the_sync() {
    let (mirror, server) = synced_server().await;
    mirror.take_requests();
    mirror.always(INDEX, Fault::Status(503, "Retry-After: 3600"));
    assert_refused(&server, "503").await;
    assert_eq!(mirror.take_requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_stalls_ends_the_sync() {
    let (mirror, server) = synced_server().await;
    mirror.always(INDEX, Fault::Slow(Duration::from_secs(4)));
    assert_refused(&server, "timed out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_mirror_is_reported_with_its_address() {
    let (mirror, server) = synced_server().await;
    let address = mirror.url();
    drop(mirror);
    assert_refused(&server, &address).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_loop_is_refused_at_once() {
    let (mirror, server) = synced_server().await;
    mirror.take_requests();
    mirror.always(INDEX, Fault::Redirect(format!("/{INDEX}")));
    assert_refused(&server, "redirected more than 5 times").await;
    assert!(mirror.take_requests().len() <= 7, "a redirect loop is not retried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_forbids_reading_is_reported() {
    let (mirror, server) = synced_server().await;
    mirror.always(INDEX, Fault::Status(403, ""));
    assert_refused(&server, "403").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_without_an_index_is_reported_with_the_missing_files() {
    let (mirror, server) = synced_server().await;
    mirror.remove(INDEX);
    assert_refused(&server, "src/contrib/PACKAGES.gz, src/contrib/PACKAGES.rds, src/contrib/PACKAGES").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_no_mirror_and_a_bundle_without_cran_are_reported() {
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("file://{}", dir.path().display());
    let server = SyncBackend::new(Engine::Sqlite, &url).await;
    let error = server.sync().await.expect_err("empty");
    assert!(
        error.contains("is an empty directory; it may not be mounted; looked for src/contrib/"),
        "{error}"
    );
    std::fs::write(dir.path().join("readme.txt"), "").expect("written");
    let error = server.sync().await.expect_err("no mirror");
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
async fn a_password_in_the_url_is_sent_and_never_reported() {
    let (mirror, server) = synced_server().await;
    let with_password = mirror.url().replace("http://", "http://team:s3cret@");
    let server = server.restart(&with_password).await;
    mirror.take_requests();
    server.sync().await.expect("a valid mirror");
    let authorization = mirror.take_requests()[0].headers.get("authorization").cloned();
    assert_eq!(authorization.as_deref(), Some("Basic dGVhbTpzM2NyZXQ="));
    mirror.always(INDEX, Fault::Status(500, ""));
    let error = server.sync().await.expect_err("500");
    assert!(!error.contains("s3cret") && error.contains(&mirror.url()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_r_cannot_read_do_not_stop_a_sync() {
    let (mirror, server) = synced_server().await;
    let text = index(PACKAGES)
        + "\nPackage: nightly\nVersion: 0.1.0.20240115123456\n\nPackage: letters\nVersion: 1.0b\n\n\
           Package: wide\nVersion: 1.0\nDepends: utils, R (>=3.5.0)\n\n\
           Package: folded\nVersion: 1.0\nDepends:\n .\n R (>=3.5.0)\n\n\
           Package: returned\nVersion: 1.0\nLicense: MIT\rDepends: R (>=3.5.0)\n\n\
           Package: blank\nVersion: 1.0\nDepends : R (>=3.5.0)\n";
    let mut warnings = Vec::new();
    rstudio_pm::r::index::records(text.as_bytes(), &mut warnings).expect("an index");
    assert!(
        warnings.iter().any(|text| text.contains("3 records of the index with a requirement")),
        "{warnings:?}"
    );
    mirror.put(INDEX, gz(text));
    let message = server.sync().await.expect("a valid mirror");
    assert!(message.contains("4 packages added"), "{message}");
    let listed = server.listed().await;
    assert!(listed.contains(&"wide_1.0".to_owned()) && listed.len() == PACKAGES + 4, "{listed:?}");
}
