//! The table of platforms as changed by the configuration file: the list, the status answer, errors.

use serde_json::json;

use crate::support::fixtures;
use crate::support::server::{Builder, Server};

/// Changes to the table of platforms.
const CONFIG: &str = "[Distribution \"fedora42\"]\nDisplay = Fedora 42\nSystem = fedora\nRelease = 42\nArchitecture = arm64\n\
                   [Distribution \"ours\"]\nAlias = rhel9\n[Distribution \"jammy\"]\nRVersion = 4.4\nForceRVersion = yes\n\
                   [Distribution \"noble\"]\nHidden = yes\n[Platforms]\nRVersion = 4.6\nRVersion = 4.5\n\
                   [MacOS \"4.7\"]\nArm64 = sonoma-arm64\n";

#[test]
fn distributions_are_listed_as_text_and_json() {
    let server = Builder::default().gcfg(CONFIG).start();
    let output = server.rspm_stdout("list distributions");
    let line = |name: &str| -> String {
        let line = output.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("{name}: {output}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(output.starts_with("Name"), "{output}");
    assert_eq!(line("fedora42"), "fedora42 Fedora 42 arm64");
    assert!(line("rhel9").starts_with("rhel9 Rocky Linux 9 x86_64, arm64 rockylinux9,"), "{output}");
    assert!(["almalinux9", "centos9", "ours"].iter().all(|alias| output.contains(alias)), "{output}");
    assert_eq!(line("jammy"), "jammy Ubuntu 22.04 (Jammy) x86_64 R 4.4 only");
    assert_eq!(line("noble"), "noble Ubuntu 24.04 (Noble) x86_64, arm64 hidden");
    // Without a terminal each row is one line, however long.
    assert_eq!(line("rhel8"), "rhel8 centos8 Red Hat Enterprise Linux 8 x86_64");

    let all = server.json("list distributions");
    let jammy = all.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == "jammy"));
    let expected = json!({ "name": "jammy", "os": "linux", "url": "jammy", "display": "Ubuntu 22.04 (Jammy)",
        "distribution": "ubuntu", "release": "22.04", "arch": ["x86_64"], "r_version": "4.4", "forced": true,
        "hidden": false, "aliases": [] });
    assert_eq!(jammy, Some(&expected));
}

#[test]
fn the_status_answer_has_a_full_row_for_each_distribution() {
    let server = Builder::default().gcfg(CONFIG).start();
    let status = server.get("/__api__/status").json();
    let rows = status["distros"].as_array().expect("rows");
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).cloned();
    let expected = json!({ "name": "fedora42", "os": "linux", "binaryDisplay": "Fedora 42", "binaryURL": "fedora42",
        "display": "Fedora 42", "distribution": "fedora", "release": "42", "build_distribution": "",
        "sysReqs": false, "binaries": false, "hidden": false, "official_rspm": true, "arch": ["arm64"] });
    assert_eq!(row("fedora42"), Some(expected));
    assert_eq!(row("noble").expect("hidden rows are included")["hidden"], true);
    assert_eq!(row("ours"), None, "an alias has no row");
    assert_eq!(status["r_versions"], json!(["4.6", "4.5"]));
    assert_eq!(status["macos_urls"]["4.7"], json!({ "arm64": "sonoma-arm64" }));
    assert_eq!(status["macos_urls"]["4.1"], json!({ "arm64": "big-sur-arm64", "x86_64": "" }));
}

#[test]
fn a_mistake_in_a_distribution_is_reported_with_file_and_line_and_a_reload_applies_the_corrected_file() {
    let server = Server::start();
    let file = server.config_file();
    let text = std::fs::read_to_string(&file).expect("readable");
    let lines = text.lines().count();
    std::fs::write(&file, format!("{text}[Distribution \"ours\"]\nAlias = rhle9\n")).expect("written");
    let (code, report) = server.check_config();
    let expected = format!(
        "{}:{}:9: [Distribution \"ours\"] Alias = \"rhle9\": is not a Linux distribution, or is itself an alias; did you mean `rhel9`?",
        file.display(),
        lines + 2
    );
    assert!(code != 0 && report.contains(&expected), "{report}\n{expected}");
    std::fs::write(&file, format!("{text}[Distribution \"ours\"]\nAlias = rhel9\n")).expect("written");
    fixtures::create_mirror(&server.dir().join("no-mirror"));
    assert_eq!(server.check_config().0, 0);
    let response = server.admin("POST", "/reload", &serde_json::Value::Null);
    assert_eq!(response.status, 200, "{}", response.text());
    let output = server.rspm_stdout("list distributions");
    assert!(output.contains("ours"), "{output}");
}
