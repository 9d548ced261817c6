//! An incremental reader of `multipart/form-data` (RFC 7578, RFC 2046) with bounded memory: it buffers the head of one
//! part or a piece of its content, never a whole part. Pure: the caller pushes bytes and takes events.
//!
//! The crate multer 3.1 is not used: it reads its stream into memory until the stream is pending, and does not limit
//! the head of a part. An upload that arrives faster than it is read would be in memory as a whole.

use bytes::{Bytes, BytesMut};
use memchr::memmem;

/// Maximum size of the head of a part, and of the text before the first part, in bytes.
const MAX_HEAD: usize = 16 << 10;
/// Maximum length of a boundary, in bytes (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// The next element of a form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormEvent {
    Part(PartHead),
    /// The next bytes of its content; never empty.
    Content(Bytes),
    PartEnd,
    /// The form is complete; bytes after it are ignored.
    End,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHead {
    pub name: String,
    /// The file name; `None` for a part that is not a file.
    pub file: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadForm {
    #[error(
        "an upload must have the Content-Type multipart/form-data; use twine, uv publish or another upload client"
    )]
    OtherType,
    #[error("the Content-Type of the upload has no valid boundary")]
    Boundary,
    #[error("the upload is incomplete: its last boundary is missing; upload the file again")]
    Incomplete,
    #[error("the upload has no boundary where a part must begin")]
    NoPart,
    #[error("a part of the upload has a malformed head; it needs Content-Disposition: form-data; name=\"…\"")]
    Head,
    #[error("a part of the upload has a Content-Transfer-Encoding; send the bytes unchanged")]
    Encoding,
}

pub fn boundary(content_type: &str) -> Result<String, BadForm> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Err(BadForm::OtherType);
    }
    let parameters = parameters_of(parameters).ok_or(BadForm::Boundary)?;
    let boundary = only(&parameters, "boundary").map_err(|_| BadForm::Boundary)?.ok_or(BadForm::Boundary)?;
    let is_boundary_byte = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'\'' | b'('..=b'/' | b':' | b'=' | b'?' | b'_')
    };
    let is_valid = (1..=MAX_BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(is_boundary_byte)
        && !boundary.ends_with(' ');
    if is_valid { Ok(boundary.to_owned()) } else { Err(BadForm::Boundary) }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartPosition {
    /// Before the first boundary.
    Start,
    /// After a boundary, before the end of its line.
    Boundary,
    Head,
    Content,
    End,
}

#[derive(Debug)]
pub struct FormReader {
    /// The boundary, preceded by a line break and two dashes.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    position: PartPosition,
}

impl FormReader {
    pub fn new(boundary: &str) -> FormReader {
        // The line break before the first boundary is optional.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        FormReader {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            buffer,
            position: PartPosition::Start,
        }
    }

    /// Adds bytes. If all events are taken before the next call, memory is bounded by the bytes of one call.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.position != PartPosition::End {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Takes the next event; `None` if more bytes are needed.
    pub fn take(&mut self) -> Result<Option<FormEvent>, BadForm> {
        loop {
            let is_advanced = match self.position {
                PartPosition::Start => self.skip_start()?,
                PartPosition::Boundary => self.end_boundary()?,
                PartPosition::Head => return self.head(),
                PartPosition::Content => return Ok(self.content()),
                PartPosition::End => return Ok(Some(FormEvent::End)),
            };
            if !is_advanced {
                return Ok(None);
            }
        }
    }

    /// Returns an error if the form is not complete, after all bytes were read.
    pub fn end(&self) -> Option<BadForm> {
        (self.position != PartPosition::End).then_some(BadForm::Incomplete)
    }

    fn skip_start(&mut self) -> Result<bool, BadForm> {
        match memmem::find(&self.buffer, &self.delimiter) {
            Some(at) if at <= MAX_HEAD => {
                drop(self.buffer.split_to(at + self.delimiter.len()));
                self.position = PartPosition::Boundary;
                Ok(true)
            }
            None if self.buffer.len() < MAX_HEAD + self.delimiter.len() => Ok(false),
            Some(_) | None => Err(BadForm::NoPart),
        }
    }

    /// Reads the rest of a boundary line: two dashes after the last boundary, otherwise white space.
    fn end_boundary(&mut self) -> Result<bool, BadForm> {
        if self.buffer.len() < 2 {
            return Ok(false);
        }
        if self.buffer.starts_with(b"--") {
            self.buffer.clear();
            self.position = PartPosition::End;
            return Ok(true);
        }
        let Some(at) = memmem::find(&self.buffer, b"\r\n") else {
            return if self.buffer.len() <= MAX_HEAD + 1 { Ok(false) } else { Err(BadForm::NoPart) };
        };
        if at > MAX_HEAD || !self.buffer[..at].iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(BadForm::NoPart);
        }
        drop(self.buffer.split_to(at + 2));
        self.position = PartPosition::Head;
        Ok(true)
    }

    fn head(&mut self) -> Result<Option<FormEvent>, BadForm> {
        if self.buffer.starts_with(b"\r\n") {
            return Err(BadForm::Head);
        }
        let Some(at) = memmem::find(&self.buffer, b"\r\n\r\n").filter(|at| *at <= MAX_HEAD) else {
            return if self.buffer.len() <= MAX_HEAD + 3 { Ok(None) } else { Err(BadForm::Head) };
        };
        let head = part_head(&self.buffer[..at])?;
        drop(self.buffer.split_to(at + 4));
        self.position = PartPosition::Content;
        Ok(Some(FormEvent::Part(head)))
    }

    fn content(&mut self) -> Option<FormEvent> {
        let end = memmem::find(&self.buffer, &self.delimiter);
        match end {
            Some(0) => {
                drop(self.buffer.split_to(self.delimiter.len()));
                self.position = PartPosition::Boundary;
                Some(FormEvent::PartEnd)
            }
            Some(at) => Some(FormEvent::Content(self.buffer.split_to(at).freeze())),
            None => {
                // The last bytes may be the beginning of the boundary.
                let safe = self.buffer.len().saturating_sub(self.delimiter.len() - 1);
                (safe > 0).then(|| FormEvent::Content(self.buffer.split_to(safe).freeze()))
            }
        }
    }
}

