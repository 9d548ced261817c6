//! The root of an index: the names of all projects, read and written one by one, because PyPI has 900,000.

use std::fmt;
use std::io::{self, BufWriter, Read, Write};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use url::Url;

use super::html::{escape, text_until};
use super::json::Value;
use super::page::API_VERSION;
use super::read::{BYTE_ORDER_MARK, BadPage, check_api_version, check_format};
use crate::python::accept::SimpleFormat;
use crate::python::file_name::FileName;
use crate::python::name;
use base::model::html::{Token, Tokens};
use base::model::project_name::ProjectName;

/// Maximum size of a root, in bytes. The root of PyPI has 45 MB. One in HTML is in memory as a whole.
pub const MAX_ROOT: u64 = 256 << 20;
const MAX_HTML_ROOT: u64 = 96 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootEntry {
    pub name: ProjectName,
    /// The name as the owner writes it.
    pub display: String,
    /// The serial of its last change.
    pub last_serial: Option<u64>,
}

/// The properties of a root, without its projects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootSummary {
    /// The serial of the newest change of any project.
    pub last_serial: Option<u64>,
    pub count: u64,
    /// The number of names that are not valid.
    pub invalid_count: u64,
    /// The first of the names that are not valid.
    pub first_invalid: Option<String>,
    has_projects: bool,
}

/// Reads a root in either format from a stream, see [`read_json`] and [`read_html`].
pub fn read(
    format: SimpleFormat,
    source: impl Read,
    on_project: impl FnMut(RootEntry),
) -> Result<RootSummary, BadPage> {
    match format {
        SimpleFormat::Json => read_json(source, on_project),
        SimpleFormat::Html | SimpleFormat::TextHtml => {
            let mut bytes = Vec::new();
            // A decompression error is reported as one of JSON: [`BadPage`] has no variant for read errors.
            source.take(MAX_HTML_ROOT + 1).read_to_end(&mut bytes).map_err(serde_json::Error::io)?;
            if bytes.len() as u64 > MAX_HTML_ROOT {
                return Err(BadPage::LargeList);
            }
            read_html(&bytes, on_project)
        }
    }
}

/// Reads a root as JSON from a stream; `on_project` is called for every project in the order of the document.
///
/// # Errors
/// [`BadPage`]. Projects may have been passed to `on_project` before the error was found.
pub fn read_json(source: impl Read, on_project: impl FnMut(RootEntry)) -> Result<RootSummary, BadPage> {
    // Buffered, because serde_json reads single bytes.
    let mut source = io::BufReader::with_capacity(64 << 10, source.take(MAX_ROOT));
    let mut start = Vec::new();
    let mark_length = BYTE_ORDER_MARK.len() as u64;
    source.by_ref().take(mark_length).read_to_end(&mut start).map_err(serde_json::Error::io)?;
    if start == BYTE_ORDER_MARK {
        start.clear();
    }
    let source = start.as_slice().chain(source);
    let mut deserializer = serde_json::Deserializer::from_reader(source);
    let mut reader = RootReader { on_project, root: RootSummary::default(), api_version: None };
    DocumentSeed(&mut reader).deserialize(&mut deserializer)?;
    deserializer.end()?;
    check_api_version(reader.api_version.as_deref())?;
    if !reader.root.has_projects {
        return Err(serde_json::Error::missing_field("projects").into());
    }
    Ok(reader.root)
}

/// Reads a root as HTML: the text of every anchor with an address is a name.
///
/// # Errors
/// [`BadPage`], also for a document without any name.
pub fn read_html(body: &[u8], on_project: impl FnMut(RootEntry)) -> Result<RootSummary, BadPage> {
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    check_format(SimpleFormat::TextHtml, body)?;
    let text = String::from_utf8_lossy(body);
    let mut reader = RootReader { on_project, root: RootSummary::default(), api_version: None };
    let mut tokens = Tokens::of_page(&text);
    while let Some(token) = tokens.next() {
        match token {
            Token::Start(tag) if tag.name == "a" && tag.attribute("href").is_some() => {
                let name = text_until(&mut tokens, "a");
                reader.add(name, None);
            }
            Token::Start(tag) if tag.name == "meta" => {
                if tag.attribute("name") == Some("pypi:repository-version") {
                    reader.api_version = tag.attribute("content").map(str::to_owned);
                }
            }
            Token::Comment(text) => {
                let serial =
                    text.trim().strip_prefix("SERIAL ").and_then(|serial| serial.trim().parse().ok());
                reader.root.last_serial = serial.or(reader.root.last_serial);
            }
            Token::Start(_) | Token::End(_) | Token::Text(_) => {}
        }
    }
    check_api_version(reader.api_version.as_deref())?;
    if reader.root.count == 0 && reader.api_version.is_none() {
        return Err(BadPage::NotAnIndex);
    }
    Ok(reader.root)
}

