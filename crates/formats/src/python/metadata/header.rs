//! Header fields and body of METADATA and PKG-INFO (PyPA: core metadata; the format of RFC 822 mail headers).

/// A header field with its unfolded value: continuation lines are joined by line feeds, without their indentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderField {
    pub name: String,
    /// The value, without white space around it.
    pub value: String,
}

/// The fields in the order of the file, and the body after the first empty line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    pub fields: Vec<HeaderField>,
    /// The body; empty if there is none.
    pub body: String,
}

impl Headers {
    /// Parses any bytes. A text that is not UTF-8 is decoded as Windows-1252, which old tools wrote, and NUL bytes
    /// become U+FFFD. As in Python's mail parser, a line that is neither field nor continuation begins the body, and a line
    /// `From …`, which begins a message in a mailbox, is skipped.
    pub fn parse(bytes: &[u8]) -> Headers {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
        };
        let text = if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text };
        let mut headers = Headers::default();
        let mut rest = &*text;
        while !rest.is_empty() {
            let (line, next) = first_line(rest);
            if line.is_empty() {
                rest = next;
                break;
            }
            if line.starts_with([' ', '\t']) {
                let Some(field) = headers.fields.last_mut() else { break };
                field.value.push('\n');
                field.value.push_str(continuation(line));
            } else if let Some((name, value)) = line.split_once(':').filter(|(name, _)| is_field_name(name)) {
                headers.fields.push(HeaderField { name: name.to_owned(), value: value.to_owned() });
            } else if !line.starts_with("From ") {
                break;
            }
            rest = next;
        }
        for field in &mut headers.fields {
            let value = field.value.trim();
            if value.len() < field.value.len() {
                field.value = value.to_owned();
            }
        }
        rest.clone_into(&mut headers.body);
        headers
    }
}

/// Splits off the first line, which ends with LF, CR LF or CR.
fn first_line(text: &str) -> (&str, &str) {
    let Some(at) = text.find(['\n', '\r']) else { return (text, "") };
    let (line, rest) = text.split_at(at);
    (line, rest.strip_prefix("\r\n").unwrap_or(&rest[1..]))
}

/// Removes the indent of a continuation line: eight spaces, or seven and a bar, in descriptions; else a space or tab.
fn continuation(line: &str) -> &str {
    line.strip_prefix("        ")
        .or_else(|| line.strip_prefix("       |"))
        .unwrap_or_else(|| line.strip_prefix([' ', '\t']).unwrap_or(line))
}

fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(bytes: &[u8]) -> Vec<(String, String)> {
        Headers::parse(bytes).fields.into_iter().map(|field| (field.name, field.value)).collect()
    }

    #[test]
    fn folded_lines_and_all_line_ends_are_read() {
        let text = b"Name: odd\r\nSummary: one\r\n\ttwo\r\nDescription: a\r\n        b\r\n       |  c\r\n\r\nbody\r\n";
        let headers = Headers::parse(text);
        let values: Vec<&str> = headers.fields.iter().map(|field| &*field.value).collect();
        assert_eq!(values, ["odd", "one\ntwo", "a\nb\n  c"]);
        assert_eq!(headers.body, "body\r\n");
        assert_eq!(fields(b"A: 1\rB: 2").len(), 2);
    }

    #[test]
    fn a_line_that_is_not_a_field_begins_the_body() {
        let headers = Headers::parse(b"A: 1\nno field here\nB: 2\n");
        assert_eq!((headers.fields.len(), &*headers.body), (1, "no field here\nB: 2\n"));
        let headers = Headers::parse(b" A: 1\n");
        assert_eq!((headers.fields.len(), &*headers.body), (0, " A: 1\n"));
        assert_eq!(Headers::parse(b"A: 1\n\nB: 2").body, "B: 2");
    }

    #[test]
    fn the_line_of_a_mailbox_is_skipped() {
        let headers = Headers::parse(b"From x Sat Jan  1\nA: 1\nFrom x: y\nB: 2\n\nbody");
        assert_eq!((headers.fields.len(), &*headers.body), (2, "body"));
        assert_eq!(fields(b"From: x\n"), [("From".to_owned(), "x".to_owned())]);
        assert_eq!(Headers::parse(b"From\nA: 1").body, "From\nA: 1");
    }

    #[test]
    fn bytes_that_are_not_utf8_and_zero_bytes_are_decoded() {
        assert_eq!(fields(b"Author: Andr\xe9\n"), [("Author".to_owned(), "Andr\u{e9}".to_owned())]);
        assert_eq!(fields("\u{feff}Author: André\n".as_bytes()), [("Author".to_owned(), "André".to_owned())]);
        assert_eq!(fields(b"A: x\0y"), [("A".to_owned(), "x\u{fffd}y".to_owned())]);
        assert_eq!(Headers::parse(b""), Headers::default());
    }

    proptest! {
        #[test]
        fn written_fields_are_read_back(
            values in proptest::collection::vec("[!-~]([ -~]{0,20}[!-~])?", 0..6), body in "[ -~\\n]{0,40}",
        ) {
            let mut text = String::new();
            for value in &values {
                text.push_str(&format!("Field: {value}\n"));
            }
            text.push_str(&format!("\n{body}"));
            let headers = Headers::parse(text.as_bytes());
            prop_assert_eq!(headers.fields.iter().map(|f| f.value.clone()).collect::<Vec<_>>(), values);
            prop_assert_eq!(headers.body, body);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Headers::parse(&bytes);
        }
    }
}
