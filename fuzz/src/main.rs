//! A fuzzing program for all targets; `FUZZ_TARGET` selects the target.

#![no_main]

mod targets;

use std::sync::OnceLock;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let target = targets::TARGETS.iter().find(|target| target.name == name);
        let Some(target) = target else {
            let names: Vec<&str> = targets::TARGETS.iter().map(|target| target.name).collect();
            eprintln!("FUZZ_TARGET='{name}' is not a target; the targets are {}", names.join(", "));
            std::process::exit(2);
        };
        RUN.get_or_init(|| target.run);
    },
    |data: &[u8]| {
        RUN.get().expect("set before the first run")(data);
    }
);
