//! The encryption key, encrypted values of the configuration, `rspm encrypt`, and the license commands.

mod creation;
mod generation;
mod license;
mod places;
mod refusal;
mod rotation;
mod values;

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

use rstudio_pm::config::key_file;
use rstudio_pm::model::digest::Fingerprint;

use crate::support::rspm::RspmOutput;
use crate::support::server::Server;

/// The path of the key of a server.
fn key_path(server: &Server) -> PathBuf {
    server.dir().join("data/rstudio-pm.key")
}

/// Writes a new key to a file, and returns its fingerprint.
fn write_key(path: &std::path::Path) -> Fingerprint {
    let key = key_file::random().unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    key_file::replace(path, &key).unwrap();
    key.fingerprint()
}

/// The fingerprint of the key in a file.
fn fingerprint(path: &std::path::Path) -> Fingerprint {
    key_file::read(path).unwrap().expect("a key").key.fingerprint()
}

/// Runs `rspm encrypt` with the environment of the server and this standard input.
fn encrypt_lines(server: &Server, input: &str) -> RspmOutput {
    let mut command = server.command(env!("CARGO_BIN_EXE_rspm"));
    command.arg("encrypt").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("rspm runs");
    // The command may end before it has read everything.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    child.wait_with_output().expect("our own child").into()
}

/// Encrypts one value.
fn encrypt(server: &Server, value: &str) -> String {
    let output = encrypt_lines(server, value);
    assert_eq!(output.code, 0, "{}", output.err);
    let lines: Vec<&str> = output.out.lines().collect();
    assert_eq!(lines.len(), 1, "{}", output.out);
    lines[0].to_owned()
}

/// Appends lines to the configuration.
fn append(server: &Server, lines: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(server.config_file()).unwrap();
    writeln!(file, "{lines}").unwrap();
}

/// Replaces a part of the configuration.
fn replace(server: &Server, from: &str, to: &str) {
    let text = std::fs::read_to_string(server.config_file()).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(server.config_file(), text.replace(from, to)).unwrap();
}
