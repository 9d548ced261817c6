//! A language for tests, in debug builds only: text files with a name and a version, on an index of plain text. It shows what a
//! language with projects must state.
//!
//! A file `{name}-{version}.sample` begins with the line `{name} {version}`. A list has lines `{name} {serial}`, without serials on
//! this server; a page has a line `[{name}] {serial}`, and one for each file: `{address} {version} {sha256} {size} {upload time}`,
//! with `-` for an unknown value, and for a yanked file `yanked {reason}`. An index answers `POST sample/pages` with the pages
//! of the projects in the body. The stored facts of a file are its upload time.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read};

use url::Url;

use super::{
    Ecosystem, FileBytes, IndexAddresses, IndexRequest, Nouns, ProjectBundle, ProjectFiles, ProjectIndex,
    ProjectPaths, Projects, RequestBody, Rules, Version,
};
use base::model::locked_version::ExactVersions;
use base::model::project_name::{BadProjectName, ProjectName};
use base::model::project_page::{
    CheckedFile, ListSummary, ListedName, MetadataFile, PageFormat, PageHead, ProjectStatus, ServedFile,
    UpstreamFile, UpstreamPage,
};
use base::model::project_path;
use base::model::time::Timestamp;

pub(super) struct Sample;

const FORMAT: PageFormat =
    PageFormat { media_type: "text/plain; charset=utf-8", extension: "txt", etag_suffix: "" };
const EXTENSION: &str = ".sample";

/// Splits the name of a file into the name and the version of its package.
fn split(file: &str) -> Option<(&str, &str)> {
    let (name, version) = file.strip_suffix(EXTENSION)?.rsplit_once('-')?;
    let is_version = Sample.version(version).is_valid();
    (Sample.is_name(name, false) && is_version).then_some((name, version))
}

impl Rules for Sample {
    fn nouns(&self) -> &'static Nouns {
        &Nouns {
            a_package: "a sample package",
            a_repository: "a sample repository",
            name_characters: "lower-case letters, digits and '-', and begins with a letter",
            directory: "sample",
            lock_files: "lines with a name and a version",
        }
    }

    fn fold<'a>(&self, name: &'a str) -> Cow<'a, str> {
        Cow::Owned(name.to_ascii_lowercase())
    }

    fn project_name(&self, text: &str) -> Result<ProjectName, BadProjectName> {
        if self.is_name(text, false) {
            Ok(ProjectName::folded(self.fold(text)))
        } else {
            Err(BadProjectName::new(
                text,
                "a sample package: use letters, digits and '-', beginning with a letter",
            ))
        }
    }

    fn has_similar_names(&self) -> bool {
        false
    }

    fn is_name(&self, text: &str, is_prefix: bool) -> bool {
        text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_alphabetic())
            && (is_prefix || !text.ends_with('-'))
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    }

    fn version<'a>(&self, text: &'a str) -> Version<'a> {
        Version::Numbers(Cow::Borrowed(text))
    }

    fn may_choose(&self, license: &str, is_accepted: &dyn Fn(&str) -> bool) -> bool {
        is_accepted(license)
    }

    fn states_licenses(&self) -> bool {
        false
    }

    fn exact_versions(&self, file: &[u8]) -> Result<ExactVersions, String> {
        let text = String::from_utf8_lossy(file);
        let packages = text.lines().filter_map(|line| line.split_once(' '));
        let packages = packages.map(|(name, version)| (name.to_owned(), version.to_owned())).collect();
        Ok(ExactVersions { packages, skipped: Vec::new() })
    }

    fn ecosystems(&self) -> &'static [Ecosystem] {
        &[]
    }

    fn uploaded_at(&self, facts: &[u8]) -> Option<Timestamp> {
        std::str::from_utf8(facts).ok()?.parse().ok()
    }

    fn projects(&self) -> Option<&'static dyn Projects> {
        Some(&Sample)
    }
}

impl ProjectPaths for Sample {}

impl ProjectFiles for Sample {
    fn stem<'a>(&self, file: &'a str) -> &'a str {
        file.strip_suffix(EXTENSION).unwrap_or(file)
    }

    fn check_name(&self, file: &str) -> Result<(), String> {
        split(file).map(drop).ok_or_else(|| {
            format!("'{}' is not the name of a sample file: {{name}}-{{version}}.sample", file.escape_debug())
        })
    }

    fn check(&self, file: &str, bytes: &mut dyn FileBytes) -> Result<CheckedFile, String> {
        self.check_name(file)?;
        let ((name, version), mut line) = (split(file).unwrap_or_default(), Vec::new());
        let mut start = BufReader::new(bytes).take(1024);
        start.read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
        let line = String::from_utf8_lossy(line.trim_ascii_end());
        if line != format!("{name} {version}") {
            return Err(format!("its first line is '{}', not '{name} {version}'", line.escape_debug()));
        }
        let (project, version) = (ProjectName::folded(self.fold(name)), version.to_owned());
        Ok(CheckedFile { project, version, facts: Vec::new(), metadata: None, notices: Vec::new() })
    }

    fn with_upload_time(&self, _facts: &[u8], time: Timestamp) -> Vec<u8> {
        time.to_string().into_bytes()
    }
}

