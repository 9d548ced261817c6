//! Invalid variables for inherited sockets: a line in the log, and a server that answers.

use crate::support::server::Builder;

fn started_with(variables: &[(&str, &str)]) -> String {
    let mut builder = Builder::default();
    for (name, value) in variables {
        builder = builder.env(name, value);
    }
    let server = builder.start();
    assert_eq!(server.get("/__ping__").status, 200);
    server.log_lines().join("\n")
}

#[test]
fn listen_fds_that_is_not_a_number_is_reported_and_ignored() {
    for value in ["banana", "-1", "99999999999999", ""] {
        let log = started_with(&[("LISTEN_FDS", value)]);
        assert!(log.contains(&format!("LISTEN_FDS is '{value}', not a number")), "{log}");
    }
}

#[test]
fn missing_descriptors_and_unknown_names_are_reported() {
    let log = started_with(&[("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "http:gopher")]);
    assert!(log.contains("could not use the inherited socket 0, named 'http'"), "{log}");
    assert!(
        log.contains("named 'gopher'") && log.contains("must be http, https, redirect, metrics or admin"),
        "{log}"
    );
}

#[test]
fn sockets_of_another_process_are_not_used() {
    let log = started_with(&[("LISTEN_FDS", "1"), ("LISTEN_PID", "1"), ("LISTEN_FDNAMES", "http")]);
    assert!(!log.contains("inherited"), "{log}");
}
