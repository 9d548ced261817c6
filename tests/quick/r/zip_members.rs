//! Members of zip files that programs read or write in different ways are refused.

use rstudio_pm::r::zip::ZipFormat;

use crate::support::zip::{RawMember, raw_zip, read};

const FORMATS: [ZipFormat; 3] = [ZipFormat::Plain, ZipFormat::Streamed, ZipFormat::Wheel];
const UTF8: u16 = 1 << 11;

fn file(name: &str) -> RawMember {
    RawMember::new(name, "some text, some text")
}

fn folder(name: &str) -> RawMember {
    RawMember { method: 0, data: Vec::new(), ..RawMember::new(name, "") }
}

fn assert_accepted(members: &[RawMember], formats: &[ZipFormat], case: &str) {
    let expected: Vec<(String, Vec<u8>)> = members
        .iter()
        .map(|member| (String::from_utf8(member.name.clone()).expect("UTF-8"), member.contents.clone()))
        .collect();
    for format in formats {
        let result = read(&raw_zip(members), *format);
        assert_eq!(result.unwrap_or_else(|error| panic!("{case}: {format:?}: {error}")), expected, "{case}");
    }
}

fn assert_refused(members: &[RawMember], formats: &[ZipFormat], reason: &str, case: &str) {
    for format in formats {
        let error = read(&raw_zip(members), *format).expect_err(case).to_string();
        assert!(error.contains(reason), "{case}: {format:?}: {error}");
    }
}

#[test]
fn bytes_after_the_end_of_a_deflate_stream_are_refused() {
    assert_accepted(&[file("a"), file("b")], &FORMATS, "nothing after the stream");
    let other_record = file("hidden").local_record();
    // An empty last block is what a compressor writes for no contents.
    for (tail, case) in
        [(&b"x"[..], "junk"), (&b"\x03\0"[..], "an empty block"), (&other_record[..], "a record")]
    {
        let reason = "other bytes follow the compressed data";
        assert_refused(&[file("a").followed_by(tail), file("b")], &FORMATS, reason, case);
        assert_refused(&[file("a"), file("b").followed_by(tail)], &FORMATS, reason, case);
        assert_refused(&[RawMember::new("a", "").followed_by(tail)], &FORMATS, reason, case);
        let folder = RawMember::new("a/", "").followed_by(tail);
        assert_refused(&[folder, file("a/b")], &FORMATS, reason, case);
    }
    let stored = RawMember { method: 0, data: b"text".to_vec(), ..RawMember::new("a", "text") };
    assert_accepted(std::slice::from_ref(&stored), &FORMATS, "stored");
    assert_refused(&[stored.followed_by(b"x")], &FORMATS, "the size of a member is wrong", "stored");
}

#[test]
fn members_without_contents_are_accepted() {
    let stored = RawMember { method: 0, data: Vec::new(), ..RawMember::new("stored", "") };
    let folder_without_data = RawMember { data: Vec::new(), ..RawMember::new("c/", "") };
    let members =
        [stored, RawMember::new("deflated", ""), folder("a/"), RawMember::new("b/", ""), folder_without_data];
    assert_accepted(&members, &FORMATS, "no contents");
}

#[test]
fn a_member_that_needs_a_version_above_6_3_is_refused() {
    let with = |versions: [u16; 2]| RawMember { versions, ..file("a") };
    // The upper byte is the system.
    for versions in [[10, 10], [20, 45], [63, 63], [0x314, 0xb3f]] {
        assert_accepted(&[with(versions)], &FORMATS, &format!("{versions:?}"));
    }
    for versions in [[20, 64], [64, 20], [64, 64], [20, 255], [255, 20]] {
        let reason = "a member needs a version of the format above 6.3";
        assert_refused(&[with(versions)], &FORMATS, reason, &format!("{versions:?}"));
    }
}

#[test]
fn a_name_that_is_not_ascii_must_be_declared_as_utf8() {
    let with = |name: &str, flags: u16| RawMember { flags, ..file(name) };
    assert_accepted(&[with("a", 0), with("b", UTF8), with("é/日本", UTF8)], &FORMATS, "declared");
    for name in ["é", "a/日本/b", "a\u{7f}\u{80}"] {
        assert_refused(&[with(name, 0)], &FORMATS, "is not declared as UTF-8 (flag 11)", name);
    }
    for flags in [0, UTF8] {
        let invalid = RawMember { name: b"a\xff".to_vec(), flags, ..file("") };
        assert_refused(&[invalid], &FORMATS, "is not UTF-8", "invalid");
    }
}

#[test]
fn a_file_with_the_name_of_a_folder_is_refused() {
    let reason = "a member has the name of a folder in the path of another member";
    for members in [
        [file("x"), file("x/y")],
        [file("x/y"), file("x")],
        [file("x"), folder("x/")],
        [folder("x/"), file("x")],
        [file("a/x"), file("a/x/b/c")],
        [file("x"), folder("x/y/")],
    ] {
        let case = format!("{:?}", members.each_ref().map(|m| String::from_utf8_lossy(&m.name).into_owned()));
        assert_refused(&members, &FORMATS, reason, &case);
        // With other members, whose names sort between the two by their bytes.
        let [first, second] = members;
        let members = [first, file("x-"), file("x!/y"), file("a/x."), file("a/x+/b"), second];
        assert_refused(&members, &FORMATS, reason, &case);
    }
    let members =
        [folder("x/"), file("x/y"), folder("x/z/"), file("x/z/y"), file("x.y"), file("xy"), file("y")];
    assert_accepted(&members, &FORMATS, "files in folders");
    // On Windows, names that differ only in case are one path.
    let members = [file("X"), file("x/y")];
    assert_refused(&members, &[ZipFormat::Plain, ZipFormat::Streamed], reason, "case");
    assert_accepted(&members, &[ZipFormat::Wheel], "case");
    let twice = [file("x/y"), file("z"), file("x/y")];
    assert_refused(&twice, &FORMATS, "two members have the same name", "one name");
}

#[test]
fn a_symbolic_link_is_refused_whatever_system_made_the_file() {
    for system in 0..=255 {
        let with = |attributes: u32| RawMember { system, attributes, ..file("a") };
        for mode in [0o120_777, 0o120_755, 0o120_000] {
            let reason = "'a' is neither file, folder nor link (tar type 'link')";
            assert_refused(&[with(mode << 16)], &FORMATS, reason, &format!("system {system}, mode {mode:o}"));
            assert_refused(
                &[with(mode << 16 | 0x20)],
                &FORMATS,
                reason,
                &format!("system {system}, archive"),
            );
        }
        // No mode, modes of a file, and attributes of Windows, up to those of files that are not on the disk.
        for attributes in [0, 0x20, 0o644 << 16, 0o100_755 << 16, 0x2000_0020, 0x0050_0020, 0x0040_0000] {
            assert_accepted(&[with(attributes)], &FORMATS, &format!("system {system}, {attributes:#x}"));
        }
    }
}
