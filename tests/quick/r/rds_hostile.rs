//! Hostile streams: truncated, with false lengths, deeply nested, with code. The reader never panics and
//! takes no more memory than the limits allow.

use proptest::prelude::*;
use rstudio_pm::model::time::{SECOND, Timestamp};
use rstudio_pm::r::index;
use rstudio_pm::r::rds::archive_meta::{MetaRow, read_archive_meta, read_current_meta, write_archive_meta};
use rstudio_pm::r::rds::item::{Data, Item};
use rstudio_pm::r::rds::matrix::write_matrix;
use rstudio_pm::r::rds::packages::{PackageTable, read_package_table};
use rstudio_pm::r::rds::read::read;
use rstudio_pm::r::rds::{RdsError, RdsLimits};
use std::io::Write;

/// The header of a stream of version 2.
const V2: &[u8] = b"X\n\0\0\0\x02\0\x04\x05\0\0\x02\x03\0";
/// The header of a stream of version 3.
const V3: &[u8] = b"X\n\0\0\0\x03\0\x04\x05\0\0\x03\x05\0\0\0\0\x05UTF-8";
/// The item `NULL`.
const NULL: u32 = 0xfe;
const SMALL_LIMITS: RdsLimits = RdsLimits { stream: 1 << 20, memory: 1 << 20 };

fn stream(words: &[u32]) -> Vec<u8> {
    let mut bytes = V2.to_vec();
    words.iter().for_each(|word| bytes.extend(word.to_be_bytes()));
    bytes
}

/// A string of four bytes as words.
fn four_byte_string(text: &[u8; 4]) -> [u32; 3] {
    [9, 4, u32::from_be_bytes(*text)]
}

fn matrix() -> Vec<u8> {
    let stanzas =
        ["Package: aa\nVersion: 1.0\nDepends: R (>= 3.5),\n  bb", "Package: bb\nVersion: 2\nNew: J\u{f6}rg"];
    let mut bytes = Vec::new();
    write_matrix(&mut bytes, &["Package", "Version", "Depends"], &stanzas).expect("written");
    bytes
}

fn archive() -> Vec<u8> {
    let row = |package: &str, version: &str| MetaRow {
        package: package.to_owned(),
        file: format!("{package}_{version}.tar.gz"),
        size: 7,
        mtime: Timestamp(9 * SECOND),
    };
    let mut bytes = Vec::new();
    write_archive_meta(&mut bytes, &[row("aa", "1.0"), row("aa", "2.0"), row("bb", "1.0")]).expect("written");
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(bytes).expect("packed");
    gz.finish().expect("packed")
}

#[test]
fn a_stream_cut_at_any_offset_is_reported_as_truncated() {
    for complete_stream in [matrix(), archive()] {
        for length in 0..complete_stream.len() {
            let result = read(&complete_stream[..length], SMALL_LIMITS);
            let is_truncated = matches!(result, Err(RdsError::Truncated { .. }))
                || length == 1 && matches!(result, Err(RdsError::NotRds(_)));
            assert!(is_truncated, "{length}: {result:?}");
            assert!(read_archive_meta(&complete_stream[..length], SMALL_LIMITS).is_err(), "{length}");
        }
        let compressed_stream = gzip(&complete_stream);
        for length in 0..compressed_stream.len() {
            assert!(read(&compressed_stream[..length], SMALL_LIMITS).is_err(), "{length}");
        }
        assert!(read(&compressed_stream[..], SMALL_LIMITS).is_ok());
    }
}

#[test]
fn bytes_after_the_object_are_refused() {
    for complete_stream in [matrix(), archive()] {
        for long_stream in
            [[&complete_stream[..], b"\0"].concat(), gzip(&[&complete_stream[..], b"\0"].concat())]
        {
            assert!(matches!(read(&long_stream[..], SMALL_LIMITS), Err(RdsError::Malformed { .. })));
            assert!(read_archive_meta(&long_stream[..], SMALL_LIMITS).is_err());
        }
        assert!(read(&[&gzip(&complete_stream)[..], b"<html>"].concat()[..], SMALL_LIMITS).is_err());
    }
}

