//! Wheels (PyPA: binary distribution format, PEP 427): the `.dist-info` directory, and the checks of an upload.

use std::collections::{BTreeSet, HashSet};
use std::io::{Read, Seek};

use sha2::Digest as _;

use super::record::{self, Record};
use super::{
    DistributionArchive, MAX_NAME, PackageError, check_identity, check_metadata, data_folder, excerpt,
    notice, scripts, wheel_file,
};
use crate::python::metadata::{MAX_METADATA, Metadata};
use crate::python::name::{self, normalize};
use crate::python::version::Pep440Version;
use crate::python::wheel_name::WheelName;
use crate::r::archive::ArchiveLimits;
use crate::r::zip::{Zip, ZipFormat, ZipMember};
use base::model::digest::Sha256;
use base::model::visible::is_format;

/// Suffix of the directory with metadata.
const DIST_INFO: &str = ".dist-info";
/// Maximum size of RECORD, in bytes. For a wheel of 10,000 files, it is about 1 MB.
const MAX_RECORD: u64 = 64 << 20;

/// Reads METADATA of a wheel; other members are not read. `file` is the file name.
pub fn read_metadata(
    source: &mut (impl Read + Seek),
    file: &str,
    limits: ArchiveLimits,
) -> Result<(Metadata, Vec<u8>), PackageError> {
    let name = WheelName::parse(file)?;
    let zip = Zip::open(source, ZipFormat::Wheel, limits)?;
    let folder = dist_info(&zip, &name, file)?;
    let raw = member(&zip, &folder, "METADATA")?.read(source, limits.description)?;
    let metadata = Metadata::parse(&raw)?;
    check_identity(&metadata, name.distribution, name.version, file)?;
    Ok((metadata, raw))
}

pub fn read(
    source: &mut (impl Read + Seek),
    file: &str,
    limits: ArchiveLimits,
) -> Result<DistributionArchive, PackageError> {
    let name = WheelName::parse(file)?;
    name.version.parse::<Pep440Version>()?;
    let zip = Zip::open(source, ZipFormat::Wheel, limits)?;
    for member in &zip.members {
        check_path(&member.name)?;
    }
    let folder = dist_info(&zip, &name, file)?;
    let stem = folder.strip_suffix(DIST_INFO).unwrap_or(&folder);
    // uv ends with an error when it finds another form among the installed packages.
    let has_one_hyphen = stem
        .split_once('-')
        .is_some_and(|(distribution, version)| name::is_valid(distribution) && !version.contains('-'));
    if !has_one_hyphen {
        return Err(PackageError::DistInfoName(excerpt(&folder)));
    }
    let mut notices = Vec::new();
    if !name.is_normal() {
        notice(&mut notices, || format!("the file name '{file}' is not normalized"));
    }
    let metadata_raw = member(&zip, &folder, "METADATA")?.read(source, limits.description)?;
    let metadata = Metadata::parse(&metadata_raw)?;
    check_identity(&metadata, name.distribution, name.version, file)?;
    check_metadata(&metadata, &metadata_raw, &format!("{folder}/METADATA"), &mut notices)?;
    let wheel_file = member(&zip, &folder, "WHEEL")?.read(source, MAX_METADATA)?;
    wheel_file::check(&wheel_file, &format!("{folder}/WHEEL"), &name.tags, &mut notices)?;
    if let Some(member) = find(&zip, &format!("{folder}/entry_points.txt")) {
        scripts::check_entry_points(&member.read(source, MAX_METADATA)?, &mut notices)?;
    }
    let paths = zip.members.iter().map(|member| member.name.as_str());
    data_folder::check(paths, stem, &mut notices)?;
    // SECURITY: lookups use a set, because linear searches would take quadratic time: a wheel may have 400,000 members,
    // as many License-File fields, and millions of rows in RECORD.
    let files = zip.members.iter().filter(|member| !member.is_folder());
    let members: HashSet<&str> = files.map(|member| member.name.as_str()).collect();
    if metadata.metadata_version >= (2, 4) {
        for path in &metadata.license_files {
            let path = format!("{folder}/licenses/{path}");
            if !members.contains(path.as_str()) {
                return Err(PackageError::Missing(path));
            }
        }
    }
    let record = member(&zip, &folder, "RECORD")?.read(source, MAX_RECORD)?;
    let rows = record::parse(&record, |path| members.contains(path))?;
    let own_paths: HashSet<String> =
        ["RECORD", "RECORD.jws", "RECORD.p7s"].iter().map(|name| format!("{folder}/{name}")).collect();
    for path in rows.others.iter().filter(|path| !own_paths.contains(*path)) {
        notice(&mut notices, || {
            format!("RECORD lists '{}', which is not a file in the wheel", excerpt(path))
        });
    }
    compare_record(source, &zip, &own_paths, &rows.record, &mut notices)?;
    Ok(DistributionArchive { metadata, metadata_raw, notices })
}

