//! Reads the list of an import, and checks all of it before anything is requested.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;
use url::Url;

use crate::error::CliError;
use base::model::digest::{Md5, Sha256};
use base::model::import_list::{AddedFile, Event, Loss};
use base::model::time::{Day, Timestamp};

/// Maximum number of lines, and of bytes in one line.
const MAX_LINES: usize = 1_000_000;
const MAX_LINE: u64 = 64 << 10;
/// Maximum length of a note, a reason and the name of an evidence, in bytes.
const MAX_TEXT: usize = 500;
/// Maximum number of problems that are printed.
const MAX_PROBLEMS: usize = 100;
/// Minimum number of files with times on one day, if they are more than half of all, that a copy may have set.
const BULK_COPY_FILES: usize = 20;

/// A change in the list.
pub(super) struct Line {
    /// Its line in the list, from 1.
    pub(super) number: usize,
    /// Without a time that is not known, in the future or before 1995.
    pub(super) event: Event,
}

#[derive(Default, Serialize)]
pub(super) struct Facts {
    pub(super) files: usize,
    pub(super) removals: usize,
    pub(super) yanks: usize,
    /// The size of the files with a known size.
    pub(super) bytes: u64,
    /// The number of changes with a time, for each evidence.
    pub(super) evidence: BTreeMap<String, usize>,
    /// The number of changes without a usable time, which are made now.
    pub(super) undated: usize,
    pub(super) first: Option<String>,
    pub(super) last: Option<String>,
    pub(super) lost: Vec<Loss>,
}

pub(super) struct List {
    /// Those without a time are last.
    pub(super) lines: Vec<Line>,
    pub(super) facts: Facts,
    /// The day of more than half of all files, with their number, if a copy may have set it.
    pub(super) bulk_day: Option<(Day, usize)>,
    /// The folder of the list.
    pub(super) folder: PathBuf,
}

/// Returns whether a list may fetch from an address: `hosts` are names, with or without a port.
pub(super) fn is_permitted(url: &Url, hosts: &[String]) -> bool {
    let Some(host) = url.host_str() else { return false };
    let with_port = url.port_or_known_default().map(|port| format!("{host}:{port}"));
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && hosts.iter().any(|permitted| {
            permitted.eq_ignore_ascii_case(host)
                || with_port.as_ref().is_some_and(|host| permitted.eq_ignore_ascii_case(host))
        })
}

/// Returns the place of the bytes of a file: an address, or else a path relative to the list.
pub(super) fn origin(file: &AddedFile) -> (Option<Url>, &str) {
    let from = file.from.as_deref().unwrap_or(&file.file);
    (from.contains("://").then(|| Url::parse(from).ok()).flatten(), from)
}

impl List {
    /// Reads a list. `keeps_times` states whether its times are used.
    ///
    /// # Errors
    /// All problems of the list, up to 100, each with its line.
    pub(super) fn read(
        path: &Path,
        hosts: &[String],
        keeps_times: bool,
        now: Timestamp,
    ) -> Result<List, CliError> {
        let local = |source| CliError::Local { operation: format!("read {}", path.display()), source };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new(".")).canonicalize().map_err(local)?;
        let mut input = BufReader::new(File::open(path).map_err(local)?);
        let (added, undated, undone) = (HashMap::new(), HashMap::new(), HashSet::new());
        let mut check = Check { hosts, keeps_times, now, added, undated, undone, newest: None };
        let (mut lines, mut facts, mut problems) = (Vec::new(), Facts::default(), Vec::new());
        let mut text = Vec::new();
        for number in 1.. {
            text.clear();
            input.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut text).map_err(local)?;
            if text.is_empty() || problems.len() >= MAX_PROBLEMS {
                break;
            }
            if text.len() as u64 > MAX_LINE || number > MAX_LINES {
                problems.push(format!(
                    "{}:{number}: a list has at most {MAX_LINES} lines of {MAX_LINE} bytes; split it",
                    path.display()
                ));
                break;
            }
            if text.trim_ascii().is_empty() {
                continue;
            }
            match check.line(number, &text) {
                Ok(Line { event: Event::Lost(loss), .. }) => facts.lost.push(loss),
                Ok(line) => lines.push(line),
                Err(problem) => problems.push(format!("{}:{number}: {problem}", path.display())),
            }
        }
        if !problems.is_empty() {
            return Err(CliError::refused(format!("{}\nNothing was imported", problems.join("\n"))));
        }
        lines.iter().for_each(|line| facts.count(line));
        let bulk_day = bulk_day(&lines);
        if !keeps_times {
            lines.iter_mut().for_each(|line: &mut Line| line.event.forget_time());
        }
        lines.retain(|line| !check.undone.contains(&line.number));
        lines.sort_by_key(|line| line.event.at().is_none());
        Ok(List { lines, facts, bulk_day, folder })
    }
}