fn part_head(bytes: &[u8]) -> Result<PartHead, BadForm> {
    let text = std::str::from_utf8(bytes).map_err(|_| BadForm::Head)?;
    let mut disposition = None;
    for line in text.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or(BadForm::Head)?;
        if name.eq_ignore_ascii_case("Content-Disposition") {
            if disposition.replace(value).is_some() {
                return Err(BadForm::Head);
            }
        } else if name.eq_ignore_ascii_case("Content-Transfer-Encoding") {
            let value = value.trim().to_ascii_lowercase();
            if !matches!(&*value, "binary" | "8bit" | "7bit") {
                return Err(BadForm::Encoding);
            }
        }
    }
    let (kind, parameters) = disposition.and_then(|value| value.split_once(';')).ok_or(BadForm::Head)?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return Err(BadForm::Head);
    }
    let parameters = parameters_of(parameters).ok_or(BadForm::Head)?;
    let name = only(&parameters, "name")?.ok_or(BadForm::Head)?.to_owned();
    Ok(PartHead { name, file: only(&parameters, "filename")?.map(str::to_owned) })
}

/// Returns the value of a parameter. A repeated one is an error, because programs differ in which value they use.
fn only<'a>(parameters: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, BadForm> {
    let mut values = parameters.iter().filter(|(other, _)| other == name);
    let first = values.next().map(|(_, value)| value.as_str());
    if values.next().is_some() { Err(BadForm::Head) } else { Ok(first) }
}

/// Reads `a=b; c="d"`, with names in lower case; in a quoted value `\"` is a quotation mark. `None` if malformed.
fn parameters_of(text: &str) -> Option<Vec<(String, String)>> {
    let mut rest = text.trim();
    let mut parameters = Vec::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let after = after.trim_start();
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        parameters.push((name, value));
        let after = after.trim_start();
        rest = if after.is_empty() { after } else { after.strip_prefix(';')?.trim_start() };
    }
    Some(parameters)
}

