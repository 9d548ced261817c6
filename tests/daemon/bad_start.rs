//! Errors that prevent a start (ports, certificates, directories): each names the remedy, and `rspm check-config`
//! reports the same.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::process::run_to_end;
use crate::support::server::{Builder, Server};
use crate::support::tls::Pair;

const DAEMON: &str = env!("CARGO_BIN_EXE_rstudio-pm");
const SETTINGS: &str = "Listeners and start settings";
const HTTPS: &str = "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/server.crt\nKey = {dir}/server.key";

/// Asserts that the start prints `Error: ` and `text`, and that the check prints `text` after the position of `value`.
fn assert_refused(server: &Server, title: &str, value: &str, text: &str) {
    let output = server.start_refused();
    assert!(output.contains(&format!("Error: {text}")), "{text}\n{output}");
    let expected = format!("{}: {text}", server.position_of(value));
    let finding = server.failed_check(title);
    assert!(finding.starts_with(&expected), "{expected}\n{finding}");
}

#[test]
fn a_port_in_use_is_reported_with_the_remedy() {
    let occupied_port = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = occupied_port.local_addr().expect("an address").to_string();
    let server = Builder::default().gcfg(&format!("[HTTP]\nListen = {address}")).prepare();
    let text =
        format!("Could not initialize the HTTP listener: listen tcp {address}: bind: address already in use");
    assert_refused(&server, SETTINGS, &address, &text);
    assert!(server.start_refused().contains("'ss -ltnp sport = :"));
}

#[test]
fn a_privileged_port_gets_the_documented_error_and_three_remedies() {
    let server = Builder::default().gcfg("[HTTP]\nListen = :80").prepare();
    let daemon = server.as_nobody(DAEMON);
    // In its own network namespace the port is free, and privileged regardless of the settings of this machine.
    let mut command = Command::new("unshare");
    command.arg("--net").arg(daemon.get_program()).args(daemon.get_args());
    let data = server.dir().join("data");
    std::fs::create_dir_all(server.dir().join("run")).expect("a directory");
    std::fs::create_dir(&data).expect("a directory");
    for dir in [data, server.dir().join("run")] {
        std::os::unix::fs::chown(dir, Some(65_534), Some(65_534)).expect("root can change the owner");
    }
    let output = run_to_end(&mut command);
    let documented =
        "Error: Could not initialize the HTTP listener: listen tcp :80: bind: permission denied\n";
    assert!(output.code == Some(1) && output.err.contains(documented), "{output:?}");
    for remedy in ["systemd", "setcap 'cap_net_bind_service=+ep'", "a port from 1024 up"] {
        assert!(output.err.contains(remedy), "{remedy}: {}", output.err);
    }
    // For an ordinary user the check gives only a remark: the server may have the privilege.
    let output = run_to_end(command.arg("--check-config"));
    assert!(output.out.contains("[INFO] Listeners and start settings"), "{output:?}");
    assert!(output.out.contains("listen tcp :80: bind: permission denied. Ports below 1024"), "{output:?}");
}

#[test]
fn an_address_of_another_machine_is_refused() {
    let server = Builder::default().gcfg("[HTTP]\nListen = 192.0.2.1:4242").prepare();
    let text =
        "Could not initialize the HTTP listener: listen tcp 192.0.2.1:4242: bind: cannot assign requested";
    assert_refused(&server, SETTINGS, "192.0.2.1:4242", text);
}

/// Prepares a server with HTTPS and these texts as its certificate and key; an empty text stands for a missing file.
fn tls(certificate: &str, key: &str) -> Server {
    let server = Builder::default().gcfg(HTTPS).prepare();
    for (name, text) in [("server.crt", certificate), ("server.key", key)] {
        if !text.is_empty() {
            std::fs::write(server.dir().join(name), text).expect("written");
        }
    }
    server
}

fn assert_tls_refused(server: &Server, file: &str, text: &str) {
    let path = server.dir().join(file).display().to_string();
    let output = server.start_refused();
    assert!(output.contains("Error: Could not initialize the HTTPS listener: "), "{output}");
    let text = text.replace("PATH", &path);
    assert!(output.contains(&text), "{text}\n{output}");
    let finding = server.failed_check(SETTINGS);
    assert!(finding.starts_with(&format!("{}: ", server.position_of(&path))), "{finding}");
    assert!(finding.contains(&text), "{text}\n{finding}");
}

