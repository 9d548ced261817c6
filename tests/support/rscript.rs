//! Runs real R, the reference for everything in `r`: a missing `Rscript` fails the test and never skips it.

use std::ffi::OsStr;
use std::process::Command;

/// Makes R send the documented `User-Agent` in place of that of libcurl.
pub(crate) const DOCUMENTED_AGENT: &str = r#"
options(HTTPUserAgent = sprintf("R/%s R (%s)", getRversion(),
    paste(getRversion(), R.version["platform"], R.version["arch"], R.version["os"])))
"#;

/// Runs R code with arguments (`commandArgs(TRUE)`) and returns its output; panics with R's message if R is missing
/// or the code fails.
pub(crate) fn run<S: AsRef<OsStr>>(code: &str, args: &[S]) -> String {
    run_with(code, args, |_| ())
}

/// [`run`] with a command modified by `prepare`. The first library is an empty folder.
pub(crate) fn run_with<S: AsRef<OsStr>>(
    code: &str,
    args: &[S],
    prepare: impl FnOnce(&mut Command),
) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("script.R");
    std::fs::write(&script, code).expect("the script is written");
    let mut command = Command::new("Rscript");
    command
        .arg("--vanilla")
        .arg(&script)
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .env("R_LIBS_USER", folder.path())
        .current_dir(folder.path());
    prepare(&mut command);
    let output =
        command.output().unwrap_or_else(|e| panic!("Rscript cannot be run ({e}): install r-base-core"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "R failed: {}\n{}\n{}",
        output.status,
        text,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}