/// Reads a quoted value; returns it and the text after the closing quotation mark.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' if characters.next_if(|(_, next)| *next == '"').is_some() => value.push('"'),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORM: &[u8] = b"--x y\r\nContent-Disposition: form-data; name=\":action\"\r\n\r\nfile_upload\r\n--x y \t\r\n\
        content-type: application/octet-stream\r\nCONTENT-DISPOSITION: Form-Data; filename=\"a\\\"b; c.whl\"; Name=content\r\n\
        \r\nPK\r\n--x \r\n--x\r\n\r\n--x y\r\nContent-Disposition: form-data; name=empty\r\n\r\n\r\n--x y--\r\nrest";

    /// Returns the parts of a form whose bytes arrive in these pieces.
    fn read(boundary: &str, pieces: &[&[u8]]) -> Result<Vec<(PartHead, Vec<u8>)>, BadForm> {
        let mut reader = FormReader::new(boundary);
        let mut parts: Vec<(PartHead, Vec<u8>)> = Vec::new();
        let mut is_open = false;
        for piece in pieces {
            reader.push(piece);
            while let Some(event) = reader.take()? {
                match event {
                    FormEvent::Part(head) => {
                        assert!(!std::mem::replace(&mut is_open, true));
                        parts.push((head, Vec::new()));
                    }
                    FormEvent::Content(bytes) => {
                        assert!(is_open && !bytes.is_empty());
                        parts.last_mut().expect("a part").1.extend_from_slice(&bytes);
                    }
                    FormEvent::PartEnd => assert!(std::mem::replace(&mut is_open, false)),
                    FormEvent::End => break,
                }
            }
        }
        reader.end().map_or(Ok(parts), Err)
    }

    fn expected() -> Vec<(PartHead, Vec<u8>)> {
        let head = |name: &str, file: Option<&str>| PartHead {
            name: name.to_owned(),
            file: file.map(str::to_owned),
        };
        vec![
            (head(":action", None), b"file_upload".to_vec()),
            (head("content", Some("a\"b; c.whl")), b"PK\r\n--x \r\n--x\r\n".to_vec()),
            (head("empty", None), Vec::new()),
        ]
    }

    #[test]
    fn a_form_is_read_in_pieces_of_any_size() {
        for size in 1..=FORM.len() {
            let pieces: Vec<&[u8]> = FORM.chunks(size).collect();
            assert_eq!(read("x y", &pieces), Ok(expected()), "pieces of {size}");
        }
        let preamble = [b"to be ignored\r\n", FORM].concat();
        assert_eq!(read("x y", &[&preamble]), Ok(expected()));
        assert_eq!(read("b", &[b"--b--"]), Ok(Vec::new()));
    }

    #[test]
    fn a_form_that_ends_early_is_incomplete() {
        let last = memmem::find(FORM, b"--x y--").expect("the last boundary");
        for length in 0..last + 6 {
            assert_eq!(read("x y", &[&FORM[..length]]), Err(BadForm::Incomplete), "{length} bytes");
        }
        assert!(read("x y", &[&FORM[..last + 7]]).is_ok());
    }

    #[test]
    fn malformed_forms_are_refused() {
        let part = |head: &str| format!("--b\r\n{head}\r\n\r\nx\r\n--b--").into_bytes();
        let long = "a".repeat(MAX_HEAD + 4);
        for (form, error) in [
            (long.clone().into_bytes(), BadForm::NoPart),
            (format!("{long}\r\n--b--").into_bytes(), BadForm::NoPart),
            (b"--bc\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--".to_vec(), BadForm::NoPart),
            (format!("--b{long}").into_bytes(), BadForm::NoPart),
            (format!("--b\r\n{long}").into_bytes(), BadForm::Head),
            (part(&format!("X: {long}\r\nContent-Disposition: form-data; name=a")), BadForm::Head),
            (part("Content-Disposition: form-data"), BadForm::Head),
            (part("Content-Disposition: attachment; name=a"), BadForm::Head),
            (part("Content-Disposition: form-data; filename=a"), BadForm::Head),
            (part("Content-Disposition: form-data; name=a; name=b"), BadForm::Head),
            (part("Content-Disposition: form-data; name=\"a"), BadForm::Head),
            (part("Content-Disposition: form-data; name=\"a\"b"), BadForm::Head),
            (
                part("Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=b"),
                BadForm::Head,
            ),
            (part("no field"), BadForm::Head),
            (b"--b\r\n\r\nx\r\n--b--".to_vec(), BadForm::Head),
            (
                part("Content-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=a"),
                BadForm::Encoding,
            ),
            (
                [&b"--b\r\nContent-Disposition: form-data; name=\""[..], &[0xff], b"\"\r\n\r\n"].concat(),
                BadForm::Head,
            ),
        ] {
            assert_eq!(read("b", &[&form]), Err(error), "{}", String::from_utf8_lossy(&form));
        }
    }

    #[test]
    fn the_boundary_is_that_of_the_content_type() {
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        for (text, result) in [
            ("multipart/form-data; boundary=4f1c", Ok("4f1c".to_owned())),
            ("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\"", Ok("a b".to_owned())),
            ("multipart/form-data", Err(BadForm::Boundary)),
            ("multipart/form-data; boundary=", Err(BadForm::Boundary)),
            ("multipart/form-data; boundary=a; boundary=b", Err(BadForm::Boundary)),
            ("multipart/form-data; boundary=\"a\r\nb\"", Err(BadForm::Boundary)),
            ("multipart/form-data; boundary=\"a \"", Err(BadForm::Boundary)),
            (&long, Err(BadForm::Boundary)),
            ("multipart/mixed; boundary=a", Err(BadForm::OtherType)),
            ("application/json", Err(BadForm::OtherType)),
            ("", Err(BadForm::OtherType)),
        ] {
            assert_eq!(boundary(text), result, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_form_is_read_back(
            parts in prop::collection::vec(("[a-z:_]{1,8}", prop::collection::vec(any::<u8>(), 0..200)), 0..6),
            size in 1_usize..64,
        ) {
            // The generated content cannot contain this boundary.
            let boundary = "0123456789012345678901234567890123456789";
            let mut form = Vec::new();
            for (name, content) in &parts {
                form.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").as_bytes());
                form.extend_from_slice(content);
                form.extend_from_slice(b"\r\n");
            }
            form.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
            let pieces: Vec<&[u8]> = form.chunks(size).collect();
            let found = read(boundary, &pieces).map_err(|error| TestCaseError::fail(error.to_string()))?;
            let found: Vec<(String, Vec<u8>)> = found.into_iter().map(|(head, content)| (head.name, content)).collect();
            prop_assert_eq!(found, parts);
        }
    }
}
