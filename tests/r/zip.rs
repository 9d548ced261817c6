//! Zip files: only files that all programs read in the same way are accepted.

use rstudio_pm::r::archive::ArchiveError;
use rstudio_pm::r::zip::ZipFormat;

use crate::support::data;
use crate::support::zip::{read, streamed, zip};

/// Opens a zip file and reads all its contents.
fn read_plain(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    read(bytes, ZipFormat::Plain)
}

/// Names and contents of the files of a folder.
fn folder(name: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(data::path("hostile-zip").join(name)).expect("the folder");
    let files = entries.flatten().map(|entry| entry.path());
    files
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn ambiguous_files_are_refused() {
    let files = folder("reject");
    assert!(files.len() > 30, "{}", files.len());
    for (name, bytes) in files {
        assert!(read_plain(&bytes).is_err(), "{name}");
    }
}

#[test]
fn plain_files_are_read_and_wrong_sizes_and_zip64_are_refused() {
    for (name, bytes) in folder("accept") {
        let result = read_plain(&bytes);
        // No package is larger than 4 GiB, and a size that differs from the contents is ambiguous.
        let is_refused = name.contains("zip64") || name == "short_usize.zip";
        assert_eq!(result.is_err(), is_refused, "{name}: {result:?}");
    }
}

#[test]
fn wheels_with_zip64_are_read_unless_their_sizes_differ() {
    let files = folder("accept");
    assert!(files.len() > 8, "{}", files.len());
    for (name, bytes) in files {
        let result = read(&bytes, ZipFormat::Wheel);
        // The first has more content than its size, the second states two sizes.
        let is_refused = ["short_usize.zip", "short_usize_zip64.zip"].contains(&&*name);
        assert_eq!(result.is_err(), is_refused, "{name}: {result:?}");
    }
}

#[test]
fn members_are_read_as_written() {
    let members = vec![
        ("a/".to_owned(), Vec::new()),
        ("a/b".to_owned(), b"text".to_vec()),
        ("a/c".to_owned(), vec![0; 70_000]),
    ];
    assert_eq!(read_plain(&zip(&members)).expect("valid"), members);
}

#[test]
fn damage_is_detected_and_never_causes_a_panic() {
    let valid_zip = zip(&[("a/b", "some text"), ("a/c", "more")].map(|(name, text)| (name.to_owned(), text)));
    assert!(read_plain(&valid_zip).is_ok());
    for length in 0..valid_zip.len() {
        assert!(read_plain(&valid_zip[..length]).is_err(), "cut at {length}");
    }
    for offset in 0..valid_zip.len() {
        for value in [0, 0xff, valid_zip[offset] ^ 1, valid_zip[offset].wrapping_add(1)] {
            let mut changed_zip = valid_zip.clone();
            changed_zip[offset] = value;
            let _ = read_plain(&changed_zip);
        }
    }
    let zip_with_duplicate = zip(&[("a/b", "1"), ("A/B", "2")].map(|(name, text)| (name.to_owned(), text)));
    assert!(read_plain(&zip_with_duplicate).is_err(), "one name on Windows");
    let zip_with_zero_byte = zip(&[("a/b\0c".to_owned(), "1")]);
    assert!(read_plain(&zip_with_zero_byte).is_err(), "a name with a zero byte");
    assert!(read_plain(&[&b"x"[..], &valid_zip].concat()).is_err(), "bytes before");
    assert!(read_plain(&[&valid_zip[..], b"x"].concat()).is_err(), "bytes after");
}

#[test]
fn streamed_files_are_read_only_in_the_streamed_format() {
    let members = ["a.json", "b/", "b/c.json"].map(|name| (name.to_owned(), format!("{{\"{name}\": 1}}")));
    let members: Vec<(String, Vec<u8>)> = members
        .into_iter()
        .map(|(name, text)| if name.ends_with('/') { (name, Vec::new()) } else { (name, text.into_bytes()) })
        .collect();
    let bytes = streamed(&members);
    assert_eq!(read(&bytes, ZipFormat::Streamed).expect("valid"), members);
    assert!(read_plain(&bytes).is_err(), "packages are not streamed");
    assert_eq!(read(&zip(&members), ZipFormat::Streamed).expect("plain files too"), members);
    let many_members: Vec<(String, &[u8])> = (0..66_000).map(|n| (format!("{n}.json"), &b"{}"[..])).collect();
    let bytes = streamed(&many_members);
    assert_eq!(read(&bytes, ZipFormat::Streamed).expect("a zip64 end").len(), 66_000);
    assert!(read_plain(&bytes).is_err());
}

#[test]
fn ambiguous_streamed_files_are_refused() {
    for (name, bytes) in folder("reject") {
        for format in [ZipFormat::Streamed, ZipFormat::Wheel] {
            assert!(read(&bytes, format).is_err(), "{name}: {format:?}");
        }
    }
    let valid_zip = streamed(&[("a/b".to_owned(), "some text"), ("a/c".to_owned(), "more")]);
    let expected = read(&valid_zip, ZipFormat::Streamed).expect("valid");
    for length in 0..valid_zip.len() {
        assert!(read(&valid_zip[..length], ZipFormat::Streamed).is_err(), "cut at {length}");
    }
    for offset in 0..valid_zip.len() {
        for value in [0, 0xff, valid_zip[offset] ^ 1, valid_zip[offset].wrapping_add(1)] {
            let mut changed_zip = valid_zip.clone();
            changed_zip[offset] = value;
            // Undetected changes are in names and times, which are stored only once.
            if let Ok(members) = read(&changed_zip, ZipFormat::Streamed) {
                let contents =
                    |members: &[(String, Vec<u8>)]| members.iter().map(|m| m.1.clone()).collect::<Vec<_>>();
                assert_eq!(contents(&members), contents(&expected), "{value} at {offset}");
            }
        }
    }
}
