//! Refreshes of advisories: the state after a failure, a restart and a sweep, and the number of log lines.

use std::time::Duration;

use serde_json::json;

use crate::support::advisories::{all_zip, archive, folder, publish, record};
use crate::support::downloader::tree;
use crate::support::fixtures::{make_old, until};
use crate::support::mirror::Mirror;
use crate::support::rules;
use crate::support::server::{Builder, Server};

/// A server with these feeds, and with one package that may be vulnerable.
fn server(urls: &[String]) -> Server {
    let urls: String = urls.iter().map(|url| format!("URL = {url}\n")).collect();
    let gcfg = format!("[CRAN]\nURL = file://{{dir}}/mirror\n[Vulnerabilities]\n{urls}");
    let server = Builder::default().gcfg(&gcfg).env("NO_PROXY", "*").start();
    crate::support::fixtures::create_mirror(&server.dir().join("mirror"));
    server.sync().expect("a mirror");
    server.repository("prod", "cran");
    server
}

fn vulnerabilities(server: &Server) -> String {
    let alpha = server.get("/__api__/repos/prod/packages/alpha").json();
    let ids = alpha["vulns"].as_array().expect("a list").iter().map(|v| v["id"].as_str().unwrap().to_owned());
    ids.collect::<Vec<_>>().join(" ")
}

fn alpha(id: &str) -> serde_json::Value {
    record(id, "CRAN", "alpha", "2.0")
}

#[test]
fn an_invalid_file_changes_nothing_and_the_error_names_it() {
    let mirror = Mirror::start();
    let valid_archive = archive(&[alpha("RSEC-1")]);
    mirror.put("main.tar.gz", valid_archive.clone());
    let server = server(&[format!("{}/main.tar.gz", mirror.url())]);
    assert_eq!(server.sync_of("VULNS").expect("an archive"), "1 advisory about packages is in use now");
    assert_eq!(server.sync_of("vulns").expect("the same"), "the 1 advisory about packages is up to date");
    assert_eq!(mirror.requests("main.tar.gz").len(), 2);
    assert_eq!(vulnerabilities(&server), "RSEC-1");
    for (defect, bytes) in [
        ("a page", b"<!doctype html><title>Sign in</title>".to_vec()),
        ("nothing", Vec::new()),
        ("half of it", valid_archive[..valid_archive.len() / 2].to_vec()),
        ("an archive of nothing", archive(&[])),
    ] {
        mirror.put("main.tar.gz", bytes);
        let error = server.sync_of("vulns").expect_err(defect);
        assert!(error.contains(&mirror.url()), "{defect}: {error}");
        assert_eq!(vulnerabilities(&server), "RSEC-1", "{defect}");
    }
    let alerts = server.job_alerts();
    assert_eq!(alerts[0]["name"], "sync:vulns");
    mirror.remove("main.tar.gz");
    assert!(server.sync_of("vulns").expect_err("the file is missing").contains("is not on the mirror"));
    mirror.put("main.tar.gz", archive(&[alpha("RSEC-1"), alpha("RSEC-2")]));
    assert!(server.sync_of("vulns").expect("a new archive").starts_with("2 advisories"));
    assert_eq!(vulnerabilities(&server), "RSEC-1 RSEC-2");
    assert_eq!(server.job_alerts(), json!([]));
}

#[test]
fn a_feed_that_fails_does_not_affect_the_others() {
    let mirror = Mirror::start();
    publish(&mirror, "CRAN", &[alpha("RSEC-1")]);
    mirror.put("own.ndjson", alpha("x_OWN-1").to_string());
    let server = server(&[format!("{}/osv", mirror.url()), format!("{}/own.ndjson", mirror.url())]);
    assert!(server.sync_of("vulns").expect("both").starts_with("2 advisories"), "Bioconductor is missing");
    assert_eq!(vulnerabilities(&server), "RSEC-1 x_OWN-1");
    mirror.put("own.ndjson", "<html>");
    publish(&mirror, "CRAN", &[alpha("RSEC-1"), alpha("RSEC-2")]);
    let error = server.sync_of("vulns").expect_err("one of two");
    assert!(error.contains("own.ndjson") && !error.contains("/osv"), "{error}");
    assert_eq!(vulnerabilities(&server), "RSEC-1 RSEC-2 x_OWN-1");
    // A feed without advisories is an error.
    server.hup_applies(
        &format!("[Vulnerabilities]\nURL = {}/nothing", mirror.url()),
        &[&format!(
            "Vulnerabilities.URL is '{0}/osv, {0}/own.ndjson, {0}/nothing' now, was '{0}/osv, {0}/own.ndjson'",
            mirror.url()
        )],
    );
    mirror.put("own.ndjson", alpha("x_OWN-1").to_string());
    let error = server.sync_of("vulns").expect_err("one of three");
    assert_eq!(
        error,
        format!(
            "{}/nothing: there are no advisories: no file CRAN/all.zip or of another known name",
            mirror.url()
        )
    );
}