/// Returns whether a document is a list of projects: JSON of the simple API, or HTML whose links each lead to `{name}/`
/// below its address, where the name is the link's text. Pages of websites and lists of files are none.
pub fn is_list(format: SimpleFormat, body: &[u8], url: &Url) -> bool {
    if format == SimpleFormat::Json {
        return read_json(body, |_| ()).is_ok();
    }
    let text = String::from_utf8_lossy(body);
    let mut tokens = Tokens::of_page(&text);
    let folder = url.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    while let Some(token) = tokens.next() {
        let Token::Start(tag) = token else { continue };
        let Some(href) = tag.attribute("href").filter(|_| tag.name == "a") else { continue };
        let Ok(target) = url.join(href.trim()) else { return false };
        let (parent, last) = target.path().trim_end_matches('/').rsplit_once('/').unwrap_or_default();
        let last = percent_encoding::percent_decode_str(last).decode_utf8_lossy();
        let text = text_until(&mut tokens, "a");
        let name = name::parse(text.trim());
        let is_project = parent == folder && name.is_ok_and(|name| name::is_spelling(&last, &name));
        if !is_project || FileName::parse(text.trim()).is_ok() {
            return false;
        }
    }
    read_html(body, |_| ()).is_ok()
}

struct RootReader<F> {
    on_project: F,
    root: RootSummary,
    api_version: Option<String>,
}

impl<F: FnMut(RootEntry)> RootReader<F> {
    fn add(&mut self, display: String, last_serial: Option<u64>) {
        match name::parse(&display) {
            Ok(name) => {
                self.root.count += 1;
                (self.on_project)(RootEntry { name, display, last_serial });
            }
            Err(_) => {
                self.root.invalid_count += 1;
                self.root.first_invalid.get_or_insert_with(|| display.chars().take(120).collect());
            }
        }
    }
}

struct DocumentSeed<'r, F>(&'r mut RootReader<F>);

impl<'de, F: FnMut(RootEntry)> DeserializeSeed<'de> for DocumentSeed<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(RootEntry)> Visitor<'de> for DocumentSeed<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the root of a simple index")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match &*key {
                "projects" => {
                    self.0.root.has_projects = true;
                    map.next_value_seed(ProjectsSeed(self.0))?;
                }
                "meta" => {
                    let meta: Value = map.next_value()?;
                    self.0.api_version = meta.get("api-version");
                    self.0.root.last_serial = meta.get("_last-serial").and_then(|text| text.parse().ok());
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

struct ProjectsSeed<'r, F>(&'r mut RootReader<F>);

impl<'de, F: FnMut(RootEntry)> DeserializeSeed<'de> for ProjectsSeed<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(RootEntry)> Visitor<'de> for ProjectsSeed<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of projects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut projects: A) -> Result<(), A::Error> {
        while let Some(project) = projects.next_element::<Value>()? {
            let Some(name) = project.get("name") else {
                return Err(A::Error::custom("a project has no name"));
            };
            self.0.add(name, project.get("_last-serial").and_then(|text| text.parse().ok()));
        }
        Ok(())
    }
}

/// Writes a root as JSON. Each project consists of its displayed name and its serial.
pub fn write_json<'a>(
    out: impl Write,
    last_serial: Option<u64>,
    projects: impl IntoIterator<Item = (&'a str, Option<u64>)>,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    let serial = |serial: Option<u64>| serial.map(|n| format!("\"_last-serial\":{n},")).unwrap_or_default();
    write!(out, "{{\"meta\":{{{}\"api-version\":\"{API_VERSION}\"}},\"projects\":[", serial(last_serial))?;
    for (number, (name, last_serial)) in projects.into_iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        write!(out, "{comma}{{{}\"name\":", serial(last_serial))?;
        serde_json::to_writer(&mut out, name)?;
        out.write_all(b"}")?;
    }
    out.write_all(b"]}\n")?;
    out.flush()
}