#[test]
fn a_wrong_checksum_is_detected() {
    let mut compressed_stream = gzip(&matrix());
    let position = compressed_stream.len() - 6;
    compressed_stream[position] ^= 1;
    assert!(matches!(read(&compressed_stream[..], SMALL_LIMITS), Err(RdsError::Damaged { .. })));
}

#[test]
fn data_in_another_format_is_reported_as_such() {
    for bytes in [&b"<!DOCTYPE html>"[..], b"PK\x03\x04", b"X", b"\x1f", b"Package: a"] {
        assert!(matches!(read(bytes, SMALL_LIMITS), Err(RdsError::NotRds(_))), "{bytes:?}");
    }
    assert!(matches!(read(&b""[..], SMALL_LIMITS), Err(RdsError::Truncated { offset: 0 })));
    for version in [0, 1, 4, -1i32] {
        let bytes = [b"X\n", &version.to_be_bytes()[..], &[0; 8], &[0, 0, 0, NULL as u8]].concat();
        assert!(matches!(read(&bytes[..], SMALL_LIMITS), Err(RdsError::Version(v)) if v == version));
    }
    let huge_encoding_name =
        [b"X\n\0\0\0\x03\0\x04\x05\0\0\x03\x05\0", &[0x7f, 0xff, 0xff, 0xff][..]].concat();
    assert!(matches!(read(&huge_encoding_name[..], SMALL_LIMITS), Err(RdsError::Malformed { .. })));
}

#[test]
fn every_type_but_data_is_refused() {
    const DATA: [u8; 12] = [1, 2, 10, 13, 14, 15, 16, 19, 20, 24, 238, 254];
    for code in 0..=255u8 {
        for flags in [0u32, 0x100, 0x200, 0x400, 0x700] {
            // The zeros that follow are the length of an empty vector.
            let result = read(&stream(&[u32::from(code) | flags, 0])[..], SMALL_LIMITS);
            if flags & 0x200 == 0 && matches!(code, 10 | 13..=16 | 19 | 20 | 24) {
                assert!(result.is_ok(), "{code}");
            } else if !DATA.contains(&code) {
                assert!(
                    matches!(result, Err(RdsError::Refused { .. } | RdsError::Malformed { .. })),
                    "{code}"
                );
            } else {
                assert!(result.is_err(), "{code}");
            }
        }
    }
    for code in
        [3, 4, 5, 6, 7, 8, 17, 21, 22, 23, 25, 239, 240, 241, 242, 243, 244, 245, 246, 247, 248, 249, 250]
            .into_iter()
            .chain(251..=253)
    {
        assert!(matches!(read(&stream(&[code])[..], SMALL_LIMITS), Err(RdsError::Refused { .. })), "{code}");
        let as_attribute = stream(&[0x20d, 0, 0x402, 1, 9, 1]);
        let as_attribute = [&as_attribute[..], b"a", &code.to_be_bytes(), &NULL.to_be_bytes()].concat();
        assert!(matches!(read(&as_attribute[..], SMALL_LIMITS), Err(RdsError::Refused { .. })), "{code}");
    }
}

#[test]
fn impossible_lengths_are_refused_before_memory_is_allocated() {
    for code in [10u32, 13, 14, 15, 16, 19, 20, 24] {
        for length in [-2i32, i32::MIN, -1] {
            let result = read(&stream(&[code, length.cast_unsigned(), 1, 1])[..], SMALL_LIMITS);
            assert!(matches!(result, Err(RdsError::Malformed { .. })), "{code} {length}: {result:?}");
        }
        let result = read(&stream(&[code, i32::MAX as u32])[..], SMALL_LIMITS);
        assert!(matches!(result, Err(RdsError::TooLong(_))), "{code}: {result:?}");
        // Both limits allow the length, but the elements are missing: only the received bytes are held.
        let large_limits = RdsLimits { stream: 1 << 40, memory: 1 << 40 };
        let result = read(&stream(&[code, i32::MAX as u32, 0])[..], large_limits);
        assert!(result.is_err(), "{code}: {result:?}");
    }
    for length in [-2i32, i32::MIN, i32::MAX] {
        assert!(read(&stream(&[16, 1, 9, length.cast_unsigned()])[..], SMALL_LIMITS).is_err());
        assert!(read(&stream(&[1, 9, length.cast_unsigned()])[..], SMALL_LIMITS).is_err());
    }
}