impl Facts {
    fn count(&mut self, Line { event, .. }: &Line) {
        match event {
            Event::Add(file) | Event::Replace(file) => {
                self.files += 1;
                self.bytes = self.bytes.saturating_add(file.size.unwrap_or(0));
            }
            Event::Remove(_) => self.removals += 1,
            Event::Yank(_) => self.yanks += 1,
            Event::Lost(_) => {}
        }
        let Some(at) = event.at() else {
            self.undated += 1;
            return;
        };
        *self.evidence.entry(event.exact().unwrap_or("not named").to_owned()).or_default() += 1;
        // The list is in the order of time.
        let day = at.day().to_string();
        self.first.get_or_insert_with(|| day.clone());
        self.last = Some(day);
    }
}

fn bulk_day(lines: &[Line]) -> Option<(Day, usize)> {
    let mut days: BTreeMap<Day, usize> = BTreeMap::new();
    let times = lines.iter().filter(|line| line.event.added().is_some()).filter_map(|line| line.event.at());
    times.for_each(|at| *days.entry(at.day()).or_default() += 1);
    let all: usize = days.values().sum();
    let (day, count) = days.into_iter().max_by_key(|(_, count)| *count)?;
    (count >= BULK_COPY_FILES && 2 * count > all).then_some((day, count))
}

/// Returns a sentence for each name of an R package that the list has in several spellings.
pub(super) fn case_twins(lines: &[Line]) -> Vec<String> {
    let mut spellings: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let files = lines.iter().filter_map(|line| line.event.added());
    for (name, _) in files.filter_map(|file| file.file.split_once('_')) {
        spellings.entry(name.to_ascii_lowercase()).or_default().insert(name);
    }
    let twins = spellings.into_values().filter(|names| names.len() > 1);
    let names = twins.map(|names| names.into_iter().collect::<Vec<_>>().join(", "));
    names
        .map(|names| format!("the names {names} differ in case only: for R they are different packages"))
        .collect()
}

/// What the lines so far contain.
struct Check<'a> {
    hosts: &'a [String],
    keeps_times: bool,
    now: Timestamp,
    /// The files that the list has at this line, with their line and digest.
    added: HashMap<String, (usize, Option<String>)>,
    /// The lines without a time that add, yank or remove a file, since its last addition or removal.
    undated: HashMap<String, Vec<usize>>,
    /// Those of them that a later one undoes: without times, a server cannot distinguish an addition from one before a removal.
    undone: HashSet<usize>,
    /// The latest time, with its line.
    newest: Option<(Timestamp, usize)>,
}

