//! The dashboard and the alerts in `docs/examples/`: promtool accepts them, their tests pass, and what they name is served.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::fixtures::{create_mirror, until};
use crate::support::prometheus;
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// Labels that Prometheus adds.
const ADDED_LABELS: [&str; 3] = ["job", "instance", "le"];

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(docs().join(path)).expect(path)
}

/// Runs promtool in the folder of the examples; panics with its output if it fails.
fn promtool(arguments: &[&str], input: &[u8]) {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(docs().join("examples"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("promtool: {error}: run tests/setup"));
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "promtool {arguments:?}: {}", text.concat());
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests_pass() {
    promtool(&["check", "rules", "prometheus-rules.yml"], b"");
    promtool(&["test", "rules", "prometheus-rules.test.yml"], b"");
}

#[test]
fn promtool_accepts_the_expressions_of_the_dashboard() {
    let rules: Vec<_> = targets_of_the_dashboard()
        .into_iter()
        .enumerate()
        .map(|(number, (expression, _))| {
            let expression = expression.replace("$__rate_interval", "5m");
            json!({ "record": format!("expression_{number}"), "expr": expression })
        })
        .collect();
    // JSON is YAML, too.
    let file = tempfile::NamedTempFile::new().expect("a file");
    let groups = json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    std::fs::write(file.path(), groups.to_string()).expect("written");
    promtool(&["check", "rules", &file.path().display().to_string()], b"");
}

/// The series that a text names, each with the labels in the braces after it.
fn named_series(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut rest = text;
    while let Some(at) = ["ppm_", "process_"].iter().filter_map(|prefix| rest.find(prefix)).min() {
        let end = rest[at..].find(|c| !is_of_name(c)).map_or(rest.len(), |end| at + end);
        let labels = named.entry(rest[at..end].to_owned()).or_default();
        rest = &rest[end..];
        if let Some(braces) = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()) {
            let names = braces.split(',').filter_map(|matcher| matcher.split(['=', '!', '~']).next());
            labels.extend(names.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
        }
    }
    named
}

/// The labels after `by` and in `{{label}}` of a text.
fn grouping_labels(text: &str) -> BTreeSet<String> {
    let lists = text.split("by (").skip(1).filter_map(|rest| rest.split(')').next());
    let legends = text.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let legends = legends.filter_map(|legend| {
        let name = legend.trim().trim_start_matches("$labels.");
        (!name.contains([' ', '$'])).then_some(name)
    });
    lists.flat_map(|list| list.split(',')).chain(legends).map(|name| name.trim().to_owned()).collect()
}

/// Expression and legend of each query of the dashboard.
fn targets_of_the_dashboard() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&read("examples/grafana-dashboard.json")).expect("JSON");
    let (mut targets, mut ids) = (Vec::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_i64().expect("a number")), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |name: &str| target[name].as_str().expect("a text").to_owned();
            targets.push((text("expr"), text("legendFormat")));
        }
    }
    assert!(targets.len() > 40, "{targets:?}");
    targets
}

/// The alerts: expression, labels and annotations of each.
fn alerts() -> Vec<String> {
    let rules = read("examples/prometheus-rules.yml");
    let code = rules.lines().filter(|line| !line.trim_start().starts_with('#'));
    let code = code.collect::<Vec<_>>().join("\n");
    let alerts: Vec<String> = code.split("- alert: ").skip(1).map(str::to_owned).collect();
    assert!(alerts.len() > 15, "{alerts:?}");
    alerts
}

/// A server with a synced mirror and a local source that have been read, whose storage was measured.
fn used_server() -> Server {
    let mut server = Builder::default().gcfg("[CRAN]\nURL = file://{dir}/mirror").prepare();
    create_mirror(&server.dir().join("mirror"));
    server.launch();
    server.local_repository("team", &[Tarball::new("alpha", "1.0")]);
    server.sync().expect("a sync");
    assert_eq!(server.get("/team/latest/src/contrib/alpha_1.0.tar.gz").status, 200);
    until("the space is measured", || server.metrics().text().contains("ppm_storage_used"));
    until("the schedules are read", || server.metrics().text().contains("ppm_sync_failures_total"));
    server
}

#[test]
fn every_series_of_the_dashboard_and_the_alerts_is_served_or_its_absence_is_explained() {
    let text = used_server().metrics().text();
    promtool(&["check", "metrics"], text.as_bytes());
    let mut served: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, samples) in prometheus::parse(&text).into_values() {
        for sample in samples.into_keys() {
            let (name, labels) = sample.split_once('{').unwrap_or((&sample, ""));
            let labels = labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name);
            served.entry(name.to_owned()).or_default().extend(labels.map(str::to_owned));
        }
    }
    let page = read("admin/metrics.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let mut absent = BTreeSet::new();
    let targets = targets_of_the_dashboard().into_iter();
    let targets = targets.map(|(expression, legend)| format!("{expression} {legend}"));
    for text in targets.chain(alerts()) {
        let mut known: BTreeSet<String> = ADDED_LABELS.map(str::to_owned).into();
        let named = named_series(&text);
        for name in named.keys() {
            let row =
                rows.iter().find(|row| row.contains(&format!("`{}`", name.trim_end_matches("_bucket"))));
            let row = row.unwrap_or_else(|| panic!("{name} is not in docs/admin/metrics.md"));
            match served.get(name) {
                Some(labels) => known.extend(labels.iter().cloned()),
                None => {
                    assert!(row.contains("absent"), "{name} is not served, and {row} does not state why");
                    let labels = row.split(" | ").nth(2).expect("a column of labels");
                    known.extend(labels.split('`').skip(1).step_by(2).map(str::to_owned));
                    absent.insert(name.clone());
                }
            }
        }
        let labels = named.into_values().flatten().chain(grouping_labels(&text));
        let unknown: Vec<String> = labels.filter(|label| !known.contains(label)).collect();
        assert!(unknown.is_empty(), "{unknown:?} are no labels of the series in: {text}");
    }
    let expected = [
        "ppm_backup_last_result",
        "ppm_binary_routing_binary",
        "ppm_binary_routing_distro",
        "ppm_binary_routing_fallback",
        "ppm_history_cosigned_timestamp_seconds",
    ];
    assert_eq!(absent.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

#[test]
fn every_alert_has_a_sentence_and_a_command_that_exists() {
    let server = Server::start();
    for alert in alerts() {
        let value = |key: &str| {
            let line = alert.lines().find_map(|line| line.trim().strip_prefix(key));
            line.unwrap_or_else(|| panic!("{key} {alert}")).trim().trim_matches('"').to_owned()
        };
        assert!(value("summary:").ends_with('.') && value("labels:").contains("severity: "), "{alert}");
        let command = value("command:");
        let Some(arguments) = command.strip_prefix("rspm ") else {
            let program = command.split(' ').next().expect("a word");
            assert!(["systemctl", "journalctl", "df"].contains(&program), "{command}");
            continue;
        };
        let words = arguments.split(' ').take_while(|word| !word.starts_with("--")).collect::<Vec<_>>();
        let output = server.rspm(&format!("{} --help", words.join(" ")));
        assert_eq!(output.code, 0, "{command}: {}", output.err);
        for flag in arguments.split(' ').filter(|word| word.starts_with("--")) {
            let flag = flag.split('=').next().expect("its name");
            assert!(output.out.contains(flag), "{command}: {}", output.out);
        }
    }
}