#[test]
fn only_references_to_symbols_are_accepted() {
    let [a, b, c] = four_byte_string(b"abcd");
    let packed_index = read(&stream(&[19, 2, 1, a, b, c, 0x1ff])[..], SMALL_LIMITS).expect("a symbol twice");
    let symbol = Item::new(Data::Symbol("abcd".into()));
    assert_eq!(packed_index.data, Data::List(vec![symbol.clone(), symbol.clone()]));
    let separate_index = read(&stream(&[19, 2, 1, a, b, c, 0xff, 1])[..], SMALL_LIMITS)
        .expect("a reference with a separate index");
    assert_eq!(separate_index.data, Data::List(vec![symbol.clone(), symbol]));
    for reference in
        [&[0xffu32, 0][..], &[0x2ff], &[0xff, 2], &[0xff, u32::MAX], &[0xff, 1 << 31], &[0xffff_ffff]]
    {
        let words = [&[19, 2, 1, a, b, c][..], reference].concat();
        assert!(
            matches!(read(&stream(&words)[..], SMALL_LIMITS), Err(RdsError::Malformed { .. })),
            "{reference:?}"
        );
    }
    assert!(read(&stream(&[1, 9, u32::MAX])[..], SMALL_LIMITS).is_err(), "a symbol called NA");
    assert!(read(&stream(&[16, 1, 9, 1])[..], SMALL_LIMITS).is_err());
}

#[test]
fn a_pairlist_of_a_million_nodes_is_read_in_a_loop() {
    let mut words = Vec::new();
    for _ in 0..1_000_000 {
        words.extend([2, NULL]);
    }
    words.push(NULL);
    let bytes = stream(&words);
    let item = read(&bytes[..], RdsLimits { stream: 16 << 20, memory: 1 << 30 }).expect("long, not deep");
    assert!(matches!(item.data, Data::Pairs(nodes) if nodes.len() == 1_000_000));
    // A table is not such a list, which would take ten times its size of memory.
    for limits in [RdsLimits::INDEX, RdsLimits::META] {
        assert!(matches!(read(&bytes[..], limits), Err(RdsError::TooLarge(_))));
    }
}

#[test]
fn nesting_has_a_limit() {
    let levels: [&[u32]; 5] = [&[19, 1], &[20, 1], &[2], &[0x20d, 0], &[238]];
    for level in levels {
        let words: Vec<u32> = level.iter().copied().cycle().take(level.len() * 100_000).collect();
        let result = read(&stream(&words)[..], RdsLimits::INDEX);
        assert!(matches!(result, Err(RdsError::Malformed { .. })), "{level:?}: {result:?}");
    }
    let mut sixty_levels: Vec<u32> = [19, 1].repeat(60);
    sixty_levels.push(NULL);
    assert!(read(&stream(&sixty_levels)[..], SMALL_LIMITS).is_ok());
}

#[test]
fn decompression_bombs_are_refused_at_the_limits() {
    let zeros = vec![0; 8 << 20];
    let bomb = [&stream(&[24, zeros.len() as u32])[..], &zeros].concat();
    let zstd = zstd::encode_all(&bomb[..], 3).expect("packed");
    for compressed_stream in [gzip(&bomb), zstd] {
        assert!(compressed_stream.len() < bomb.len() / 100);
        assert!(matches!(read(&compressed_stream[..], SMALL_LIMITS), Err(RdsError::TooLong(_))));
        let tight_limits = RdsLimits { stream: 16 << 20, memory: 1 << 20 };
        assert!(matches!(read(&compressed_stream[..], tight_limits), Err(RdsError::TooLarge(_))));
    }
    // Each of many small items has four bytes in the stream and over fifty in memory.
    let nulls = [&[19, 250_000][..], &vec![NULL; 250_000]].concat();
    let tight_limits = RdsLimits { stream: 16 << 20, memory: 4 << 20 };
    assert!(matches!(read(&stream(&nulls)[..], tight_limits), Err(RdsError::TooLarge(_))));
    // The length of a list that is larger than the rest of the stream.
    let long_list = stream(&[19, 200_000]);
    assert!(matches!(read(&long_list[..], SMALL_LIMITS), Err(RdsError::Truncated { .. })));
}

