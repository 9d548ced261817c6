//! The events that a reader collects: limited in number, with plausible times, in order.

use base::config::without_userinfo;
use base::model::import_list::{AddedFile, AddedFiles, Event, Loss, Removal};
use base::model::text::one_line;
use base::model::time::Timestamp;
use formats::python::file_name::{FileKind, FileName, SdistName};
use formats::r::layout::PackageFile;
use formats::r::name::SourceFileName;
use upstream::{Mirror, UpstreamError};

use crate::error::OfflineError;

/// Maximum number of events of a list, and of files that a reader examines.
pub(super) const MAX_FILES: usize = 1_000_000;

/// Maximum length of a text, in characters: four bytes of each are below the limit of a list.
const MAX_TEXT: usize = 120;

pub(super) struct Events {
    now: Timestamp,
    all: Vec<Event>,
}

impl Events {
    pub(super) fn new(now: Timestamp) -> Events {
        Events { now, all: Vec::new() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    /// Adds an event; what no list can have is lost. A time before 1995 or in the future counts as unknown.
    pub(super) fn push(&mut self, mut event: Event) -> Result<(), OfflineError> {
        if self.all.len() == MAX_FILES {
            return Err(OfflineError::Refused(format!(
                "the origin has more than {MAX_FILES} files: import parts of it, one after the other"
            )));
        }
        event.forget_implausible_time(self.now);
        match &mut event {
            Event::Add(file) | Event::Replace(file) => file.note = file.note.as_deref().map(plain),
            Event::Yank(yank) => yank.reason = plain(&yank.reason),
            Event::Lost(loss) => (loss.what, loss.why) = (plain(&loss.what), plain(&loss.why)),
            Event::Remove(_) => {}
        }
        let from = event.added().and_then(|file| file.from.as_deref()).unwrap_or_default();
        let problem = match without_userinfo(from) != from && from.contains("://") {
            true => Err("its address has a user or a password".to_owned()),
            false => event.check(),
        };
        let loss =
            problem.err().map(|why| Event::Lost(Loss { what: plain(&event.subject()), why: plain(&why) }));
        self.all.push(loss.unwrap_or(event));
        Ok(())
    }

    pub(super) fn add(&mut self, file: AddedFile) -> Result<(), OfflineError> {
        self.push(Event::Add(file))
    }

    pub(super) fn lose(
        &mut self,
        what: impl Into<String>,
        why: impl Into<String>,
    ) -> Result<(), OfflineError> {
        self.push(Event::Lost(Loss { what: what.into(), why: why.into() }))
    }

    /// Reports a package that the origin has only in its archive, which no import can express.
    pub(super) fn lose_archiving(&mut self, package: &str) -> Result<(), OfflineError> {
        self.lose(
            format!("that {package} was archived"),
            format!(
                "an import lists the highest version; to unlist it: rspm remove package --name={package}"
            ),
        )
    }

    /// Returns the events, oldest first: at one time in their order if it is that of the origin, otherwise removals first, then
    /// files by name. Those without a time follow, then what is lost, also other bytes under the name of an earlier file.
    pub(super) fn sorted(mut self, is_in_order: bool) -> Vec<Event> {
        self.all.sort_by_cached_key(|event| {
            let rank = match event {
                Event::Remove(_) => 0,
                Event::Add(_) | Event::Replace(_) => 1,
                Event::Yank(_) => 2,
                Event::Lost(_) => 3,
            };
            let order = (!is_in_order).then(|| (rank, event.subject()));
            (rank == 3, event.at().is_none(), event.at(), order)
        });
        let (mut added, mut lost) = (AddedFiles::default(), Vec::new());
        self.all.retain(|event| match (added.apply(0, event), event.added()) {
            (Some((_, is_same)), Some(file)) => {
                let why = "an earlier file has the same name, and other or unknown bytes".to_owned();
                lost.extend((!is_same).then(|| Event::Lost(Loss { what: plain(file.origin().1), why })));
                false
            }
            _ => true,
        });
        self.all.extend(lost);
        self.all
    }
}

/// Returns a text of an origin as the line that a list can have.
fn plain(text: &str) -> String {
    one_line(&text.replace(char::is_control, " "), MAX_TEXT)
}

/// Returns whether a path is that of a package file. The error is the reason why a package or archive cannot be imported.
pub(super) fn is_package(path: &str) -> Result<bool, &'static str> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    // Names that are not in UTF-8 arrive with the replacement character.
    let is_refused = |c: char| c.is_control() || matches!(c, '%' | '\\' | char::REPLACEMENT_CHARACTER);
    let plain_name = name.replace(is_refused, "");
    let plain_name = plain_name.trim_start_matches('-');
    if plain_name != name && FileName::parse(plain_name).is_ok() {
        return Err("its name begins with '-', has a control character, '%' or '\\', or is not in UTF-8");
    }
    let r_file =
        PackageFile::parse(name).filter(|file| formats::r::version::is_package_version(file.version));
    if r_file.is_some_and(|file| file.extension == "zip" || folder.split('/').any(|part| part == "bin")) {
        return Err("is a binary of an R package, which rspm add binary adds");
    }
    if SourceFileName::parse_archived(name).is_ok() {
        return Ok(true);
    }
    match FileName::parse(name) {
        Ok(file) => match file.kind() {
            FileKind::Wheel => Ok(true),
            FileKind::Sdist if SdistName::parse(&file).is_some() => Ok(true),
            FileKind::Sdist => {
                Err("its name has no version: build the package again, for R with R CMD build")
            }
            _ => Err("is a kind of file that servers do not accept any more"),
        },
        Err(_) => Ok(false),
    }
}

/// Returns the removal of a file: of an R package by name and version.
pub(super) fn removal(at: Option<Timestamp>, exact: &str, file: &str) -> Event {
    let exact = Some(exact.to_owned());
    Event::Remove(match SourceFileName::parse(file) {
        Ok(name) => Removal {
            at,
            exact,
            name: Some(name.package.to_owned()),
            version: Some(name.version.to_owned()),
            file: None,
        },
        Err(_) => Removal { at, exact, file: Some(file.to_owned()), ..Removal::default() },
    })
}

/// Requests the time (`Last-Modified`) and the size of a file.
pub(super) async fn modified(
    mirror: &Mirror,
    path: &str,
) -> Result<(Option<Timestamp>, Option<u64>), UpstreamError> {
    let headers = mirror.request_headers(path).await?;
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let size = text("content-length").and_then(|length| length.parse().ok());
    Ok((text("last-modified").and_then(http_time), size))
}

/// Parses the time of a header such as `Last-Modified`.
pub(super) fn http_time(text: &str) -> Option<Timestamp> {
    let time = jiff::fmt::rfc2822::parse(text.trim()).ok()?;
    Some(Timestamp(time.timestamp().as_microsecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_recognized_by_their_names() {
        for path in [
            "R6_2.5.1.tar.gz",
            "src/contrib/Archive/a.b/a.b_1.0-2.tar.gz",
            "acme_tools-1.0-py3-none-any.whl",
            "p/acme-tools-1.0.tar.gz",
            "acme_tools-1.0.zip",
        ] {
            assert_eq!(is_package(path), Ok(true), "{path}");
        }
        for path in ["PACKAGES", "PACKAGES.gz", "index.html", "README", "Meta/archive.rds", "a\nb.txt"] {
            assert_eq!(is_package(path), Ok(false), "{path}");
        }
        for (path, part) in [
            ("packrat/src/lib/0123456789abcdef0123456789abcdef01234567.tar.gz", "R CMD build"),
            ("bin/windows/contrib/4.5/R6_2.5.1.zip", "binary"),
            ("bin/linux/noble/R6_2.5.1.tar.gz", "binary"),
            ("acme-1.0-py2.7.egg", "any more"),
            ("p/a\nb_1.0.tar.gz", "control character"),
            ("acme-1.0-py3-none-any\u{1}.whl", "control character"),
            ("a%62-1.0.tar.gz", "'%'"),
            ("-acme-1.0.tar.gz", "begins with '-'"),
            ("acm\u{fffd}-1.0.zip", "not in UTF-8"),
        ] {
            assert!(is_package(path).is_err_and(|why| why.contains(part)), "{path}");
        }
    }

    #[test]
    fn events_are_in_order_and_implausible_times_are_unknown() {
        let time = |text: &str| Some(text.parse().expect("a time"));
        let mut events = Events::new(time("2026-01-01T00:00:00Z").expect("a time"));
        let add = |file: &str, at: &str| AddedFile {
            file: file.to_owned(),
            at: time(at),
            exact: Some("mtime".to_owned()),
            ..AddedFile::default()
        };
        events.lose("docs", "not a package").expect("few");
        events.add(add("b", "1970-01-01T00:00:00Z")).expect("few");
        events.add(add("c", "2099-01-01T00:00:00Z")).expect("few");
        events.add(add("d", "2024-01-02T00:00:00Z")).expect("few");
        events.add(add("a", "2024-01-02T00:00:00Z")).expect("few");
        events.push(removal(time("2024-01-02T00:00:00Z"), "log", "z1_1.0.tar.gz")).expect("few");
        events.add(add("e", "2020-01-02T00:00:00Z")).expect("few");
        let texts: Vec<String> =
            events.sorted(false).iter().map(|event| serde_json::to_string(event).expect("JSON")).collect();
        assert_eq!(
            texts,
            [
                r#"{"op":"add","at":"2020-01-02T00:00:00Z","exact":"mtime","file":"e"}"#,
                r#"{"op":"remove","at":"2024-01-02T00:00:00Z","exact":"log","name":"z1","version":"1.0"}"#,
                r#"{"op":"add","at":"2024-01-02T00:00:00Z","exact":"mtime","file":"a"}"#,
                r#"{"op":"add","at":"2024-01-02T00:00:00Z","exact":"mtime","file":"d"}"#,
                r#"{"op":"add","file":"b"}"#,
                r#"{"op":"add","file":"c"}"#,
                r#"{"op":"lost","what":"docs","why":"not a package"}"#,
            ]
        );
    }

    #[test]
    fn what_no_list_can_have_is_lost_and_texts_are_one_line() {
        let mut events = Events::new(Timestamp(i64::MAX));
        let from = |from: &str| Some(from.to_owned());
        let file = |name: &str| AddedFile { file: name.to_owned(), ..AddedFile::default() };
        let note = from("uploaded by\nann\u{1b}[31m\u{9d}");
        events.add(AddedFile { note, ..file("a") }).expect("few");
        events.add(AddedFile { md5: from("zz"), ..file("b") }).expect("few");
        events.add(AddedFile { from: from("http://ann:secret@h/c"), ..file("c") }).expect("few");
        events.add(AddedFile { from: from("../d"), ..file("d") }).expect("few");
        events.add(AddedFile { from: from("x/a"), ..file("a") }).expect("few");
        let texts: Vec<String> =
            events.sorted(false).iter().map(|event| serde_json::to_string(event).expect("JSON")).collect();
        assert_eq!(texts[0], r#"{"op":"add","file":"a","note":"uploaded by ann [31m"}"#);
        assert_eq!(texts.len(), 5, "{texts:?}");
        for (text, part) in
            texts[1..].iter().zip(["'md5' is not", "a user or a password", "'../d'", "\"x/a\""])
        {
            assert!(
                text.contains("\"op\":\"lost\"") && text.contains(part) && !text.contains("secret"),
                "{text}"
            );
        }
    }

    #[test]
    fn times_of_headers_are_read() {
        let time = http_time("Thu, 26 Nov 2026 21:13:21 GMT").map(|time| time.to_string());
        assert_eq!(time.as_deref(), Some("2026-11-26T21:13:21Z"));
        assert_eq!(http_time("yesterday"), None);
    }
}
