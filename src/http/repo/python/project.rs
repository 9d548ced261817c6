//! Projects in the form of PyPI's JSON API: `info`, files and vulnerabilities, for documents and the public API.

use serde_json::{Map, Value, json};

use base::model::kind::Language;
use base::model::project_name::ProjectName;
use base::model::project_page::FileDescription;
use base::model::project_path::{FilePart, encoded, root_link};
use content::serve::project::detail::{ProjectDetail, ProjectRelease};
use formats::advisory::{Finding, RangeEventKind};
use formats::language;
use formats::python::facts::FileFacts;
use formats::python::file_name::{FileKind, FileName};
use formats::python::metadata::Metadata;
use formats::python::wheel_name::WheelName;
use store::db::project_file::ListedFile;

/// The snapshot of a repository, for absolute links.
#[derive(Clone, Debug)]
pub(in crate::http) struct Base {
    /// The URL of the server, without a slash at its end.
    pub(in crate::http) server: String,
    /// `{repository}/{snapshot}`.
    pub(in crate::http) repository: String,
}

/// Returns `info`: the metadata of the release, else the facts of its files and `null`.
pub(in crate::http) fn info(detail: &ProjectDetail, metadata: Option<&Metadata>, base: &Base) -> Value {
    let ProjectDetail { project, release, .. } = detail;
    let text =
        |field: fn(&Metadata) -> &Option<String>| metadata.and_then(|metadata| field(metadata).clone());
    let list = |field: fn(&Metadata) -> &Vec<String>| {
        metadata.map(field).filter(|values| !values.is_empty()).cloned()
    };
    let description = release.descriptions().reduce(FileDescription::or).unwrap_or_default();
    let yanked = release.yanked();
    let license =
        metadata.and_then(|metadata| metadata.license.clone().or_else(|| metadata.license_summary()));
    let url = format!("{}/{}", base.server, base.repository);
    let directory = language::of(release.language).nouns().directory;
    let project_url = format!("{url}/{directory}/{project}/");
    json!({
        "author": text(|metadata| &metadata.author),
        "author_email": text(|metadata| &metadata.author_email),
        "bugtrack_url": null,
        "classifiers": list(|metadata| &metadata.classifiers).unwrap_or_default(),
        "description": text(|metadata| &metadata.description),
        "description_content_type": text(|metadata| &metadata.description_content_type),
        "docs_url": null,
        "download_url": text(|metadata| &metadata.download_url),
        "downloads": { "last_day": -1, "last_month": -1, "last_week": -1 },
        "dynamic": list(|metadata| &metadata.dynamic),
        "home_page": text(|metadata| &metadata.home_page),
        "keywords": text(|metadata| &metadata.keywords),
        "license": license,
        "license_expression": text(|metadata| &metadata.license_expression),
        "license_files": list(|metadata| &metadata.license_files),
        "maintainer": text(|metadata| &metadata.maintainer),
        "maintainer_email": text(|metadata| &metadata.maintainer_email),
        "name": detail.display_name,
        "package_url": project_url,
        "platform": list(|metadata| &metadata.platforms).map(|platforms| platforms.join(",")),
        "project_url": project_url,
        "project_urls": metadata.and_then(project_urls),
        "provides_extra": list(|metadata| &metadata.provides_extra),
        "release_url": format!("{url}/pypi/{}", json_link(project, Some(&release.version))),
        "requires_dist": list(|metadata| &metadata.requires_dist),
        "requires_python": description.requires.or_else(|| text(|metadata| &metadata.requires_python)),
        "summary": description.summary.or_else(|| text(|metadata| &metadata.summary)),
        "version": release.version,
        "yanked": yanked.is_some(),
        "yanked_reason": yanked.filter(|reason| !reason.is_empty()),
    })
}

/// Returns the address of a document relative to the directory `pypi/` of the snapshot.
pub(super) fn json_link(project: &ProjectName, version: Option<&str>) -> String {
    match version {
        None => format!("{project}/json"),
        Some(version) => format!("{project}/{}/json", encoded(version)),
    }
}