/// An ALTREP item of package `base`: info, state words, no attributes.
fn altrep_item(class: &str, state: &[u8]) -> Vec<u8> {
    let mut bytes = V3.to_vec();
    bytes.extend(238u32.to_be_bytes());
    for name in [class, "base"] {
        bytes.extend([2u32, 1, 9, name.len() as u32].iter().flat_map(|w| w.to_be_bytes()));
        bytes.extend(name.as_bytes());
    }
    bytes.extend([2u32, 13, 1, 13, NULL].iter().flat_map(|w| w.to_be_bytes()));
    bytes.extend(state);
    bytes.extend(NULL.to_be_bytes());
    bytes
}

fn reals(values: &[f64]) -> Vec<u8> {
    let mut bytes = [14u32.to_be_bytes(), (values.len() as u32).to_be_bytes()].concat();
    values.iter().for_each(|value| bytes.extend(value.to_be_bytes()));
    bytes
}

#[test]
fn compact_forms_are_expanded_within_the_limits() {
    let descending_sequence =
        read(&altrep_item("compact_intseq", &reals(&[3.0, 5.0, -1.0]))[..], SMALL_LIMITS).expect("5:3");
    assert_eq!(descending_sequence.data, Data::Integer(vec![5, 4, 3]));
    let real_sequence =
        read(&altrep_item("compact_realseq", &reals(&[2.0, 0.5, 1.0]))[..], SMALL_LIMITS).expect("0.5, 1.5");
    assert_eq!(real_sequence.data, Data::Real(vec![0.5, 1.5]));
    for class in ["compact_intseq", "compact_realseq"] {
        let bomb = altrep_item(class, &reals(&[2_147_483_647.0, 1.0, 1.0]));
        assert!(matches!(read(&bomb[..], RdsLimits::INDEX), Err(RdsError::TooLarge(_))));
        for state in [
            &[f64::NAN, 1.0, 1.0][..],
            &[-1.0, 1.0, 1.0],
            &[1e300, 1.0, 1.0],
            &[2.0, f64::INFINITY, 1.0],
            &[2.0, 1.0, 7.0],
            &[2.0, 1.0],
            &[],
        ] {
            assert!(read(&altrep_item(class, &reals(state))[..], SMALL_LIMITS).is_err(), "{state:?}");
        }
    }
    assert!(
        read(&altrep_item("compact_intseq", &reals(&[2.0, 2_147_483_647.0, 1.0]))[..], SMALL_LIMITS).is_err()
    );
    for class in
        ["mmap_integer", "mmap_real", "wrap_nothing", "", "deferred_string", "wrap_list", "wrap_string"]
    {
        assert!(read(&altrep_item(class, &reals(&[1.0, 1.0, 1.0]))[..], SMALL_LIMITS).is_err(), "{class}");
    }
    let foreign_item = altrep_item("compact_intseq", &reals(&[2.0, 1.0, 1.0]));
    let position = foreign_item.windows(4).position(|w| w == b"base").expect("the package");
    let foreign_item = [&foreign_item[..position], b"evil", &foreign_item[position + 4..]].concat();
    assert!(read(&foreign_item[..], SMALL_LIMITS).is_err());
}

