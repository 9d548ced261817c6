//! Generated small advisories, in every form in which they are published.

use std::path::Path;

use serde_json::{Value, json};

use super::mirror::Mirror;
use super::zip;

/// An advisory about a package: every version before `fixed` is vulnerable.
pub(crate) fn record(id: &str, ecosystem: &str, package: &str, fixed: &str) -> Value {
    json!({
        "id": id, "modified": "2024-05-06T07:08:09Z", "published": "2024-05-01T00:00:00Z",
        "summary": format!("{package} is not safe"), "affected": [{
            "package": { "ecosystem": ecosystem, "name": package },
            "ranges": [{ "type": "ECOSYSTEM", "events": [{ "introduced": "0" }, { "fixed": fixed }] }]
        }]
    })
}

/// Returns the record with a different time of modification.
pub(crate) fn with_modified(mut record: Value, time: &str) -> Value {
    record["modified"] = json!(time);
    record
}

fn id(record: &Value) -> &str {
    record["id"].as_str().expect("an id")
}

/// Writes each record as a separate file; existing files stay.
pub(crate) fn folder(root: &Path, records: &[Value]) {
    std::fs::create_dir_all(root.join("vulns/x")).expect("a directory");
    for record in records {
        let file = root.join(format!("vulns/x/{}.json", id(record)));
        std::fs::write(file, serde_json::to_vec_pretty(record).expect("JSON")).expect("written");
    }
}

/// The records as JSON lines.
pub(crate) fn lines(records: &[Value]) -> String {
    records.iter().map(|record| format!("{record}\n")).collect()
}

/// A compressed archive of a repository with these records and with files that are not advisories.
pub(crate) fn archive(records: &[Value]) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    let files = records.iter().map(|record| (format!("vulns/x/{}.json", id(record)), record.to_string()));
    let other_files = ["README.md", "triage/false_positives.yaml", ".github/CI-1.yaml", "osv-schema.json"]
        .map(|path| (path.to_owned(), "- [".to_owned()));
    for (path, text) in files.chain(other_files) {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, format!("database-main/{path}"), text.as_bytes()).expect("a member");
    }
    tar.into_inner().expect("a tar").finish().expect("a gzip")
}

/// The `all.zip` of these records, as the OSV database publishes it.
pub(crate) fn all_zip(records: &[Value]) -> Vec<u8> {
    let members: Vec<_> =
        records.iter().map(|record| (format!("{}.json", id(record)), record.to_string())).collect();
    zip::streamed(&members)
}

/// The `modified_id.csv` of these records: time of modification and id of each.
pub(crate) fn listing(records: &[Value]) -> String {
    let row = |record: &Value| format!("{},{}\n", record["modified"].as_str().expect("a time"), id(record));
    records.iter().map(row).collect()
}

/// Publishes the folder of an ecosystem, in the layout of the OSV database.
pub(crate) fn publish(mirror: &Mirror, ecosystem: &str, records: &[Value]) {
    mirror.put(&format!("osv/{ecosystem}/all.zip"), all_zip(records));
    publish_changes(mirror, ecosystem, records);
}

/// [`publish`] without `all.zip`, which stays unchanged.
pub(crate) fn publish_changes(mirror: &Mirror, ecosystem: &str, records: &[Value]) {
    for record in records {
        mirror.put(&format!("osv/{ecosystem}/{}.json", id(record)), record.to_string());
    }
    mirror.put(&format!("osv/{ecosystem}/modified_id.csv"), listing(records));
}
