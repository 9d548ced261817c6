//! Lexer from gcfg text to section headers and `Name = value` entries with their positions; it reports every syntax
//! error. The dialect is git's configuration format with `=` mandatory; see `docs/admin/configuration.md`.
//!
//! No crate is used: rust-ini misreads constructs of this dialect, and gix-config gives no offsets, which the positions
//! of errors need. gix-config is the reference of the tests, in `tests/admin/gcfg_oracle.rs`.

use std::borrow::Cow;

use super::problem::Position;

/// Maximum length of a text in bytes; a real configuration has a few thousand.
pub(super) const MAX_LENGTH: usize = 1 << 20;
/// Number of errors after which the rest of the text is not read.
const MAX_ERRORS: usize = 50;

/// An element of a text. Comments and blanks are not elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// `[Name]` or `[Name "sub"]`.
    Section { position: Position, name: String, sub: Option<String> },
    /// `Name = value`, in the section above it.
    Entry { position: Position, name: String, value_position: Position, value: String },
    /// An invalid header: the section of the entries below it is unknown.
    BrokenSection,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) position: Position,
    /// The property of the entry with the error, if it is in an entry.
    pub(super) property: Option<String>,
    /// The error and the correct form.
    pub(super) message: String,
}

/// Lexes a whole text. Valid items are returned even if others have errors.
pub(super) fn lex(bytes: &[u8]) -> (Vec<Item>, Vec<SyntaxError>) {
    let mut lexer =
        Lexer { chars: "".chars().peekable(), position: START, items: Vec::new(), errors: Vec::new() };
    if bytes.len() > MAX_LENGTH {
        lexer.report(
            START,
            None,
            format!("the file has {} bytes; at most {MAX_LENGTH} are read", bytes.len()),
        );
        return (lexer.items, lexer.errors);
    }
    let text = decode(bytes, &mut lexer.errors);
    let mut lexer = Lexer { chars: text.chars().peekable(), ..lexer };
    lexer.items();
    let mut errors = lexer.errors;
    errors.sort_by_key(|error| error.position);
    (lexer.items, errors)
}

const START: Position = Position { line: 1, column: 1 };

/// Decodes a text, drops the byte order mark and the CR of CRLF, and replaces invalid bytes and control characters by
/// U+FFFD after reporting them, one error per line.
fn decode(bytes: &[u8], errors: &mut Vec<SyntaxError>) -> String {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut text = String::with_capacity(bytes.len());
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let decoded = String::from_utf8_lossy(line);
        let has_invalid_bytes = matches!(decoded, Cow::Owned(_));
        let mut is_reported = false;
        for (column, c) in decoded.chars().enumerate() {
            let is_control = c.is_control() && c != '\t';
            let is_refused = is_control || (has_invalid_bytes && c == '\u{fffd}');
            if is_refused && !is_reported && errors.len() < MAX_ERRORS {
                is_reported = true;
                let position = Position { line: one_based(number), column: one_based(column) };
                let message = match c {
                    '\u{fffd}' => "the bytes here are not UTF-8; save the file as UTF-8".to_owned(),
                    '\0' => "a NUL character; remove it".to_owned(),
                    other => format!("a control character, {:?}; remove it", other),
                };
                errors.push(SyntaxError { position, property: None, message });
            }
            text.push(if is_refused { '\u{fffd}' } else { c });
        }
    }
    text
}

/// Converts an index to a number that counts from 1.
fn one_based(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}

struct Lexer<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    /// Position of the next character.
    position: Position,
    items: Vec<Item>,
    errors: Vec<SyntaxError>,
}