impl ProjectIndex for Sample {
    fn addresses(&self) -> &'static IndexAddresses {
        &IndexAddresses {
            accept: "text/plain",
            folders: &["sample"],
            files: &[("index.txt", "text/plain")],
            file_hosts: &[],
        }
    }

    fn batch(&self) -> usize {
        10
    }

    fn request(&self, folder: &str, projects: &[ProjectName]) -> IndexRequest {
        let names: String = projects.iter().map(|project| format!("{project}\n")).collect();
        let body = RequestBody { media_type: "text/plain", bytes: names.into_bytes() };
        IndexRequest { path: format!("{folder}/pages"), body: Some(body) }
    }

    fn read_list(
        &self,
        _media_type: Option<&str>,
        body: &mut dyn Read,
        on_project: &mut dyn FnMut(ListedName<'_>),
    ) -> Result<ListSummary, String> {
        let mut list = ListSummary::default();
        for line in BufReader::new(body).lines() {
            let line = line.map_err(|error| error.to_string())?;
            let (name, serial) = line.split_once(' ').unwrap_or((&line, ""));
            let serial = serial.parse().ok();
            match self.project_name(name) {
                Ok(folded) => on_project(ListedName { name: folded.as_str(), display: name, serial }),
                Err(_) if line.starts_with('<') => return Err("is HTML, not a list of names".to_owned()),
                Err(_) => {
                    list.invalid_count += 1;
                    list.first_invalid.get_or_insert(line.chars().take(120).collect());
                }
            }
        }
        Ok(list)
    }

    fn read_page(
        &self,
        _media_type: Option<&str>,
        body: &[u8],
        url: &Url,
        projects: &[ProjectName],
    ) -> Result<Vec<UpstreamPage>, String> {
        let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
        let mut pages: Vec<UpstreamPage> = Vec::new();
        for line in text.lines() {
            let head = line.strip_prefix('[').and_then(|line| line.split_once("] "));
            match (head, pages.last_mut(), read_file(line, url)) {
                (Some((name, serial)), ..) => {
                    pages.push(page_of(ProjectName::folded(name), serial.parse().ok()));
                }
                (None, Some(page), Some(file)) => page.files.push(file),
                (None, ..) => return Err("is not a page of sample packages".to_owned()),
            }
        }
        pages.retain(|page| projects.contains(&page.project));
        Ok(pages)
    }
}

fn page_of(project: ProjectName, serial: Option<u64>) -> UpstreamPage {
    let (status, status_reason) = (ProjectStatus::Active, None);
    UpstreamPage { project, serial, status, status_reason, files: Vec::new(), skipped_files: Vec::new() }
}

/// Reads a line of a page; `None` if it does not name a file.
fn read_file(line: &str, url: &Url) -> Option<UpstreamFile> {
    let mut fields = line.splitn(7, ' ');
    let mut next = || fields.next().filter(|field| *field != "-");
    let url = url.join(next()?).ok()?;
    let name = url.path_segments()?.next_back()?.to_owned();
    split(&name)?;
    let (version, sha256, size) = (next()?.to_owned(), next(), next());
    let uploaded_at: Option<Timestamp> = next().and_then(|time| time.parse().ok());
    Some(UpstreamFile {
        name,
        version: Some(version),
        url: url.into(),
        hashes: sha256.map(|digest| ("sha256".to_owned(), digest.to_owned())).into_iter().collect(),
        size: size.and_then(|size| size.parse().ok()),
        uploaded_at,
        yanked: next().map(|_| fields.next().unwrap_or_default().to_owned()),
        metadata: MetadataFile::None,
        provenance: None,
        facts: uploaded_at.map_or_else(Vec::new, |time| time.to_string().into_bytes()),
    })
}

impl ProjectBundle for Sample {
    fn write_upstream_page(&self, page: &UpstreamPage) -> io::Result<Vec<u8>> {
        let line = |file: &UpstreamFile| {
            let version = file.version.as_deref().unwrap_or("-");
            let fields = [field(file.sha256()), field(file.size), field(file.uploaded_at)];
            page_line(&file.url, version, &fields, file.yanked.as_deref())
        };
        let lines = page.files.iter().map(line);
        Ok(head(&page.project, page.serial).chain(lines).collect::<String>().into_bytes())
    }
}

fn head(project: &ProjectName, serial: Option<u64>) -> impl Iterator<Item = String> {
    std::iter::once(format!("[{project}] {}\n", field(serial)))
}

fn field(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn page_line(address: &str, version: &str, fields: &[String], yanked: Option<&str>) -> String {
    let yanked = yanked.map(|reason| format!(" yanked {}", reason.escape_debug())).unwrap_or_default();
    format!("{address} {version} {}{yanked}\n", fields.join(" "))
}

impl Projects for Sample {
    fn main_format(&self) -> PageFormat {
        FORMAT
    }

    fn negotiate(&self, _accept: &mut dyn Iterator<Item = &str>, _format: Option<&str>) -> PageFormat {
        FORMAT
    }

    fn write_list(
        &self,
        _format: PageFormat,
        _serial: Option<u64>,
        projects: &mut dyn Iterator<Item = ListedName<'_>>,
    ) -> io::Result<Vec<u8>> {
        Ok(projects.flat_map(|project| [project.name, "\n"]).collect::<String>().into_bytes())
    }

    fn write_page(
        &self,
        _format: PageFormat,
        page: &PageHead<'_>,
        files: &[ServedFile<'_>],
    ) -> io::Result<Vec<u8>> {
        let line = |file: &ServedFile<'_>| {
            let uploaded_at = self.uploaded_at(file.facts).or(file.listed_at);
            let fields = [file.sha256.to_string(), field(file.size), field(uploaded_at)];
            page_line(&project_path::link(file.sha256, file.name), file.version, &fields, file.yanked)
        };
        Ok(head(page.project, page.serial).chain(files.iter().map(line)).collect::<String>().into_bytes())
    }
}
