//! Binaries in the index of another server: records, locations of files, and the records for this server's index.

use std::io::Write;

use super::binary::BuiltPlatform;
use super::dcf;
use super::description::{Built, Description};
use super::packages::IndexRecord;
use super::platform::Platform;
use base::model::digest::{Md5, Sha256};

/// Fields that are not copied: they locate the file on the other server, or are generated for this server.
const OMITTED_FIELDS: [&[u8]; 8] =
    [b"File", b"DownloadURL", b"Path", b"RVersion", b"SHA256", b"SHA256sum", b"Filesize", b"Repository"];

/// Which records of an index are binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFilter {
    /// All records, as in an index for Windows or macOS.
    All,
    /// Only the records with `Built`; the others are source packages.
    Built,
}

/// A binary in the index of another server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedBinary {
    pub package: String,
    pub version: String,
    pub location: FileLocation,
    /// The size in bytes.
    pub size: Option<u64>,
    pub md5: Option<Md5>,
    pub sha256: Option<Sha256>,
    /// The record for the index of this server.
    pub stanza: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileLocation {
    /// A file name, relative to the directory of the index.
    IndexDirectory(String),
    Url(String),
}

/// Reads the binary for a platform from a record; `None` when the record is not a binary.
///
/// # Errors
/// The binary is for another platform, or the record is malformed.
pub fn indexed_binary(
    record: &IndexRecord<'_>,
    platform: &Platform,
    filter: RecordFilter,
) -> Result<Option<IndexedBinary>, String> {
    let description = Description::from_bytes(record.stanza).map_err(|error| error.to_string())?;
    let built = description.built();
    if record.path.is_some() || (built.is_none() && filter == RecordFilter::Built) {
        return Ok(None);
    }
    if let Some(built) = &built {
        let result = BuiltPlatform::parse(built).and_then(|built| built.check_platform(platform));
        result.map_err(|error| format!("{} {}: {error}", record.package, record.version))?;
    }
    let default_name = || format!("{}_{}.{}", record.package, record.version, platform.extension());
    let index_directory =
        || FileLocation::IndexDirectory(record.file.map_or_else(default_name, str::to_owned));
    // The URL is used only if the record has a SHA-256 that verifies the file, because it may name another host.
    let download_url =
        description.non_empty("DownloadURL").filter(|url| record.sha256.is_some() && is_unambiguous_url(url));
    let mut stanza = dcf::copy_fields(record.stanza, &OMITTED_FIELDS);
    if description.non_empty("Platform").is_none() {
        write_platform(&mut stanza, built.as_ref());
    }
    write_file_fields(&mut stanza, platform, record.sha256, record.size);
    Ok(Some(IndexedBinary {
        package: record.package.to_owned(),
        version: record.version.to_owned(),
        location: download_url.map_or_else(index_directory, |url| FileLocation::Url(url.to_owned())),
        size: record.size,
        md5: record.md5,
        sha256: record.sha256,
        stanza,
    }))
}

/// Returns the index record of a binary that was discovered on request: the record of its source package, if there is
/// one, with the fields of the binary.
pub fn discovered_stanza(
    source: Option<&[u8]>,
    package: &str,
    version: &str,
    built: &str,
    platform: &Platform,
    sha256: Sha256,
    size: u64,
) -> Vec<u8> {
    let omitted_fields: Vec<&[u8]> =
        OMITTED_FIELDS.iter().chain(&[&b"MD5sum"[..], b"Built", b"Platform"]).copied().collect();
    let minimal_stanza = || format!("Package: {package}\nVersion: {version}\n").into_bytes();
    let mut stanza = source.map_or_else(minimal_stanza, |source| dcf::copy_fields(source, &omitted_fields));
    // `built` is one line of a parsed DESCRIPTION: it cannot begin another field.
    dcf::write_field(&mut stanza, "Built", built).expect("writing to a Vec succeeds");
    let description = Description::from_bytes(format!("Built: {built}").as_bytes()).ok();
    write_platform(&mut stanza, description.and_then(|description| description.built()).as_ref());
    write_file_fields(&mut stanza, platform, Some(sha256), Some(size));
    stanza
}

