//! DCF, the format of DESCRIPTION and PACKAGES, as R reads and writes it (`read.dcf`, `write.dcf`): records of `Tag:
//! value` lines with continuation lines. They are parsed without copying, as slices of the input.

use std::borrow::Cow;
use std::io::{self, Write};

/// Fields whose white space is significant; R's package tools read them unchanged (`keep.white`).
pub const KEEP_WHITE: [&str; 5] = ["Description", "Authors@R", "Author", "Built", "Packaged"];

/// Maximum number of fields in a record, because each field uses memory; real records have at most about 70.
pub const MAX_FIELDS: usize = 10_000;

/// The reason why a text is not DCF. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DcfError {
    #[error("line {line}: '{text}' is not a 'Tag: value' line; begin continuation lines with a blank")]
    NoTag { line: usize, text: String },
    #[error("line {line}: a continuation line begins the record; put a 'Tag:' line before it")]
    Continuation { line: usize },
    #[error("line {line}: a record of more than {MAX_FIELDS} fields; this is not package metadata")]
    TooManyFields { line: usize },
    #[error("line {line}: a zero byte; this is not a text file")]
    Zero { line: usize },
}

/// A field of a record. Tag and value are slices of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DcfField<'a> {
    /// The text before the first `:`. As in R, a blank before the `:` belongs to it ([`Mode::Lenient`] trims it).
    pub tag: &'a [u8],
    pub value: DcfValue<'a>,
    /// The line on which the field begins, from 1.
    pub line: usize,
    /// The byte offset of the field's first line in the input.
    pub start: usize,
    /// The byte offset of the end of the field's last line, before the line end.
    pub end: usize,
}

/// A value verbatim: from after the `:` to the end of its last continuation line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DcfValue<'a>(&'a [u8]);

impl<'a> DcfValue<'a> {
    /// Returns the unchanged bytes, without the last line end.
    pub fn raw(self) -> &'a [u8] {
        self.0
    }

    /// Returns the value as R reads most fields: lines are trimmed and joined by `\n`, a line ` .` becomes empty, and
    /// empty lines at the end are removed. Borrows if the value has one line.
    pub fn fold(self) -> Cow<'a, [u8]> {
        let (first, mut rest) = split_line(self.0);
        let first = trim(first);
        if rest.is_empty() {
            return Cow::Borrowed(first);
        }
        let mut text = Vec::with_capacity(self.0.len());
        text.extend_from_slice(first);
        // If the first line is empty, the value begins on the next line.
        let mut has_text = !first.is_empty();
        while !rest.is_empty() {
            let (line, next) = split_line(rest);
            if has_text {
                text.push(b'\n');
            }
            has_text = true;
            if !is_escaped_blank(line) {
                text.extend_from_slice(trim(line));
            }
            rest = next;
        }
        let end = text.iter().rposition(|b| !matches!(b, b'\n' | b' ' | b'\t')).map_or(0, |last| last + 1);
        text.truncate(end);
        Cow::Owned(text)
    }

    /// Returns the value as R reads the fields of [`KEEP_WHITE`]: only the blanks after the `:` are removed, lines are
    /// joined by `\n`, and a line ` .` becomes empty.
    pub fn keep_white(self) -> Cow<'a, [u8]> {
        let (first, mut rest) = split_line(self.0);
        let first = trim_start(first);
        if rest.is_empty() {
            return Cow::Borrowed(first);
        }
        let mut text = Vec::with_capacity(self.0.len());
        text.extend_from_slice(first);
        while !rest.is_empty() {
            let (line, next) = split_line(rest);
            text.push(b'\n');
            if !is_escaped_blank(line) {
                text.extend_from_slice(line);
            }
            rest = next;
        }
        Cow::Owned(text)
    }
}

/// One record: its fields in order, duplicates included, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DcfRecord<'a> {
    /// Every byte of the record from its first tag to its last line, without that line's end.
    pub raw: &'a [u8],
    /// The byte offset of `raw` in the input.
    pub offset: usize,
    pub fields: Vec<DcfField<'a>>,
}

