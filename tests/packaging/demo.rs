//! `make demo`: the checks before the build.

use std::net::TcpListener;
use std::process::Command;

use crate::support::process::run_to_end;

#[test]
fn a_port_in_use_is_refused_before_anything_is_built() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port().to_string();
    let dir = tempfile::tempdir().expect("a directory");
    let demo = |more: &[&str]| {
        let mut demo = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo"));
        demo.args(more).current_dir(dir.path()).env("PORT", &port).env_remove("BIN");
        run_to_end(&mut demo)
    };
    let refusal = demo(&["--check"]);
    assert_eq!(refusal.code, Some(1), "{}", refusal.err);
    let expected = format!("Port {port} is in use");
    assert!(refusal.err.contains(&expected) && refusal.err.contains("make demo PORT="), "{}", refusal.err);
    drop(listener);
    let free = demo(&["--check"]);
    assert_eq!((free.code, free.out.as_str(), free.err.as_str()), (Some(0), "", ""));
    let makefile =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).expect("readable");
    let (_, recipe) = makefile.split_once("\ndemo: ").expect("a target");
    let position = |words: &str| recipe.find(words).unwrap_or_else(|| panic!("{words}: {recipe}"));
    assert!(position("examples/demo --check") < position("$(CARGO) build --profile demo"));
}
