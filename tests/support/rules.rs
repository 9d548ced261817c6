//! Generated small rule bases of system requirements, as a folder or as an archive.

use std::path::Path;

/// A rule for every Linux: the pattern and the package on Debian and Ubuntu are `name`, elsewhere `{name}-devel`.
fn rule(name: &str) -> String {
    let block = |package: String, names: [&str; 2]| {
        let constraints = names.map(|name| serde_json::json!({ "os": "linux", "distribution": name }));
        serde_json::json!({ "packages": [package], "constraints": constraints })
    };
    let blocks = [
        block(name.to_owned(), ["ubuntu", "debian"]),
        block(format!("{name}-devel"), ["centos", "rockylinux"]),
    ];
    serde_json::json!({ "patterns": [format!("\\b{name}\\b")], "dependencies": blocks }).to_string()
}

const SYSTEMS: &str = r#"[{"os":"linux","distribution":"ubuntu","versions":["22.04","24.04"]}]"#;

/// The files of a base with these rules.
fn files(names: &[&str]) -> Vec<(String, String)> {
    let rules = names.iter().map(|name| (format!("rules/{name}.json"), rule(name)));
    rules.chain([("systems.json".to_owned(), SYSTEMS.to_owned())]).collect()
}

/// Writes a folder with these rules; existing files stay.
pub(crate) fn folder(root: &Path, names: &[&str]) {
    std::fs::create_dir_all(root.join("rules")).expect("a directory");
    for (path, text) in files(names) {
        std::fs::write(root.join(path), text).expect("written");
    }
}

/// A compressed archive of a repository's folder with these rules.
pub(crate) fn archive(names: &[&str]) -> Vec<u8> {
    let gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gz);
    for (path, text) in files(names).into_iter().chain([("README.md".to_owned(), "# Rules".to_owned())]) {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_entry_type(tar::EntryType::Regular);
        tar.append_data(&mut header, format!("rules-main/{path}"), text.as_bytes()).expect("a member");
    }
    tar.into_inner().expect("a tar").finish().expect("a gzip")
}
