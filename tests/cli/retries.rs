//! Uploads that the server has lost, because it was restarted between the requests of one command.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::tarball::Tarball;

/// Answers requests as a server that accepts every upload, and refuses the first addition with `code`. Records the paths
/// of all requests except GET.
fn answer(mut stream: UnixStream, code: i64, requests: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        for line in head.lines() {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a length");
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        // The archive is sent in chunks (RFC 9112, 7.1).
        while head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).expect("the size of a chunk");
            reader.read_exact(&mut vec![0; size + 2])?;
            if size == 0 {
                break;
            }
        }
        let mut words = head.split_whitespace();
        let is_query = words.next() == Some("GET");
        let path = words.next().expect("a target").to_owned();
        let package = json!({ "file": "alpha_1.0.tar.gz", "name": "alpha", "version": "1.0", "sha256": "0".repeat(64),
            "size": 1, "outcome": "added", "id": 1, "distribution": "noble", "r_version": "4.5", "arch": "any" });
        let source = json!({ "id": 2, "name": "team", "type": "local", "type_label": "Local",
            "created": "2026-01-01T00:00:00Z", "packages": 0, "last_transaction": null });
        let is_upload = path.contains("/uploads");
        let additions = {
            let mut requests = requests.lock().expect("not poisoned");
            if !is_query {
                requests.push(path);
            }
            requests.iter().filter(|path| !path.contains("/uploads")).count()
        };
        let (status, body) = match (is_query, is_upload) {
            (true, _) => ("200 OK", source),
            (false, true) => ("201 Created", package),
            (false, false) if additions == 1 => {
                ("404 Not Found", json!({ "code": code, "error": "changed text", "payload": null }))
            }
            (false, false) => {
                ("200 OK", json!({ "transaction": 2, "packages": [package], "binaries": [package] }))
            }
        };
        let body = body.to_string();
        let length = body.len();
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
    }
}

/// Runs `rspm` with a server of [`answer`]; returns its standard error, and the paths of its requests.
fn run(args: &[&str], code: i64) -> (String, Vec<String>) {
    let dir = tempfile::tempdir().expect("a directory");
    let package = Tarball::new("alpha", "1.0");
    std::fs::write(dir.path().join("alpha_1.0.tar.gz"), package.bytes()).expect("written");
    let config = dir.path().join("rstudio-pm.gcfg");
    std::fs::write(&config, format!("[Server]\nSockFileDir = {}\n", dir.path().display())).expect("written");
    let listener = UnixListener::bind(dir.path().join("rstudio-pm.sock")).expect("a socket");
    let requests = Arc::new(Mutex::new(Vec::new()));
    let recorded_requests = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let recorded_requests = Arc::clone(&recorded_requests);
            std::thread::spawn(move || answer(stream, code, &recorded_requests));
        }
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspm"));
    command.current_dir(dir.path()).arg("--config").arg(&config).args(args);
    let output = command.arg("--path=alpha_1.0.tar.gz").output().expect("rspm runs");
    let paths = requests.lock().expect("not poisoned").clone();
    (String::from_utf8_lossy(&output.stderr).into_owned(), paths)
}

#[test]
fn lost_uploads_are_sent_again_by_the_code_of_the_error_alone() {
    const NO_UPLOAD: i64 = rstudio_pm::api::error::Code::NoUpload as i64;
    let commands: [&[&str]; 2] =
        [&["add", "--source=team"], &["add", "binary", "--source=team", "--distribution=noble"]];
    for args in commands {
        let (error, paths) = run(args, NO_UPLOAD);
        assert!(error.is_empty() && paths.len() == 4, "{args:?}: {error} {paths:?}");
        let (error, paths) = run(args, 2);
        assert!(error.contains("changed text") && paths.len() == 2, "{args:?}: {error} {paths:?}");
    }
}