impl Check<'_> {
    fn line(&mut self, number: usize, text: &[u8]) -> Result<Line, String> {
        let mut event: Event = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        event.exact().map_or(Ok(()), |exact| check_line("exact", exact))?;
        event.forget_implausible_time(self.now);
        let is_undated = !self.keeps_times || event.at().is_none();
        match &event {
            Event::Add(file) | Event::Replace(file) => {
                self.check_file(file)?;
                let sha256 = file.sha256.as_ref().map(|sha256| sha256.to_ascii_lowercase());
                let earlier = self.added.insert(file.file.clone(), (number, sha256.clone()));
                if let (Event::Add(_), Some((earlier, other))) = (&event, earlier)
                    && (sha256.is_none() || sha256 != other)
                {
                    return Err(format!(
                        "the file '{}' was added in line {earlier}; write \"op\":\"replace\" for other bytes",
                        file.file
                    ));
                }
                if is_undated && self.undo(&file.file, number) {
                    event = Event::Replace(file.clone());
                }
            }
            Event::Remove(removal) => match (&removal.file, &removal.name) {
                (Some(file), None) if removal.version.is_none() => {
                    check_name("file", file)?;
                    self.added.remove(file);
                    if is_undated {
                        self.undo(file, number);
                    }
                }
                (None, Some(name)) => {
                    check_name("name", name)?;
                    if let Some(version) = &removal.version {
                        check_name("version", version)?;
                        let file = format!("{name}_{version}.tar.gz");
                        if is_undated {
                            self.undo(&file, number);
                        }
                    }
                    // The names of the files of a package are known only to the server.
                    self.added.clear();
                }
                _ => return Err("a removal has either 'file', or 'name' and 'version'".to_owned()),
            },
            Event::Yank(yank) => {
                check_name("file", &yank.file)?;
                check_line("reason", &yank.reason)?;
                if is_undated {
                    self.undated.entry(yank.file.clone()).or_default().push(number);
                }
            }
            Event::Lost(_) => {}
        }
        if let Some(at) = event.at() {
            if let Some((newest, earlier)) = self.newest.filter(|(newest, _)| at < *newest) {
                return Err(format!(
                    "'at': {at} is before {newest} in line {earlier}; write the oldest change first"
                ));
            }
            self.newest = Some((at, number));
        }
        Ok(Line { number, event })
    }

    /// Undoes the earlier lines without a time about a file, for one that adds or removes it. Returns whether there are some.
    fn undo(&mut self, file: &str, number: usize) -> bool {
        let earlier = self.undated.insert(file.to_owned(), vec![number]).unwrap_or_default();
        let has_earlier = !earlier.is_empty();
        self.undone.extend(earlier);
        has_earlier
    }

    fn check_file(&self, file: &AddedFile) -> Result<(), String> {
        check_name("file", &file.file)?;
        file.note.as_ref().map_or(Ok(()), |note| check_line("note", note))?;
        if file.sha256.as_ref().is_some_and(|text| text.parse::<Sha256>().is_err()) {
            return Err("'sha256' is not a SHA-256 of 64 hexadecimal digits".to_owned());
        }
        if file.md5.as_ref().is_some_and(|text| text.parse::<Md5>().is_err()) {
            return Err("'md5' is not an MD5 of 32 hexadecimal digits".to_owned());
        }
        match origin(file) {
            (Some(url), from) if !is_permitted(&url, self.hosts) => Err(format!(
                "'from': {from} is not an address on a host that --host names; permit it with --host={}",
                url.host_str().unwrap_or("HOST")
            )),
            (None, from) if from.contains("://") => Err(format!("'from': '{from}' is not an address")),
            (None, from) if !is_below(from) => {
                Err(format!("'from': '{from}' is not a path below the folder of the list"))
            }
            _ => Ok(()),
        }
    }
}

/// Returns whether a relative path leads nowhere above its beginning.
fn is_below(path: &str) -> bool {
    let is_plain = |part: std::path::Component<'_>| {
        matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir)
    };
    !path.is_empty() && Path::new(path).components().all(is_plain)
}

fn check_line(key: &str, text: &str) -> Result<(), String> {
    match text.len() <= MAX_TEXT && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(format!("'{key}' is not one line of at most {MAX_TEXT} bytes")),
    }
}

fn check_name(key: &str, name: &str) -> Result<(), String> {
    let is_valid = (1..=255).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
    let shown: String = name.chars().take(80).collect();
    if is_valid { Ok(()) } else { Err(format!("'{key}': '{}' is not a name", shown.escape_debug())) }
}
