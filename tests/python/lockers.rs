//! PDM, Pipenv and Hatch lock and install packages from a local source.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::clients::{command, installed_version, program, run, start_server, text};
use crate::support::server::Server;

/// Runs a command in a directory; panics if it fails.
fn run_in(folder: &Path, mut command: Command) {
    command.current_dir(folder);
    let command_line = format!("{command:?}");
    let output = run(command);
    assert!(output.status.success(), "{command_line}: {}", text(&output));
}

/// Writes a project with one file; returns its directory.
fn project(server: &Server, folder: &str, file: &str, lines: &str) -> PathBuf {
    let project = server.dir().join(folder);
    std::fs::create_dir_all(&project).expect("a folder");
    std::fs::write(project.join(file), lines).expect("written");
    project
}

/// The directory of the packages of an environment.
fn site_packages(environment: &Path) -> PathBuf {
    let entries = std::fs::read_dir(environment.join("lib")).expect("an environment");
    let mut folders = entries.filter_map(Result::ok).map(|entry| entry.path().join("site-packages"));
    folders.next().expect("a version of Python")
}

/// The versions of `app` and of its dependency in an environment.
fn versions(environment: &Path) -> [Option<String>; 2] {
    let folder = site_packages(environment);
    ["app", "odd_lib"].map(|package| installed_version(&folder, package))
}

/// The newest version that is not yanked, and the only one of the first transaction.
fn cases(first: i64) -> [(String, &'static str); 2] {
    [("latest".to_owned(), "1.1+local"), (first.to_string(), "1.0")]
}

#[test]
fn pdm_locks_and_installs() {
    let (server, first) = start_server();
    for (snapshot, expected) in cases(first) {
        let lines = format!(
            "[project]\nname = \"mine\"\nversion = \"0.1\"\nrequires-python = \">=3.9\"\ndependencies = [\"app\"]\n\
             [tool.pdm]\ndistribution = false\n[[tool.pdm.source]]\nname = \"pypi\"\nurl = \"{}\"\nverify_ssl = true\n",
            server.url(&format!("/py/{snapshot}/simple/"))
        );
        let project = project(&server, &format!("pdm-{snapshot}"), "pyproject.toml", &lines);
        for word in ["lock", "sync"] {
            let mut pdm = command(&server, &program("pdm", "pdm"), &format!("home-pdm-{snapshot}"));
            pdm.env("PDM_CHECK_UPDATE", "false").env("NO_PROXY", "*").arg(word);
            run_in(&project, pdm);
        }
        let lock = std::fs::read_to_string(project.join("pdm.lock")).expect("a lock file");
        // PDM leaves the local part of a version out.
        assert!(lock.contains(&format!("odd_lib-{expected}-py3")) && lock.contains("sha256:"), "{lock}");
        assert_eq!(versions(&project.join(".venv")), ["1.0", expected].map(|text| Some(text.to_owned())));
    }
}

#[test]
fn pipenv_locks_and_installs() {
    let (server, first) = start_server();
    for (snapshot, expected) in cases(first) {
        let lines = format!(
            "[[source]]\nname = \"team\"\nurl = \"{}\"\nverify_ssl = true\n[packages]\napp = \"*\"\n",
            server.url(&format!("/py/{snapshot}/simple"))
        );
        let project = project(&server, &format!("pipenv-{snapshot}"), "Pipfile", &lines);
        for word in ["lock", "sync"] {
            let mut pipenv =
                command(&server, &program("pipenv", "pipenv"), &format!("home-pipenv-{snapshot}"));
            pipenv.env("PIPENV_VENV_IN_PROJECT", "1").env("PIPENV_NOSPIN", "1").env("NO_PROXY", "*");
            pipenv.arg(word);
            run_in(&project, pipenv);
        }
        let lock = std::fs::read_to_string(project.join("Pipfile.lock")).expect("a lock file");
        let lock: serde_json::Value = serde_json::from_str(&lock).expect("JSON");
        assert_eq!(lock["default"]["odd-lib"]["version"], format!("=={expected}"), "{lock}");
        let hashes = lock["default"]["odd-lib"]["hashes"].as_array().expect("digests");
        assert_eq!(hashes.len(), 1, "{lock}");
        assert_eq!(versions(&project.join(".venv")), ["1.0", expected].map(|text| Some(text.to_owned())));
    }
}

#[test]
fn hatch_creates_an_environment() {
    let (server, first) = start_server();
    for (snapshot, expected) in cases(first) {
        let lines = "[project]\nname = \"mine\"\nversion = \"0.1\"\n\
             [tool.hatch.envs.default]\nskip-install = true\ndependencies = [\"app\"]\npath = \".venv\"\n";
        let project = project(&server, &format!("hatch-{snapshot}"), "pyproject.toml", lines);
        let mut hatch = command(&server, &program("hatch", "hatch"), &format!("home-hatch-{snapshot}"));
        hatch.env("PIP_INDEX_URL", server.url(&format!("/py/{snapshot}/simple"))).env("NO_PROXY", "*");
        hatch.args(["--no-color", "env", "create"]);
        run_in(&project, hatch);
        assert_eq!(versions(&project.join(".venv")), ["1.0", expected].map(|text| Some(text.to_owned())));
    }
}
