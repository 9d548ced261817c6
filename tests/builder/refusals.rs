//! What is reported if no sandbox works.

use std::path::PathBuf;

use super::job::builder;
use rstudio_pm::builder::connection::JobError;
use rstudio_pm::builder::sandbox::{Choice, Kind, NoSandbox, Paths, detect};

/// The error of [`detect`], with paths that do not exist.
fn detect_error(choice: Choice, allow_unsandboxed: bool, change: impl FnOnce(&mut Paths)) -> NoSandbox {
    let mut paths = Paths {
        fetch_socket: PathBuf::from("/nonexistent/fetch.sock"),
        build_socket: PathBuf::from("/nonexistent/build.sock"),
        bubblewrap: PathBuf::from("/nonexistent/bwrap"),
        builder: builder(),
        ..Paths::default()
    };
    change(&mut paths);
    detect(choice, allow_unsandboxed, None, &paths).expect_err("there is no sandbox")
}

fn kinds(refusal: &NoSandbox) -> Vec<Kind> {
    refusal.attempts.iter().map(|(kind, _)| *kind).collect()
}

#[test]
fn without_systemd_and_bubblewrap_builders_are_refused_unless_that_is_allowed() {
    let refusal = detect_error(Choice::Auto, false, |_| ());
    assert_eq!(kinds(&refusal), [Kind::Systemd, Kind::Bubblewrap]);
    let text = refusal.to_string();
    assert!(
        text.starts_with(
            "Unable to use R on this system. Building Git packages for R will be disabled. systemd: could not \
             communicate with the builder: /nonexistent/build.sock: No such file or directory (os error 2). bubblewrap: "
        ),
        "{text}"
    );
    for remedy in
        ["systemctl enable --now rstudio-pm-fetch.socket", "bubblewrap", "AllowUnsandboxedGitBuilds = true"]
    {
        assert!(text.contains(remedy), "{text}");
    }
    let workspaces = tempfile::tempdir_in("/tmp").unwrap();
    let paths = Paths {
        build_socket: PathBuf::from("/nonexistent/build.sock"),
        bubblewrap: PathBuf::from("/nonexistent/bwrap"),
        builder: builder(),
        workspaces: workspaces.path().to_owned(),
        ..Paths::default()
    };
    let sandbox = detect(Choice::Auto, true, None, &paths).expect("allowed");
    assert_eq!(sandbox.kind, Kind::None);
    assert!(sandbox.version.starts_with(|c: char| c.is_ascii_digit()), "{}", sandbox.version);
    // It ends at once, as bubblewrap does where user namespaces are not permitted.
    let paths = Paths { bubblewrap: PathBuf::from("/bin/false"), ..paths };
    let sandbox = detect(Choice::Auto, true, None, &paths).expect("allowed");
    assert_eq!(sandbox.kind, Kind::None);
}

#[test]
fn a_chosen_sandbox_is_not_replaced_by_another() {
    assert_eq!(kinds(&detect_error(Choice::Systemd, true, |_| ())), [Kind::Systemd]);
    assert_eq!(kinds(&detect_error(Choice::Bubblewrap, true, |_| ())), [Kind::Bubblewrap]);
    assert_eq!(kinds(&detect_error(Choice::None, false, |_| ())), []);
}

#[test]
fn a_sandbox_in_which_r_does_not_run_is_none() {
    let workspaces = tempfile::tempdir_in("/tmp").unwrap();
    let paths = Paths { builder: builder(), workspaces: workspaces.path().to_owned(), ..Paths::default() };
    let refusal = detect(Choice::None, true, Some("/opt/R/0.0.0"), &paths).expect_err("there is no such R");
    let text = "no sandbox: the builder refused the job: there is no R in /opt/R/0.0.0.";
    assert!(refusal.to_string().ends_with(text), "{refusal}");
    // A program that is no builder.
    let refusal = detect_error(Choice::None, true, |paths| paths.builder = PathBuf::from("/bin/true"));
    assert!(matches!(refusal.attempts[..], [(Kind::None, JobError::Exit)]), "{refusal:?}");
}