/// Returns the name of the `.dist-info` directory, which may spell project and version differently than the file name.
/// Only the top level counts, because vendored packages may have such directories too. A file counts, as for pip.
fn dist_info(zip: &Zip, name: &WheelName<'_>, file: &str) -> Result<String, PackageError> {
    let tops = zip.members.iter().filter_map(|member| member.name.split('/').next());
    let folders: BTreeSet<&str> = tops.filter(|top| top.ends_with(DIST_INFO)).collect();
    let Some(folder) = folders.first().filter(|_| folders.len() == 1) else {
        return Err(PackageError::DistInfo(folders.len()));
    };
    let stem = folder.strip_suffix(DIST_INFO).unwrap_or(folder);
    let is_same = stem.rsplit_once('-').is_some_and(|(distribution, version)| {
        normalize(distribution) == normalize(name.distribution)
            && Pep440Version::lenient(version) == Pep440Version::lenient(name.version)
    });
    if is_same {
        return Ok((*folder).to_owned());
    }
    Err(PackageError::OtherFolder { folder: excerpt(folder), file: file.to_owned() })
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
    if path_without_slash.split('/').any(|part| part.len() > MAX_NAME) {
        return Err(PackageError::LongName(excerpt(path)));
    }
    let is_plain = !path.contains(|c: char| c.is_control() || is_format_or_private_use(c) || c == '\\')
        && path_without_slash.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && path.as_bytes().get(1).is_none_or(|byte| *byte != b':');
    if is_plain { Ok(()) } else { Err(PackageError::Path(excerpt(path))) }
}

/// Returns true for the characters of Unicode's categories Cf and Co. uv refuses them in names.
fn is_format_or_private_use(c: char) -> bool {
    is_format(c)
        || matches!(c, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}')
}

/// Reads every member, also folders, whose compressed data may contain other bytes, and compares the digests of files
/// with RECORD. Differences are notices, because installers do not check them.
fn compare_record(
    source: &mut (impl Read + Seek),
    zip: &Zip,
    exempt_paths: &HashSet<String>,
    record: &Record,
    notices: &mut Vec<String>,
) -> Result<(), PackageError> {
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
        for (part, is_long) in [("a".repeat(255), false), ("a".repeat(256), true), ("é".repeat(128), true)] {
            for path in [part.clone(), format!("a/{part}/b"), format!("{part}/")] {
                let result = check_path(&path);
                assert_eq!(matches!(result, Err(PackageError::LongName(_))), is_long, "{path}");
            }
        }
        // Right-to-left override, zero width space, soft hyphen, byte order mark, a tag, and private use.
        for c in ['\u{202e}', '\u{200b}', '\u{ad}', '\u{feff}', '\u{e0041}', '\u{e000}', '\u{10fffd}'] {
            let path = format!("a/b{c}yp.py");
            assert!(matches!(check_path(&path), Err(PackageError::Path(_))), "{path:?}");
        }
    }
}
