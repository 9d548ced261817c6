//! Zip files with sizes and offsets of 64 bits: accepted in wheels if all records agree, and only there.

use rstudio_pm::r::zip::ZipFormat;

use crate::support::zip::read;

const CONTENT: &[u8] = b"some text";
/// The size of the content.
const SIZE: u32 = 9;
/// A field whose value is in the zip64 field.
const PLACEHOLDER: u32 = u32::MAX;
/// The flag of a member with a data descriptor.
const STREAMED: u16 = 1 << 3;

/// The sizes and the extra fields in a record.
#[derive(Clone)]
struct Sizes {
    compressed: u32,
    size: u32,
    extra: Vec<u8>,
}

fn sizes(compressed: u32, size: u32, extra: &[u8]) -> Sizes {
    Sizes { compressed, size, extra: extra.to_vec() }
}

/// A zip64 field with these values.
fn field(values: &[u64]) -> Vec<u8> {
    let length = u16::try_from(8 * values.len()).expect("short").to_le_bytes();
    let mut bytes = [&[1, 0][..], &length].concat();
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// A stored member, as its records state it.
#[derive(Clone)]
struct Member {
    flags: u16,
    local_crc: u32,
    local: Sizes,
    descriptor: Vec<u8>,
    central: Sizes,
    start: u32,
}

fn crc() -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(CONTENT);
    crc.sum()
}

/// A member without zip64.
fn plain() -> Member {
    let plain_sizes = sizes(SIZE, SIZE, &[]);
    Member {
        flags: 0,
        local_crc: crc(),
        local: plain_sizes.clone(),
        descriptor: Vec::new(),
        central: plain_sizes,
        start: 0,
    }
}

fn descriptor(sizes: &[u8]) -> Vec<u8> {
    [&b"PK\x07\x08"[..], &crc().to_le_bytes(), sizes].concat()
}

fn descriptor64(compressed: u64, size: u64) -> Vec<u8> {
    descriptor(&[compressed.to_le_bytes(), size.to_le_bytes()].concat())
}

/// A member with a data descriptor.
fn streamed(local: Sizes, descriptor: Vec<u8>) -> Member {
    Member { flags: STREAMED, local_crc: 0, local, descriptor, ..plain() }
}

impl Member {
    /// The local record with the content, and the central directory.
    fn records(&self) -> (Vec<u8>, Vec<u8>) {
        let common_fields = |crc: u32, sizes: &Sizes| {
            let extra_len = u16::try_from(sizes.extra.len()).expect("short").to_le_bytes();
            // Version 4.5, flags, stored, a time in 2026, and a name of one byte.
            [
                &[45_u8, 0][..],
                &self.flags.to_le_bytes(),
                &[0, 0, 0, 0, 0x21, 0x5c],
                &crc.to_le_bytes(),
                &sizes.compressed.to_le_bytes(),
                &sizes.size.to_le_bytes(),
                &[1, 0],
                &extra_len,
            ]
            .concat()
        };
        let local_fields = common_fields(self.local_crc, &self.local);
        let local_record = [&b"PK\x03\x04"[..], &local_fields, b"a", &self.local.extra].concat();
        let central_fields = common_fields(crc(), &self.central);
        let start = self.start.to_le_bytes();
        let directory =
            [&b"PK\x01\x02\x2d\x00"[..], &central_fields, &[0; 10], &start, b"a", &self.central.extra]
                .concat();
        ([&local_record[..], CONTENT, &self.descriptor].concat(), directory)
    }

    fn file(&self) -> Vec<u8> {
        let (contents, directory) = self.records();
        let end = end(1, length(&directory), length(&contents));
        [contents, directory, end].concat()
    }
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).expect("small")
}

/// The end record.
fn end(count: u16, size: u32, start: u32) -> Vec<u8> {
    let count = count.to_le_bytes();
    let (size, start) = (size.to_le_bytes(), start.to_le_bytes());
    [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size, &start, &[0, 0]].concat()
}

