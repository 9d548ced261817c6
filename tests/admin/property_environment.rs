//! The environment on top of the file: every section, sub-named ones too, in daemon and check.

use crate::support::furnish::until;
use crate::support::server::Builder;

#[test]
fn a_variable_wins_over_the_file() {
    let server = Builder::default()
        .gcfg("[Server]\nAddress = https://file.example.org/one")
        .env("PACKAGEMANAGER_SERVER_ADDRESS", "https://environment.example.org/two")
        .start();
    assert_eq!(server.get("/two/__ping__").status, 200);
    assert_eq!(server.get("/one/__ping__").status, 404);
}

#[test]
fn a_variable_reaches_a_class_of_storage() {
    let place = tempfile::tempdir().expect("a directory");
    let location = place.path().join("elsewhere");
    let server = Builder::default()
        .gcfg("[FileStorage \"packages\"]\nLocation = {dir}/from-the-file")
        .env("PACKAGEMANAGER_FILESTORAGE_PACKAGES_LOCATION", &location.display().to_string())
        .env("PACKAGEMANAGER_STORAGE_CACHE", "file")
        .start();
    assert!(location.is_dir());
    assert!(!server.dir().join("from-the-file").exists());
}

#[test]
fn a_variable_of_a_multi_property_takes_a_list() {
    let logs = tempfile::tempdir().expect("a directory");
    let (one, two) = (logs.path().join("one.log"), logs.path().join("two.log"));
    let value = format!("STDERR, {}, {}", one.display(), two.display());
    let _server = Builder::default().env("PACKAGEMANAGER_LOGGING_SYSTEMLOG", &value).start();
    for log in [one, two] {
        until("the log is written", || {
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("is ready after"))
        });
    }
}

#[test]
fn a_variable_that_names_nothing_is_warned_of_and_fails_the_check() {
    let server = Builder::default().env("PACKAGEMANAGER_SERVER_DATADRI", "/x").start();
    let expected = "environment PACKAGEMANAGER_SERVER_DATADRI: ";
    let warned = |line: &String| line.contains("WARN") && line.contains(expected) && line.contains("DataDir");
    assert!(server.log_lines().iter().any(warned), "{:?}", server.log_lines());
    let finding = server.failed_check("Unknown sections and properties");
    assert!(finding.starts_with(expected) && finding.contains("DataDir"), "{finding}");
}

#[test]
fn a_wrong_value_is_told_with_the_variables_name() {
    let server = Builder::default().env("PACKAGEMANAGER_HTTP_LISTEN", "nowhere").prepare();
    let expected = "environment PACKAGEMANAGER_HTTP_LISTEN: [HTTP] Listen = \"nowhere\": ";
    assert!(server.start_refused().contains(expected));
    assert!(server.failed_check("Configuration file syntax").starts_with(expected));
}
