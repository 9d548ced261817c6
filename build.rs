//! When was this built? `SOURCE_DATE_EPOCH` where it is set, else the time of the commit, so that the same sources
//! give the same program.
//!
//! Asked once for each build directory and again when the variable changes: following each commit would compile
//! everything anew for a date. What builds packages sets the variable.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let set = std::env::var("SOURCE_DATE_EPOCH").ok();
    let committed = || {
        let told = Command::new("git").args(["log", "-1", "--format=%ct"]).output().ok()?;
        String::from_utf8(told.stdout).ok()
    };
    let number = |text: String| text.trim().parse::<u32>().ok();
    if let Some(seconds) = set.and_then(number).or_else(|| committed().and_then(number)) {
        println!("cargo::rustc-env=RSTUDIO_PM_BUILT={seconds}");
    }
}
