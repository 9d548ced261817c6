//! An index of devpi: the folder that `devpi-export` wrote, or the JSON of a server. The files of its bases, users and passwords
//! are not read. The time of a file is that of its last upload or push to this index.

use std::path::Path;

use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

use super::events::{Events, http_time, is_package};
use crate::destination::Destination;
use crate::error::OfflineError;
use crate::file::digest_of;
use crate::page::page;
use base::model::import_list::AddedFile;
use base::model::time::Timestamp;
use upstream::{FileRequest, FileResponse, Upstream};

/// The file of an export with the indexes; its maximum size in bytes.
const EXPORT: &str = "dataindex.json";
const MAX_EXPORT: u64 = 256 << 20;

pub(super) async fn read_export(
    upstream: &Upstream,
    root: &Path,
    index: &str,
    events: &mut Events,
) -> Result<(), OfflineError> {
    let url = Destination::open(root)?.url()?;
    let request = FileRequest { path: EXPORT, validators: None, limit: MAX_EXPORT };
    let FileResponse::Body { bytes, .. } = upstream.transport(&url)?.fetch(request).await? else {
        return Ok(());
    };
    let refused = |reason: String| OfflineError::Refused(format!("{}/{EXPORT} {reason}", root.display()));
    // SECURITY: messages must not contain values of this file, which has password hashes.
    let export: Value = serde_json::from_slice(&bytes)
        .map_err(|e| refused(format!("is not JSON: line {}, column {}", e.line(), e.column())))?;
    if !matches!(text(&export["dumpversion"]), "1" | "2") {
        return Err(refused("is of another dumpversion than 1 and 2".to_owned()));
    }
    let Some(files) = export["indexes"].get(index).map(|index| list(&index["files"])) else {
        let names: Vec<&String> =
            export["indexes"].as_object().into_iter().flat_map(|all| all.keys()).collect();
        return Err(OfflineError::Usage(format!("--index {index}: the export has {names:?}")));
    };
    let mirror = upstream.mirror(&url)?;
    for file in files {
        let (relative, entry) = (text(&file["relpath"]), &file["entrymapping"]);
        if let Some(why) = refusal(text(&file["type"]), relative) {
            events.lose(relative, why)?;
            continue;
        }
        // Refuses links and paths that lead out of the folder.
        let opened = match mirror.open_in_place(relative).await {
            Ok(opened) => opened,
            Err(error) => {
                events.lose(relative, error.to_string())?;
                continue;
            }
        };
        let to_error = |e| OfflineError::destination("read", &opened.path, e);
        let sha256 = digest_of(&opened.path).map_err(to_error)?.to_string();
        if digest(entry, "sha256").is_some_and(|declared| declared != sha256) {
            events.lose(relative, "its sha256 is not that of the export: the file is damaged")?;
            continue;
        }
        events.add(AddedFile {
            from: Some(relative.to_owned()),
            sha256: Some(sha256),
            md5: digest(entry, "md5"),
            size: Some(opened.metadata.len()),
            ..added(relative, index, list(&file["log"]), http_time(text(&entry["last_modified"])))
        })?;
    }
    Ok(())
}

/// Reads an index of a server: `https://host/user/index`.
pub(super) async fn read_server(
    upstream: &Upstream,
    origin: &str,
    events: &mut Events,
) -> Result<(), OfflineError> {
    let url = Url::parse(&format!("{}/", origin.trim_end_matches('/'))).ok();
    let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) else {
        let text = "a folder needs --index user/index (rspm import from-devpi DIR … -- --index user/index)";
        return Err(OfflineError::Usage(text.to_owned()));
    };
    let mut parts: Vec<&str> = url.path().trim_matches('/').rsplitn(3, '/').take(2).collect();
    parts.reverse();
    let (index, transport) = (parts.join("/"), upstream.transport(origin.trim_end_matches('/'))?);
    let no_index = |path: &str| {
        let address = transport.address();
        OfflineError::Refused(format!("{address}/{path} is no index of devpi: give https://host/user/index"))
    };
    let result = async |path: &str| {
        let page = page(&transport, path, "application/json").await?.unwrap_or_default();
        let answer: Option<Value> = serde_json::from_slice(&page).ok();
        answer.and_then(|mut answer| answer.get_mut("result").map(Value::take)).ok_or_else(|| no_index(path))
    };
    // The server and its users have answers, too.
    for project in result("").await?["projects"].as_array().ok_or_else(|| no_index(""))? {
        let versions = result(text(project)).await?;
        let versions = versions.as_object().into_iter().flat_map(|versions| versions.values());
        for link in versions.flat_map(|version| list(&version["+links"])) {
            // Other links lead to the files of bases.
            let href = Url::parse(text(&link["href"])).ok();
            let Some(path) = href.as_ref().and_then(|href| href.path().strip_prefix(url.path())) else {
                continue;
            };
            let name = percent_decode_str(path).decode_utf8_lossy();
            match refusal(text(&link["rel"]), &name) {
                Some(why) => events.lose(path, why)?,
                None => events.add(AddedFile {
                    from: Some(format!("{}/{path}", transport.address())),
                    sha256: digest(link, "sha256"),
                    md5: digest(link, "md5"),
                    ..added(&name, &index, list(&link["log"]), None)
                })?,
            }
        }
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns why an object cannot be imported.
fn refusal(kind: &str, path: &str) -> Option<&'static str> {
    match (kind, is_package(path)) {
        ("releasefile", Ok(true)) => None,
        ("releasefile", Err(why)) => Some(why),
        ("doczip", _) => Some("is documentation, and not a package"),
        ("toxresult", _) => Some("is a test result, and not a package"),
        _ => Some("is not a package"),
    }
}

/// Returns the digest of an entry or link; old versions state only one.
fn digest(entry: &Value, algorithm: &str) -> Option<String> {
    let stated = text(&entry["hash_spec"]).strip_prefix(algorithm).and_then(|rest| rest.strip_prefix('='));
    let digests = [entry["hashes"][algorithm].as_str(), stated, entry[algorithm].as_str()];
    digests.into_iter().flatten().next().map(str::to_owned)
}

fn added(path: &str, index: &str, log: &[Value], modified: Option<Timestamp>) -> AddedFile {
    let entry = log.iter().rev().find(|entry| entry["dst"] == index);
    let (at, exact) = match entry.and_then(|entry| time(list(&entry["when"]))) {
        Some(at) => (Some(at), "log"),
        None => (modified, "last_modified"),
    };
    let note = entry.and_then(|entry| Some(format!("uploaded by {}", entry["who"].as_str()?)));
    AddedFile { note, ..AddedFile::new(path.rsplit('/').next().unwrap_or_default(), at, exact) }
}

/// Parses year, month, day, hour, minute, second in UTC.
fn time(when: &[Value]) -> Option<Timestamp> {
    let parts: Vec<i64> = when.iter().filter_map(Value::as_i64).collect();
    let [year, month, day, hour, minute, second] = parts[..] else { return None };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z").parse().ok()
}
