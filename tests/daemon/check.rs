//! `rstudio-pm --check-config`: six checks, nothing created, an exit code scripts can use.

use std::process::Command;

use crate::support::server::{Builder, Server};

fn check(server: &Server, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rstudio-pm"))
        .arg("--check-config")
        .arg("--config")
        .arg(server.config_file())
        .args(more)
        .output()
        .expect("rstudio-pm runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_good_configuration_passes_and_nothing_is_created() {
    let server = Builder::default().prepare();
    let (code, text) = check(&server, &[]);
    assert_eq!(code, Some(0), "{text}");
    let passed = text.lines().filter(|line| line.starts_with("[PASS]")).count();
    assert_eq!(passed, 5, "{text}");
    assert!(text.contains("[INFO] Licence: none needed"), "{text}");
    for name in ["data", "run", "access.log"] {
        assert!(!server.dir().join(name).exists(), "{name} was created");
    }
}

#[test]
fn each_fault_fails_its_own_check() {
    let cases = [
        ("[Sever]\nX = 1", "[FAIL] Unknown sections and properties"),
        ("[HTTP]\nListen = x", "[FAIL] Configuration file syntax"),
        ("[Server]\nDataDir = {dir}/rstudio-pm.gcfg/data", "[FAIL] File paths and storage"),
        ("[Server]\nAccessLog = {dir}", "[FAIL] File paths and storage"),
        ("[HTTP]\nListen = 192.0.2.1:4242", "[FAIL] Listeners and start settings"),
        (
            "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/x\nKey = {dir}/y",
            "[FAIL] Listeners and start settings",
        ),
        ("[FileStorage \"cran\"]\nLocation = {dir}/rstudio-pm.gcfg/cran", "[FAIL] File paths and storage"),
    ];
    for (gcfg, expected) in cases {
        let (code, text) = check(&Builder::default().gcfg(gcfg).prepare(), &[]);
        assert_eq!(code, Some(1), "{gcfg}\n{text}");
        assert!(text.contains(expected), "{gcfg}\n{text}");
    }
    let server = Builder::default().gcfg("[SQLite]\nDir = {dir}/db").prepare();
    std::fs::create_dir(server.dir().join("db")).expect("a directory");
    for name in ["rstudio-pm.sqlite", "rstudio-pm.db", "rspm.db"] {
        std::fs::write(server.dir().join("db").join(name), "not a database".repeat(100)).expect("written");
    }
    let (code, text) = check(&server, &[]);
    assert!(code == Some(1) && text.contains("[FAIL] Database"), "{text}");
}

#[test]
fn json_says_the_same() {
    let server = Builder::default().gcfg("[Sever]\nX = 1").prepare();
    let (code, text) = check(&server, &["--output-format", "json"]);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["passed"], false);
    assert_eq!(json["checks"][0]["result"], "pass");
    assert_eq!(json["checks"][1]["result"], "fail");
    assert!(json["checks"][1]["findings"][0].as_str().is_some_and(|text| text.contains("Sever")), "{json}");
}

#[test]
fn the_port_of_the_running_server_is_no_fault() {
    let server = Server::start();
    let port = server.host().to_owned();
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    std::fs::write(server.config_file(), gcfg.replace("127.0.0.1:0", &port)).expect("written");
    let (code, text) = check(&server, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("in use, by rstudio-pm"), "{text}");
    assert_eq!(server.get("/__ping__").status, 200);
}
