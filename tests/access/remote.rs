//! `rspm` on another machine: over HTTP and HTTPS with a token.

use super::{bearer, get, token};
use crate::support::http;
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
    let text = run("verify");
    assert!(text.contains("User: ops") && text.contains("Scopes: global:admin"), "{text}");
    run("create repo --name=prod --authenticated");
    run("create source --name=team");
    run("subscribe --repo=prod --source=team");
    let writer = run("create token --scope=sources:write --sources=team --description=ci --quiet");
    let package = Tarball::new("alpha", "1.0").with("inst/data", &"x".repeat(3_000_000));
    std::fs::write(server.dir().join(package.file()), package.bytes()).expect("a writable directory");
    let add = format!("add --source=team --path={}", package.file());
    let ci = |line: &str| remote(&server, &address, writer.trim(), line);
    let output = ci(&add);
    assert_eq!(
        (output.code, output.out.as_str()),
        (0, "Added package 'alpha_1.0.tar.gz'.\n"),
        "{}",
        output.err
    );
    assert_eq!(ci("list packages --source=team").code, 0);
    assert!(ci("list sources").out.contains("team"));
    // Commands that the token does not permit.
    for (line, words) in [
        ("create repo --name=mine", "lacks the scope global:admin"),
        ("create source --name=mine", "lacks the scope sources:write for all sources"),
        ("list packages --repo=prod", "lacks the scope repos:read for the repository 'prod'"),
        ("delete source --name=cran", "lacks the scope sources:write for the source 'cran'"),
        ("list tokens", "lacks the scope global:admin"),
        ("offline", "only on the server's machine"),
        ("status", "lacks the scope global:admin"),
    ] {
        let output = ci(line);
        assert_eq!((output.code, output.out.as_str()), (1, ""), "{line}");
        assert!(output.err.contains(words), "{line}: {}", output.err);
    }
    // Commands that an administrator may run from another machine, then those that work only on the server.
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
        let output = remote(&server, &address, &admin, line);
        assert_eq!(output.code, 1, "{line}");
        assert!(output.err.contains("only on the server's machine"), "{line}: {}", output.err);
    }
    let info = server.rspm_stdout("info --source=team -o json");
    assert!(info.contains("alpha") || info.contains("\"packages\": 1"), "{info}");
}

#[test]
fn connection_errors_have_an_exit_code_and_a_message() {
    let server = Server::start();
    let admin = token(&server, "--scope=global:admin");
    let bad_token_output = remote(&server, &server.url(""), "rspm_wrong", "list");
    assert_eq!(bad_token_output.code, 1);
    assert!(bad_token_output.err.contains("is not valid"), "{}", bad_token_output.err);
    let closed_port_output = remote(&server, "http://127.0.0.1:1", &admin, "list");
    assert_eq!(closed_port_output.code, 3);
    assert!(closed_port_output.err.contains("cannot be reached"), "{}", closed_port_output.err);
    for address in ["ftp://host", "http://", "http://h/?x=y"] {
        let output = remote(&server, address, &admin, "list");
        assert_eq!(output.code, 2, "{address}: {}", output.err);
    }
    let malformed_token_output = remote(&server, &server.url(""), "a\u{7f}b", "list");
    assert!(
        malformed_token_output.code == 1 && malformed_token_output.err.contains("is not a token"),
        "{}",
        malformed_token_output.err
    );
    for output in [bad_token_output, closed_port_output, malformed_token_output] {
        assert!(!output.err.contains(&admin), "{}", output.err);
    }
}

#[test]
fn a_certificate_is_verified_unless_a_flag_disables_it() {
    let lines = "[HTTPS]\nListen = 127.0.0.1:0\nCertificate = {dir}/server.crt\nKey = {dir}/server.key";
    let mut server = Builder::default().gcfg(lines).prepare();
    tls::Pair::new().write(server.dir());
    server.launch();
    let admin = token(&server, "--scope=global:admin");
    let address = server.urls()[1].clone();
    let output = remote(&server, &address, &admin, "verify");
    assert_eq!(output.code, 3, "{}", output.err);
    let output = remote(&server, &address, &admin, "verify --insecure-ssl-skip-verify");
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.err.contains("the certificate of the server is not verified"), "{}", output.err);
}

#[test]
fn the_program_is_downloaded_with_any_token() {
    let server = Server::start();
    let reader = bearer(&token(&server, "--scope=repos:read --repos=*"));
    let download = |os: &str| get(&server, &format!("/__api__/download{os}"), Some(&reader));
    assert!(download("").body == download("?os=linux").body, "the default");
    let answer = download("?os=linux");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"rspm\""));
    assert_eq!(answer.header("cache-control").map(|value| value.contains("no-store")), Some(true));
    let own_program = std::fs::read(env!("CARGO_BIN_EXE_rspm")).expect("the program");
    assert!(answer.body == own_program, "{} of {} bytes", answer.body.len(), own_program.len());
    assert_eq!(get(&server, "/__api__/download?os=linux", None).status, 401);
    for (os, status, words) in [
        ("?os=darwin", 404, "rspm-darwin to the directory programs"),
        ("?os=windows", 404, "rspm-windows.exe"),
        ("?os=beos", 400, "linux, darwin or windows"),
        ("?os=../../etc/passwd", 400, "linux, darwin or windows"),
        ("?os=", 400, "linux, darwin or windows"),
    ] {
        let answer = download(os);
        assert_eq!(answer.status, status, "{os}");
        assert!(answer.text().contains(words), "{os}: {}", answer.text());
    }
    let programs = server.dir().join("data/programs");
    std::fs::create_dir_all(&programs).expect("a writable directory");
    std::fs::write(programs.join("rspm-windows.exe"), "MZ").expect("written");
    let answer = download("?os=windows");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"MZ".as_slice()));
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"rspm.exe\""));
}

#[test]
fn a_program_of_another_version_is_refused_with_the_address_of_the_right_one() {
    let server = Server::start();
    let admin = bearer(&token(&server, "--scope=global:admin"));
    let verify = |version: &str| {
        let fields = [("Authorization", admin.as_str()), ("X-RSPM-Version", version)];
        http::request("GET", &server.url("/__api__/admin/v1/verify"), &fields, b"")
    };
    let own_version = env!("CARGO_PKG_VERSION");
    let (release, _) = own_version.rsplit_once('.').expect("three numbers");
    for version in [own_version, &format!("{release}.999"), "", "x", "1", "-1.2.3"] {
        assert_eq!(verify(version).status, 200, "'{version}'");
    }
    let answer = verify("97.98.99");
    assert_eq!(answer.status, 409, "{}", answer.text());
    let words = ["rspm 97.98", own_version, "/__api__/download?os=linux"];
    assert!(words.iter().all(|word| answer.text().contains(word)), "{}", answer.text());
}
