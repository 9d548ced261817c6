//! An index of Python packages in a directory, with pages as JSON and as HTML, files and their metadata: the upstream of
//! this server, of nginx and of other servers.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::wheel::Wheel;

/// The paths of a file below the URL of a snapshot of this server.
pub(crate) struct FilePaths {
    pub(crate) file: String,
    pub(crate) metadata: String,
}

/// Writes `simple/`, the list of these projects.
pub(crate) fn write_list(root: &Path, projects: &[&str]) {
    let mut html = String::from("<!DOCTYPE html><html><body>\n");
    let mut entries = Vec::new();
    for project in projects {
        writeln!(html, "<a href=\"{project}/\">{project}</a>").expect("memory");
        entries.push(serde_json::json!({ "_last-serial": 1, "name": project }));
    }
    html.push_str("</body></html>\n");
    let list = serde_json::json!({
        "meta": { "_last-serial": 1, "api-version": "1.4" },
        "projects": entries,
    });
    let folder = root.join("simple");
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("index.v1_json"), list.to_string()).expect("written");
    fs::write(folder.join("index.html"), html).expect("written");
}

/// Writes the page of a project, its files below `packages/` and their metadata. Returns the paths of the first file.
pub(crate) fn write_project(root: &Path, project: &str, wheels: &[Wheel]) -> FilePaths {
    let mut html = String::from("<!DOCTYPE html><html><body>\n");
    let mut entries = Vec::new();
    let mut first = None;
    fs::create_dir_all(root.join("packages")).expect("a folder");
    for Wheel { name, bytes, metadata } in wheels {
        let (digest, metadata_digest) =
            (hex::encode(Sha256::digest(bytes)), hex::encode(Sha256::digest(metadata)));
        let path = root.join("packages").join(name);
        fs::write(&path, bytes).expect("written");
        fs::write(root.join("packages").join(format!("{name}.metadata")), metadata).expect("written");
        writeln!(
            html,
            "<a href=\"../../packages/{name}#sha256={digest}\" data-requires-python=\"&gt;=3.9\" \
             data-core-metadata=\"sha256={metadata_digest}\">{name}</a><br/>"
        )
        .expect("memory");
        entries.push(serde_json::json!({
            "core-metadata": { "sha256": metadata_digest },
            "filename": name,
            "hashes": { "sha256": digest },
            "requires-python": ">=3.9",
            "size": bytes.len(),
            "upload-time": "2024-06-01T00:00:00.000001Z",
            "url": format!("../../packages/{name}"),
            "yanked": false,
        }));
        let file = format!("packages/{digest}/{name}");
        first.get_or_insert(FilePaths { metadata: format!("{file}.metadata"), file });
    }
    html.push_str("</body></html>\n");
    let page = serde_json::json!({
        "files": entries,
        "meta": { "_last-serial": 1, "api-version": "1.4" },
        "name": project,
    });
    let folder = root.join("simple").join(project);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("index.v1_json"), page.to_string()).expect("written");
    fs::write(folder.join("index.html"), html).expect("written");
    first.expect("at least one file")
}
