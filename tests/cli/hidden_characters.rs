//! Characters that control a terminal, or that are invisible, in names and texts of others: `rspm` shows them.

use std::os::unix::ffi::OsStrExt;

use super::team;
use crate::support::rspm::RspmOutput;
use crate::support::server::Server;

/// Format characters and separators, which the server accepts in a description, and what people see of them.
const FORMAT: &str = "a\u{202e}b\u{2028}c\u{200b}\u{feff}\u{e0041}";
const VISIBLE_FORMAT: &str = "a⟨U+202E⟩b⟨U+2028⟩c⟨U+200B⟩⟨U+FEFF⟩⟨U+E0041⟩";
/// Control characters, which names of files may have.
const CONTROL: &str = "d\u{9b}31m\u{85}\u{7f}";
const VISIBLE_CONTROL: &str = "d⟨U+009B⟩31m⟨U+0085⟩⟨U+007F⟩";

fn assert_visible(text: &str, expected: &str) {
    assert!(text.contains(expected), "{text}");
    let is_hidden = |c: char| (FORMAT.contains(c) || CONTROL.contains(c)) && !c.is_ascii_graphic();
    assert!(!text.contains(is_hidden), "{text:?}");
}

#[test]
fn descriptions_of_others_are_shown_with_visible_characters() {
    let server = team();
    server.rspm_stdout("create repo --name=odd");
    // The audit trail has the text of an edit.
    let mut edit = server.rspm_command("edit repo --name=odd");
    let output: RspmOutput = edit.arg(format!("--description={FORMAT}")).output().expect("rspm runs").into();
    assert_eq!(output.code, 0, "{output:?}");
    for line in ["list repos", "info --repo=odd", "audit list"] {
        assert_visible(&server.rspm_stdout(line), VISIBLE_FORMAT);
        let json = server.rspm_stdout(&format!("{line} -o json"));
        assert!(json.contains(r"a\u202eb\u2028c\u200b\ufeff\udb40\udc41"), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert!(value.to_string().contains(FORMAT), "the same value: {value}");
    }
}

/// Runs a command with the path of a file of this name as its last argument.
fn with_file(server: &Server, line: &str, name: &str) -> RspmOutput {
    let file = server.dir().join(std::ffi::OsStr::from_bytes(name.as_bytes()));
    std::fs::write(&file, "no package").expect("written");
    let mut argument = std::ffi::OsString::from("--path=");
    argument.push(&file);
    server.rspm_command(line).arg(argument).output().expect("rspm runs").into()
}

#[test]
fn names_of_files_in_refusals_are_shown_with_visible_characters() {
    let server = team();
    for line in ["add --source=team", "add --source=none", "add binary --source=team --distribution=bookworm"]
    {
        let output = with_file(&server, line, &format!("{FORMAT}{CONTROL}_1.0.tar.gz"));
        assert_eq!(output.code, 1, "{output:?}");
        if !output.err.contains("none") {
            assert_visible(&output.err, &format!("{VISIBLE_FORMAT}{VISIBLE_CONTROL}"));
        }
        let output = with_file(&server, line, "x\r\u{1b}[8mError: y_1.0.tar.gz");
        assert!(!output.err.contains(['\r', '\u{1b}']), "{output:?}");
    }
    // A wrong command line, which a pattern of the shell may have filled in.
    let output: RspmOutput =
        server.rspm_command("list repos").arg(CONTROL).output().expect("rspm runs").into();
    assert_eq!(output.code, 2);
    assert_visible(&output.err, VISIBLE_CONTROL);
}

#[test]
fn texts_in_the_configuration_are_shown_with_visible_characters() {
    let server = team();
    let gcfg = std::fs::read_to_string(server.config_file()).expect("readable");
    std::fs::write(server.config_file(), format!("{gcfg}[Server]\nAddress = {FORMAT}\n")).expect("written");
    let (code, output) = server.check_config();
    assert_ne!(code, 0);
    assert!(!output.contains(['\u{202e}', '\u{9b}', '\u{2028}']), "{output:?}");
}

/// Text reaches the terminal through one file of the command line. The exceptions print constants.
#[test]
fn one_file_prints_all_texts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/cli/src");
    let mut count = 0;
    let mut paths = vec![std::path::PathBuf::from(folder)];
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(
                std::fs::read_dir(path).expect("the folder").map(|entry| entry.expect("a file").path()),
            );
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        // A script for a shell, and a prompt.
        if ["output.rs", "lib.rs", "token.rs"].contains(&&*name) {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        for word in ["println!", "print!(", "anstream::", "stdout()", "stderr(),"] {
            assert!(!text.contains(word), "{name} prints by itself: {word}");
        }
        count += 1;
    }
    assert!(count > 30, "{count}");
}
