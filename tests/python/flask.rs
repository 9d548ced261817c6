//! A mirror with flask, requests and their dependencies: the released ones if the test data has them, otherwise small
//! packages with the same names, versions, days of upload and requirements. Tests expect the same of both.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::pypi::hex;
use crate::support::python::package::Package;

/// A project, and the version, the day of the upload and the requirements of each release.
type Project = (&'static str, &'static [(&'static str, &'static str, &'static [&'static str])]);

/// A part of the releases: for each state that a test resolves, the versions that it selects, and older and newer ones.
const PROJECTS: [Project; 12] = [
    ("blinker", &[("1.9.0", "2024-11-08", &[])]),
    (
        "certifi",
        &[
            ("2020.4.5.2", "2020-06-04", &[]),
            ("2020.6.20", "2020-06-20", &[]),
            ("2020.11.8", "2020-11-08", &[]),
        ],
    ),
    ("chardet", &[("3.0.4", "2017-06-08", &[]), ("4.0.0", "2020-12-10", &[])]),
    (
        "click",
        &[
            ("7.1.1", "2020-03-09", &[]),
            ("7.1.2", "2020-04-27", &[]),
            ("8.0.0", "2021-05-11", &[]),
            ("8.5.1", "2025-02-01", &[]),
        ],
    ),
    (
        "flask",
        &[
            (
                "1.1.1",
                "2019-07-08",
                &["Werkzeug (>=0.15)", "Jinja2 (>=2.10.1)", "itsdangerous (>=0.24)", "click (>=5.1)"],
            ),
            (
                "1.1.2",
                "2020-04-03",
                &["Werkzeug (>=0.15)", "Jinja2 (>=2.10.1)", "itsdangerous (>=0.24)", "click (>=5.1)"],
            ),
            (
                "2.0.0",
                "2021-05-11",
                &["Werkzeug (>=2.0)", "Jinja2 (>=3.0)", "itsdangerous (>=2.0)", "click (>=7.1.2)"],
            ),
            (
                "3.1.3",
                "2025-08-19",
                &[
                    "blinker>=1.9.0",
                    "click>=8.1.3",
                    "itsdangerous>=2.2.0",
                    "jinja2>=3.1.2",
                    "markupsafe>=2.1.1",
                    "werkzeug>=3.1.0",
                ],
            ),
        ],
    ),
    ("idna", &[("2.9", "2020-02-16", &[]), ("2.10", "2020-06-27", &[]), ("3.0", "2021-01-01", &[])]),
    (
        "itsdangerous",
        &[("1.1.0", "2018-10-27", &[]), ("2.0.0", "2021-05-11", &[]), ("2.2.0", "2024-04-16", &[])],
    ),
    (
        "jinja2",
        &[
            ("2.11.2", "2020-04-13", &["MarkupSafe (>=0.23)"]),
            ("2.11.3", "2021-01-31", &["MarkupSafe (>=0.23)"]),
            ("3.1.6", "2025-03-05", &["MarkupSafe>=2.0"]),
        ],
    ),
    (
        "markupsafe",
        &[("1.1.1", "2019-02-24", &[]), ("2.0.0", "2021-05-11", &[]), ("3.0.4", "2025-01-01", &[])],
    ),
    (
        "requests",
        &[
            (
                "2.24.0",
                "2020-06-17",
                &[
                    "chardet (<4,>=3.0.2)",
                    "idna (<3,>=2.5)",
                    "urllib3 (!=1.25.0,!=1.25.1,<1.26,>=1.21.1)",
                    "certifi (>=2017.4.17)",
                ],
            ),
            (
                "2.25.0",
                "2020-11-11",
                &[
                    "chardet (<4,>=3.0.2)",
                    "idna (<3,>=2.5)",
                    "urllib3 (<1.27,>=1.21.1)",
                    "certifi (>=2017.4.17)",
                ],
            ),
        ],
    ),
    (
        "urllib3",
        &[
            ("1.25.8", "2020-01-20", &[]),
            ("1.25.9", "2020-04-16", &[]),
            ("1.25.10", "2020-07-22", &[]),
            ("1.26.0", "2020-11-10", &[]),
        ],
    ),
    ("werkzeug", &[("1.0.1", "2020-03-31", &[]), ("2.0.0", "2021-05-11", &[]), ("3.1.9", "2025-02-01", &[])]),
];

/// Whether a mirror has the released flask.
fn is_released(web: &Path) -> bool {
    web.join("simple/werkzeug/index.v1_json").exists()
}

/// Returns the root of a mirror with the METADATA that its pages state; it is written to a folder. `data` is the mirror
/// of the test data.
pub(crate) fn mirror(data: &Path, folder: &Path) -> PathBuf {
    let web = folder.join("web");
    if !is_released(data) {
        return write(&web, true);
    }
    // METADATA is in an archive.
    let mut copy = Command::new("cp");
    copy.args(["-r", "--no-preserve=mode"]).arg(data).arg(&web);
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(data.with_file_name("metadata.tar.gz")).arg("-C").arg(&web);
    for mut command in [copy, unpack] {
        assert!(command.status().expect("a program").success(), "{command:?}");
    }
    web
}

/// Returns the root of a mirror whose pages state METADATA that it does not have, as partial mirrors do.
pub(crate) fn mirror_without_metadata(data: PathBuf, folder: &Path) -> PathBuf {
    if is_released(&data) { data } else { write(&folder.join("web"), false) }
}

/// Writes the small packages as a mirror.
fn write(web: &Path, has_metadata: bool) -> PathBuf {
    let put = |path: PathBuf, bytes: &[u8]| {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
    };
    let mut names = Vec::new();
    for (project, releases) in PROJECTS {
        let mut files = Vec::new();
        for (version, day, requirements) in releases {
            let package = Package::new(project, version);
            let package = requirements.iter().fold(package, |package, text| package.requires(text));
            let (name, wheel, metadata) = (package.wheel_name(), package.wheel(), package.metadata());
            put(web.join("packages").join(&name), &wheel);
            if has_metadata {
                put(web.join("packages").join(format!("{name}.metadata")), metadata.as_bytes());
            }
            files.push(json!({
                "filename": name, "url": format!("../../packages/{name}"), "hashes": { "sha256": hex(&wheel) },
                "size": wheel.len(), "upload-time": format!("{day}T12:00:00Z"),
                "core-metadata": { "sha256": hex(metadata.as_bytes()) },
            }));
        }
        let versions: Vec<&str> = releases.iter().map(|(version, ..)| *version).collect();
        let page = json!({ "meta": { "api-version": "1.4" }, "name": project, "versions": versions, "files": files });
        put(web.join("simple").join(project).join("index.v1_json"), page.to_string().as_bytes());
        names.push(json!({ "name": project }));
    }
    let root = json!({ "meta": { "api-version": "1.4" }, "projects": Value::from(names) });
    put(web.join("simple/index.v1_json"), root.to_string().as_bytes());
    web.to_owned()
}