impl<'a> DcfRecord<'a> {
    /// Returns the value of a tag (case-sensitive). If a tag is repeated, the last value is used, as in R.
    pub fn get(&self, tag: &str) -> Option<DcfValue<'a>> {
        self.fields.iter().rev().find(|f| f.tag == tag.as_bytes()).map(|f| f.value)
    }
}

/// The treatment of lines that are not DCF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As in `read.dcf`, such a line is an error, which ends the iteration. Blank lines end a record.
    Strict,
    /// For old DESCRIPTION files: such lines are ignored, and blank lines do not end the record.
    Lenient,
}

/// Iterates over the records of a text. A byte order mark at its beginning is ignored; line ends are LF, CRLF or CR.
pub fn records(text: &[u8]) -> Records<'_> {
    Records::new(text, Mode::Strict)
}

/// Reads the only record of a DESCRIPTION (see [`Mode::Lenient`]). Fields after a blank line are added, but do not
/// replace fields before it.
///
/// # Errors
/// Only [`DcfError::Zero`] and [`DcfError::TooManyFields`].
pub fn description(text: &[u8]) -> Result<DcfRecord<'_>, DcfError> {
    let empty_record = DcfRecord { raw: &text[..0], offset: 0, fields: Vec::new() };
    Records::new(text, Mode::Lenient).next().unwrap_or(Ok(empty_record))
}

#[derive(Clone, Debug)]
pub struct Records<'a> {
    text: &'a [u8],
    position: usize,
    line: usize,
    mode: Mode,
}

impl<'a> Records<'a> {
    fn new(text: &'a [u8], mode: Mode) -> Records<'a> {
        let position = if text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        Records { text, position, line: 0, mode }
    }

    fn fail(&mut self, error: DcfError) -> Option<Result<DcfRecord<'a>, DcfError>> {
        self.position = self.text.len();
        Some(Err(error))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<DcfRecord<'a>, DcfError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.text;
        let mut fields: Vec<DcfField<'a>> = Vec::with_capacity(8);
        // Byte offsets: of the record, of the current field's value, and of the end of its last line so far.
        let (mut record_start, mut value_start, mut end) = (self.position, self.position, self.position);
        // Lenient mode only: the number of fields before the last blank line, and whether the current field is ignored.
        let (mut fields_before_blank, mut is_ignored) = (0, false);
        while self.position < text.len() {
            let start = self.position;
            let (line, rest) = split_line(&text[start..]);
            self.position = text.len() - rest.len();
            self.line += 1;
            if memchr::memchr(0, line).is_some() {
                return self.fail(DcfError::Zero { line: self.line });
            }
            let is_blank_line = is_empty(line);
            if is_blank_line && fields.is_empty() {
                continue;
            }
            if is_blank_line {
                match self.mode {
                    Mode::Strict => break,
                    Mode::Lenient => fields_before_blank = fields.len(),
                }
                continue;
            }
            if is_blank(&line[0]) {
                match (fields.last_mut(), self.mode) {
                    (Some(_), _) if is_ignored => {}
                    (Some(open_field), _) => {
                        end = start + line.len();
                        (open_field.value, open_field.end) = (DcfValue(&text[value_start..end]), end);
                    }
                    (None, Mode::Strict) => return self.fail(DcfError::Continuation { line: self.line }),
                    (None, Mode::Lenient) => {}
                }
                continue;
            }
            match memchr::memchr(b':', line) {
                Some(colon) if colon > 0 => {
                    let tag = match self.mode {
                        Mode::Strict => &line[..colon],
                        Mode::Lenient => trim(&line[..colon]),
                    };
                    is_ignored = fields[..fields_before_blank].iter().any(|f| f.tag == tag);
                    if is_ignored {
                        continue;
                    }
                    if fields.len() == MAX_FIELDS {
                        return self.fail(DcfError::TooManyFields { line: self.line });
                    }
                    if fields.is_empty() {
                        record_start = start;
                    }
                    value_start = start + colon + 1;
                    end = start + line.len();
                    let (value, line) = (DcfValue(&text[value_start..end]), self.line);
                    fields.push(DcfField { tag, value, line, start, end });
                }
                _ if self.mode == Mode::Lenient => is_ignored = true,
                _ => {
                    let text = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
                    return self.fail(DcfError::NoTag { line: self.line, text });
                }
            }
        }
        (!fields.is_empty())
            .then(|| Ok(DcfRecord { raw: &text[record_start..end], offset: record_start, fields }))
    }
}

