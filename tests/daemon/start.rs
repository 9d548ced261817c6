//! Effects and messages of a start, and errors that prevent it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::http;
use crate::support::server::{Builder, Server};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).permissions().mode() & 0o777
}

/// Runs a prepared server that is expected not to start.
fn failed_start(server: &Server) -> Output {
    let output =
        Command::new(env!("CARGO_BIN_EXE_rstudio-pm")).arg("--config").arg(server.config_file()).output();
    let output = output.expect("rstudio-pm runs");
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_empty_directory_becomes_a_server_that_answers() {
    let mut server = Server::start();
    let ping = server.get("/__ping__");
    assert_eq!((ping.status, ping.text().as_str()), (200, "{}"));
    assert_eq!(ping.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(ping.header("x-repository-type"), Some("RSPM"));
    let home = server.get("/");
    assert_eq!(home.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(home.text().contains("rspm create repo"), "{}", home.text());

    assert_eq!(mode(&server.admin_socket()), 0o660);
    assert_eq!(mode(&server.dir().join("data")), 0o700);
    let pid_file = server.dir().join("run/rstudio-pm.pid");
    let pid = std::fs::read_to_string(&pid_file).expect("a PID file");
    assert_eq!(pid.trim(), server.pid().to_string());

    assert_eq!(server.stop().code(), Some(0));
    assert!(!pid_file.exists() && !server.admin_socket().exists(), "no file is left");
    server.launch();
    assert_eq!(server.get("/__ping__").status, 200, "it starts again on its own files");
}

#[test]
fn the_log_has_the_port_and_the_mirror_directory() {
    let server = Server::start();
    let log = server.log_lines().join("\n");
    assert!(log.contains(&format!("Listening on {}", server.url(""))), "{log}");
    let path = server.dir().join("no-mirror");
    let line = format!(
        "Configured to serve CRAN/Bioconductor data from a directory. Checking path '{}'.",
        path.display()
    );
    assert!(log.contains(&line), "{log}");
}

#[test]
fn unknown_names_cause_a_warning_and_do_not_prevent_the_start() {
    let server = Builder::default().gcfg("[Sever]\nAdress = x").start();
    let log = server.log_lines().join("\n");
    assert!(log.contains("Sever") && log.contains("WARN"), "{log}");
}

#[test]
fn a_port_in_use_is_reported() {
    let first = Server::start();
    let second = Builder::default().gcfg(&format!("[HTTP]\nListen = {}", first.host())).prepare();
    let text = errors(&failed_start(&second));
    let expected = format!(
        "Error: Could not initialize the HTTP listener: listen tcp {}: bind: address already in use",
        first.host()
    );
    assert!(text.contains(&expected), "{text}");
}

#[test]
fn a_second_daemon_on_the_same_directories_is_refused() {
    let first = Server::start();
    let text = errors(&failed_start(&first));
    assert!(text.contains("another rstudio-pm"), "{text}");
    assert_eq!(first.get("/__ping__").status, 200, "the first server is not affected");
}

#[test]
fn a_bad_configuration_ends_the_start_and_is_reported_with_its_file() {
    let server = Builder::default().gcfg("[HTTP]\nListen = nowhere").prepare();
    let text = errors(&failed_start(&server));
    assert!(text.contains("Unable to initialize the configuration"), "{text}");
    assert!(text.contains("rstudio-pm.gcfg:") && text.contains("nowhere"), "{text}");
}

#[test]
fn an_unusable_database_ends_the_start_and_is_reported() {
    let server = Builder::default().gcfg("[SQLite]\nDir = {dir}/db").prepare();
    std::fs::create_dir(server.dir().join("db")).expect("a directory");
    std::fs::write(server.dir().join("db/rstudio-pm.db"), "not a database").expect("written");
    let text = errors(&failed_start(&server));
    assert!(text.contains("Unable to connect to the database") && text.contains("/db"), "{text}");
}

#[test]
fn wrong_usage_has_its_own_exit_code_and_the_version_is_one_line() {
    let run =
        |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_rstudio-pm")).args(args).output().expect("it runs");
    assert_eq!(run(&["--nonsense"]).status.code(), Some(2));
    let version = run(&["--version"]);
    assert_eq!(version.status.code(), Some(0));
    let expected = format!("rstudio-pm {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8_lossy(&version.stdout), expected);
}

#[test]
fn a_prefix_of_the_address_works_with_and_without_a_proxy_that_removes_it() {
    let server = Builder::default().gcfg("[Server]\nAddress = https://pm.example.org/rspm").start();
    assert_eq!(server.get("/rspm/__ping__").status, 200);
    assert_eq!(server.get("/__ping__").status, 200);
    assert_eq!(server.get("/rspm").status, 200);
    assert_eq!(server.get("/rspmx/__ping__").status, 404);
}

#[test]
fn every_answer_has_the_common_headers() {
    let server = Server::start();
    for (path, status) in [("/", 200), ("/__ping__", 200), ("/nothing/latest/x", 404), ("/%00", 400)] {
        let answer = server.get(path);
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("x-repository-type"), Some("RSPM"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        let name = format!("rstudio-pm/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(answer.header("server"), Some(name.as_str()), "{path}");
        assert_eq!(answer.header("request-id").map(str::len), Some(36), "{path}");
        assert_eq!(answer.header("strict-transport-security"), None, "never over plain HTTP: {path}");
        assert!(answer.header("date").is_some(), "{path}");
    }
    let by_file = Builder::default().gcfg("[Server]\nContentTypeSniffing = true");
    let by_environment = Builder::default().env("PACKAGEMANAGER_SERVER_CONTENTTYPESNIFFING", "true");
    for sniffing in [by_file, by_environment] {
        let server = sniffing.start();
        assert_eq!(server.get("/__ping__").header("x-content-type-options"), None);
        assert_eq!(server.get("/").header("x-content-type-options"), Some("nosniff"), "pages always have it");
    }
}

#[test]
fn the_admin_api_requires_a_token_on_the_network_and_may_be_switched_off_there() {
    let server = Server::start();
    let response = server.get("/__api__/admin/v1/repos");
    assert_eq!(response.status, 401);
    assert_eq!(response.json()["code"], 9);
    let over_tcp = http::request("POST", &server.url("/__api__/admin/v1/repos"), &[], b"{}");
    assert_eq!(over_tcp.status, 401);
    let other_spelling = server.get("//__api__/admin/v1/repos");
    assert!([401, 404].contains(&other_spelling.status), "{}", other_spelling.status);
    let closed_server = Builder::default().gcfg("[Authentication]\nAPITokenAuth = false").start();
    let response = closed_server.get("/__api__/admin/v1/repos");
    assert_eq!((response.status, &response.json()["code"]), (404, &serde_json::json!(4)));
    assert_eq!(http::request("POST", &closed_server.url("/__api__/admin/v1/repos"), &[], b"{}").status, 404);
    let ping = http::admin(&server.admin_socket(), "GET", "/__ping__", b"");
    assert_eq!(ping.status, 200, "the admin socket also serves the public paths");
}

#[test]
fn status_has_all_fields_that_clients_read() {
    let server = Server::start();
    let answer = server.get("/__api__/status");
    assert_eq!(answer.header("cache-control"), Some("no-cache, no-store, must-revalidate"));
    let status = answer.json();
    for field in ["version", "build_date", "cran_repo", "custom_home_title", "ga_id"] {
        assert!(status[field].is_string(), "{field}: {status}");
    }
    // The first commit is from 2026; outside a repository the date is unknown.
    let date = status["build_date"].as_str().expect("text");
    let is_unknown = !std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists();
    assert!((is_unknown || date > "2026") && date.ends_with('Z') && date.len() == 20, "{date}");
    for field in [
        "metrics_enabled",
        "r_configured",
        "python_configured",
        "binaries_enabled",
        "display_ash",
        "custom_home",
        "auth_available",
        "auth_enabled",
        "repos_require_auth",
        "sso_enabled",
        "public_p3m",
    ] {
        assert!(status[field].is_boolean(), "{field}: {status}");
    }
    for field in ["distros", "r_versions", "bioc_versions"] {
        assert!(status[field].is_array(), "{field}: {status}");
    }
    for row in status["distros"].as_array().expect("an array") {
        for field in ["name", "os", "binaryURL", "binaryDisplay", "display", "distribution", "release"] {
            assert!(row[field].is_string(), "{field}: {row}");
        }
        for field in ["sysReqs", "binaries", "hidden", "official_rspm"] {
            assert!(row[field].is_boolean(), "{field}: {row}");
        }
        assert!(row["arch"].is_array(), "{row}");
    }
    assert_eq!(status["support_window"]["days_left"], 9999);
}

#[test]
fn status_states_which_authentication_the_server_has() {
    let fields = |server: &Server| {
        let status = server.get("/__api__/status").json();
        let names =
            ["auth_available", "auth_enabled", "repos_require_auth", "sso_enabled", "python_configured"];
        names.map(|name| status[name].as_bool().expect(name))
    };
    let server = Builder::default().gcfg("[Authentication]\nAPITokenAuth = false").start();
    assert_eq!(fields(&server), [false; 5]);
    server.rspm_stdout("create repo --name=closed --authenticated");
    assert_eq!(fields(&server), [true, true, true, false, false]);
    assert_eq!(server.rspm("edit repo --name=closed --authenticated=false").code, 0);
    assert_eq!(fields(&server), [false; 5]);
    server.rspm_stdout("create repo --name=snakes --type=python");
    assert_eq!(fields(&server), [false, false, false, false, true]);
    server.rspm_stdout("edit repo --name=snakes --hide");
    assert_eq!(fields(&server), [false; 5]);
    server.hup_applies(
        "[Authentication]\nAPITokenAuth = true",
        &["Authentication.APITokenAuth is 'true' now, was 'false'"],
    );
    assert_eq!(fields(&server), [true, true, false, false, false]);
    let signing_in = Builder::default()
        .gcfg(
            "[Server]\nAddress = http://127.0.0.1\n[OpenIDConnect]\nIssuer = http://127.0.0.1:9\nClientId = packages\n\
             ClientSecret = secret\nScope = repos:read:*",
        )
        .start();
    assert_eq!(fields(&signing_in), [true, true, false, true, false]);
}
