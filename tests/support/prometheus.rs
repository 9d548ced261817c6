//! Parses metrics with the Python library of Prometheus: text that it rejects fails the test.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

/// Families by name: type, and samples by `name{label="value"}`, as they are written in the text.
pub(crate) type Families = BTreeMap<String, (String, BTreeMap<String, f64>)>;

/// Name, type, samples.
type Family = (String, String, Vec<(String, f64)>);

const SCRIPT: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
families = []
for family in parse(sys.stdin.read()):
    assert family.documentation, family
    samples = []
    for sample in family.samples:
        labels = ','.join('%s=%s' % (name, json.dumps(value)) for name, value in sorted(sample.labels.items()))
        samples.append((sample.name + ('{' + labels + '}' if labels else ''), sample.value))
    families.append((family.name, family.type, samples))
json.dump(families, sys.stdout)
";

/// Parses a text.
pub(crate) fn parse(text: &str) -> Families {
    let python = std::env::var("RSPM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut child = Command::new(&python)
        .args(["-c", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{python}: {e}"));
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{python} (pip install prometheus_client): {stderr}\n{text}");
    let families: Vec<Family> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
    families.into_iter().map(|(name, kind, samples)| (name, (kind, samples.into_iter().collect()))).collect()
}
