//! Targets for Python packages: names, metadata, requirements, pages of the simple API, wheels and source distributions.

use std::io::Cursor;

use rstudio_pm::language;
use rstudio_pm::model::digest::Sha256;
use rstudio_pm::model::kind::Language;
use rstudio_pm::model::license_expression::LicenseExpression;
use rstudio_pm::model::project_path::ProjectPath;
use rstudio_pm::python::accept::{self, SimpleFormat};
use rstudio_pm::python::archive::{sdist, wheel};
use rstudio_pm::python::file_name::{FileName, ListedVersions};
use rstudio_pm::python::metadata::Metadata;
use rstudio_pm::python::name;
use rstudio_pm::python::requirement::Requirement;
use rstudio_pm::python::simple::{read, root, write};
use rstudio_pm::python::specifier::Specifiers;
use rstudio_pm::python::target::{PythonMinor, WheelPlatform, WheelTarget};
use rstudio_pm::python::upload::multipart::{self, BadForm, FormEvent, FormReader};
use rstudio_pm::python::version::Pep440Version;
use rstudio_pm::python::wheel_name::WheelName;
use rstudio_pm::python::{lock_file, provenance, requirements_file};
use rstudio_pm::r::archive::ArchiveLimits;

/// Small limits that are reached quickly.
const LIMITS: ArchiveLimits =
    ArchiveLimits { inflated: 4 << 20, ratio: 50, members: 1000, description: 64 << 10 };

/// The parts of a form, whose bytes arrive in pieces of this size.
fn parts(boundary: &str, body: &[u8], size: usize) -> Result<Vec<(String, Vec<u8>)>, BadForm> {
    let mut reader = FormReader::new(boundary);
    let mut parts: Vec<(String, Vec<u8>)> = Vec::new();
    for piece in body.chunks(size) {
        reader.push(piece);
        while let Some(event) = reader.take()? {
            match event {
                FormEvent::Part(head) => parts.push((head.name, Vec::new())),
                FormEvent::Content(bytes) => parts.last_mut().expect("a part").1.extend_from_slice(&bytes),
                FormEvent::PartEnd => {}
                FormEvent::End => return Ok(parts),
            }
        }
    }
    Err(reader.end().expect("incomplete"))
}

/// A `Content-Type` in the first line, and a form. How its bytes arrive does not change what is read of a valid form.
pub fn upload(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (line, body) = data.split_at(at);
    let Ok(boundary) = multipart::boundary(&String::from_utf8_lossy(line)) else { return };
    let body = body.get(1..).unwrap_or_default();
    let whole = parts(&boundary, body, usize::MAX);
    let pieces = parts(&boundary, body, 3);
    match (&whole, &pieces) {
        (Err(_), Err(_)) => {}
        _ => assert_eq!(whole, pieces),
    }
}

/// A file name in the first line, and a provenance object or a list of attestations. An accepted one is not that of a file
/// with other bytes, and the object made from a list is valid.
pub fn provenance(data: &[u8]) {
    let (line, object) = super::line(data);
    let Ok(file) = FileName::parse(&String::from_utf8_lossy(line)) else { return };
    if provenance::check(object, &file, Sha256([0xab; 32])).is_ok() {
        assert!(provenance::check(object, &file, Sha256([0xcd; 32])).is_err());
    }
    if let Ok(made) = provenance::of_attestations(object, &file, Sha256([0xab; 32]), None) {
        assert!(provenance::check(&made, &file, Sha256([0xab; 32])).is_ok());
        assert!(provenance::of_attestations(object, &file, Sha256([0xcd; 32]), None).is_err());
    }
}

/// A wheel, or a source distribution. What `read_metadata` returns is what `read` returns.
pub fn archive(data: &[u8]) {
    let (form, rest) = super::choice(data);
    let mut source = Cursor::new(rest);
    let (brief, whole) = match form % 3 {
        0 => {
            const FILE: &str = "odd-1.0-py3-none-any.whl";
            (wheel::read_metadata(&mut source, FILE, LIMITS), wheel::read(&mut source, FILE, LIMITS))
        }
        form => {
            let file = if form == 1 { "odd-1.0.zip" } else { "odd-1.0.tar.gz" };
            let file = FileName::parse(file).expect("a file name");
            (sdist::read_metadata(&mut source, &file, LIMITS), sdist::read(&mut source, &file, LIMITS))
        }
    };
    if let Ok(whole) = whole {
        let (metadata, raw) = brief.expect("less is read");
        assert_eq!((metadata, raw), (whole.metadata, whole.metadata_raw));
    }
}

/// Metadata: the identity of parsed metadata is valid.
pub fn metadata(data: &[u8]) {
    let Ok(metadata) = Metadata::parse(data) else { return };
    assert!(name::is_valid(&metadata.name) && !metadata.version.is_empty());
    let _ = metadata.license_summary();
    for text in metadata.requires_dist.iter().take(100) {
        let _ = Requirement::parse(text).map(|requirement| requirement.may_apply(&[]));
    }
}