/// Splits off the first line, without its line end. This is LF, CRLF or CR, as in R's connections.
pub(in crate::r) fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr::memchr2(b'\n', b'\r', text) else { return (text, &[]) };
    let rest = &text[end..];
    (&text[..end], rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]))
}

fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Returns whether a line consists only of blanks and tabs.
pub(in crate::r) fn is_empty(line: &[u8]) -> bool {
    trim_start(line).is_empty()
}

/// Returns whether a continuation line is an empty one: a full stop in white space, also form feeds, vertical tabs.
pub(in crate::r) fn is_escaped_blank(line: &[u8]) -> bool {
    let mut text = line.split(|b| b.is_ascii_whitespace() || *b == 0x0b).filter(|word| !word.is_empty());
    text.next() == Some(b".") && text.next().is_none()
}

fn trim_start(line: &[u8]) -> &[u8] {
    &line[line.iter().take_while(|b| is_blank(b)).count()..]
}

/// Trims blanks and tabs only: R treats other white space as text.
fn trim(line: &[u8]) -> &[u8] {
    let line = trim_start(line);
    &line[..line.len() - line.iter().rev().take_while(|b| is_blank(b)).count()]
}

/// Copies the fields of a record unchanged, except those in `omitted_fields`.
pub(in crate::r) fn copy_fields(stanza: &[u8], omitted_fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(stanza.len() + 120);
    for field in records(stanza).filter_map(Result::ok).take(1).flat_map(|record| record.fields) {
        if !omitted_fields.contains(&field.tag) {
            out.extend_from_slice(&stanza[field.start..field.end]);
            out.push(b'\n');
        }
    }
    out
}

/// Appends a field with LF line ends, whatever its own ones are, and without empty lines.
pub(in crate::r) fn copy_lines(out: &mut Vec<u8>, field: &DcfField<'_>) {
    out.extend_from_slice(field.tag);
    out.push(b':');
    let (first, mut rest) = split_line(field.value.raw());
    out.extend_from_slice(first);
    out.push(b'\n');
    while !rest.is_empty() {
        let (line, next) = split_line(rest);
        if !is_empty(line) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        rest = next;
    }
}

/// The line width of `write.dcf` in characters.
const LINE_WIDTH: usize = 72;
/// The indentation of continuation lines in characters.
const INDENT: usize = 8;

/// Writes `tag: value` folded as `write.dcf` does, with a line end. Lines break only at white space, which is not
/// preserved. Unlike `write.dcf`, never puts a full stop alone on a line.
pub fn write_field(out: &mut impl Write, tag: &str, value: &str) -> io::Result<()> {
    write!(out, "{tag}:")?;
    let mut column = tag.chars().count() + 1;
    let mut limit = LINE_WIDTH;
    let mut is_after_sentence = false;
    let mut has_second_blank = false;
    for word in value.split([' ', '\t', '\n', '\r']) {
        if word.is_empty() {
            // Like R, keeps a second blank after the end of a sentence, unless the line breaks there.
            has_second_blank |= is_after_sentence;
            is_after_sentence = false;
            continue;
        }
        let gap = 1 + usize::from(has_second_blank);
        let width = word.chars().count();
        // A full stop alone on a line would be read as an empty line.
        if column + gap + width < limit || word == "." {
            out.write_all(&b"  "[..gap])?;
            column += gap + width;
        } else {
            write!(out, "\n{:INDENT$}", "")?;
            (column, limit) = (width, LINE_WIDTH - INDENT);
        }
        out.write_all(word.as_bytes())?;
        has_second_blank = false;
        is_after_sentence = ends_sentence(word);
    }
    out.write_all(b"\n")
}