#[test]
fn a_missing_certificate_is_named() {
    assert_tls_refused(
        &tls("", &Pair::new().key),
        "server.crt",
        "HTTPS.Certificate 'PATH': cannot be read: No such file",
    );
}

#[test]
fn a_missing_key_is_named() {
    assert_tls_refused(
        &tls(&Pair::new().certificate, ""),
        "server.key",
        "HTTPS.Key 'PATH': cannot be read: No such file",
    );
}

#[test]
fn a_key_of_another_certificate_is_named() {
    let server = tls(&Pair::new().certificate, &Pair::new().key);
    assert_tls_refused(&server, "server.key", "HTTPS.Key 'PATH' does not belong to the first certificate in");
}

#[test]
fn an_expired_certificate_is_named() {
    let pair = Pair::expired();
    assert_tls_refused(
        &tls(&pair.certificate, &pair.key),
        "server.crt",
        "HTTPS.Certificate 'PATH' has expired",
    );
}

#[test]
fn files_that_are_not_pem_are_named() {
    let pair = Pair::new();
    assert_tls_refused(
        &tls("hello", &pair.key),
        "server.crt",
        "HTTPS.Certificate 'PATH': contains no '-----BEGIN CERT",
    );
    assert_tls_refused(
        &tls(&pair.certificate, "hello"),
        "server.key",
        "HTTPS.Key 'PATH': contains no PEM private key",
    );
}

#[test]
fn a_data_dir_that_the_user_cannot_create_is_reported_with_the_command() {
    let server = Builder::default().prepare();
    let output = run_to_end(&mut server.as_nobody(DAEMON));
    let data = server.dir().join("data").display().to_string();
    assert_eq!(output.code, Some(1), "{output:?}");
    let expected = format!("Error: Server.DataDir '{data}' cannot be created: Permission denied");
    assert!(output.err.contains(&expected), "{output:?}");
    assert!(output.err.contains(&format!("install -d -o nobody -m 0700 '{data}'")), "{output:?}");

    let output = run_to_end(server.as_nobody(DAEMON).arg("--check-config"));
    let line = format!(
        "{}: Server.DataDir '{data}' does not exist, and user nobody cannot create it",
        server.position_of(&data)
    );
    assert!(output.code == Some(1) && output.out.contains(&line), "{output:?}");
    assert!(
        output.out.contains(&format!("fix it with: install -d -o nobody -m 0700 '{data}'")),
        "{output:?}"
    );
    // Not repeated for each storage class below it.
    assert!(!output.out.contains("storage class"), "{output:?}");
}

#[test]
fn a_data_dir_of_another_user_is_reported_with_the_command() {
    let server = Builder::default().prepare();
    let data = server.dir().join("data");
    let mut start = server.as_nobody(DAEMON);
    for dir in [data.clone(), server.dir().join("run")] {
        std::fs::create_dir(&dir).expect("a directory");
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).expect("our own file");
    }
    std::os::unix::fs::chown(server.dir().join("run"), Some(65_534), None)
        .expect("root can change the owner");
    let output = run_to_end(&mut start);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.err.contains("as user nobody: ") && output.err.contains("fix it with: "), "{output:?}");
    let output = run_to_end(start.arg("--check-config"));
    let line = format!("Server.DataDir '{}' cannot be written by user nobody: ", data.display());
    assert!(output.code == Some(1) && output.out.contains(&line), "{output:?}");
    assert!(output.out.contains(&format!("fix it with: chown nobody '{}'", data.display())), "{output:?}");
}

#[test]
fn a_directory_that_is_no_mirror_is_reported_by_the_sync_and_does_not_prevent_the_start() {
    let server = Server::start();
    let dir = server.dir().join("no-mirror");
    server.wait_for_log(&format!(
        "Configured to serve CRAN/Bioconductor data from a directory. Checking path '{}'.",
        dir.display()
    ));
    let output = server.sync().expect_err("there is nothing");
    assert!(
        output.contains(&dir.display().to_string()) && output.contains("there is no such directory"),
        "{output}"
    );
    std::fs::create_dir(&dir).expect("a directory");
    let output = server.sync().expect_err("there is nothing");
    assert!(output.contains("is an empty directory; it may not be mounted"), "{output}");
    std::fs::write(dir.join("readme.txt"), "").expect("a file");
    let output = server.sync().expect_err("there is no mirror");
    for file in ["PACKAGES.gz", "PACKAGES.rds", "src/contrib/PACKAGES", "v3/version.txt"] {
        assert!(output.contains(file), "{output}");
    }
    assert_eq!(server.get("/__ping__").status, 200);
}
