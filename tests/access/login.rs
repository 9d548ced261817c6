//! `rspm login`, `login sso` and `logout`: tokens in a file of the user.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use super::token;
use crate::support::rspm::RspmOutput;
use crate::support::server::Server;

/// Runs `rspm` as a user with this home directory, without the configuration of a server.
fn rspm(home: &Path, address: &str, line: &str, input: &str, variables: &[(&str, &str)]) -> RspmOutput {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspm"));
    command.args(line.split(' ')).current_dir(home).env("HOME", home).env("NO_PROXY", "*");
    command.env("PACKAGEMANAGER_ADDRESS", address).envs(variables.iter().copied());
    for variable in
        ["PACKAGEMANAGER_TOKEN", "PACKAGEMANAGER_SSO_TOKEN_FILE", "PACKAGEMANAGER_IDENTITY_TOKEN_FILE"]
    {
        if !variables.iter().any(|(name, _)| *name == variable) {
            command.env_remove(variable);
        }
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rspm runs");
    // A program that does not read its input closes it.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("rspm ends").into()
}

fn file(home: &Path) -> PathBuf {
    home.join(".ppm").join("tokens.toml")
}

#[test]
fn a_token_is_checked_and_stored_for_later_commands() {
    let server = Server::start();
    let (home, address) = (tempfile::tempdir().expect("a directory"), server.url(""));
    let home = home.path();
    let admin = token(&server, "--scope=global:admin --user=ops");
    let refused = rspm(home, &address, "login --token-stdin", "rspm_wrong\n", &[]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(!file(home).exists(), "a token that the server refuses is not stored");
    let output = rspm(home, &address, "login --token-stdin", &format!("{admin}\n"), &[]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.out.contains("Signed in to") && output.out.contains("as ops"), "{}", output.out);
    assert!(!output.out.contains(&admin) && !output.err.contains(&admin));
    let text = std::fs::read_to_string(file(home)).expect("the file");
    let expected = format!(
        "[[connections]]\naddress = \"{}\"\ntoken = \"{admin}\"\nauth_type = \"token\"\n",
        address.trim_end_matches('/')
    );
    assert_eq!(text, expected);
    let mode = std::fs::metadata(file(home)).expect("the file").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let verification = rspm(home, &address, "verify", "", &[]);
    assert!(verification.code == 0 && verification.out.contains("User: ops"), "{}", verification.err);
    // The variable takes precedence.
    let other = rspm(home, &address, "verify", "", &[("PACKAGEMANAGER_TOKEN", "rspm_wrong")]);
    assert_eq!(other.code, 1, "{}", other.out);
    std::fs::set_permissions(file(home), std::fs::Permissions::from_mode(0o644)).expect("changed");
    let readable = rspm(home, &address, "verify", "", &[]);
    assert!(readable.code == 1 && readable.err.contains("chmod 600"), "{}", readable.err);
    std::fs::set_permissions(file(home), std::fs::Permissions::from_mode(0o600)).expect("changed");
    let output = rspm(home, &address, "logout", "", &[]);
    assert!(output.code == 0 && output.out.contains("rspm revoke token"), "{}", output.err);
    assert!(!std::fs::read_to_string(file(home)).expect("the file").contains(&admin));
    let again = rspm(home, &address, "logout", "", &[]);
    assert!(again.code == 0 && again.out.contains("has no token"), "{}", again.out);
}

#[test]
fn a_login_needs_an_address_and_a_token() {
    let home = tempfile::tempdir().expect("a directory");
    for (address, line, input, words) in [
        ("", "login --token-stdin", "rspm_x", "--address"),
        ("http://127.0.0.1:1", "login --token-stdin", "  \n", "the token is empty"),
        ("http://127.0.0.1:1", "login", "", "--token-stdin"),
        ("http://127.0.0.1:1", "login --token-stdin sso", "rspm_x", "choose one"),
    ] {
        let output = rspm(home.path(), address, line, input, &[]);
        assert_eq!((output.code, output.out.as_str()), (1, ""), "{line}: {}", output.err);
        assert!(output.err.contains(words), "{line}: {}", output.err);
    }
    assert!(!file(home.path()).exists());
}

/// Starts a server that sends these responses in order; returns its address, and the requests: path, line feed, body.
fn endpoints(responses: Vec<(u16, &'static str)>) -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for (status, body) in responses {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
            let (mut path, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a line");
                if path.is_empty() {
                    line.split(' ').nth(1).expect("a path").clone_into(&mut path);
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().expect("a number");
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut form = vec![0; length];
            reader.read_exact(&mut form).expect("a body");
            let form = String::from_utf8(form).expect("a form");
            let _ = sender.send(format!("{path}\n{form}"));
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("sent");
        }
    });
    (address, requests)
}

const DEVICE: &str = r#"{"device_code": "dev", "user_code": "BCDF-GHJK", "verification_uri": "https://pm.example/d",
    "verification_uri_complete": "https://pm.example/d?c=BCDF", "interval": 1, "expires_in": 300}"#;

#[test]
fn single_sign_on_exchanges_the_identity_for_a_token() {
    let home = tempfile::tempdir().expect("a directory");
    let (address, requests) = endpoints(vec![
        (200, DEVICE),
        (400, r#"{"error": "authorization_pending"}"#),
        (200, r#"{"id_token": "identity"}"#),
        (200, r#"{"access_token": "a.b.c", "token_type": "Bearer", "expires_in": 3600}"#),
    ]);
    let output = rspm(home.path(), &address, "login sso", "", &[]);
    assert_eq!(output.code, 0, "{}", output.err);
    assert!(output.err.contains("BCDF-GHJK") && output.err.contains("https://pm.example/d?c=BCDF"));
    let requests: Vec<String> = requests.iter().collect();
    let [device, pending, access, exchange] = requests.as_slice() else { panic!("{requests:?}") };
    assert!(
        device.starts_with("/__api__/device\n") && device.contains("code_challenge_method=S256"),
        "{device}"
    );
    assert!(pending.starts_with("/__api__/device_access\ndevice_code=dev&code_verifier="), "{pending}");
    assert_eq!(pending, access, "the same verifier");
    assert!(
        exchange.starts_with("/__api__/token\n") && exchange.contains("&subject_token=identity&"),
        "{exchange}"
    );
    let text = std::fs::read_to_string(file(home.path())).expect("the file");
    assert!(text.contains("token = \"a.b.c\"\nauth_type = \"sso\"\n"), "{text}");
}

#[test]
fn an_identity_token_of_a_file_replaces_the_sign_in() {
    let home = tempfile::tempdir().expect("a directory");
    let identity = home.path().join("identity");
    std::fs::write(&identity, "x.y.z\nanother line\n").expect("written");
    let (address, requests) = endpoints(vec![(200, r#"{"access_token": "a.b.c"}"#)]);
    let variable = ("PACKAGEMANAGER_IDENTITY_TOKEN_FILE", identity.to_str().expect("UTF-8"));
    let output = rspm(home.path(), &address, "login sso", "", &[variable]);
    assert_eq!(output.code, 0, "{}", output.err);
    let request = requests.recv().expect("a request");
    assert!(request.contains("subject_token=x.y.z&") && !request.contains("another"), "{request}");
}

#[test]
fn a_failed_sign_in_stores_nothing() {
    for (responses, words) in [
        (vec![(404, "{}")], "has no single sign-on"),
        (vec![(200, r#"{"device_code": "dev"}"#)], "has no address of a sign-in page"),
        (vec![(200, "<html>")], "not one that rspm understands"),
        (vec![(200, DEVICE), (400, r#"{"error": "access_denied"}"#)], "denied"),
        (vec![(200, DEVICE), (400, r#"{"error": "expired_token"}"#)], "expired"),
        (vec![(200, DEVICE), (500, r#"{"error": "server_error", "error_description": "down"}"#)], "down"),
        (
            vec![(200, DEVICE), (200, r#"{"id_token": "i"}"#), (400, r#"{"error": "invalid_grant"}"#)],
            "invalid_grant",
        ),
    ] {
        let home = tempfile::tempdir().expect("a directory");
        let (address, _requests) = endpoints(responses);
        let output = rspm(home.path(), &address, "login sso", "", &[]);
        assert_eq!((output.code, output.out.as_str()), (1, ""), "{words}: {}", output.err);
        assert!(output.err.contains(words), "{words}: {}", output.err);
        assert!(!file(home.path()).exists(), "{words}");
    }
}
