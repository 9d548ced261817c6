//! Every page of the mirror is read in both formats, and is unchanged after being written and read again.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rstudio_pm::model::project_name::ProjectName;
use rstudio_pm::model::project_page::ProjectStatus;
use rstudio_pm::python::accept::SimpleFormat;
use rstudio_pm::python::file_name::ListedVersions;
use rstudio_pm::python::name;
use rstudio_pm::python::simple::page::{PageFile, ProjectPage};
use rstudio_pm::python::simple::read::{ReadPage, read};
use rstudio_pm::python::simple::{root, write};
use rstudio_pm::python::specifier::Specifiers;
use url::Url;

use crate::support::data;

fn simple() -> PathBuf {
    data::path("pypi-mirror/web/simple")
}

fn projects() -> Vec<ProjectName> {
    let folders = data::files(&simple(), "").into_iter().filter(|name| simple().join(name).is_dir());
    let projects: Vec<ProjectName> = folders.map(|name| name::parse(&name).unwrap()).collect();
    assert!(projects.len() > 2, "{projects:?}");
    projects
}

fn read_page(project: &ProjectName, format: SimpleFormat) -> ReadPage {
    let file = if format == SimpleFormat::Json { "index.v1_json" } else { "index.html" };
    let body = std::fs::read(simple().join(project.as_str()).join(file)).unwrap();
    read_body(project, format, &body)
}

fn read_body(project: &ProjectName, format: SimpleFormat, body: &[u8]) -> ReadPage {
    let url = Url::parse(&format!("https://index.example.org/simple/{project}/")).unwrap();
    read(format, body, &url, project).unwrap_or_else(|error| panic!("{project}: {error}"))
}

/// Returns the properties of a file that both formats of the mirror contain.
fn common_properties(file: &PageFile) -> (String, String, Option<String>, Option<String>, Option<i64>) {
    let yank_reason = file.yanked.as_ref().map(|yank| yank.reason.clone());
    let fields = (file.requires_python.clone(), yank_reason, file.upload_time.map(|time| time.0));
    assert!(file.sha256().is_some() && fields.2.is_some(), "{file:?}");
    (file.url.clone(), file.hashes["sha256"].clone(), fields.0, fields.1, fields.2)
}

#[test]
fn both_formats_of_every_page_list_the_same_files() {
    for project in projects() {
        let json = read_page(&project, SimpleFormat::Json);
        if json.page.status == ProjectStatus::Quarantined {
            assert!(json.page.files.is_empty(), "{project}");
            continue;
        }
        let html = read_page(&project, SimpleFormat::TextHtml);
        assert!(json.skipped_files.is_empty() && html.skipped_files.is_empty(), "{project}");
        let properties = |page: &ProjectPage| page.files.iter().map(common_properties).collect::<Vec<_>>();
        assert_eq!(properties(&json.page), properties(&html.page), "{project}");
        assert!(!json.page.files.is_empty(), "{project}");
    }
}

#[test]
fn pages_are_unchanged_after_writing_and_reading() {
    for project in projects() {
        let page = read_page(&project, SimpleFormat::Json).page;
        let json = write::json(&page).unwrap();
        assert_eq!(read_body(&project, SimpleFormat::Json, &json).page, page);
        let html = read_body(&project, SimpleFormat::Html, write::html(&page).as_bytes()).page;
        let without_json_facts = |file: &PageFile| PageFile { size: None, upload_time: None, ..file.clone() };
        assert_eq!(html.files, page.files.iter().map(without_json_facts).collect::<Vec<_>>(), "{project}");
        assert_eq!((html.status, html.last_serial), (page.status, page.last_serial));
    }
}

#[test]
fn every_file_has_a_version_of_the_page() {
    let mut count = 0;
    for project in projects() {
        let page = read_page(&project, SimpleFormat::Json).page;
        let versions = page.versions.expect("the mirror lists versions");
        let listed = ListedVersions::new(&versions);
        for file in &page.files {
            let version = file.name.version(&project, Some(&listed));
            let version = version.unwrap_or_else(|| panic!("{}: none of {versions:?}", file.name));
            assert!(versions.contains(&version), "{}: {version}", file.name);
            let text = file.requires_python.as_deref().unwrap_or_default();
            assert!(Specifiers::lenient(text).is_some(), "{}: {text}", file.name);
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
}

#[test]
fn the_root_names_every_project_that_is_not_quarantined() {
    let mut json = BTreeSet::new();
    let file = std::fs::File::open(simple().join("index.v1_json")).unwrap();
    let result = root::read_json(file, |entry| assert!(json.insert(entry.name))).unwrap();
    assert_eq!((result.count as usize, result.invalid_count), (json.len(), 0));
    let mut html = BTreeSet::new();
    let body = std::fs::read(simple().join("index.html")).unwrap();
    root::read_html(&body, |entry| assert!(html.insert(entry.name))).unwrap();
    assert_eq!(json, html);
    let is_listed = |project: &ProjectName| {
        read_page(project, SimpleFormat::Json).page.status != ProjectStatus::Quarantined
    };
    assert_eq!(json, projects().into_iter().filter(is_listed).collect());
}
