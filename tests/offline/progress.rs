//! Progress of a download on a terminal and in a log.

use std::process::Command;
use std::time::Duration;

use crate::support::downloader::{command, must_get_cran};
use crate::support::mirror_dir::MirrorDir;
use crate::support::process::run_to_end;
use crate::support::upstream::{Fault, Upstream};

/// A mirror of forty packages that delays each of them.
fn slow_mirror(dir: &std::path::Path) -> Upstream {
    let mut mirror = MirrorDir::new(dir.join("mirror"));
    for n in 0..40 {
        mirror.simple(&format!("package{n}"), "1.0", "2020-01-01");
    }
    mirror.write();
    let upstream = Upstream::of(&mirror.root);
    for n in 0..40 {
        upstream
            .always(&format!("src/contrib/package{n}_1.0.tar.gz"), Fault::Slow(Duration::from_millis(150)));
    }
    upstream
}

/// The output of a command on a terminal of 80 columns, which `script` provides.
fn output_on_a_terminal(command: &Command) -> String {
    let quote = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().expect("UTF-8"));
    let words: Vec<String> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(quote).collect();
    let line = format!("stty cols 80 rows 24; exec {}", words.join(" "));
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh");
    let result = run_to_end(&mut script);
    assert_eq!(result.code, Some(0), "{}{}", result.out, result.err);
    result.out
}

/// A text without escape sequences.
fn strip_escapes(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn a_terminal_shows_files_rate_and_time_left_in_one_line_that_is_cleared_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (upstream, destination) = (slow_mirror(dir.path()), dir.path().join("bundle"));
    let (url, path) = (upstream.url(), destination.to_str().unwrap().to_owned());
    let args = ["get", "cran", "--base-url", &url, "--destination", &path, "--concurrency", "4"];
    let output = output_on_a_terminal(&command(&args));
    let lines: Vec<String> = output.split(['\r', '\n']).map(strip_escapes).collect();
    let is_bar = |line: &&String| line.contains(" of 40 files, ") && line.contains(" left ");
    let bars: Vec<&String> = lines.iter().filter(is_bar).collect();
    assert!(bars.len() >= 3, "{output:?}");
    for line in &bars {
        let is_complete = line.contains(" % ") && line.contains("/s, ") && line.contains('B');
        assert!(is_complete && line.chars().count() <= 80, "{line:?}");
    }
    let files = |line: &str| line.split(" % ").nth(1)?.split(" of ").next()?.trim().parse::<u32>().ok();
    let counts: Vec<u32> = bars.iter().filter_map(|line| files(line)).collect();
    assert!(counts.len() == bars.len() && counts.is_sorted() && counts[0] < 40, "{counts:?}");
    // The line is cleared, and messages follow.
    let last_bar = output.rfind(" left ").expect("a bar");
    let tail = &output[last_bar..];
    assert!(tail.contains("\u{1b}[2K") || tail.contains("\u{1b}[K"), "{tail:?}");
    let last_lines: Vec<&String> =
        lines.iter().filter(|line| !line.trim().is_empty()).rev().take(3).collect();
    assert!(last_lines[2].starts_with("40 of 40 files, ") && last_lines[2].ends_with("/s"), "{last_lines:?}");
    assert!(last_lines[1].starts_with("cran: snapshot ") && last_lines[0] == "complete", "{last_lines:?}");
}

#[test]
fn a_log_has_messages_and_no_progress_bar() {
    let dir = tempfile::tempdir().unwrap();
    let (upstream, destination) = (slow_mirror(dir.path()), dir.path().join("bundle"));
    let output = must_get_cran(&upstream.url(), &destination, &["--concurrency", "40"]);
    assert!(!output.contains(['\r', '\u{1b}']) && !output.contains(" % "), "{output:?}");
    assert!(output.contains("40 of 40 files, ") && output.lines().count() == 4, "{output}");
}