/// Adds `File` to the record of a binary if it has `Platform`, or if `is_required`.
///
/// Without `File`, pkgcache (part of pak) would request `{package}_{version}_R_{platform}.tar.gz`, the file name of `R
/// CMD INSTALL --build`.
pub fn with_file(stanza: &[u8], name: &str, is_required: bool) -> Vec<u8> {
    let mut out = stanza.to_vec();
    let record = dcf::records(stanza).next().and_then(Result::ok);
    let has_field =
        |tag: &[u8]| record.as_ref().is_some_and(|record| record.fields.iter().any(|field| field.tag == tag));
    if (is_required || has_field(b"Platform")) && !has_field(b"File") {
        if out.last() != Some(&b'\n') {
            out.push(b'\n');
        }
        dcf::write_field(&mut out, "File", name).expect("writing to a Vec succeeds");
    }
    out
}

fn write_platform(stanza: &mut Vec<u8>, built: Option<&Built>) {
    if let Some(built) = built.filter(|built| !built.platform.is_empty()) {
        dcf::write_field(stanza, "Platform", &built.platform).expect("writing to a Vec succeeds");
    }
}

fn write_file_fields(stanza: &mut Vec<u8>, platform: &Platform, sha256: Option<Sha256>, size: Option<u64>) {
    let mut write_line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            writeln!(stanza, "{name}: {value}").expect("writing to a Vec succeeds");
        }
    };
    write_line("RVersion", Some(platform.r.to_string()));
    write_line("SHA256", sha256.map(|digest| digest.to_string()));
    write_line("Filesize", size.map(|size| size.to_string()));
}

