//! `[Platforms]`, `[Distribution "…"]`, `[MacOS "…"]`: a reload of each property, as reported by the API.

use serde_json::{Value, json};

use crate::support::server::{Builder, Server};

const GCFG: &str = "[Distribution \"fedora42\"]\nDisplay = Fedora 42\nSystem = fedora\nRelease = 42\n";

fn status(server: &Server) -> Value {
    server.get("/__api__/status").json()
}

/// Returns the row of `fedora42` in the list for administrators.
fn row(server: &Server) -> Value {
    let answer = server.call("GET", "/distributions", &Value::Null);
    let rows = answer.as_array().expect("rows");
    rows.iter().find(|row| row["name"] == "fedora42").expect("fedora42").clone()
}

/// Asserts that a reload with `lines` changes the result of `value` to `expected`.
fn assert_becomes(lines: &str, value: impl Fn(&Server) -> Value, expected: &Value) {
    let server = Builder::default().gcfg(GCFG).start();
    assert_ne!(value(&server), *expected, "{lines}");
    let output = server.hup(lines);
    assert!(output.iter().any(|line| line.contains("configuration reloaded; ")), "{output:#?}");
    assert_eq!(value(&server), *expected, "{lines}");
}

fn assert_field_of_fedora(line: &str, field: &str, expected: &Value) {
    assert_becomes(
        &format!("[Distribution \"fedora42\"]\n{line}"),
        |server| row(server)[field].clone(),
        expected,
    );
}

#[test]
pub(super) fn r_version_is_reported() {
    assert_becomes(
        "[Platforms]\nRVersion = 4.6",
        |server| status(server)["r_versions"].clone(),
        &json!(["4.6"]),
    );
}

#[test]
pub(super) fn alias_adds_a_name() {
    let lines = "[Distribution \"ours\"]\nAlias = fedora42";
    assert_becomes(lines, |server| row(server)["aliases"].clone(), &json!(["ours"]));
}

#[test]
pub(super) fn display_is_reported() {
    assert_field_of_fedora("Display = Other", "display", &json!("Other"));
}

#[test]
pub(super) fn os_is_reported() {
    assert_field_of_fedora("OS = windows", "os", &json!("windows"));
}

#[test]
pub(super) fn system_is_reported() {
    assert_field_of_fedora("System = rhel", "distribution", &json!("rhel"));
}

#[test]
pub(super) fn release_is_reported() {
    assert_field_of_fedora("Release = 43", "release", &json!("43"));
}

#[test]
pub(super) fn architecture_is_reported() {
    assert_field_of_fedora("Architecture = arm64", "arch", &json!(["arm64"]));
}

#[test]
pub(super) fn system_requirements_are_reported() {
    let value = |server: &Server| {
        let rows = status(server)["distros"].clone();
        let rows = rows.as_array().expect("rows");
        rows.iter().find(|row| row["name"] == "fedora42").expect("fedora42")["sysReqs"].clone()
    };
    assert_becomes("[Distribution \"fedora42\"]\nSystemRequirements = yes", value, &json!(true));
}

#[test]
pub(super) fn hidden_is_reported() {
    assert_field_of_fedora("Hidden = yes", "hidden", &json!(true));
}

#[test]
pub(super) fn r_version_of_a_distribution_is_reported() {
    assert_field_of_fedora("RVersion = 4.4", "r_version", &json!("4.4"));
}

#[test]
pub(super) fn force_r_version_is_reported() {
    assert_field_of_fedora("RVersion = 4.4\nForceRVersion = yes", "forced", &json!(true));
}

#[test]
pub(super) fn directories_of_macos_are_reported() {
    for (property, arch) in [("Arm64", "arm64"), ("Intel", "x86_64")] {
        let value = |server: &Server| status(server)["macos_urls"]["4.7"].clone();
        assert_becomes(&format!("[MacOS \"4.7\"]\n{property} = sonoma"), value, &json!({ arch: "sonoma" }));
    }
}
