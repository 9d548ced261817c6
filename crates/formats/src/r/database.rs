//! CRAN's package database, `web/packages/packages.rds`, for `tools::CRAN_package_db()`: for each package, the fields
//! of its index record and its DESCRIPTION.

use std::io::Write;

use super::dcf;
use base::model::time::Day;

/// Returns the record of a package: the fields of its index record, further fields of its DESCRIPTION, and its
/// publication date. Fields that locate the file (`Path`, `File`) are left out.
pub fn record(stanza: &[u8], description: Option<&[u8]>, published: Option<Day>) -> Vec<u8> {
    const OMITTED_FIELDS: [&[u8]; 2] = [b"Path", b"File"];
    let index = dcf::records(stanza).next().and_then(Result::ok);
    let fields = index.into_iter().flat_map(|record| record.fields);
    let mut out = Vec::with_capacity(stanza.len() + description.map_or(0, <[u8]>::len) + 24);
    let mut tags: Vec<&[u8]> = OMITTED_FIELDS.to_vec();
    for field in fields.filter(|field| !OMITTED_FIELDS.contains(&field.tag)) {
        dcf::copy_lines(&mut out, &field);
        tags.push(field.tag);
    }
    let description_fields = description.and_then(|text| Some(dcf::description(text).ok()?.fields));
    for field in description_fields.iter().flatten() {
        if !tags.contains(&field.tag) && field.tag.iter().all(u8::is_ascii_graphic) {
            dcf::copy_lines(&mut out, field);
            tags.push(field.tag);
        }
    }
    if let Some(day) = published.filter(|_| !tags.contains(&&b"Published"[..])) {
        writeln!(out, "Published: {day}").expect("writing to a Vec succeeds");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_record_has_precedence_and_the_description_adds_fields() {
        let stanza = b"Package: a\nVersion: 1.0\nPath: 4.6.0/Recommended\nMD5sum: 00\n";
        let description =
            b"Package: other\nTitle: What\n  it does\nVersion: 9\nMaintainer: M <m@e.org>\nTitle: Again\n";
        let day = "2026-11-20".parse().expect("a day");
        let text = String::from_utf8(record(stanza, Some(description), Some(day))).expect("text");
        let expected = "Package: a\nVersion: 1.0\nMD5sum: 00\nTitle: What\n  it does\nMaintainer: M <m@e.org>\n\
                        Published: 2026-11-20\n";
        assert_eq!(text, expected);
        assert_eq!(record(b"Package: a\nVersion: 1", None, None), b"Package: a\nVersion: 1\n");
    }
}