#[test]
fn a_wrapper_is_read_as_its_content() {
    let metadata: Vec<u8> = [13u32, 2, 0, 1].iter().flat_map(|w| w.to_be_bytes()).collect();
    let pairlist_state = [&2u32.to_be_bytes()[..], &text(&[Some("a"), None]), &metadata].concat();
    let list_state = [&[0, 0, 0, 19, 0, 0, 0, 2][..], &text(&[Some("a"), None]), &metadata].concat();
    for state in [pairlist_state, list_state] {
        let result = read(&altrep_item("wrap_string", &state)[..], SMALL_LIMITS).expect("a wrapper");
        assert_eq!(result.text().expect("strings").iter().collect::<Vec<_>>(), [Some("a"), None]);
    }
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
    let attribute = |name: &str, values: &[&str]| {
        let values: Vec<_> = values.iter().copied().map(Some).collect();
        [&words(&[0x402, 1, 9, name.len() as u32]), name.as_bytes(), &text(&values)].concat()
    };
    let columns =
        [words(&[19, 1, 0x313, 2]), reals(&[7.0]), reals(&[9.0]), attribute("names", &["size", "mtime"])];
    let names = [attribute("row.names", &["aa/aa_1.0.tar.gz"]), attribute("class", &["data.frame"])];
    let list = [columns.concat(), names.concat(), words(&[NULL])].concat();
    for head in [&[2u32][..], &[19, 2]] {
        let bytes = altrep_item("wrap_list", &[words(head), list.clone(), metadata.clone()].concat());
        let rows = read_archive_meta(&bytes[..], SMALL_LIMITS).expect("a wrapped table");
        assert_eq!((rows.len(), &*rows[0].file, rows[0].size), (1, "aa_1.0.tar.gz", 7));
    }
}

/// The name of each field is in each record of the text.
#[test]
fn long_names_of_fields_do_not_enlarge_an_index() {
    let table = |rows: usize, field: &str| {
        let column = |value| std::iter::repeat_n(Some(value), rows);
        let cells: Vec<_> = column("a").chain(column("1")).chain(column("x")).collect();
        let fields = [Some("Package"), Some("Version"), Some(field)];
        matrix_stream(&cells, &[i32::try_from(rows).expect("few"), 3], None, &fields)
    };
    let read = |bytes: &[u8]| index::text("PACKAGES.rds", bytes).map(|text| text.len());
    assert_eq!(read(&table(2, "New")), Ok(2 * "Package: a\nVersion: 1\nNew: x\n\n".len()));
    let error = read(&table(1200, &"X".repeat(60_000))).expect_err("72 MB of names");
    assert!(error.contains("larger than 67108864 bytes"), "{error}");
}

#[test]
fn an_index_with_more_records_than_any_repository_is_refused() {
    let text = "Package: aa\nVersion: 1.0\n\n".repeat(250_001);
    let error = index::records(text.as_bytes(), &mut Vec::new()).expect_err("too many records");
    assert!(error.contains("more than 250000 records"), "{error}");
}

#[test]
fn one_record_with_many_invented_fields_does_not_enlarge_the_matrix() {
    let invented_fields: String = (0..5000).map(|n| format!("X{n}: 1\n")).collect();
    let records = [format!("Package: a\n{invented_fields}Path: sub\n"), "Package: b\nVersion: 1".to_owned()];
    let mut bytes = Vec::new();
    write_matrix(&mut bytes, &["Package", "Version"], &records).expect("written");
    let packages = read_package_table(&bytes[..], SMALL_LIMITS).expect("read");
    assert_eq!(packages.fields().count(), 255, "256 with File, which no record has");
    assert_eq!((packages.get(0, "Path"), packages.get(1, "Version")), (Some("sub"), Some("1")));
}

fn text(values: &[Option<&str>]) -> Vec<u8> {
    let mut bytes = [&16u32.to_be_bytes()[..], &(values.len() as u32).to_be_bytes()].concat();
    for value in values {
        let (length, value) = value.map_or((u32::MAX, ""), |v| (v.len() as u32, v));
        bytes.extend([9, length].iter().flat_map(|w: &u32| w.to_be_bytes()));
        bytes.extend(value.as_bytes());
    }
    bytes
}

/// The stream of a character matrix with these parts, consistent or not.
fn matrix_stream(
    cells: &[Option<&str>],
    dim: &[i32],
    rows: Option<&[Option<&str>]>,
    columns: &[Option<&str>],
) -> Vec<u8> {
    let mut bytes = V2.to_vec();
    let mut vector = text(cells);
    // The vector has attributes.
    vector[2] = 2;
    bytes.extend(vector);
    bytes.extend([0x402u32, 1, 9, 3].iter().flat_map(|w| w.to_be_bytes()));
    bytes.extend(b"dim");
    bytes.extend([13, dim.len() as u32].iter().flat_map(|w| w.to_be_bytes()));
    dim.iter().for_each(|n| bytes.extend(n.to_be_bytes()));
    bytes.extend([0x402u32, 1, 9, 8].iter().flat_map(|w| w.to_be_bytes()));
    bytes.extend(b"dimnames");
    bytes.extend([19u32, 2].iter().flat_map(|w| w.to_be_bytes()));
    bytes.extend(rows.map_or_else(|| NULL.to_be_bytes().to_vec(), text));
    bytes.extend(text(columns));
    bytes.extend(NULL.to_be_bytes());
    bytes
}