/// A project page in HTML.
pub fn page_html(data: &[u8]) {
    check_page(SimpleFormat::TextHtml, data);
    let _ = root::read_html(data, |_| ());
}

/// A project page, or a root, in JSON.
pub fn page_json(data: &[u8]) {
    check_page(SimpleFormat::Json, data);
    let mut entries = Vec::new();
    if let Ok(found) = root::read_json(data, |entry| entries.push(entry)) {
        assert_eq!(found.count, entries.len() as u64);
        let mut bytes = Vec::new();
        let projects = entries.iter().map(|entry| (&*entry.display, entry.last_serial));
        root::write_json(&mut bytes, found.last_serial, projects).expect("writing to a Vec succeeds");
        let mut again = Vec::new();
        root::read_json(&bytes[..], |entry| again.push(entry)).expect("a written root is valid");
        assert_eq!(again, entries);
    }
}

/// A page that was read is written in both formats, and read back with the same files.
fn check_page(format: SimpleFormat, data: &[u8]) {
    let url = url::Url::parse("https://index.example.org/simple/odd/").expect("an address");
    let project = name::parse("odd").expect("a name");
    let Ok(read) = read::read(format, data, &url, &project) else { return };
    let page = read.page;
    let json = write::json(&page).expect("every page can be written");
    let reread = read::read(SimpleFormat::Json, &json, &url, &project).expect("a written page is valid").page;
    assert_eq!(reread.files, page.offered_files());
    let reread = read::read(SimpleFormat::Html, write::html(&page).as_bytes(), &url, &project);
    let reread = reread.expect("a written page is valid").page;
    assert_eq!(reread.files.len(), page.offered_files().len());
    for (a, b) in reread.files.iter().zip(page.offered_files()) {
        assert_eq!(
            (&a.name, &a.url, &a.yanked, a.core_metadata),
            (&b.name, &b.url, &b.yanked, b.core_metadata)
        );
    }
}

/// A lock file of any kind.
pub fn lock(data: &[u8]) {
    let Ok(lock) = lock_file::parse(data) else { return };
    for package in &lock.packages {
        assert!(!package.version.trim().is_empty());
        for file in package.files.iter() {
            assert!(file.name.as_ref().is_none_or(|name| !name.is_empty()));
        }
    }
}

/// A requirements file, and the lines of it as requirements, versions, specifiers and licenses.
pub fn requirements(data: &[u8]) {
    let _ = requirements_file::parse(data);
    let _ = requirements_file::parse_named(data);
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.lines().take(8).collect();
    for line in &lines {
        let _ = Requirement::parse(line);
        if let Ok(license) = line.parse::<LicenseExpression>() {
            let again = license.to_string().parse::<LicenseExpression>();
            assert_eq!(again.map(|license| license.to_string()), Ok(license.to_string()));
        }
        let Some(specifiers) = Specifiers::lenient(line) else { continue };
        for version in &lines {
            let version = Pep440Version::lenient(version);
            let is_contained = specifiers.contains(&version);
            assert!(is_contained || !specifiers.is_empty());
        }
    }
}

/// Short texts: names of projects and files, versions, paths, media types.
pub fn text(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let normal = name::normalize(&text);
    assert_eq!(name::normalize(&normal), normal);
    let version = Pep440Version::lenient(&text);
    // Longer texts are no versions.
    if version.normalized().len() <= 255 {
        assert_eq!(Pep440Version::lenient(&version.normalized()), version);
    }
    let _ = accept::negotiate(Some(&*text), Some(&text));
    let segments: Vec<&str> = text.split('/').collect();
    let projects = language::of(Language::Python).projects();
    if let Some(Ok(ProjectPath::Redirect(target))) = projects.and_then(|python| python.parse_path(&segments))
    {
        assert!(!matches!(*target, ProjectPath::Redirect(_)));
    }
    if let Ok(file) = FileName::parse(&text) {
        let project = name::parse(text.split('-').next().unwrap_or_default());
        if let Ok(project) = project
            && let Some(version) = file.version(&project, None)
        {
            let listed = ListedVersions::new(std::slice::from_ref(&version));
            assert_eq!(file.version(&project, Some(&listed)).as_ref(), Some(&version));
        }
    }
    if let Ok(wheel) = WheelName::parse(&text) {
        let target = WheelTarget {
            python: PythonMinor { major: 3, minor: 11 },
            platform: "manylinux_2_17_x86_64".parse::<WheelPlatform>().expect("a platform"),
        };
        let _ = (target.accepts(&wheel.tags), wheel.is_normal());
        assert!(FileName::parse(&text).is_ok());
    }
}