#[test]
fn advisories_survive_a_restart_and_a_sweep() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("advisories");
    folder(&path, &[alpha("RSEC-0")]);
    let mut server = server(&[format!("file://{}", path.display())]);
    server.sync_of("vulns").expect("a folder");
    std::fs::remove_dir_all(&path).expect("removed");
    folder(&path, &[alpha("RSEC-1")]);
    server.sync_of("vulns").expect("a changed folder");
    std::fs::remove_dir_all(&path).expect("removed");
    // Two stored documents; the replaced one is removed.
    let folder_of_documents = server.dir().join("data/persistent/vulns");
    assert_eq!(tree(&folder_of_documents).len(), 2);
    until("the storage is claimed", || server.dir().join("data/persistent/owner/persistent").exists());
    make_old(&folder_of_documents);
    server.rspm_stdout("storage sweep");
    assert_eq!(tree(&folder_of_documents).len(), 1);
    assert_eq!(vulnerabilities(&server), "RSEC-1");
    server.restart();
    assert_eq!(vulnerabilities(&server), "RSEC-1", "from storage");
    let error = server.sync_of("vulns").expect_err("the configured folder is missing");
    assert!(error.contains("there are no advisories"), "{error}");
    assert_eq!(vulnerabilities(&server), "RSEC-1", "the last good state");
    // Stored advisories that are lost are reported, do not prevent the start, and are fetched again.
    server.stop();
    std::fs::remove_dir_all(server.dir().join("data/persistent/vulns"))
        .expect("the folder of stored advisories");
    server.launch();
    assert_eq!(vulnerabilities(&server), "");
    until("the loss is logged", || {
        server.log_lines().iter().any(|line| line.contains("the next refresh fetches them again"))
    });
    folder(&path, &[alpha("RSEC-1")]);
    server.sync_of("vulns").expect("a folder");
    assert_eq!(vulnerabilities(&server), "RSEC-1");
}

#[test]
fn advisories_of_a_feed_that_is_removed_from_the_configuration_are_removed() {
    let mirror = Mirror::start();
    mirror.put("a.zip", all_zip(&[alpha("RSEC-1")]));
    let mut server = server(&[format!("{}/a.zip", mirror.url())]);
    server.sync_of("vulns").expect("a file");
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    std::fs::write(server.config_file(), gcfg.replace(&format!("URL = {}/a.zip", mirror.url()), "URL ="))
        .expect("written");
    server.restart();
    assert_eq!(vulnerabilities(&server), "");
    assert_eq!(server.sync_of("vulns").expect("no feed"), "there are no advisories about packages");
    let database =
        rusqlite::Connection::open(server.dir().join("data/db/rstudio-pm.db")).expect("a database");
    let rows = "SELECT COUNT(*) FROM upstream WHERE url LIKE 'vulns:%'";
    assert_eq!(database.query_row(rows, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

#[test]
fn a_directory_of_packages_without_advisories_is_not_an_error() {
    let server = Server::start();
    assert_eq!(server.sync_of("vulns").expect("no advisories"), "there are no advisories about packages");
    folder(&server.dir().join("no-mirror/vulns"), &[alpha("RSEC-1")]);
    assert!(server.sync_of("vulns").expect("a folder").starts_with("1 advisory"));
}

#[test]
fn repeated_failures_are_logged_once_and_a_different_one_is_logged_again() {
    let mirror = Mirror::start();
    let server = server(&[format!("{}/main.tar.gz", mirror.url())]);
    let count = |text: &str| server.log_lines().iter().filter(|line| line.contains(text)).count();
    for _ in 0..3 {
        server.sync_of("vulns").expect_err("there is no file");
    }
    until("the failure is logged", || count("is not on the mirror") == 1);
    mirror.put("main.tar.gz", "<html>");
    for _ in 0..3 {
        server.sync_of("vulns").expect_err("a page");
    }
    until("the other failure is logged", || count("not a package archive") == 1);
    mirror.put("main.tar.gz", archive(&[alpha("RSEC-1")]));
    server.sync_of("vulns").expect("an archive");
    until("the recovery is logged", || count("recovered after failed attempts") == 1);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(
        (count("is not on the mirror"), count("not a package archive")),
        (1, 1),
        "{:#?}",
        server.log_lines()
    );
}

/// The files in the directory of this name with stored documents.
fn stored_files(server: &Server, directory: &str) -> Vec<std::path::PathBuf> {
    // Not the whole of the data: the server writes temporary files beside.
    let stored = server.dir().join("data/persistent").join(directory);
    tree(&stored).into_keys().map(|path| stored.join(path)).collect()
}

#[test]
fn a_lost_document_is_stored_again_although_the_upstream_has_not_changed() {
    let mirror = Mirror::start();
    mirror.put("main.tar.gz", archive(&[alpha("RSEC-1")]));
    mirror.put("rules.tar.gz", rules::archive(&["zlib"]));
    let properties =
        format!("URL = {0}/main.tar.gz\n[SystemRequirements]\nURL = {0}/rules.tar.gz\n", mirror.url());
    let server =
        Builder::default().gcfg(&format!("[Vulnerabilities]\n{properties}")).env("NO_PROXY", "*").start();
    for kind in ["vulns", "sysreqs"] {
        server.sync_of(kind).expect("an archive");
        server.sync_of(kind).expect("the same");
        let files = stored_files(&server, kind);
        assert_eq!(files.len(), 1, "{kind}: {files:?}");
        let content = std::fs::read(&files[0]).expect("readable");
        std::fs::remove_file(&files[0]).expect("removed");
        server.sync_of(kind).expect("the same");
        assert_eq!(std::fs::read(&files[0]).expect("stored again"), content, "{kind}");
    }
}
