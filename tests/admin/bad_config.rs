//! Invalid configurations: the errors of the start and of `rspm check-config`, which create nothing.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::process::run_to_end;
use crate::support::server::Builder;

const SYNTAX: &str = "Configuration file syntax";
const NAMES: &str = "Unknown sections and properties";
const PATHS: &str = "File paths and storage";
const SETTINGS: &str = "Listeners and start settings";

/// Returns mode and content of each path below a directory, to detect changes.
fn tree(dir: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("readable").flatten() {
            let metadata = entry.path().symlink_metadata().expect("a path that exists");
            let bytes =
                if metadata.is_file() { std::fs::read(entry.path()).expect("readable") } else { Vec::new() };
            files.insert(entry.path().display().to_string(), (metadata.permissions().mode(), bytes));
            if metadata.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    files
}

/// Asserts that the start fails with an error that names the position of `value`, section, property, value and
/// `reason`, that the check `title` fails with the same line, and that nothing is created.
fn assert_refused_at(title: &str, gcfg: &str, value: &str, setting: &str, reason: &str) {
    let server = Builder::default().gcfg(gcfg).prepare();
    let tree_before = tree(server.dir());
    let line = format!("{}: {setting}: {reason}", server.position_of(value));
    let output = server.start_refused();
    assert!(output.starts_with("Error: Unable to initialize the configuration:\n"), "{output}");
    assert!(output.contains(&line), "{line}\n{output}");
    let finding = server.failed_check(title);
    assert!(finding.starts_with(&line), "{line}\n{finding}");
    let (code, text) = server.check_config();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&format!("[FAIL] {title}\n       {finding}\n")), "{text}");
    assert_eq!(tree(server.dir()), tree_before, "neither the start nor the check creates anything");
}

#[test]
fn an_unknown_section_causes_a_warning_at_start_and_fails_the_check() {
    assert_unknown_name("[Sever]\nDataDir = /x", "[Sever]", "[Sever]", "did you mean `[Server]`?");
}

#[test]
fn an_unknown_property_causes_a_warning_at_start_and_fails_the_check() {
    assert_unknown_name("[Server]\nDataDri = /x", "DataDri", "[Server] DataDri", "did you mean `DataDir`?");
}

#[test]
fn an_unknown_storage_class_causes_a_warning_at_start_and_fails_the_check() {
    assert_unknown_name(
        "[FileStorage \"pakages\"]\nLocation = /x",
        "[FileStorage",
        "[FileStorage \"pakages\"]",
        "did you mean `packages`?",
    );
}

fn assert_unknown_name(gcfg: &str, name: &str, setting: &str, nearest: &str) {
    let server = Builder::default().gcfg(gcfg).start();
    let position = server.position_of(name);
    let is_warning =
        |line: &String| line.contains("WARN") && line.contains(&position) && line.contains(nearest);
    assert!(server.log_lines().iter().any(is_warning), "{position}: {:?}", server.log_lines());
    let finding = server.failed_check(NAMES);
    assert!(
        finding.starts_with(&format!("{position}: {setting}: ")) && finding.ends_with(nearest),
        "{finding}"
    );
}