/// Returns whether a URL has no user, no query, and no character that must be encoded.
fn is_unambiguous_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let is_allowed_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/:%".contains(&b);
    url.len() <= 1024
        && rest.is_some_and(|rest| {
            let file = rest.rsplit_once('/').map(|(_, file)| file).unwrap_or_default();
            rest.bytes().all(is_allowed_byte)
                && !file.is_empty()
                && !rest.contains("//")
                && !rest.contains("..")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::r::packages;

    fn read(text: &str, tag: &str, filter: RecordFilter) -> Result<Option<IndexedBinary>, String> {
        let record = packages::records(text.as_bytes()).next().expect("a record").expect("a valid record");
        indexed_binary(&record, &Platform::parse(tag).expect("a tag"), filter)
    }

    #[test]
    fn a_record_of_windows_is_a_binary_with_a_version_of_r() {
        let binary = read(
            "Package: glue\nVersion: 1.8.0\nDepends: R (>= 3.6)\nArchs: x64\n",
            "4.5-win",
            RecordFilter::All,
        );
        let binary = binary.expect("a binary for the platform").expect("a binary");
        assert_eq!(binary.location, FileLocation::IndexDirectory("glue_1.8.0.zip".to_owned()));
        let text = "Package: glue\nVersion: 1.8.0\nDepends: R (>= 3.6)\nArchs: x64\nRVersion: 4.5\n";
        assert_eq!(String::from_utf8_lossy(&binary.stanza), text);
    }

    #[test]
    fn without_built_a_record_of_a_full_index_is_a_source() {
        assert_eq!(read("Package: glue\nVersion: 1.8.0\n", "4.5-noble", RecordFilter::Built), Ok(None));
        let record_in_subdirectory = "Package: a1\nVersion: 1.0\nPath: 4.6.0/Recommended\n";
        assert_eq!(read(record_in_subdirectory, "4.5-win", RecordFilter::All), Ok(None));
    }

    #[test]
    fn names_and_urls_of_another_server_are_used_but_not_copied() {
        let sha256 = "ab".repeat(32);
        let read_arm64 = |url: &str, digest: &str| {
            let text = format!(
                "Package: askpass\nVersion: 1.2.1\nFile: askpass_1.2.1_b1.tar.gz\nDownloadURL: {url}\nBuilt: R 4.5.0; \
                 aarch64-unknown-linux-gnu; 2025-03-16 08:56:32 UTC; unix\nFilesize: 25094\n{digest}RVersion: 4.5\n"
            );
            read(&text, "4.5-noble-arm64", RecordFilter::Built)
                .expect("a binary for the platform")
                .expect("a binary")
        };
        let digest = format!("SHA256: {sha256}\n");
        let url = "https://h.example/a/askpass_1.2.1_b1.tar.gz";
        let binary = read_arm64(url, &digest);
        assert_eq!((binary.location.clone(), binary.size), (FileLocation::Url(url.to_owned()), Some(25094)));
        assert_eq!(
            String::from_utf8_lossy(&binary.stanza),
            format!(
                "Package: askpass\nVersion: 1.2.1\nBuilt: R 4.5.0; aarch64-unknown-linux-gnu; 2025-03-16 08:56:32 UTC; \
                 unix\nPlatform: aarch64-unknown-linux-gnu\nRVersion: 4.5\nSHA256: {sha256}\nFilesize: 25094\n"
            )
        );
        let expected = FileLocation::IndexDirectory("askpass_1.2.1_b1.tar.gz".to_owned());
        assert_eq!(read_arm64(url, "").location, expected, "no digest to verify the file");
        for bad in
            ["file:///etc/passwd", "https://u:p@h/x", "https://h/x?y", "https://h/../x", "https://h/", "x"]
        {
            assert_eq!(read_arm64(bad, &digest).location, expected, "{bad}");
        }
    }

    #[test]
    fn a_discovered_binary_has_the_record_of_its_source() {
        let source = &b"Package: a1\nVersion: 1.0\nImports: b2\nMD5sum: 00\nNeedsCompilation: no"[..];
        let platform = Platform::parse("4.5-noble").expect("a tag");
        let built = "R 4.5.0; x86_64-pc-linux-gnu; 2026-01-01; unix";
        let discover = |source| {
            let stanza = discovered_stanza(source, "a1", "1.0", built, &platform, Sha256([1; 32]), 77);
            String::from_utf8(stanza).expect("text")
        };
        let added_fields = format!(
            "Built: {built}\nPlatform: x86_64-pc-linux-gnu\nRVersion: 4.5\nSHA256: {}\nFilesize: 77\n",
            "01".repeat(32)
        );
        let expected =
            format!("Package: a1\nVersion: 1.0\nImports: b2\nNeedsCompilation: no\n{added_fields}");
        assert_eq!(discover(Some(source)), expected);
        assert_eq!(discover(None), format!("Package: a1\nVersion: 1.0\n{added_fields}"));
    }

    #[test]
    fn a_record_with_a_platform_names_its_file() {
        let add_file = |stanza: &str| {
            String::from_utf8(with_file(stanza.as_bytes(), "a1_1.0.tar.gz", false)).expect("text")
        };
        let platform = "Package: a1\nVersion: 1.0\nPlatform: x86_64-pc-linux-gnu";
        assert_eq!(add_file(platform), format!("{platform}\nFile: a1_1.0.tar.gz\n"));
        assert_eq!(add_file(&format!("{platform}\n")), format!("{platform}\nFile: a1_1.0.tar.gz\n"));
        let record = format!("{platform}\nFile: own.tar.gz\n");
        assert_eq!(add_file(&record), record);
        let record_without_platform = "Package: a1\nVersion: 1.0\nBuilt: R 4.5.0; ; 2026-01-01; unix\n";
        assert_eq!(
            add_file(record_without_platform),
            record_without_platform,
            "treated as a source package, whose default file name is correct"
        );
        let required = with_file(b"Package: a1\nVersion: 1.0", "a1_1.0.tar.gz", true);
        assert_eq!(required, b"Package: a1\nVersion: 1.0\nFile: a1_1.0.tar.gz\n");
    }

    #[test]
    fn a_binary_for_another_platform_is_an_error() {
        let read_built = |built: &str, tag: &str| {
            read(&format!("Package: a1\nVersion: 1.0\nBuilt: {built}\n"), tag, RecordFilter::Built)
        };
        let gnu = "R 4.5.0; x86_64-pc-linux-gnu; 2026-01-01 00:00:00 UTC; unix";
        assert!(matches!(read_built(gnu, "4.5-noble"), Ok(Some(_))));
        assert!(
            read_built(gnu, "4.5-noble-arm64")
                .expect_err("arm")
                .contains("Linux (x86_64), not for 4.5-noble-arm64")
        );
        assert!(read_built(gnu, "4.4-noble").expect_err("R").contains("built for R 4.5 on Linux"));
        assert!(read_built(gnu, "4.5-win").is_err() && read_built("junk", "4.5-noble").is_err());
        assert!(matches!(read_built("R 4.5.0; ; 2026-01-01; unix", "4.5-noble-arm64"), Ok(Some(_))));
    }
}
