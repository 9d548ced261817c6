//! Wheels (PyPA: binary distribution format, PEP 427): the `.dist-info` directory, and the checks of an upload.

use std::collections::{BTreeSet, HashSet};
use std::io::{Read, Seek};

use sha2::Digest as _;

use super::record::{self, Record};
use super::{PackageArchive, PackageError, check_encoding, check_identity, notice};
use crate::model::digest::Sha256;
use crate::model::visible::is_format;
use crate::python::license::LicenseExpression;
use crate::python::metadata::header::Headers;
use crate::python::metadata::{MAX_METADATA, Metadata};
use crate::python::name::normalize;
use crate::python::version::Version;
use crate::python::wheel_name::WheelName;
use crate::r::archive::Limits;
use crate::r::zip::{Zip, ZipFormat, ZipMember};

/// Suffix of the directory with metadata.
const DIST_INFO: &str = ".dist-info";
/// Maximum size of RECORD, in bytes. For a wheel of 10,000 files, it is about 1 MB.
const MAX_RECORD: u64 = 64 << 20;

/// Reads METADATA of a wheel; other members are not read. `file` is the file name.
///
/// # Errors
/// [`PackageError`].
pub fn read_metadata(
    source: &mut (impl Read + Seek),
    file: &str,
    limits: Limits,
) -> Result<(Metadata, Vec<u8>), PackageError> {
    let name = WheelName::parse(file)?;
    let zip = Zip::open(source, ZipFormat::Wheel, limits)?;
    let folder = dist_info(&zip, &name, file)?;
    let raw = member(&zip, &folder, "METADATA")?.read(source, limits.description)?;
    let metadata = Metadata::parse(&raw)?;
    check_identity(&metadata, name.distribution, name.version, file)?;
    Ok((metadata, raw))
}

/// Reads and checks a whole wheel.
///
/// # Errors
/// [`PackageError`], one variant for each reason.
pub fn read(
    source: &mut (impl Read + Seek),
    file: &str,
    limits: Limits,
) -> Result<PackageArchive, PackageError> {
    let name = WheelName::parse(file)?;
    name.version.parse::<Version>()?;
    let zip = Zip::open(source, ZipFormat::Wheel, limits)?;
    for member in &zip.members {
        check_path(&member.name)?;
    }
    let folder = dist_info(&zip, &name, file)?;
    let mut notices = Vec::new();
    if !name.is_normal() {
        notice(&mut notices, || format!("the file name '{file}' is not normalized"));
    }
    let metadata_raw = member(&zip, &folder, "METADATA")?.read(source, limits.description)?;
    let metadata = Metadata::parse(&metadata_raw)?;
    check_identity(&metadata, name.distribution, name.version, file)?;
    check_encoding(&metadata, &metadata_raw, &format!("{folder}/METADATA"), &mut notices)?;
    if let Some(text) = &metadata.license_expression {
        text.parse::<LicenseExpression>()?;
    }
    check_wheel_version(&member(&zip, &folder, "WHEEL")?.read(source, MAX_METADATA)?)?;
    if let Some(member) = find(&zip, &format!("{folder}/entry_points.txt")) {
        check_entry_points(&member.read(source, MAX_METADATA)?)?;
    }
    // SECURITY: lookups use a set, because linear searches would take quadratic time: a wheel may have 400,000 members,
    // as many License-File fields, and millions of rows in RECORD.
    let members: HashSet<&str> = zip.members.iter().map(|member| member.name.as_str()).collect();
    if metadata.metadata_version >= (2, 4) {
        for path in &metadata.license_files {
            let path = format!("{folder}/licenses/{path}");
            if !members.contains(path.as_str()) {
                return Err(PackageError::Missing(path));
            }
        }
    }
    let record = member(&zip, &folder, "RECORD")?.read(source, MAX_RECORD)?;
    let record = record::parse(&record, |path| members.contains(path))?;
    compare_record(source, &zip, &folder, &record, &mut notices)?;
    Ok(PackageArchive { metadata, metadata_raw, notices })
}

/// Returns the name of the `.dist-info` directory, which may spell project and version differently than the file name.
/// Only the top level counts, because vendored packages may have such directories too.
fn dist_info(zip: &Zip, name: &WheelName<'_>, file: &str) -> Result<String, PackageError> {
    let top_folders = zip.members.iter().filter_map(|member| Some(member.name.split_once('/')?.0));
    let folders: BTreeSet<&str> = top_folders.filter(|top| top.ends_with(DIST_INFO)).collect();
    let Some(folder) = folders.first().filter(|_| folders.len() == 1) else {
        return Err(PackageError::DistInfo(folders.len()));
    };
    let stem = folder.strip_suffix(DIST_INFO).unwrap_or(folder);
    let is_same = stem.rsplit_once('-').is_some_and(|(distribution, version)| {
        normalize(distribution) == normalize(name.distribution)
            && Version::lenient(version) == Version::lenient(name.version)
    });
    if is_same {
        return Ok((*folder).to_owned());
    }
    Err(PackageError::OtherFolder { folder: folder.chars().take(200).collect(), file: file.to_owned() })
}