fn table(bytes: &[u8]) -> Result<PackageTable, RdsError> {
    read_package_table(bytes, SMALL_LIMITS)
}

#[test]
fn a_matrix_with_inconsistent_parts_is_refused() {
    let (p, v) = (Some("Package"), Some("Version"));
    let cells = [Some("a"), Some("b"), Some("1"), Some("2")];
    assert_eq!(
        table(&matrix_stream(&cells, &[2, 2], None, &[p, v])).expect("a valid matrix").get(1, "Version"),
        Some("2")
    );
    let one_row_name: &[Option<&str>] = &[Some("x")];
    for (fault, bytes) in [
        ("product", matrix_stream(&cells, &[2, 3], None, &[p, v, None])),
        ("overflow", matrix_stream(&cells, &[i32::MAX, i32::MAX], None, &[p, v])),
        ("negative", matrix_stream(&cells, &[-2, -2], None, &[p, v])),
        ("missing", matrix_stream(&cells, &[i32::MIN, 2], None, &[p, v])),
        ("one dimension", matrix_stream(&cells, &[4], None, &[p, v])),
        ("three dimensions", matrix_stream(&cells, &[2, 2, 1], None, &[p, v])),
        ("too few columns named", matrix_stream(&cells, &[2, 2], None, &[p])),
        ("too many columns named", matrix_stream(&cells, &[2, 2], None, &[p, v, v])),
        ("too few rows named", matrix_stream(&cells, &[2, 2], Some(one_row_name), &[p, v])),
        ("no package", matrix_stream(&cells, &[2, 2], None, &[v, v])),
        ("no attributes", [V2, &text(&cells)].concat()),
        ("no text", stream(&[13, 1, 1])),
        ("null", stream(&[NULL])),
    ] {
        assert!(matches!(table(&bytes), Err(RdsError::Shape { .. })), "{fault}: {:?}", table(&bytes));
    }
}

#[test]
fn rows_and_columns_without_a_name_are_left_out() {
    let cells = [None, Some("b"), Some(""), Some("1"), Some("2"), Some("3"), Some("x"), Some("y"), Some("z")];
    let packages = table(&matrix_stream(&cells, &[3, 3], None, &[Some("Package"), Some("Version"), None]))
        .expect("a valid matrix");
    assert_eq!(packages.len(), 1);
    assert_eq!(packages.record(0).collect::<Vec<_>>(), [("Package", "b"), ("Version", "2")]);
    assert_eq!(packages.record(1).count(), 0);
    let cells = [Some("a"), Some("b"), None, None, Some("1"), None];
    let packages_with_duplicate =
        table(&matrix_stream(&cells, &[2, 3], None, &[Some("Package"), Some("M"), Some("M")]))
            .expect("a valid matrix");
    assert_eq!(packages_with_duplicate.fields().collect::<Vec<_>>(), ["Package", "M"]);
    assert_eq!(packages_with_duplicate.get(0, "M"), Some("1"));
}

#[test]
fn a_stanza_cannot_be_forged_by_a_value() {
    let cells = [Some("a"), Some("1\n\nPackage: evil\r\nVersion: 9"), Some("x")];
    let result = table(&matrix_stream(
        &cells,
        &[1, 3],
        None,
        &[Some("Package"), Some("Version"), Some("A: b\nPackage")],
    ));
    let mut text = Vec::new();
    result.expect("a valid matrix").write_stanza(0, &mut text);
    let text = String::from_utf8(text).expect("text");
    assert_eq!(
        text,
        "Package: a\nVersion: 1\n        .\n        Package: evil\n        .\n        Version: 9\n"
    );
}

