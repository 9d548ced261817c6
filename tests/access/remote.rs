//! `rspm` on another machine: over HTTP and HTTPS with a token.

use super::token;
use crate::support::rspm::RspmOutput;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;
use crate::support::tls;

/// Runs `rspm` without the configuration of the server.
fn remote(server: &Server, address: &str, token: &str, line: &str) -> RspmOutput {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rspm"));
    command.args(line.split(' ').map(|word| word.replace('~', " ")));
    command.env("PACKAGEMANAGER_ADDRESS", address).env("PACKAGEMANAGER_TOKEN", token);
    command.env("NO_PROXY", "*").current_dir(server.dir());
    command.output().expect("rspm runs").into()
}

#[test]
fn a_team_publishes_from_another_machine() {
    let server = Server::start();
    let (admin, address) = (token(&server, "--scope=global:admin --user=ops"), server.url(""));
    let run = |line: &str| {
        let output = remote(&server, &address, &admin, line);
        assert_eq!((output.code, output.err.as_str()), (0, ""), "{line}: {}", output.out);
        output.out
    };
    let verified = run("verify");
    assert!(verified.contains("User: ops") && verified.contains("Scopes: global:admin"), "{verified}");
    run("create repo --name=prod --authenticated");
    run("create source --name=team");
    run("subscribe --repo=prod --source=team");
    let writer = run("create token --scope=sources:write --sources=team --description=ci --quiet");
    let package = Tarball::new("alpha", "1.0").with("inst/data", &"x".repeat(3_000_000));
    std::fs::write(server.dir().join(package.file()), package.bytes()).expect("a writable directory");
    let add = format!("add --source=team --path={}", package.file());
    let ci = |line: &str| remote(&server, &address, writer.trim(), line);
    let added = ci(&add);
    assert_eq!((added.code, added.out.as_str()), (0, "Added package 'alpha_1.0.tar.gz'.\n"), "{}", added.err);
    assert_eq!(ci("list packages --source=team").code, 0);
    assert!(ci("list sources").out.contains("team"));
    // Operations that the token does not permit.
    for (line, words) in [
        ("create repo --name=mine", "lacks the scope global:admin"),
        ("create source --name=mine", "lacks the scope sources:write for all sources"),
        ("list packages --repo=prod", "lacks the scope repos:read for the repository 'prod'"),
        ("delete source --name=cran", "lacks the scope sources:write for the source 'cran'"),
        ("list tokens", "lacks the scope global:admin"),
        ("offline", "only on the server's machine"),
        ("status", "lacks the scope global:admin"),
    ] {
        let refused = ci(line);
        assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{line}");
        assert!(refused.err.contains(words), "{line}: {}", refused.err);
    }
    // An administrator may use these from another machine; the ones below only on the server.
    for line in [
        "list",
        "status",
        "list tokens",
        "hup",
        "info --source=team",
        "storage list",
        "sync --type=sysreqs --no-wait",
    ] {
        assert_eq!(remote(&server, &address, &admin, line).code, 0, "{line}");
    }
    for line in ["offline", "online", "cluster nodes", "cluster offline --nodes=*"] {
        let refused = remote(&server, &address, &admin, line);
        assert_eq!(refused.code, 1, "{line}");
        assert!(refused.err.contains("only on the server's machine"), "{line}: {}", refused.err);
    }
    let log = server.rspm_stdout("info --source=team -o json");
    assert!(log.contains("alpha") || log.contains("\"packages\": 1"), "{log}");
}

#[test]
fn connection_errors_have_an_exit_code_and_a_message() {
    let server = Server::start();
    let admin = token(&server, "--scope=global:admin");
    let wrong = remote(&server, &server.url(""), "rspm_wrong", "list");
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("is not valid"), "{}", wrong.err);
    let closed = remote(&server, "http://127.0.0.1:1", &admin, "list");
    assert_eq!(closed.code, 3);
    assert!(closed.err.contains("cannot be reached"), "{}", closed.err);
    for address in ["ftp://host", "http://", "http://h/?x=y"] {
        let bad = remote(&server, address, &admin, "list");
        assert_eq!(bad.code, 2, "{address}: {}", bad.err);
    }
    let malformed = remote(&server, &server.url(""), "a\u{7f}b", "list");
    assert!(malformed.code == 1 && malformed.err.contains("is not a token"), "{}", malformed.err);
    for output in [wrong, closed, malformed] {
        assert!(!output.err.contains(&admin), "{}", output.err);
    }
}

#[test]
fn a_certificate_is_verified_unless_verification_is_disabled() {
    let lines = "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/server.crt\nKey = {dir}/server.key";
    let mut server = Builder::default().gcfg(lines).prepare();
    tls::Pair::new().write(server.dir());
    server.launch();
    let admin = token(&server, "--scope=global:admin");
    let address = server.urls()[1].clone();
    let refused = remote(&server, &address, &admin, "verify");
    assert_eq!(refused.code, 3, "{}", refused.err);
    let skipped = remote(&server, &address, &admin, "verify --insecure-ssl-skip-verify");
    assert_eq!(skipped.code, 0, "{}", skipped.err);
    assert!(skipped.err.contains("the certificate of the server is not verified"), "{}", skipped.err);
}