/// The zip64 end record.
fn end64(count: u64, size: u32, start: u32) -> Vec<u8> {
    let mut bytes = b"PK\x06\x06".to_vec();
    bytes.extend_from_slice(&44_u64.to_le_bytes());
    bytes.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for value in [count, count, u64::from(size), u64::from(start)] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// The locator of a zip64 end record.
fn locator(offset: u32) -> Vec<u8> {
    [&b"PK\x06\x07\0\0\0\0"[..], &u64::from(offset).to_le_bytes(), &[1, 0, 0, 0]].concat()
}

fn assert_accepted(bytes: &[u8], case: usize) {
    let members = read(bytes, ZipFormat::Wheel).unwrap_or_else(|error| panic!("case {case}: {error}"));
    assert_eq!(members, [("a".to_owned(), CONTENT.to_vec())], "case {case}");
}

fn assert_refused(bytes: &[u8], format: ZipFormat, words: &str, case: usize) {
    match read(bytes, format) {
        Ok(members) => panic!("case {case}: {words}: {members:?}"),
        Err(error) => assert!(error.to_string().contains(words), "case {case}: {words}: {error}"),
    }
}

/// Members whose records agree.
fn consistent_members() -> Vec<Member> {
    let size = u64::from(SIZE);
    let both = field(&[size, size]);
    let time = [0x55, 0x54, 5, 0, 1, 0x40, 0x4f, 0x2c, 0x66];
    let full = sizes(PLACEHOLDER, PLACEHOLDER, &both);
    let zeros = field(&[0, 0]);
    vec![
        // Two forms of CPython for members whose size is not known before.
        Member { local: full.clone(), ..plain() },
        Member { local: sizes(SIZE, SIZE, &both), ..plain() },
        Member { local: full.clone(), central: full.clone(), ..plain() },
        Member { central: sizes(SIZE, SIZE, &both), ..plain() },
        Member {
            local: sizes(SIZE, PLACEHOLDER, &field(&[size])),
            central: sizes(PLACEHOLDER, SIZE, &field(&[size])),
            ..plain()
        },
        // A member after the first 4 GiB.
        Member { central: sizes(SIZE, SIZE, &field(&[0])), start: PLACEHOLDER, ..plain() },
        Member {
            local: full.clone(),
            central: sizes(PLACEHOLDER, PLACEHOLDER, &field(&[size, size, 0])),
            start: PLACEHOLDER,
            ..plain()
        },
        Member { local: sizes(PLACEHOLDER, PLACEHOLDER, &[&time[..], &both].concat()), ..plain() },
        streamed(sizes(0, 0, &zeros), descriptor64(size, size)),
        streamed(sizes(PLACEHOLDER, PLACEHOLDER, &zeros), descriptor64(size, size)),
        Member { local_crc: crc(), central: full.clone(), ..streamed(full, descriptor64(size, size)) },
    ]
}

#[test]
fn zip64_sizes_that_agree_are_read_only_in_wheels() {
    assert_eq!(read(&plain().file(), ZipFormat::Plain).expect("without zip64").len(), 1);
    for (case, member) in consistent_members().iter().enumerate() {
        let bytes = member.file();
        assert_accepted(&bytes, case);
        for format in [ZipFormat::Plain, ZipFormat::Streamed] {
            assert!(read(&bytes, format).is_err(), "case {case}: {format:?}");
        }
    }
}

#[test]
fn zip64_sizes_that_programs_may_read_differently_are_refused() {
    const FIELD: &str = "a member's zip64 field disagrees with its record";
    const RECORDS: &str = "a member's two records disagree";
    const BETWEEN: &str = "other bytes are between its records";
    const DESCRIPTOR: &str = "a member's data descriptor disagrees with the directory";
    let full = |values: &[u64]| sizes(PLACEHOLDER, PLACEHOLDER, &field(values));
    let both = |values: &[u64]| Member { local: full(values), central: full(values), ..plain() };
    let local = |local: Sizes| Member { local, ..plain() };
    let central = |central: Sizes| Member { central, ..plain() };
    let zeros = field(&[0, 0]);
    let two_fields = [field(&[9, 9]), field(&[9, 9])].concat();
    let sizes32 = [SIZE.to_le_bytes(), SIZE.to_le_bytes()].concat();
    let table = [
        (local(sizes(PLACEHOLDER, PLACEHOLDER, &[])), FIELD),
        (central(sizes(PLACEHOLDER, PLACEHOLDER, &[])), FIELD),
        (local(sizes(SIZE, SIZE, &field(&[9, 10]))), FIELD),
        (local(sizes(SIZE, SIZE, &field(&[10, 9]))), FIELD),
        (central(sizes(SIZE, SIZE, &field(&[10, 9]))), FIELD),
        (local(sizes(SIZE, SIZE, &field(&[9]))), FIELD),
        (local(sizes(SIZE, SIZE, &field(&[]))), FIELD),
        (central(sizes(SIZE, SIZE, &field(&[9, 9, 0]))), FIELD),
        (local(sizes(PLACEHOLDER, SIZE, &field(&[9, 9]))), FIELD),
        (local(full(&[9])), FIELD),
        (local(full(&[9, 9, 0])), FIELD),
        (local(sizes(PLACEHOLDER, PLACEHOLDER, &two_fields)), "a member has two zip64 fields"),
        (local(sizes(PLACEHOLDER, PLACEHOLDER, &field(&[9, 9])[..12])), "an extra field is malformed"),
        (local(full(&[9, 10])), RECORDS),
        (local(full(&[0, 0])), RECORDS),
        (central(full(&[10, 10])), RECORDS),
        (central(full(&[10, 9])), "the size of a member is wrong"),
        (both(&[10, 10]), BETWEEN),
        (both(&[u64::MAX, u64::MAX]), "the size of a member is wrong"),
        (Member { start: PLACEHOLDER, ..plain() }, FIELD),
        (Member { start: PLACEHOLDER, ..central(sizes(SIZE, SIZE, &field(&[1]))) }, BETWEEN),
        (streamed(sizes(0, 0, &zeros), descriptor(&sizes32)), DESCRIPTOR),
        (streamed(sizes(0, 0, &[]), descriptor64(9, 9)), DESCRIPTOR),
        (streamed(sizes(0, 0, &zeros), descriptor64(9, 10)), DESCRIPTOR),
        (streamed(sizes(0, 0, &zeros), descriptor64(10, 9)), DESCRIPTOR),
        (streamed(sizes(0, 0, &field(&[9, 9])), descriptor64(9, 9)), FIELD),
        (streamed(full(&[9, 9]), descriptor64(9, 9)), RECORDS),
        (Member { local_crc: crc(), ..streamed(full(&[0, 0]), descriptor64(9, 9)) }, RECORDS),
    ];
    for (case, (member, words)) in table.into_iter().enumerate() {
        assert_refused(&member.file(), ZipFormat::Wheel, words, case);
    }
}

#[test]
fn a_changed_byte_of_a_zip64_file_never_changes_what_is_read() {
    for (case, member) in consistent_members().iter().enumerate() {
        let bytes = member.file();
        for offset in 0..bytes.len() {
            for value in [0, 0xff, bytes[offset] ^ 1, bytes[offset].wrapping_add(1)] {
                let mut changed_bytes = bytes.clone();
                changed_bytes[offset] = value;
                if let Ok(members) = read(&changed_bytes, ZipFormat::Wheel) {
                    let contents: Vec<Vec<u8>> = members.into_iter().map(|member| member.1).collect();
                    assert_eq!(contents, [CONTENT.to_vec()], "case {case}: {value} at {offset}");
                }
            }
        }
        for length in 0..bytes.len() {
            assert!(read(&bytes[..length], ZipFormat::Wheel).is_err(), "case {case}: cut at {length}");
        }
    }
}

#[test]
fn the_two_end_records_of_a_wheel_agree() {
    let (contents, directory) = plain().records();
    let (size, start) = (length(&directory), length(&contents));
    let offset = start + size;
    let file = |tail: &[Vec<u8>]| [&contents[..], &directory, &tail.concat()].concat();
    let ends = [
        end(1, size, start),
        end(1, PLACEHOLDER, PLACEHOLDER),
        end(1, size, PLACEHOLDER),
        end(u16::MAX, PLACEHOLDER, PLACEHOLDER),
    ];
    for (case, end) in ends.into_iter().enumerate() {
        assert_accepted(&file(&[end64(1, size, start), locator(offset), end]), case);
    }
    let placeholders = || end(u16::MAX, PLACEHOLDER, PLACEHOLDER);
    let (missing, disagreement) = ("its zip64 end record is missing", "its two end records disagree");
    let right_end = || end64(1, size, start);
    let table: [(Vec<Vec<u8>>, &str); 10] = [
        (vec![right_end(), locator(offset), end(2, size, start)], disagreement),
        (vec![right_end(), locator(offset), end(1, size + 1, start)], disagreement),
        (vec![right_end(), locator(offset), end(1, size, start + 1)], disagreement),
        (vec![end64(2, size, start), locator(offset), placeholders()], "the directory is truncated"),
        (
            vec![end64(1, size, start + 1), locator(offset), placeholders()],
            "not directly before the end record",
        ),
        (vec![right_end(), locator(offset + 1), end(1, size, start)], missing),
        (vec![right_end(), end(1, size, start)], "not directly before the end record"),
        (vec![right_end(), placeholders()], missing),
        (vec![locator(offset), end(1, size, start)], missing),
        (vec![end(1, size, PLACEHOLDER)], missing),
    ];
    for (case, (tail, words)) in table.into_iter().enumerate() {
        assert_refused(&file(&tail), ZipFormat::Wheel, words, case);
    }
}
