//! Reads the list of an import, and checks all of it before anything is requested.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, stdin};
use std::path::{Path, PathBuf};

use serde::Serialize;
use url::{Position, Url};

use crate::error::CliError;
use crate::input;
use base::model::import_list::{AddedFile, AddedFiles, Event, Loss, Removal};
use base::model::time::{Day, Timestamp};

/// Maximum number of lines, and of bytes in one line.
const MAX_LINES: usize = 1_000_000;
const MAX_LINE: u64 = 64 << 10;
/// The byte order mark, which editors write before the first line.
const MARK: &[u8] = "\u{feff}".as_bytes();
/// Maximum number of problems that are printed.
const MAX_PROBLEMS: usize = 100;
/// Minimum number of files with times on one day, if they are more than half of all, that a copy may have set.
const BULK_COPY_FILES: usize = 20;
/// The evidence for times of files, which a copy may have set.
const TIMES_OF_FILES: [&str; 6] =
    ["mtime", "Last-Modified", "lastModified", "last_modified", "Meta/current.rds", "Meta/archive.rds"];

/// A change in the list.
pub(super) struct Line {
    /// Its line in the list, from 1.
    pub(super) number: usize,
    /// Without a time that is not known, in the future or before 1995. Changes of a package have different times.
    pub(super) event: Event,
    /// Of a removal without a time: the files of later lines that may be of its package.
    pub(super) kept: Vec<String>,
}

/// Returns the name of the package of a change up to the first character that is no letter or digit, in lower case.
pub(super) fn package(event: &Event) -> String {
    let name = event.subject().to_ascii_lowercase();
    name.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
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

impl List {
    /// Reads a list; `-` is standard input. `keeps_times` states whether its times are used, `is_of_packages` whether files
    /// have the names of packages before `_`.
    ///
    /// # Errors
    /// All problems of the list, up to 100, each with its line.
    pub(super) fn read(
        path: &Path,
        hosts: &[String],
        keeps_times: bool,
        is_of_packages: bool,
    ) -> Result<List, CliError> {
        let path = Some(path).filter(|path| *path != Path::new("-"));
        let name = input::name(path);
        let local = |source| CliError::Local { operation: format!("read {name}"), source };
        let parent = path.and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
        let folder = parent.unwrap_or(Path::new(".")).canonicalize().map_err(local)?;
        let mut input: Box<dyn BufRead> = match path {
            Some(path) => Box::new(BufReader::new(File::open(path).map_err(local)?)),
            None => Box::new(stdin().lock()),
        };
        let now = Timestamp(jiff::Timestamp::now().as_microsecond());
        let mut check = Check { hosts, keeps_times, is_of_packages, ..Check::default() };
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
                    "{name}:{number}: a list has at most {MAX_LINES} lines of {MAX_LINE} bytes; split it"
                ));
                break;
            }
            let line = Some(&*text).filter(|_| number == 1).and_then(|text| text.strip_prefix(MARK));
            let line = line.unwrap_or(&text);
            if line.trim_ascii().is_empty() {
                continue;
            }
            match check.event(number, line, now) {
                Ok(Event::Lost(loss)) => facts.lost.push(loss),
                Ok(event) => lines.push(Line { number, event, kept: Vec::new() }),
                Err(problem) => problems.push(format!("{name}:{number}: {problem}")),
            }
        }
        if !problems.is_empty() {
            return Err(CliError::refused(format!("{}\nNothing was imported", problems.join("\n"))));
        }
        lines.iter().for_each(|line| facts.count(line));
        let bulk_day = bulk_day(&lines);
        if !keeps_times {
            lines.iter_mut().for_each(|line: &mut Line| line.event.set_at(None));
        }
        lines.retain(|line| !check.undone.contains(&line.number));
        separate(&mut lines);
        lines.sort_by_key(|line| line.event.at().is_none());
        find_kept(&mut lines);
        Ok(List { lines, facts, bulk_day, folder })
    }
}

/// Gives the changes of a package at one instant times that follow each other, except files that are only added: a server
/// recognizes a change by its time.
fn separate(lines: &mut [Line]) {
    let (mut last, mut are_added) = (Timestamp(i64::MIN), HashMap::new());
    for line in lines {
        let Some(at) = line.event.at() else { continue };
        let is_added = matches!(line.event, Event::Add(_));
        let earlier = if at > last { None } else { are_added.get(&package(&line.event)) };
        if at > last || earlier.is_some_and(|are_added| !(is_added && *are_added)) {
            last = at.max(Timestamp(last.0.saturating_add(1)));
            are_added.clear();
        }
        are_added.insert(package(&line.event), is_added);
        line.event.set_at(Some(last));
    }
}