fn ends_sentence(word: &str) -> bool {
    word.strip_suffix([')', '"', '\'']).is_some_and(|w| w.ends_with(['.', '?', '!']))
        || word.ends_with(['.', '?', '!'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn only_record(text: &[u8]) -> DcfRecord<'_> {
        let mut records = records(text);
        let record = records.next().expect("a record").expect("good DCF");
        assert_eq!(records.next(), None);
        record
    }

    fn fold_field(text: &[u8], tag: &str) -> String {
        String::from_utf8(only_record(text).get(tag).expect("the tag").fold().into_owned()).expect("UTF-8")
    }

    #[test]
    fn values_are_trimmed_and_a_blank_after_the_colon_is_optional() {
        assert_eq!(fold_field(b"A:  x y \t\nB:z\nC:\n", "A"), "x y");
        assert_eq!(fold_field(b"A:  x y \t\nB:z\nC:\n", "B"), "z");
        assert_eq!(fold_field(b"A:  x y \t\nB:z\nC:\n", "C"), "");
        assert_eq!(fold_field(b"Version : 1\n", "Version "), "1");
        assert_eq!(fold_field(b"URL: http://x:80/\n", "URL"), "http://x:80/");
    }

    #[test]
    fn continuations_are_joined_and_a_dot_is_an_empty_line() {
        assert_eq!(fold_field(b"A: x\n  y\n .\n\t. \n  z  \n .a\n", "A"), "x\ny\n\n\nz\n.a");
        assert_eq!(fold_field(b"A:\n  y\n", "A"), "y");
        assert_eq!(fold_field(b"A:\n .\n .\n  y\n .\n", "A"), "\n\ny");
    }

    #[test]
    fn fields_with_meaningful_white_space_can_be_kept() {
        let record = only_record(b"Author:  a\n   b  \n .\n  c\nBuilt:\n  y\n");
        assert_eq!(
            record.get("Author").map(|v| v.keep_white().into_owned()),
            Some(b"a\n   b  \n\n  c".to_vec())
        );
        assert_eq!(record.get("Built").map(|v| v.keep_white().into_owned()), Some(b"\n  y".to_vec()));
    }

    #[test]
    fn line_ends_may_be_lf_crlf_or_cr_and_a_byte_order_mark_is_skipped() {
        for text in [&b"A: 1\r\n b\r\nB: 2\r\n\r\n"[..], b"A: 1\r b\rB: 2\r\r", b"\xef\xbb\xbfA: 1\n b\nB: 2"]
        {
            assert_eq!(fold_field(text, "A"), "1\nb");
            assert_eq!(fold_field(text, "B"), "2");
        }
    }

    #[test]
    fn the_last_of_duplicate_tags_applies_and_all_are_listed_in_order() {
        let record = only_record(b"A: 1\nB: 2\nA: 3\n");
        assert_eq!(record.get("A").map(|v| v.raw()), Some(&b" 3"[..]));
        assert_eq!(record.fields.iter().map(|f| f.tag).collect::<Vec<_>>(), [b"A", b"B", b"A"]);
        assert_eq!(record.get("a"), None, "case matters");
    }

    #[test]
    fn lines_of_blanks_end_a_record_and_bytes_of_records_are_exact() {
        let text = b"\n \nA: 1\n  x\nX-Odd: \xff\n \t\n\nA: 2\r\nB: 3";
        let records: Vec<_> = records(text).map(|r| r.expect("good DCF")).collect();
        assert_eq!(
            records.iter().map(|r| r.raw).collect::<Vec<_>>(),
            [&b"A: 1\n  x\nX-Odd: \xff"[..], b"A: 2\r\nB: 3"]
        );
        assert_eq!(&text[records[1].offset..], records[1].raw);
        assert_eq!(records[1].fields[1].line, 9);
    }

    #[test]
    fn errors_name_the_line_and_end_the_iteration() {
        let error = |text: &'static [u8]| {
            let mut records = records(text);
            let error = records.find_map(Result::err);
            assert_eq!(records.next(), None);
            error.map(|e| e.to_string()).unwrap_or_default()
        };
        assert!(
            error(b"A: 1\n# note\n").starts_with("line 2: '# note' is not"),
            "{}",
            error(b"A: 1\n# note\n")
        );
        assert!(error(b": x\n").starts_with("line 1:"));
        assert!(error(b"A: 1\n\n  y: z\n").starts_with("line 3: a continuation"));
        assert!(error(b"A: 1\nB: \0\n").starts_with("line 2: a zero byte"));
        assert!(error(b"A: 1\n\x0c\nB: 1\n").starts_with("line 2:"));
    }

    #[test]
    fn malformed_lines_of_a_description_are_ignored() {
        let text =
            b" stray\n# note\nPackage: a1\n\nVersion: 1.0\nno tag\n  goes on\nPackage: b2\n  x\nTitle: T\n";
        let record = description(text).expect("lenient");
        assert_eq!(record.get("Package").map(|v| v.fold().into_owned()), Some(b"a1".to_vec()));
        assert_eq!(record.get("Version").map(|v| v.fold().into_owned()), Some(b"1.0".to_vec()));
        assert!(record.get("Title").is_some());
        assert_eq!(description(b"").map(|r| r.fields.len()), Ok(0));
        assert_eq!(description(b"A: 1\0"), Err(DcfError::Zero { line: 1 }));
    }

    #[test]
    fn long_values_are_folded_between_words() {
        let mut out = Vec::new();
        let value = "R (>= 3.5), ".repeat(12);
        write_field(&mut out, "Depends", value.trim()).expect("writing to a Vec succeeds");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.lines().all(|l| l.len() < 72) && text.lines().count() == 3, "{text}");
        assert!(text.lines().skip(1).all(|l| l.starts_with("        ")), "{text}");
        assert_eq!(fold_field(text.as_bytes(), "Depends").replace('\n', " "), value.trim());
    }

    #[test]
    fn a_record_with_more_fields_than_any_real_one_is_refused() {
        let text = "A: 1\n".repeat(MAX_FIELDS + 1);
        let error = DcfError::TooManyFields { line: MAX_FIELDS + 1 };
        assert_eq!(records(text.as_bytes()).next(), Some(Err(error.clone())));
        assert_eq!(description(text.as_bytes()), Err(error));
        assert!(description(&text.as_bytes()[5..]).is_ok());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            for record in records(&text).flatten() {
                prop_assert_eq!(&text[record.offset..record.offset + record.raw.len()], record.raw);
                prop_assert_eq!(records(record.raw).count(), 1);
            }
            let _ = description(&text);
        }

        #[test]
        fn dcf_like_bytes_are_read_without_panic(text in "(A|B-x|[ \t.]|: ?|\n|\r\n|\r|é){0,60}") {
            for field in records(text.as_bytes()).flatten().flat_map(|r| r.fields) {
                let _ = (field.value.fold(), field.value.keep_white());
            }
        }

        #[test]
        fn a_written_field_is_read_back(value in "[a-z.?!)( ]{0,200}") {
            let mut out = Vec::new();
            write_field(&mut out, "Title", &value).expect("writing to a Vec succeeds");
            let words = |s: &str| s.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            // A full stop that folding puts on a separate line reads as an empty line, in R and here.
            prop_assume!(!value.split_whitespace().any(|w| w == "."));
            prop_assert_eq!(words(&fold_field(&out, "Title")), words(&value));
        }
    }
}
