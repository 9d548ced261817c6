//! The command line of `rspm encrypt`: the sources of a value, and key files for other servers.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::{encrypt_lines, fingerprint, key_path};
use crate::support::fixtures::until;
use crate::support::rspm::rspm_without_server;
use crate::support::server::Builder;

#[test]
fn each_line_of_standard_input_is_a_value_and_none_is_empty() {
    let server = Builder::default().prepare();
    let output = encrypt_lines(&server, "one\r\ntwo\nthree");
    assert_eq!((output.code, output.out.lines().count()), (0, 3), "{}{}", output.out, output.err);
    for (input, expected) in
        [("", "there is no value"), ("one\n\n", "value 2 is empty"), ("\n", "value 1 is empty")]
    {
        let output = encrypt_lines(&server, input);
        assert_eq!((output.code, output.out.as_str()), (1, ""), "{input:?}");
        assert!(output.err.contains(expected), "{input:?}: {}", output.err);
    }
    let mut json = server.command(env!("CARGO_BIN_EXE_rspm"));
    let json = json.args(["-o", "json", "encrypt", "one"]).output().unwrap();
    let values: Vec<String> = serde_json::from_slice(&json.stdout).unwrap();
    assert!(values.len() == 1 && values[0].len() > 56, "{values:?}");
}

#[test]
fn an_argument_is_encrypted_with_a_warning() {
    let server = Builder::default().prepare();
    encrypt_lines(&server, "first");
    let output = server.rspm("encrypt s3cret");
    assert_eq!((output.code, output.out.lines().count()), (0, 1), "{}", output.err);
    assert!(
        output.err.starts_with("Warning: other users can see the value in the process list"),
        "{}",
        output.err
    );
    assert!(!output.err.contains("s3cret"), "{}", output.err);
}

#[test]
fn a_value_on_standard_input_is_in_no_list_of_processes() {
    let server = Builder::default().prepare();
    encrypt_lines(&server, "first");
    let mut command = server.command(env!("CARGO_BIN_EXE_rspm"));
    let mut child = command.arg("encrypt").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"unmistakable-secret").unwrap();
    // The command waits for the end of its input.
    let list = Command::new("ps").args(["axeww", "-o", "pid,args"]).output().expect("ps runs");
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.lines().any(|line| line.trim_start().starts_with(&format!("{} ", child.id()))), "{list}");
    assert!(!list.contains("unmistakable-secret"), "{list}");
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_prompt_on_a_terminal_does_not_echo() {
    let server = Builder::default().prepare();
    encrypt_lines(&server, "first");
    let line = format!(
        "tty; exec '{}' --config '{}' encrypt",
        env!("CARGO_BIN_EXE_rspm"),
        server.config_file().display()
    );
    let mut script = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script (of util-linux) runs");
    let mut output = BufReader::new(script.stdout.take().expect("piped"));
    let mut tty = String::new();
    output.read_line(&mut tty).unwrap();
    let tty = tty.trim().to_owned();
    let mut terminal_output = String::new();
    output.read_line(&mut terminal_output).unwrap();
    until("the terminal stops to echo", || {
        let settings = Command::new("stty").args(["-F", &tty, "-a"]).output().expect("stty runs");
        String::from_utf8_lossy(&settings.stdout).contains(" -echo ")
    });
    let mut input = script.stdin.take().expect("piped");
    input.write_all(b"unmistakable-secret\n").unwrap();
    output.read_to_string(&mut terminal_output).unwrap();
    assert!(script.wait().unwrap().success(), "{terminal_output}");
    assert!(
        terminal_output.starts_with("Encryption: Enter the plain text value below."),
        "{terminal_output}"
    );
    assert!(!terminal_output.contains("unmistakable-secret"), "{terminal_output}");
    let value = terminal_output.lines().last().expect("a line").trim();
    let key = rstudio_pm::config::key_file::read(&key_path(&server)).unwrap().expect("a key").key;
    let plain = rstudio_pm::encryption::value::decrypt(&key, value).expect("an encrypted value");
    assert_eq!(plain.as_str(), "unmistakable-secret");
}

#[test]
fn a_key_for_another_server_is_generated_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("new.key");
    let line = format!("encrypt generate --file-out={}", file.display());
    let output = rspm_without_server(&line);
    assert_eq!((output.code, output.out.as_str()), (0, ""), "{}", output.err);
    let first = fingerprint(&file);
    assert!(output.err.contains(&first.to_string()), "{}", output.err);
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let second_output = rspm_without_server(&line);
    assert!(second_output.code == 1 && second_output.err.contains("File exists"), "{}", second_output.err);
    assert_eq!(fingerprint(&file), first);
    let output = rspm_without_server("encrypt generate");
    assert!(output.code == 2 && output.err.contains("--file-out"), "{}", output.err);
}