/// Finds the files that removals of packages without a time must not remove when they are repeated.
fn find_kept(lines: &mut [Line]) {
    // Those of later lines, each after the words of its name.
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in lines.iter_mut().rev().filter(|line| line.event.at().is_none()) {
        match &line.event {
            Event::Add(file) | Event::Replace(file) => {
                files.entry(words(&file.file)).or_default().insert(file.file.clone());
            }
            Event::Remove(Removal { file: None, name: Some(name), .. }) => {
                let name = words(name);
                let of_name = files.range(name.clone()..).take_while(|(words, _)| words.starts_with(&name));
                line.kept = of_name.flat_map(|(_, files)| files.iter().cloned()).collect();
            }
            Event::Remove(_) | Event::Yank(_) | Event::Lost(_) => {}
        }
    }
}

/// Returns the letters and digits of a name in lower case, with a space after each run of them: the name of a file of a package
/// has the words of the package first.
fn words(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.flat_map(|word| [word, " "]).collect()
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
    let files = || lines.iter().map(|line| &line.event).filter(|event| event.added().is_some());
    let is_copied = |event: &&Event| event.exact().is_none_or(|exact| TIMES_OF_FILES.contains(&exact));
    let times = files().filter(is_copied).filter_map(Event::at);
    times.for_each(|at| *days.entry(at.day()).or_default() += 1);
    let all = files().filter(|event| event.at().is_some()).count();
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
#[derive(Default)]
struct Check<'a> {
    hosts: &'a [String],
    keeps_times: bool,
    is_of_packages: bool,
    added: AddedFiles,
    /// The lines without a time that add, yank or remove a file, since its last addition or removal.
    undated: HashMap<String, Vec<usize>>,
    /// The last line without a time that yanks a file.
    yanks: HashMap<String, usize>,
    /// Those of them that a later one undoes: without times, a server cannot distinguish an addition from one before a removal.
    undone: HashSet<usize>,
    /// The packages of which a line without a time removes all versions.
    removed: HashSet<String>,
    /// The latest time, with its line.
    newest: Option<(Timestamp, usize)>,
}

impl Check<'_> {
    fn event(&mut self, number: usize, text: &[u8], now: Timestamp) -> Result<Event, String> {
        let mut event: Event = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        event.forget_implausible_time(now);
        event.check()?;
        if let Some((Some(url), from)) = event.added().map(AddedFile::origin)
            && !is_permitted(&url, self.hosts)
        {
            let host = &url[Position::BeforeHost..Position::AfterPort];
            let remedy = if !matches!(url.scheme(), "http" | "https") || host.is_empty() {
                "write one that begins with http:// or https://".to_owned()
            } else if !url.username().is_empty() || url.password().is_some() {
                "write it without a user and a password, and name those of the server with --origin"
                    .to_owned()
            } else {
                format!("permit it with --host={host}")
            };
            return Err(format!("'from': {from} is not an address on a host that --host names; {remedy}"));
        }
        if let Some((earlier, false)) = self.added.apply(number, &event) {
            return Err(format!(
                "the file '{}' was added in line {earlier}; write \"op\":\"replace\" for other bytes",
                event.subject()
            ));
        }
        let at = event.at();
        if (!self.keeps_times || at.is_none())
            && self.undo(number, &event)
            && let Event::Add(file) = event
        {
            event = Event::Replace(file);
        }
        if let (Some(at), Some((newest, earlier))) = (at, self.newest)
            && at < newest
        {
            return Err(format!(
                "'at': {at} is before {newest} in line {earlier}; write the oldest change first"
            ));
        }
        self.newest = at.map(|at| (at, number)).or(self.newest);
        Ok(event)
    }

    /// Undoes the earlier lines without a time about the files that a change without a time adds or removes. Returns whether
    /// earlier ones add or remove them.
    fn undo(&mut self, number: usize, event: &Event) -> bool {
        let file = match event {
            Event::Yank(yank) => {
                self.undone.extend(self.yanks.insert(yank.file.clone(), number));
                self.undated.entry(yank.file.clone()).or_default().push(number);
                return false;
            }
            Event::Remove(Removal { name: Some(name), version: None, .. }) => {
                let is_of_package =
                    |file: &String, _: &mut _| self.is_of_packages && file.split('_').next() == Some(name);
                self.undone.extend(self.undated.extract_if(is_of_package).flat_map(|(_, lines)| lines));
                self.removed.insert(package(event));
                return false;
            }
            Event::Remove(Removal { name: Some(name), version: Some(version), .. }) => {
                format!("{name}_{version}.tar.gz")
            }
            _ => event.file().unwrap_or_default().to_owned(),
        };
        let earlier = self.undated.insert(file, vec![number]).unwrap_or_default();
        let has_earlier = !earlier.is_empty();
        self.undone.extend(earlier);
        has_earlier || self.removed.contains(&package(event))
    }
}