/// Writes a root as HTML, of normalized names and their spellings. Links are relative to it.
pub fn write_html<'a>(
    out: impl Write,
    last_serial: Option<u64>,
    projects: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    write!(
        out,
        "<!DOCTYPE html>\n<html>\n  <head>\n    <meta name=\"pypi:repository-version\" content=\"{API_VERSION}\">\n    \
         <title>Simple index</title>\n  </head>\n  <body>\n"
    )?;
    let mut display = String::new();
    for (name, text) in projects {
        display.clear();
        escape(text, &mut display);
        writeln!(out, "    <a href=\"{name}/\">{display}</a>")?;
    }
    out.write_all(b"  </body>\n</html>\n")?;
    if let Some(serial) = last_serial {
        writeln!(out, "<!--SERIAL {serial}-->")?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(
        read: impl FnOnce(&mut Vec<RootEntry>) -> Result<RootSummary, BadPage>,
    ) -> (Vec<RootEntry>, Result<RootSummary, String>) {
        let mut entries = Vec::new();
        let root = read(&mut entries).map_err(|error| error.to_string());
        (entries, root)
    }

    #[test]
    fn names_that_are_not_valid_are_counted_and_skipped() {
        let text =
            br#"{"projects":[{"name":"Odd.Name","_last-serial":7},{"name":"\u043f"},{"name":"x","new":[{}]}],
            "meta":{"api-version":"1.9","_last-serial":"9"},"later":{"a":[1]}}"#;
        let (entries, root) = entries(|all| read_json(&text[..], |entry| all.push(entry)));
        let root = root.expect("a root");
        assert_eq!((root.count, root.invalid_count, root.last_serial), (2, 1, Some(9)));
        assert_eq!(root.first_invalid.as_deref(), Some("\u{43f}"));
        assert_eq!((entries[0].name.as_str(), &*entries[0].display), ("odd-name", "Odd.Name"));
        assert_eq!((entries[0].last_serial, entries[1].last_serial), (Some(7), None));
    }

    #[test]
    fn a_list_links_to_the_names_that_it_shows() {
        let url = Url::parse("https://h/whl/cu130/").expect("a URL");
        let is_list = |format, text: &[u8]| is_list(format, text, &url);
        for text in [
            "<a href='torch/'>torch</a><a href=\"/whl/cu130/Jinja2/\">Jinja2</a>",
            "<a href='a-b'>a_b</a><a href='https://h/whl/cu130/c%2Ed/?x#y'> c.d </a>",
            "<meta name='pypi:repository-version' content='1.0'>",
        ] {
            assert!(is_list(SimpleFormat::TextHtml, text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "<a href='/login'>Sign in</a><a href='odd/'>odd</a>",
            "<a href='/'>Home</a>",
            "<a href='../'>../</a><a href='simple/'>simple/</a>",
            "<a href='odd-1.0.tar.gz'>odd-1.0.tar.gz</a>",
            "<a href='odd/1.0'>odd</a>",
            "<a href='/login'>Login</a><a href='/about/'>About</a>",
            "<a href='../odd/'>odd</a>",
        ] {
            assert!(!is_list(SimpleFormat::TextHtml, text.as_bytes()), "{text}");
        }
        assert!(is_list(SimpleFormat::Json, br#"{"projects":[{"name":"odd"}]}"#));
        assert!(!is_list(SimpleFormat::Json, br#"{"type":"indexconfig","result":{"projects":[]}}"#));
    }

    #[test]
    fn a_byte_order_mark_is_skipped() {
        for text in ["", "\u{feff}"] {
            let json = format!("{text}{{\"projects\":[{{\"name\":\"odd\"}}]}}");
            let (entries_of_json, _) = entries(|all| read_json(json.as_bytes(), |entry| all.push(entry)));
            let html = format!("{text}<a href='odd/'>odd</a>");
            let (entries_of_html, _) = entries(|all| read_html(html.as_bytes(), |entry| all.push(entry)));
            assert_eq!((entries_of_json.len(), entries_of_html.len()), (1, 1), "{text:?}");
        }
    }

    #[test]
    fn other_documents_are_refused() {
        for text in [
            "",
            "[]",
            "{}",
            "{\"projects\":null}",
            "{\"projects\":[null]}",
            "{\"projects\":[{}]}",
            "<html>",
            "{\"projects\":[]} x",
            "{\"meta\":{\"api-version\":\"2.0\"},\"projects\":[]}",
            "{\"projects\":[",
        ] {
            assert!(read_json(text.as_bytes(), |_| ()).is_err(), "{text}");
        }
        for text in ["", "<html>sign in</html>", "{\"projects\":[]}"] {
            assert!(read_html(text.as_bytes(), |_| ()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_written_root_is_read_back(
            names in proptest::collection::vec(("[A-Za-z]([A-Za-z0-9._-]{0,6}[a-z])?", proptest::option::of(0_u64..99)), 0..8),
            serial in proptest::option::of(any::<u64>()),
        ) {
            let mut json = Vec::new();
            write_json(&mut json, serial, names.iter().map(|(name, serial)| (&**name, *serial))).unwrap();
            let (json_entries, root) = entries(|all| read_json(&json[..], |entry| all.push(entry)));
            prop_assert_eq!(root.unwrap().last_serial, serial);
            let rows: Vec<_> = json_entries.iter().map(|entry| (entry.display.clone(), entry.last_serial)).collect();
            prop_assert_eq!(&rows, &names);
            let mut html = Vec::new();
            let normal: Vec<ProjectName> = names.iter().map(|(name, _)| name::parse(name).unwrap()).collect();
            let displays = names.iter().map(|(name, _)| &**name);
            write_html(&mut html, serial, normal.iter().map(ProjectName::as_str).zip(displays)).unwrap();
            let (html_entries, root) = entries(|all| read_html(&html, |entry| all.push(entry)));
            prop_assert_eq!(root.unwrap().last_serial, serial);
            let names_of = |all: &[RootEntry]| all.iter().map(|entry| entry.display.clone()).collect::<Vec<_>>();
            prop_assert_eq!(names_of(&html_entries), names_of(&json_entries));
        }
    }
}