fn find<'a>(zip: &'a Zip, path: &str) -> Option<&'a ZipMember> {
    zip.members.iter().find(|member| member.name == path)
}

fn member<'a>(zip: &'a Zip, folder: &str, name: &str) -> Result<&'a ZipMember, PackageError> {
    let path = format!("{folder}/{name}");
    find(zip, &path).ok_or(PackageError::Missing(path))
}

/// Checks that a path is a plain relative one, of characters that are displayed as they are written.
pub(super) fn check_path(path: &str) -> Result<(), PackageError> {
    let path_without_slash = path.strip_suffix('/').unwrap_or(path);
    let is_plain = !path.contains(|c: char| c.is_control() || is_format_or_private_use(c) || c == '\\')
        && path_without_slash.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && path.as_bytes().get(1).is_none_or(|byte| *byte != b':');
    if is_plain { Ok(()) } else { Err(PackageError::Path(path.escape_debug().take(200).collect())) }
}

/// Returns true for the characters of Unicode's categories Cf and Co. uv refuses them in names.
fn is_format_or_private_use(c: char) -> bool {
    is_format(c)
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}')
}

fn check_wheel_version(bytes: &[u8]) -> Result<(), PackageError> {
    let headers = Headers::parse(bytes);
    let version = headers.fields.iter().find(|field| field.name.eq_ignore_ascii_case("Wheel-Version"));
    let text = version.map_or("", |field| &*field.value);
    if text.split('.').next() == Some("1") {
        return Ok(());
    }
    Err(PackageError::WheelVersion(text.chars().take(20).collect()))
}

/// Checks the names of entry points, which installers use as file names.
fn check_entry_points(bytes: &[u8]) -> Result<(), PackageError> {
    let text = String::from_utf8_lossy(bytes);
    let mut is_script = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            is_script = matches!(section.trim_end_matches(']').trim(), "console_scripts" | "gui_scripts");
            continue;
        }
        let Some((name, _)) = line.split_once('=').filter(|_| is_script && !line.starts_with(['#', ';']))
        else {
            continue;
        };
        let name = name.trim();
        let is_allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        if name.is_empty() || !name.chars().all(is_allowed) || matches!(name, "." | "..") {
            return Err(PackageError::EntryPoint(name.escape_debug().take(80).collect()));
        }
    }
    Ok(())
}

/// Reads every member, also folders, whose compressed data may contain other bytes, and compares the digests of files
/// with RECORD. Differences are notices, because installers do not check them.
fn compare_record(
    source: &mut (impl Read + Seek),
    zip: &Zip,
    folder: &str,
    record: &Record,
    notices: &mut Vec<String>,
) -> Result<(), PackageError> {
    let exempt_paths: HashSet<String> =
        ["RECORD", "RECORD.jws", "RECORD.p7s"].iter().map(|name| format!("{folder}/{name}")).collect();
    for member in &zip.members {
        let mut hasher = sha2::Sha256::new();
        member.for_each_piece(source, |piece| {
            hasher.update(piece);
            Ok(())
        })?;
        if member.is_folder() || exempt_paths.contains(&member.name) {
            continue;
        }
        let actual_digest = Sha256(hasher.finalize().into());
        match record.get(&member.name) {
            Some(Some(digest)) if *digest == actual_digest => {}
            Some(Some(_)) => notice(notices, || format!("the digest of '{}' in RECORD differs", member.name)),
            Some(None) => notice(notices, || format!("RECORD has no SHA-256 of '{}'", member.name)),
            None => notice(notices, || format!("RECORD does not list '{}'", member.name)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_folder_of_the_installation() {
        for good in ["a.py", "a/", "a/b.py", "a-1.dist-info/METADATA", "a..b/c", "é/ü", "日本"] {
            assert!(check_path(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "/a", "../a", "a/../b", "a//b", "./a", "a\\b", "C:/a", "a\nb", "a/.."] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        // Right-to-left override, zero width space, soft hyphen, byte order mark, a tag, and private use.
        for c in ['\u{202e}', '\u{200b}', '\u{ad}', '\u{feff}', '\u{e0041}', '\u{e000}', '\u{10fffd}'] {
            let path = format!("a/b{c}yp.py");
            assert!(matches!(check_path(&path), Err(PackageError::Path(_))), "{path:?}");
        }
    }

    #[test]
    fn names_of_scripts_are_file_names() {
        let text = "[console_scripts]\n# x/y = z\na.b-c_1 = m:f\n[other]\na b/c = m\n";
        assert!(check_entry_points(text.as_bytes()).is_ok());
        for bad in ["a/b", "a b", "", "..", "a\\b"] {
            let text = format!("[gui_scripts]\n{bad} = m:f\n");
            assert!(check_entry_points(text.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_major_version_of_the_format_is_1() {
        assert!(check_wheel_version(b"Wheel-Version: 1.9\nGenerator: x\n").is_ok());
        for bad in ["", "Wheel-Version: 2.0\n", "Wheel-Version: \n", "Generator: 1.0\n"] {
            assert!(check_wheel_version(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