fn values() -> impl Strategy<Value = String> {
    "[a-zA-Z(>=.]([ -~\u{e9}\u{4e2d}]{0,20}[a-z0-9)])?"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_written_matrix_is_read_back(
        records in proptest::collection::vec(("[a-zA-Z][a-zA-Z0-9.]{1,8}", proptest::collection::btree_map("[A-Z][a-z_@]{1,3}", values(), 0..6)), 0..12),
    ) {
        let stanzas: Vec<String> = records.iter().map(|(package, fields)| {
            let fields: String = fields.iter().map(|(k, v)| format!("\n{k}: {v}")).collect();
            format!("Package: {package}{fields}")
        }).collect();
        let mut bytes = Vec::new();
        write_matrix(&mut bytes, &["Package", "Version"], &stanzas).expect("written");
        let packages = read_package_table(&bytes[..], SMALL_LIMITS).expect("read");
        prop_assert_eq!(packages.len(), records.len());
        let mut stanzas_read_back = Vec::new();
        for (position, (package, fields)) in records.iter().enumerate() {
            prop_assert_eq!(packages.get(position, "Package"), Some(package.as_str()));
            prop_assert_eq!(packages.record(position).count(), fields.len() + 1);
            for (field, value) in fields {
                prop_assert_eq!(packages.get(position, field), Some(value.as_str()));
            }
            let mut stanza = Vec::new();
            packages.write_stanza(position, &mut stanza);
            stanzas_read_back.push(stanza);
        }
        let mut fields: Vec<&str> = packages.fields().collect();
        if fields.is_empty() { fields = vec!["Package", "Version"]; }
        let mut second_copy = Vec::new();
        write_matrix(&mut second_copy, &fields, &stanzas_read_back).expect("written");
        prop_assert_eq!(second_copy, bytes);
    }

    #[test]
    fn a_written_archive_table_is_read_back(rows in proptest::collection::btree_map("[a-zA-Z][a-zA-Z0-9.]{0,8}[a-z]", proptest::collection::vec((0u64..1 << 50, 0i64..4_000_000_000), 1..4), 0..8)) {
        let rows: Vec<MetaRow<String>> = rows.into_iter().flat_map(|(package, files)| {
            files.into_iter().enumerate().map(move |(n, (size, seconds))| MetaRow {
                file: format!("{package}_{n}.0.tar.gz"), package: package.clone(), size, mtime: Timestamp(seconds * SECOND),
            })
        }).collect();
        let mut bytes = Vec::new();
        write_archive_meta(&mut bytes, &rows).expect("written");
        prop_assert_eq!(read_archive_meta(&bytes[..], SMALL_LIMITS).expect("read"), rows);
    }

    #[test]
    fn damaged_streams_never_panic(edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6), stream_index in 0..2usize) {
        let mut bytes = [matrix(), archive()][stream_index].clone();
        for (position, value) in &edits {
            let position = position.index(bytes.len());
            bytes[position] = *value;
        }
        let _ = read_package_table(&bytes[..], SMALL_LIMITS);
        let _ = read_archive_meta(&bytes[..], SMALL_LIMITS);
        let _ = read_current_meta(&bytes[..], SMALL_LIMITS);
        let compressed_stream = gzip(&bytes);
        let _ = read(&compressed_stream[..], SMALL_LIMITS);
    }

    #[test]
    fn random_words_never_panic(words in proptest::collection::vec(prop_oneof![0u32..26, 238u32..256, 0x200u32..0x220, 0x400u32..0x410, any::<u32>()], 0..60)) {
        let _ = read(&stream(&words)[..], SMALL_LIMITS);
        let _ = read_archive_meta(&stream(&words)[..], SMALL_LIMITS);
        let version3 = [V3, &stream(&words)[V2.len()..]].concat();
        let _ = read(&version3[..], SMALL_LIMITS);
    }

    #[test]
    fn random_records_never_panic(records in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b':'), Just(b' '), Just(b'.'), Just(b'P'), any::<u8>()], 0..60), 0..5)) {
        let records: Vec<Vec<u8>> = records.into_iter().map(|r| [&b"Package: a\n"[..], &r].concat()).collect();
        let mut bytes = Vec::new();
        write_matrix(&mut bytes, &["Package"], &records).expect("written");
        read_package_table(&bytes[..], SMALL_LIMITS).expect("our own matrix is read");
    }
}
