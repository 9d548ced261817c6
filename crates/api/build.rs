//! Sets `RSTUDIO_PM_BUILT`, the time of the build: `SOURCE_DATE_EPOCH` if set, else the time of the commit, so that
//! the same sources give the same program.
//!
//! Runs once for each target directory and again when the variable changes: following each commit would recompile
//! everything for a date. The package builds set the variable.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let variable = std::env::var("SOURCE_DATE_EPOCH").ok();
    let commit_time = || {
        let output = Command::new("git").args(["log", "-1", "--format=%ct"]).output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let number = |text: String| text.trim().parse::<u32>().ok();
    if let Some(seconds) = variable.and_then(number).or_else(|| commit_time().and_then(number)) {
        println!("cargo::rustc-env=RSTUDIO_PM_BUILT={seconds}");
    }
}