/// Returns the URLs of a project by label. `Home-page` and `Download-URL` have the labels that PyPI uses for them.
fn project_urls(metadata: &Metadata) -> Option<Value> {
    let mut urls = Map::new();
    let older = [("Homepage", &metadata.home_page), ("Download", &metadata.download_url)];
    for (label, url) in older {
        if let Some(url) = url {
            urls.insert(label.to_owned(), Value::from(url.as_str()));
        }
    }
    for (label, url) in &metadata.project_urls {
        urls.insert(label.clone(), Value::from(url.as_str()));
    }
    (!urls.is_empty()).then(|| Value::from(urls))
}

pub(in crate::http) fn releases(releases: &[ProjectRelease], base: &Base) -> Value {
    let release = |release: &ProjectRelease| (release.version.clone(), files(release, base));
    Value::from(releases.iter().map(release).collect::<Map<String, Value>>())
}

pub(in crate::http) fn files(release: &ProjectRelease, base: &Base) -> Value {
    release.files.iter().map(|listed| file(listed, release.language, base)).collect()
}

fn file(file: &ListedFile, language: Language, base: &Base) -> Value {
    let facts = FileFacts::read(&file.facts);
    let name = FileName::parse(&file.name).ok();
    let is_wheel = name.as_ref().is_some_and(|name| name.kind() == FileKind::Wheel);
    let python = if is_wheel { wheel_python(&file.name) } else { "source".to_owned() };
    let uploaded_at = facts.upload_time().or_else(|| language::of(language).uploaded_at(&file.facts));
    let uploaded_at = uploaded_at.map(|at| at.to_string());
    let url = format!("{}/{}", base.server, root_link(&base.repository, file.sha256, &file.name));
    json!({
        "comment_text": null,
        "digests": { "sha256": file.sha256.to_string() },
        "downloads": -1,
        "filename": file.name,
        "has_sig": facts.has_signature,
        "packagetype": name.as_ref().map(|name| name.kind().package_type()),
        "provenance": facts.has_provenance().then(|| format!("{url}{}", FilePart::Provenance.suffix())),
        "python_version": python,
        "requires_python": facts.requires_python,
        "size": u64::try_from(file.size).ok(),
        // Without fractions of a second and time zone, as on PyPI.
        "upload_time": uploaded_at.as_deref().and_then(|text| text.split(['.', 'Z']).next()),
        "upload_time_iso_8601": uploaded_at,
        "url": url,
        "yanked": file.yanked.is_some(),
        "yanked_reason": file.yanked.as_deref().filter(|reason| !reason.is_empty()),
    })
}

/// Returns the Python tag in the file name of a wheel, such as `py3` or `py2.py3`.
fn wheel_python(name: &str) -> String {
    let tags = WheelName::parse(name).map(|_| name.trim_end_matches(".whl").rsplit('-').nth(2));
    tags.ok().flatten().unwrap_or_default().to_owned()
}

/// Returns the versions that fix a vulnerability, in the order of the advisory.
pub(in crate::http) fn fixed_in(finding: &Finding<'_>) -> Vec<String> {
    let versions = finding.ranges.iter().filter(|range| &*range.kind != "GIT");
    let fixes =
        versions.flat_map(|range| range.events.iter()).filter(|event| event.kind == RangeEventKind::Fixed);
    let mut fixed: Vec<String> = Vec::new();
    for event in fixes {
        if !fixed.iter().any(|version| **version == *event.version) {
            fixed.push(event.version.to_string());
        }
    }
    fixed
}

