//! How far a download is, as a terminal shows it and as a log has it.

use std::process::Command;
use std::time::Duration;

use crate::support::downloader::{command, got_cran};
use crate::support::mirror_dir::Shelf;
use crate::support::process::end;
use crate::support::upstream::{Fault, Upstream};

/// A mirror that takes its time with each of forty packages.
fn slow(dir: &std::path::Path) -> Upstream {
    let mut shelf = Shelf::new(dir.join("mirror"));
    for n in 0..40 {
        shelf.simple(&format!("package{n}"), "1.0", "2020-01-01");
    }
    shelf.write();
    let upstream = Upstream::of(&shelf.root);
    for n in 0..40 {
        upstream
            .always(&format!("src/contrib/package{n}_1.0.tar.gz"), Fault::Slow(Duration::from_millis(150)));
    }
    upstream
}

/// What somebody at a terminal of 80 columns sees of a command; the terminal is that of `script`.
fn at_a_terminal(command: &Command) -> String {
    let quoted = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().expect("UTF-8"));
    let words: Vec<String> =
        std::iter::once(command.get_program()).chain(command.get_args()).map(quoted).collect();
    let line = format!("stty cols 80 rows 24; exec {}", words.join(" "));
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh");
    let ended = end(&mut script);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    ended.out
}

/// A text without what moves the cursor or gives colour.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn a_terminal_shows_files_rate_and_time_left_in_one_line_that_is_gone_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (upstream, to) = (slow(dir.path()), dir.path().join("bundle"));
    let (url, path) = (upstream.url(), to.to_str().unwrap().to_owned());
    let args = ["get", "cran", "--base-url", &url, "--destination", &path, "--concurrency", "4"];
    let seen = at_a_terminal(&command(&args));
    let lines: Vec<String> = seen.split(['\r', '\n']).map(plain).collect();
    let bar = |line: &&String| line.contains(" of 40 files, ") && line.contains(" left ");
    let bars: Vec<&String> = lines.iter().filter(bar).collect();
    assert!(bars.len() >= 3, "{seen:?}");
    for line in &bars {
        let whole = line.contains(" % ") && line.contains("/s, ") && line.contains('B');
        assert!(whole && line.chars().count() <= 80, "{line:?}");
    }
    let done = |line: &str| line.split(" % ").nth(1)?.split(" of ").next()?.trim().parse::<u32>().ok();
    let counts: Vec<u32> = bars.iter().filter_map(|line| done(line)).collect();
    assert!(counts.len() == bars.len() && counts.is_sorted() && counts[0] < 40, "{counts:?}");
    // The line is cleared, and sentences follow.
    let last = seen.rfind(" left ").expect("a bar");
    let rest = &seen[last..];
    assert!(rest.contains("\u{1b}[2K") || rest.contains("\u{1b}[K"), "{rest:?}");
    let ending: Vec<&String> = lines.iter().filter(|line| !line.trim().is_empty()).rev().take(3).collect();
    assert!(ending[2].starts_with("40 of 40 files, ") && ending[2].ends_with("/s"), "{ending:?}");
    assert!(ending[1].starts_with("cran: snapshot ") && ending[0] == "complete", "{ending:?}");
}

#[test]
fn a_log_has_sentences_and_no_bar() {
    let dir = tempfile::tempdir().unwrap();
    let (upstream, to) = (slow(dir.path()), dir.path().join("bundle"));
    let told = got_cran(&upstream.url(), &to, &["--concurrency", "40"]);
    assert!(!told.contains(['\r', '\u{1b}']) && !told.contains(" % "), "{told:?}");
    assert!(told.contains("40 of 40 files, ") && told.lines().count() == 4, "{told}");
}