#[test]
fn a_wrong_boolean_is_refused() {
    assert_refused_at(SYNTAX, "[HTTPS]\nPermanent = maybe", "maybe", r#"[HTTPS] Permanent = "maybe""#, "");
}

#[test]
fn a_wrong_duration_is_refused() {
    assert_refused_at(
        SYNTAX,
        "[Database]\nConnectionTimeout = soon",
        "soon",
        r#"[Database] ConnectionTimeout = "soon""#,
        "",
    );
}

#[test]
fn a_wrong_choice_is_refused_with_the_nearest_choice() {
    let setting = r#"[Logging] SystemLogLevel = "DEBGU""#;
    assert_refused_at(SYNTAX, "[Logging]\nSystemLogLevel = DEBGU", "DEBGU", setting, "must be one of");
    let server = Builder::default().gcfg("[Logging]\nSystemLogLevel = DEBGU").prepare();
    assert!(server.start_refused().contains("did you mean DEBUG?"));
}

#[test]
fn a_wrong_schedule_is_refused() {
    assert_refused_at(
        SYNTAX,
        "[CRAN]\nSyncSchedule = daily",
        "daily",
        r#"[CRAN] SyncSchedule = "daily""#,
        "",
    );
}

#[test]
fn a_wrong_url_is_refused() {
    let setting = r#"[CRAN] URL = "ftp://x""#;
    assert_refused_at(
        SYNTAX,
        "[CRAN]\nURL = ftp://x",
        "ftp://x",
        setting,
        "must begin with https:// or http:// or file://",
    );
}

#[test]
fn a_wrong_listen_address_is_refused() {
    assert_refused_at(
        SYNTAX,
        "[HTTP]\nListen = 80",
        "80",
        r#"[HTTP] Listen = "80""#,
        "must have a colon before the port",
    );
}

#[test]
fn a_relative_path_is_refused() {
    assert_refused_at(
        PATHS,
        "[Server]\nDataDir = data",
        "data",
        r#"[Server] DataDir = "data""#,
        "must be an absolute path",
    );
}

#[test]
fn a_wrong_log_destination_is_refused() {
    assert_refused_at(
        SYNTAX,
        "[Logging]\nSystemLog = syslog",
        "syslog",
        r#"[Logging] SystemLog = "syslog""#,
        "",
    );
}

#[test]
fn a_server_address_that_is_no_url_is_refused() {
    for address_text in ["pm.example.org", "://", "https://", "https://u:p@h", "https://h/?q", "file:///x"] {
        let address = rstudio_pm::config::without_userinfo(address_text);
        let setting = format!("[Server] Address = \"{address}\"");
        assert_refused_at(SYNTAX, &format!("[Server]\nAddress = {address_text}"), address_text, &setting, "");
    }
}

#[test]
fn a_compression_level_of_0_or_10_is_refused() {
    for level in ["0", "10", "fast"] {
        let setting = format!("[Server] PackageRewriteCompressionLevel = \"{level}\"");
        let reason = if level == "fast" { "" } else { "must be between 1 and 9" };
        assert_refused_at(
            SYNTAX,
            &format!("[Server]\nPackageRewriteCompressionLevel = {level}"),
            level,
            &setting,
            reason,
        );
    }
}

#[test]
fn a_buffer_size_that_is_no_size_is_refused() {
    let setting = r#"[Server] PackageRewriteBufferSize = "x""#;
    assert_refused_at(
        SYNTAX,
        "[Server]\nPackageRewriteBufferSize = x",
        "x",
        setting,
        "is not a size; write for example 512",
    );
}

#[test]
fn a_temp_dir_inside_the_data_dir_is_refused() {
    let gcfg = "[Server]\nDataDir = /srv/d\nTempDir = /srv/d/tmp";
    assert_refused_at(
        PATHS,
        gcfg,
        "/srv/d/tmp",
        r#"[Server] TempDir = "/srv/d/tmp""#,
        "/srv/d/tmp must not be inside",
    );
}

#[test]
fn http_and_https_on_one_port_are_refused() {
    let gcfg = "[HTTP]\nListen = :4243\n[HTTPS]\nCertificate = /c\nKey = /k\nListen = :4243";
    let reason = "HTTP.Listen and HTTPS.Listen using same value";
    assert_refused_at(SETTINGS, gcfg, ":4243", r#"[HTTPS] Listen = ":4243""#, reason);
}

#[test]
fn https_without_certificate_is_refused() {
    let server = Builder::default().gcfg("[HTTPS]\nListen = 127.0.0.1:0\nKey = /k").prepare();
    let line = "[HTTPS] Certificate: must be set with HTTPS.Listen";
    assert!(server.start_refused().contains(line));
    assert!(server.failed_check(SETTINGS).starts_with(line));
}

#[test]
fn a_redirect_without_https_is_refused() {
    let gcfg = "[HTTPRedirect]\nListen = 127.0.0.1:8080";
    let setting = r#"[HTTPRedirect] Listen = "127.0.0.1:8080""#;
    assert_refused_at(
        SETTINGS,
        gcfg,
        "127.0.0.1:8080",
        setting,
        "needs HTTPS.Listen, the address to redirect to",
    );
}

#[test]
fn postgres_without_a_url_is_refused() {
    let server = Builder::default().gcfg("[Database]\nProvider = postgres").prepare();
    assert!(server.start_refused().contains("[Postgres] URL: must be set with Database.Provider = postgres"));
}

#[test]
fn all_errors_of_a_file_are_reported_together() {
    let server = Builder::default()
        .gcfg("[HTTP]\nListen = x\n[Server]\nContentTypeSniffing = x\nAddress = x")
        .prepare();
    let output = server.start_refused();
    for name in ["[HTTP] Listen", "[Server] ContentTypeSniffing", "[Server] Address"] {
        assert!(output.contains(name), "{output}");
    }
    assert_eq!(server.check_result(SYNTAX).1.len(), 3);
}

#[test]
fn a_secret_is_never_printed() {
    let gcfg = "[Database]\nProvider = postgres\n[Postgres]\nURL = mysql://u:hunter2@h/d\n[Proxy]\nURL = ftp://u:hunter2@h";
    let server = Builder::default().gcfg(gcfg).prepare();
    let (output, (_, check_output)) = (server.start_refused(), server.check_config());
    assert!(output.contains("***") && !output.contains("hunter2"), "{output}");
    assert!(check_output.contains("***") && !check_output.contains("hunter2"), "{check_output}");
}

#[test]
fn a_missing_file_is_reported_with_a_remedy() {
    let server = Builder::default().prepare();
    std::fs::remove_file(server.config_file()).expect("removed");
    let expected = format!("cannot read the configuration file {}: ", server.config_file().display());
    let output = server.start_refused();
    assert!(output.contains(&expected) && output.contains("create it"), "{output}");
    assert!(server.failed_check(SYNTAX).starts_with(&expected));
}

#[test]
fn an_unreadable_file_is_reported_with_a_remedy() {
    let server = Builder::default().prepare();
    let mut start = server.as_nobody(env!("CARGO_BIN_EXE_rstudio-pm"));
    let mut check = server.as_nobody(env!("CARGO_BIN_EXE_rstudio-pm"));
    std::fs::set_permissions(server.config_file(), std::fs::Permissions::from_mode(0o640)).expect("ours");
    let expected =
        format!("cannot read the configuration file {}: Permission denied", server.config_file().display());
    let output = run_to_end(&mut start);
    assert!(output.code == Some(1) && output.err.contains(&expected), "{output:?}");
    assert!(output.err.contains("run as that user, as root, or as a member of its group"), "{output:?}");
    let owner = "it belongs to user root with mode 0640: ";
    assert!(output.err.contains(owner) && output.err.contains("fix it with: chown nobody '"), "{output:?}");
    let output = run_to_end(check.arg("--check-config"));
    assert!(output.code == Some(1) && output.out.contains(&expected), "{output:?}");
}

#[test]
fn the_check_has_six_results_and_creates_nothing() {
    let server = Builder::default().gcfg("[CRAN]\nURL = https://cran.invalid").prepare();
    let tree_before = tree(server.dir());
    let (code, text) = server.check_config();
    let lines: Vec<&str> = text.lines().collect();
    let expected = [
        "[PASS] Configuration file syntax",
        "[PASS] Unknown sections and properties",
        "[PASS] File paths and storage",
        "[PASS] Listeners and start settings",
        "[PASS] Database",
        "[INFO] License: none needed",
    ];
    assert_eq!((code, &lines[..6]), (0, &expected[..]), "{text}");
    assert_eq!(lines[6..], [format!("{}: no check failed", server.config_file().display())]);
    assert_eq!(tree(server.dir()), tree_before);
}

#[test]
fn the_check_of_a_stopped_server_changes_nothing() {
    let mut server = Builder::default().gcfg("[CRAN]\nURL = https://cran.invalid").start();
    server.repository("r", "cran");
    server.stop();
    let tree_before = tree(server.dir());
    let (code, text) = server.check_config();
    assert_eq!(code, 0, "{text}");
    assert_eq!(tree(server.dir()), tree_before);
}
