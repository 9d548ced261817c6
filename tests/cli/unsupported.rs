//! Scripts written for Posit Package Manager: commands and flags that are missing, and flags that are accepted.

use super::team;
use crate::support::rspm::{RspmOutput, rspm_without_server};
use crate::support::server::Builder;

#[test]
fn unsupported_commands_name_an_alternative_and_a_page() {
    for (line, words, page) in [
        ("air-gap", "rspm-offline-downloader", "air-gapped.md"),
        ("-o json -c /nowhere.gcfg schedule list", "CRAN.SyncSchedule", "configuration.md"),
        ("add --source=dev --git-url=https://host/x", "rspm create git-builder", "git.md"),
    ] {
        let output = rspm_without_server(line);
        assert_eq!((output.code, output.out.as_str()), (2, ""), "rspm {line}: {}", output.err);
        assert!(output.err.starts_with("rspm ") && output.err.contains(words), "rspm {line}: {}", output.err);
        assert!(output.err.ends_with(&format!("{page}\n")), "rspm {line}: {}", output.err);
        assert!(output.err.contains("See /usr/share/doc/rstudio-pm/"), "rspm {line}: {}", output.err);
        assert!(
            !output.err.contains("unrecognized") && !output.err.contains("similar"),
            "rspm {line}: {}",
            output.err
        );
    }
}

#[test]
fn the_server_of_another_machine_requires_a_token_by_flag_and_by_environment() {
    let server = team();
    let flag = server.rspm("list --address=https://packages.example.org");
    let mut command = server.rspm_command("list");
    let variable =
        command.env("PACKAGEMANAGER_ADDRESS", "https://packages.example.org").output().expect("rspm runs");
    for output in [flag, variable.into()] {
        assert_eq!((output.code, output.out.as_str()), (2, ""), "{}", output.err);
        assert!(output.err.contains("PACKAGEMANAGER_TOKEN"), "{}", output.err);
    }
    let completion = server.rspm_command("completion bash").env("PACKAGEMANAGER_ADDRESS", "x").output();
    assert!(
        completion.expect("rspm runs").status.success(),
        "a command that needs no server ignores the variable"
    );
}

#[test]
fn the_address_of_the_local_server_is_accepted() {
    let server = Builder::default().gcfg("[Server]\nAddress = https://packages.example.org/pm").start();
    let output = server.rspm("list --address=https://packages.example.org/pm/");
    assert_eq!(output.code, 0, "{}", output.err);
    let mut command = server.rspm_command("list");
    let output: RspmOutput = command
        .env("PACKAGEMANAGER_ADDRESS", "https://packages.example.org/pm")
        .output()
        .expect("rspm runs")
        .into();
    assert_eq!(output.code, 0, "{}", output.err);
    assert_eq!(server.rspm("list --address=https://packages.example.org").code, 2);
}

#[test]
fn verbose_prints_the_requests_on_standard_error() {
    let server = team();
    let plain_output = server.rspm("list repos");
    assert_eq!((plain_output.code, plain_output.err.as_str()), (0, ""));
    for line in ["-v list repos", "list repos --verbose", "list repos -v --insecure-ssl-skip-verify"] {
        let output = server.rspm(line);
        assert_eq!((output.code, &output.out), (0, &plain_output.out), "{}", output.err);
        assert!(
            output.err.contains("GET /") && output.err.contains("/repos: 200 OK"),
            "{line}: {}",
            output.err
        );
    }
    assert_eq!(server.rspm("list repos --insecure-ssl-skip-verify").err, "");
}