/// Returns `vulnerabilities`. The texts of advisories are not in memory, so `details` is the summary.
pub(in crate::http) fn vulnerabilities(findings: &[Finding<'_>]) -> Value {
    let vulnerability = |finding: &Finding<'_>| {
        json!({
            "aliases": finding.aliases,
            "details": finding.summary.unwrap_or_default(),
            "fixed_in": fixed_in(finding),
            "id": finding.id,
            "link": format!("https://osv.dev/vulnerability/{}", finding.id),
            "source": "osv",
            "summary": finding.summary,
            "withdrawn": null,
        })
    };
    findings.iter().map(vulnerability).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::{SourceId, TreeId};
    use formats::advisory::{Range, RangeEvent};

    fn base(repository: &str) -> Base {
        Base { server: "http://host".to_owned(), repository: repository.to_owned() }
    }

    fn detail() -> ProjectDetail {
        let release =
            ProjectRelease { language: Language::Python, version: "1.0+x".to_owned(), files: Vec::new() };
        ProjectDetail {
            project: ProjectName::folded("odd-name"),
            display_name: "Odd.Name".to_owned(),
            source: SourceId(1),
            tree: TreeId(1),
            changed_at: None,
            open: false,
            serial: None,
            releases: vec![release.clone()],
            release,
        }
    }

    #[test]
    fn info_has_the_keys_and_the_form_of_pypi() {
        let text = "Metadata-Version: 2.4\nName: Odd.Name\nVersion: 1.0+x\nLicense-Expression: mit\nSummary: s\n\
            Classifier: A :: B\nRequires-Dist: x; extra == 'y'\nProject-URL: Source, https://example.org/s\n\
            Home-page: https://example.org\n\nText.\n";
        let metadata = Metadata::parse(text.as_bytes()).expect("metadata");
        let info = info(&detail(), Some(&metadata), &base("py/latest"));
        for (key, value) in [
            ("name", json!("Odd.Name")),
            ("version", json!("1.0+x")),
            ("license", json!("MIT")),
            ("license_expression", json!("mit")),
            ("summary", json!("s")),
            ("classifiers", json!(["A :: B"])),
            ("requires_dist", json!(["x; extra == 'y'"])),
            ("provides_extra", Value::Null),
            ("project_urls", json!({"Source": "https://example.org/s", "Homepage": "https://example.org"})),
            ("release_url", json!("http://host/py/latest/pypi/odd-name/1.0%2Bx/json")),
            ("yanked", json!(false)),
        ] {
            assert_eq!(info[key], value, "{key}");
        }
    }

    #[test]
    fn versions_in_links_are_encoded() {
        let project = ProjectName::folded("odd-name");
        assert_eq!(json_link(&project, None), "odd-name/json");
        assert_eq!(json_link(&project, Some("1.0+x?#/")), "odd-name/1.0%2Bx%3F%23%2F/json");
    }

    #[test]
    fn vulnerabilities_have_the_form_of_pypi() {
        let range = |kind: &str, fixed: &[&str]| Range {
            kind: kind.into(),
            events: fixed
                .iter()
                .map(|version| RangeEvent { kind: RangeEventKind::Fixed, version: (*version).into() })
                .collect(),
        };
        let ranges =
            [range("ECOSYSTEM", &["1.2", "2.0"]), range("GIT", &["0a1b"]), range("ECOSYSTEM", &["2.0"])];
        let finding = Finding {
            id: "PYSEC-1",
            aliases: vec!["CVE-1"],
            summary: Some("it is not safe"),
            published: None,
            modified: None,
            severity: Vec::new(),
            ranges: ranges.iter().collect(),
        };
        assert_eq!(
            vulnerabilities(&[finding]),
            json!([{
                "aliases": ["CVE-1"], "details": "it is not safe", "fixed_in": ["1.2", "2.0"], "id": "PYSEC-1",
                "link": "https://osv.dev/vulnerability/PYSEC-1", "source": "osv", "summary": "it is not safe",
                "withdrawn": null
            }])
        );
    }

    #[test]
    fn info_without_metadata_has_every_key() {
        let metadata = Metadata::default();
        let base = base("r/1");
        let (with, without) = (info(&detail(), Some(&metadata), &base), info(&detail(), None, &base));
        let keys = |value: &Value| value.as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&with), keys(&without));
        assert_eq!((&without["license"], &without["project_urls"]), (&Value::Null, &Value::Null));
    }
}