impl Lexer<'_> {
    fn items(&mut self) {
        while let Some(c) = self.peek() {
            if self.errors.len() >= MAX_ERRORS {
                let message = format!("more than {MAX_ERRORS} errors; the rest of the file is not read");
                self.errors.push(SyntaxError { position: self.position, property: None, message });
                return;
            }
            match c {
                '\n' | ' ' | '\t' => self.bump(),
                ';' | '#' => self.skip_line(),
                '[' => self.section(),
                c if is_name_start(c) => self.entry(),
                other => {
                    let position = self.position;
                    self.report(
                        position,
                        None,
                        format!("unexpected {other:?}; a line is `[Section]`, `Name = value` or a comment"),
                    );
                    self.skip_line();
                }
            }
        }
    }

    fn section(&mut self) {
        let position = self.position;
        self.bump();
        match self.header(position) {
            Ok(item) => self.items.push(item),
            Err((position, message)) => {
                self.report(position, None, message);
                self.items.push(Item::BrokenSection);
                self.skip_line();
            }
        }
    }

    fn header(&mut self, position: Position) -> Result<Item, (Position, String)> {
        self.skip_blanks();
        let name = self.name();
        if name.is_empty() {
            return Err((self.position, "a section name is missing; write `[Section]`".to_owned()));
        }
        self.skip_blanks();
        let mut sub = None;
        if self.peek() == Some('"') {
            sub = Some(self.subsection()?);
            self.skip_blanks();
        }
        match self.peek() {
            Some(']') => {
                self.bump();
                Ok(Item::Section { position, name, sub })
            }
            Some(c) if sub.is_none() && (c == '.' || is_name_start(c)) => {
                if c == '.' {
                    self.bump();
                }
                Err((
                    self.position,
                    format!("a subsection name must be quoted; write `[{name} \"{}\"]`", self.name()),
                ))
            }
            _ => Err((self.position, format!("`]` is missing after `[{name}`"))),
        }
    }

    /// Lexes a quoted subsection name as git does: a backslash makes the next character literal.
    fn subsection(&mut self) -> Result<String, (Position, String)> {
        let quote_position = self.position;
        self.bump();
        let mut sub = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => return Err((quote_position, "the quote is not closed".to_owned())),
                Some('"') => {
                    self.bump();
                    return Ok(sub);
                }
                Some('\\') => {
                    self.bump();
                    if let Some(c) = self.peek().filter(|&c| c != '\n') {
                        self.bump();
                        sub.push(c);
                    }
                }
                Some(c) => {
                    self.bump();
                    sub.push(c);
                }
            }
        }
    }

    fn entry(&mut self) {
        let position = self.position;
        let name = self.name();
        self.skip_blanks();
        match self.peek() {
            Some('=') => self.bump(),
            None | Some('\n' | ';' | '#') => {
                let message =
                    format!("`=` is missing; write `{name} = value` (for a switch, `{name} = true`)");
                self.report(position, Some(name), message);
                return self.skip_line();
            }
            Some(c) => {
                let (position, message) =
                    (self.position, format!("`=` is missing before {c:?}; write `{name} = value`"));
                self.report(position, Some(name), message);
                return self.skip_line();
            }
        }
        self.skip_blanks();
        let value_position = self.position;
        match self.value() {
            Ok(value) => self.items.push(Item::Entry { position, name, value_position, value }),
            Err((position, message)) => {
                self.report(position, Some(name), message);
                self.skip_line();
            }
        }
    }

    fn value(&mut self) -> Result<String, (Position, String)> {
        let mut value = String::new();
        // Length of the value without trailing blanks: blanks outside quotes count only if more text follows.
        let mut trimmed_len = 0;
        let mut open_quote = None;
        loop {
            match self.peek() {
                None | Some('\n') => {
                    if let Some(quote_position) = open_quote {
                        return Err((quote_position, "the quote is not closed on its line".to_owned()));
                    }
                    break;
                }
                Some('"') => {
                    open_quote = if open_quote.is_some() { None } else { Some(self.position) };
                    self.bump();
                    trimmed_len = value.len();
                }
                Some('\\') => {
                    value.extend(self.escape()?);
                    trimmed_len = value.len();
                }
                Some(';' | '#') if open_quote.is_none() => {
                    self.skip_line();
                    break;
                }
                // As in git, a value does not begin with blanks, not even after empty quotes.
                Some(' ' | '\t') if open_quote.is_none() && value.is_empty() => self.bump(),
                Some(c) => {
                    self.bump();
                    value.push(c);
                    if open_quote.is_some() || !matches!(c, ' ' | '\t') {
                        trimmed_len = value.len();
                    }
                }
            }
        }
        value.truncate(trimmed_len);
        Ok(value)
    }

    /// Lexes an escape sequence; `None` is a continued line.
    fn escape(&mut self) -> Result<Option<char>, (Position, String)> {
        let position = self.position;
        self.bump();
        let next = self.peek();
        let escaped = match next {
            Some('\n') => None,
            Some(c @ ('"' | '\\')) => Some(c),
            Some('n') => Some('\n'),
            Some('t') => Some('\t'),
            Some(c) => {
                return Err((
                    position,
                    format!("`\\{c}` is not an escape sequence; write `\\\\` for a backslash"),
                ));
            }
            None => {
                return Err((
                    position,
                    "the file ends after a backslash; write `\\\\` for a backslash".to_owned(),
                ));
            }
        };
        self.bump();
        Ok(escaped)
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) =
            self.peek().filter(|&c| is_name_start(c) || c.is_ascii_digit() || c == '-' || c == '_')
        {
            self.bump();
            name.push(c);
        }
        name
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t')) {
            self.bump();
        }
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| c != '\n') {
            self.bump();
        }
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }

    fn bump(&mut self) {
        match self.chars.next() {
            Some('\n') => self.position = Position { line: self.position.line.saturating_add(1), column: 1 },
            Some(_) => self.position.column = self.position.column.saturating_add(1),
            None => {}
        }
    }

    fn report(&mut self, position: Position, property: Option<String>, message: String) {
        self.errors.push(SyntaxError { position, property, message });
    }
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(text: &str) -> Vec<(String, String)> {
        let (items, errors) = lex(text.as_bytes());
        assert_eq!(errors, [], "{text:?}");
        items
            .into_iter()
            .filter_map(|item| match item {
                Item::Entry { name, value, .. } => Some((name, value)),
                Item::Section { .. } | Item::BrokenSection => None,
            })
            .collect()
    }

    fn value(text: &str) -> String {
        let parsed = entries(&format!("[S]\nName = {text}\n"));
        assert_eq!(parsed.len(), 1, "{text:?} gave {parsed:?}");
        parsed[0].1.clone()
    }

    /// Returns the only error, as `line:column message`.
    fn only_error(text: impl AsRef<[u8]>) -> String {
        let (_, errors) = lex(text.as_ref());
        assert_eq!(errors.len(), 1, "{errors:?}");
        format!("{}:{} {}", errors[0].position.line, errors[0].position.column, errors[0].message)
    }

    #[test]
    fn a_value_runs_from_the_first_to_the_last_non_blank() {
        assert_eq!(value("  one  two \t "), "one  two");
        assert_eq!(value(""), "");
    }

    #[test]
    fn comments_end_values_or_have_their_own_line() {
        assert_eq!(value("a ; c"), "a");
        assert_eq!(value("a#c"), "a");
        assert_eq!(entries("; x\n# y\n[S] ; z\n  # [T]\nA = 1 # one").len(), 1);
    }

    #[test]
    fn quotes_keep_blanks_and_comment_characters() {
        assert_eq!(value(r#"" a ; # b ""#), " a ; # b ");
        assert_eq!(value(r#"a" ; "b c"#), "a ; b c");
        assert_eq!(value(r#""""#), "");
        assert_eq!(value(r#"a "" "#), "a ");
        assert_eq!(value(r#""" a"#), "a");
    }

    #[test]
    fn escapes_encode_quote_backslash_newline_and_tab() {
        assert_eq!(value(r#""say \"hi\" \\ \n\t""#), "say \"hi\" \\ \n\t");
        assert_eq!(value(r"C:\\dir"), r"C:\dir");
    }

    #[test]
    fn a_backslash_at_the_end_continues_the_line() {
        assert_eq!(value("a \\\n  b"), "a   b");
        assert_eq!(value("\"a\\\r\nb\""), "ab");
    }

    #[test]
    fn a_header_and_its_first_property_may_share_a_line() {
        assert_eq!(entries("[HTTP] Listen = :80\n"), [("Listen".to_owned(), ":80".to_owned())]);
    }

    #[test]
    fn subsection_names_are_quoted_and_may_contain_escapes() {
        let (items, errors) = lex(br#"[ FileStorage "ca\"c\\he" ]"#);
        assert_eq!(errors, []);
        let sub = Some("ca\"c\\he".to_owned());
        assert_eq!(items, [Item::Section { position: START, name: "FileStorage".to_owned(), sub }]);
    }

    #[test]
    fn byte_order_mark_and_crlf_are_not_part_of_values() {
        let windows = "\u{feff}[S]\r\nA = 1\r\nB = 2\r\n";
        assert_eq!(entries(windows), entries("[S]\nA = 1\nB = 2\n"));
    }

    #[test]
    fn every_item_has_its_line_and_column() {
        let (items, _) = lex("[S]\n  ключ\n".as_bytes());
        assert_eq!(items.len(), 1);
        let (items, _) = lex("; é\n\n  [S] A =  \"x\"\n".as_bytes());
        assert_eq!(
            items[0],
            Item::Section { position: Position { line: 3, column: 3 }, name: "S".into(), sub: None }
        );
        let Item::Entry { position, value_position, .. } = &items[1] else { panic!("{items:?}") };
        assert_eq!((position.column, value_position.column), (7, 12));
    }

    #[test]
    fn a_bare_name_is_an_error_with_the_remedy() {
        assert_eq!(
            only_error("[HTTPS]\nPermanent ; yes\n"),
            "2:1 `=` is missing; write `Permanent = value` (for a switch, `Permanent = true`)"
        );
        assert!(only_error("[HTTP]\nListen :80").starts_with("2:8 `=` is missing before ':'"));
    }

    #[test]
    fn an_unclosed_quote_is_reported_at_its_beginning() {
        assert_eq!(only_error("[S]\nA = x\"y ; z\nB = 1\n"), "2:6 the quote is not closed on its line");
        assert_eq!(only_error("[S \"x]\n"), "1:4 the quote is not closed");
    }

    #[test]
    fn an_unknown_escape_is_an_error_with_the_remedy() {
        assert_eq!(
            only_error("[S]\nA = C:\\dir\n"),
            "2:7 `\\d` is not an escape sequence; write `\\\\` for a backslash"
        );
        assert!(only_error("[S]\nA = x\\").contains("the file ends after a backslash"));
    }

    #[test]
    fn an_unquoted_subsection_name_is_an_error_with_the_remedy() {
        assert!(only_error("[FileStorage cache]\n").ends_with("write `[FileStorage \"cache\"]`"));
        assert!(only_error("[FileStorage.cache]\n").ends_with("write `[FileStorage \"cache\"]`"));
    }

    #[test]
    fn an_unclosed_or_empty_header_is_an_error() {
        assert_eq!(only_error("[Server\nA = 1"), "1:8 `]` is missing after `[Server`");
        assert!(only_error("[]").contains("a section name is missing"));
    }

    #[test]
    fn an_invalid_line_is_an_error() {
        assert!(only_error("[S]\n= 3\n").starts_with("2:1 unexpected '='"));
    }

    #[test]
    fn nul_is_an_error() {
        assert_eq!(only_error("[S]\nA = x\0y\0\n"), "2:6 a NUL character; remove it");
    }

    #[test]
    fn invalid_utf8_is_an_error() {
        assert!(only_error(b"[S]\nA = \xff\xfe\n").starts_with("2:5 the bytes here are not UTF-8"));
    }

    #[test]
    fn control_characters_are_errors() {
        assert!(only_error("[S]\nA = \u{1b}[31m\n").starts_with("2:5 a control character"));
    }

    #[test]
    fn an_overlong_file_is_an_error() {
        assert!(only_error(vec![b'\n'; MAX_LENGTH + 1]).contains("at most 1048576 are read"));
    }

    #[test]
    fn all_errors_are_reported_up_to_a_limit() {
        let (items, errors) = lex(b"[S\nA\n[T]\nB\nC = \"\nD = 4\n");
        assert_eq!(errors.iter().map(|f| f.position.line).collect::<Vec<_>>(), [1, 2, 4, 5]);
        assert!(matches!(&items[2], Item::Entry { name, .. } if name == "D"), "{items:?}");
        assert_eq!(lex("x\n".repeat(1000).as_bytes()).1.len(), MAX_ERRORS + 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = lex(&bytes);
        }

        #[test]
        fn gcfg_like_text_is_read_without_panic(text in r#"([\[\]"\\;#=a-cS \t\r\n]|[é\x00\u{fffd}]){0,200}"#) {
            for cut in 0..=text.len() {
                let _ = lex(&text.as_bytes()[..cut]);
            }
        }

        #[test]
        fn a_quoted_value_is_read_back(value in "[^\\p{Cc}]{0,40}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("[S]\nName = \"{quoted}\" ; comment\n");
            prop_assert_eq!(entries(&text), vec![("Name".to_owned(), value)]);
        }
    }
}
