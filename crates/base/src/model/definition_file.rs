//! The files of a definition of a curated source: their encoding, and the paths by which a file includes others.

use std::borrow::Cow;

use encoding_rs::Encoding;

/// Converts the path of a file that `file` includes to a path relative to the directory of the main file:
/// `../common.txt` in `a/b.txt` becomes `common.txt`. A path above that directory begins with `..`; an absolute path is
/// unchanged.
pub fn included_path(file: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
    let prefix = if file.starts_with('/') { "/" } else { "" };
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("{prefix}{}", parts.join("/"))
}

/// Returns the paths in the lines `-r path` and `-c path` of a requirements file, as written.
pub fn included_files(text: &str) -> Vec<String> {
    let path = |(_, line): (usize, String)| {
        let (name, value) = split_option(without_comment(&line).trim());
        let is_file = matches!(name, "-r" | "--requirement" | "-c" | "--constraint") && !value.is_empty();
        is_file.then(|| value.to_owned())
    };
    logical_lines(text.trim_start_matches('\u{feff}')).into_iter().filter_map(path).collect()
}

/// Joins lines that end in a backslash, up to a comment line. Each line has the number of its first part.
pub fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut is_continued = false;
    for (number, line) in text.lines().enumerate() {
        let is_comment = line.trim_start().starts_with('#');
        let (line, continues) = match line.strip_suffix('\\').filter(|_| !is_comment) {
            Some(line) => (line, true),
            None => (line, false),
        };
        match lines.last_mut().filter(|_| is_continued) {
            Some((_, logical_line)) if is_comment => logical_line.push(' '),
            Some((_, logical_line)) => logical_line.push_str(line),
            None => lines.push((number + 1, line.to_owned())),
        }
        is_continued = continues;
    }
    lines
}

/// Removes a comment: `#` at the beginning or after white space.
pub fn without_comment(text: &str) -> &str {
    let mut marks = text.match_indices('#').map(|(at, _)| at);
    let is_comment = |at: &usize| text[..*at].chars().next_back().is_none_or(char::is_whitespace);
    marks.find(is_comment).map_or(text, |at| &text[..at])
}

/// Splits `--name value`, `--name=value` and `-rvalue`.
pub fn split_option(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(text.len());
    let end =
        if text.starts_with("--") { end } else { end.min(text.chars().take(2).map(char::len_utf8).sum()) };
    let (name, value) = text.split_at(end);
    (name, value.trim_start().strip_prefix('=').unwrap_or(value).trim())
}

/// Decodes a file in the encodings that pip reads: UTF-16 with a byte order mark, as PowerShell writes it, UTF-8, or what a comment such as
/// `# -*- coding: latin-1 -*-` in the first two lines declares. A byte order mark is left out; line ends of a carriage return
/// alone become line feeds.
///
/// # Errors
/// The position of the first byte that is not UTF-8.
pub fn decode_text(bytes: &[u8]) -> Result<Cow<'_, str>, usize> {
    let (encoding, bytes) = match Encoding::for_bom(bytes) {
        Some((encoding, length)) => (Some(encoding), bytes.get(length..).unwrap_or_default()),
        None => (None, bytes),
    };
    let text = match std::str::from_utf8(bytes) {
        Ok(text) if encoding.is_none_or(|encoding| encoding == encoding_rs::UTF_8) => Cow::Borrowed(text),
        result => {
            let position = result.map_or_else(|error| error.valid_up_to(), |_| 0);
            let encoding = encoding.or_else(|| declared_encoding(bytes)).ok_or(position)?;
            encoding.decode_without_bom_handling_and_without_replacement(bytes).ok_or(position)?
        }
    };
    Ok(if has_lone_return(&text) { Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")) } else { text })
}

fn has_lone_return(text: &str) -> bool {
    text.match_indices('\r').any(|(at, _)| text.as_bytes().get(at + 1) != Some(&b'\n'))
}

/// Returns the encoding that a comment in the first two lines declares, as in source files of Python (PEP 263).
fn declared_encoding(bytes: &[u8]) -> Option<&'static Encoding> {
    let name = |line: &[u8]| {
        let line = String::from_utf8_lossy(line).trim_start().strip_prefix('#')?.to_ascii_lowercase();
        let (_, rest) = line.split_once("coding")?;
        let name = rest.strip_prefix([':', '='])?.trim_start();
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = name.split(|c| !is_of_name(c)).next()?;
        // Python accepts separators that the names of the web platform lack: `latin-1`.
        let plain: String = name.chars().filter(|c| !matches!(c, '-' | '_')).collect();
        Encoding::for_label(name.as_bytes()).or_else(|| Encoding::for_label(plain.as_bytes()))
    };
    bytes.split(|byte| matches!(byte, b'\n' | b'\r')).take(2).find_map(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_to_the_file_that_names_them() {
        for (file, path, expected) in [
            ("requirements.txt", "other.txt", "other.txt"),
            ("a/b.txt", "../common.txt", "common.txt"),
            ("a/b.txt", "./c/../d.txt", "a/d.txt"),
            ("b.txt", "../up.txt", "../up.txt"),
            ("../b.txt", "../up.txt", "../../up.txt"),
            ("b.txt", "/etc/c.txt", "/etc/c.txt"),
            ("/etc/c.txt", "d.txt", "/etc/d.txt"),
        ] {
            assert_eq!(included_path(file, path), expected, "{file} {path}");
        }
    }

    #[test]
    fn included_files_are_found_in_every_spelling() {
        let text = "requests\n-r a.txt\n  -cb.txt\n--requirement=c.txt\t# why\n--constraint \\\nd.txt\n# -r e.txt \\\n-r\n";
        assert_eq!(included_files(text), ["a.txt", "b.txt", "c.txt", "d.txt"]);
    }

    #[test]
    fn the_encodings_of_requirements_files_are_decoded() {
        let utf16 =
            |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        for (bytes, expected) in [
            (b"odd\r\neven".to_vec(), "odd\r\neven"),
            (b"odd\reven\r".to_vec(), "odd\neven\n"),
            ("\u{feff}odd".into(), "odd"),
            (utf16("\u{feff}gr\u{fc}n\r\n", u16::to_le_bytes), "gr\u{fc}n\r\n"),
            (utf16("\u{feff}odd", u16::to_be_bytes), "odd"),
            (b"# -*- coding: latin-1 -*-\n# gr\xfcn".to_vec(), "# -*- coding: latin-1 -*-\n# gr\u{fc}n"),
            (b"#!x\n# vim: fileencoding=cp1252\n\x80".to_vec(), "#!x\n# vim: fileencoding=cp1252\n\u{20ac}"),
            // A file that was decoded before.
            ("# coding: latin-1\n# gr\u{fc}n".into(), "# coding: latin-1\n# gr\u{fc}n"),
        ] {
            assert_eq!(decode_text(&bytes).as_deref(), Ok(expected), "{bytes:?}");
        }
        for bytes in [
            &b"odd\n\xff"[..],
            b"#\n#\n# coding: latin-1\n\xfc",
            b"# coding: unknown\n\xfc",
            b"coding: latin-1 \xfc",
        ] {
            let position = bytes.len() - 1;
            assert_eq!(decode_text(bytes), Err(position), "{bytes:?}");
        }
        assert!(decode_text(b"\xff\xfea").is_err(), "half a character of UTF-16");
    }
}
