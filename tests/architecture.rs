//! The dependencies that the rooms of `docs/architecture.md` may have, checked against every line of the crates.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may use. A room that is not in the table fails the test.
const MAY_USE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("encryption", &["model"]),
    ("config", &["model", "encryption", "access"]),
    ("r", &["model"]),
    ("python", &["model", "r"]),
    ("bundle", &["model", "language", "r", "tlog"]),
    ("api", &["model"]),
    ("language", &["model", "r", "python"]),
    ("advisory", &["model", "language", "r", "python"]),
    ("policy", &["model", "language", "r", "python", "advisory"]),
    ("access", &["model"]),
    ("pages", &["model", "api"]),
    ("metrics", &["model"]),
    ("tlog", &["model"]),
    ("builder", &[]),
    ("generator", &["model", "config"]),
    ("db", &["model", "config", "metrics"]),
    ("storage", &["model", "config", "metrics"]),
    ("search", &["model"]),
    ("logs", &["model", "config", "metrics"]),
    ("upstream", &["model", "config", "language", "r", "python", "bundle", "advisory", "metrics", "tlog"]),
    ("catalog", &["model", "config", "r", "policy", "db"]),
    ("jobs", &["model", "config", "db"]),
    ("control", &["config", "db"]),
    ("cluster", &["model", "config", "db", "storage", "jobs", "control"]),
    (
        "state",
        &[
            "model", "config", "r", "advisory", "policy", "db", "storage", "logs", "upstream", "catalog",
            "jobs", "control",
        ],
    ),
    ("publish", &["model", "db", "catalog", "jobs", "state"]),
    ("auth", &["model", "config", "encryption", "access", "db", "upstream", "catalog", "state", "publish"]),
    ("fetch", &["model", "config", "r", "db", "storage", "upstream", "state"]),
    (
        "index",
        &[
            "model", "config", "language", "python", "bundle", "tlog", "metrics", "db", "storage",
            "upstream", "state",
        ],
    ),
    (
        "serve",
        &[
            "model", "config", "language", "r", "python", "advisory", "policy", "bundle", "tlog", "db",
            "storage", "search", "upstream", "catalog", "state", "fetch", "index",
        ],
    ),
    (
        "edit",
        &[
            "model", "config", "language", "r", "python", "policy", "access", "api", "db", "storage",
            "catalog", "state", "publish", "fetch", "serve",
        ],
    ),
    (
        "upkeep",
        &[
            "model", "config", "language", "r", "python", "db", "storage", "catalog", "jobs", "state",
            "fetch", "serve", "edit", "backup", "history",
        ],
    ),
    (
        "sync",
        &[
            "model", "config", "language", "r", "advisory", "bundle", "tlog", "metrics", "db", "storage",
            "upstream", "catalog", "jobs", "state", "publish", "index",
        ],
    ),
    (
        "build",
        &[
            "model",
            "encryption",
            "config",
            "language",
            "r",
            "python",
            "builder",
            "metrics",
            "db",
            "storage",
            "catalog",
            "jobs",
            "state",
            "publish",
            "serve",
            "edit",
        ],
    ),
    ("usage", &["model", "config", "metrics", "db", "storage", "jobs", "state"]),
    (
        "history",
        &[
            "model",
            "config",
            "encryption",
            "r",
            "metrics",
            "policy",
            "tlog",
            "db",
            "storage",
            "upstream",
            "catalog",
            "state",
            "serve",
            "backup",
        ],
    ),
    ("backup", &["model", "config", "metrics", "db", "storage", "jobs", "state", "serve"]),
    (
        "http",
        &[
            "model", "config", "language", "r", "python", "advisory", "policy", "access", "api", "pages",
            "metrics", "db", "storage", "logs", "upstream", "catalog", "jobs", "control", "cluster", "state",
            "auth", "fetch", "serve", "edit", "sync", "upkeep", "usage", "backup", "build", "tlog",
            "history",
        ],
    ),
    (
        "daemon",
        &[
            "model",
            "config",
            "encryption",
            "r",
            "advisory",
            "tlog",
            "api",
            "metrics",
            "db",
            "storage",
            "logs",
            "upstream",
            "catalog",
            "jobs",
            "control",
            "cluster",
            "state",
            "auth",
            "fetch",
            "index",
            "serve",
            "edit",
            "sync",
            "upkeep",
            "usage",
            "backup",
            "build",
            "history",
            "http",
            "generator",
        ],
    ),
    ("cli", &["model", "config", "encryption", "language", "api", "tlog"]),
    ("downloader", &["model", "config", "language", "r", "python", "advisory", "bundle", "tlog", "upstream"]),
];

/// Crates with several rooms, which are the modules of their root. Every other crate below `crates/` is one room.
const CRATES_OF_ROOMS: &[&str] = &["base", "content", "formats", "runtime", "store", "tasks"];

/// Maximum number of lines of code of a file; comments, blank lines and its test module do not count.
const MAX_LINES: usize = 600;

/// One source file, reduced to its code.
struct Source {
    /// Relative to the project.
    path: PathBuf,
    /// Its module, from the room on: `db::conn`; `lib` for the root of a crate of rooms.
    module: String,
    room: String,
    text: String,
    /// Lines of code before the test module, without comments.
    code: Vec<String>,
}

fn sources() -> Vec<Source> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("sources can be read") {
            let path = entry.expect("sources can be read").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for (package, source_root) in packages() {
        let mut paths = Vec::new();
        walk(&source_root, &mut paths);
        paths.sort();
        for path in paths {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            let inside = path.strip_prefix(&source_root).expect("walked from the root").with_extension("");
            let names = inside.iter().map(|name| name.to_string_lossy().into_owned());
            // A crate that is one room is a module of its name; its root is in lib.rs.
            let is_room = package != "rstudio_pm" && !CRATES_OF_ROOMS.contains(&package.as_str());
            let names: Vec<String> =
                Some(package.clone()).filter(|_| is_room).into_iter().chain(names).collect();
            let module = names.join("::");
            let module =
                module.strip_suffix("::mod").or(module.strip_suffix("::lib")).unwrap_or(&module).to_owned();
            let room = names[0].clone();
            let code = text
                .split("#[cfg(test)]\nmod ")
                .next()
                .unwrap_or_default()
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty() && !line.starts_with("//"))
                .map(str::to_owned)
                .collect();
            let path = path.strip_prefix(root).expect("below the project").to_owned();
            sources.push(Source { path, module, room, text, code });
        }
    }
    assert!(sources.len() > 50, "the walk found only {} files", sources.len());
    sources
}

/// The packages of the workspace with the folder of their sources.
fn packages() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(root.join("crates"))
        .expect("crates can be read")
        .map(|entry| entry.expect("readable").path());
    let package =
        |path: PathBuf| (path.file_name().expect("a name").to_string_lossy().into_owned(), path.join("src"));
    let mut packages: Vec<_> = entries.map(package).collect();
    packages.push(("rstudio_pm".to_owned(), root.join("src")));
    packages.sort();
    packages
}

fn package_names() -> BTreeSet<String> {
    packages().into_iter().map(|(package, _)| package).collect()
}

/// Returns the paths such as `crate::a::b` anywhere in the code; `super::{a, b::C}` is two paths. The path in
/// `pub(in …)` is left out.
fn paths(code: &str) -> Vec<Vec<&str>> {
    let (mut all, mut at) = (Vec::new(), 0);
    while at < code.len() {
        let word = word(&code[at..]);
        if word.is_empty() {
            at += code[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let (begin, end) = (at, at + word.len());
        at = end;
        if code[end..].starts_with("::") && !code[..begin].ends_with("(in ") {
            at = begin + path(&code[begin..], &[], &mut all);
        }
    }
    all
}

/// Adds to `all` the paths with which `text` begins, each after the segments `above`; returns their length in bytes.
fn path<'a>(text: &'a str, above: &[&'a str], all: &mut Vec<Vec<&'a str>>) -> usize {
    let mut at = text.len() - text.trim_start().len();
    if text[at..].starts_with('{') {
        loop {
            at += 1 + path(&text[at + 1..], above, all);
            at += text[at..].len() - text[at..].trim_start().len();
            if !text[at..].starts_with(',') {
                return at + usize::from(text[at..].starts_with('}'));
            }
        }
    }
    let word = word(&text[at..]);
    let names: Vec<&str> = above.iter().copied().chain(Some(word).filter(|word| !word.is_empty())).collect();
    at += word.len();
    if !word.is_empty() && text[at..].starts_with("::") {
        return at + 2 + path(&text[at + 2..], &names, all);
    }
    if text[at..].starts_with(" as ") {
        at += 4 + self::word(&text[at + 4..]).len();
    }
    all.push(names);
    at
}

fn word(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// The rooms that the code of a file uses: names following `crate::` or the name of another crate of rooms, and the
/// crates that are one room; `crate::{a, b::{c}}` names `a` and `b`. In a file that imports something else under the
/// name of a crate, only `::name` is that crate. String literals do not count.
fn rooms_used(source: &Source, packages: &BTreeSet<String>) -> Vec<String> {
    let without_strings = |line: &String| {
        let line = line.replace("\\\"", "").replace("'\"'", "");
        line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"").replace(" ::", " extern::")
    };
    let code = source.code.iter().map(without_strings).collect::<Vec<_>>().join(" ");
    let all = paths(&code);
    let is_imported = |name: &str| {
        let names =
            |path: &Vec<&str>| path.len() > 1 && (path.ends_with(&[name]) || path.ends_with(&[name, "self"]));
        code.contains(&format!("mod {name};")) || all.iter().any(names)
    };
    let is_of_rooms = |name: &str| name == "rstudio_pm" || CRATES_OF_ROOMS.contains(&name);
    let mut used = Vec::new();
    for path in &all {
        let (path, is_local) = match path.as_slice() {
            ["extern", path @ ..] => (path, false),
            path => (path, is_imported(path[0])),
        };
        let first = path[0];
        if first == "crate" && !packages.contains(&source.room) || is_of_rooms(first) && !is_local {
            // A macro is at the root of its crate, whichever room declares it.
            let room = path.get(1).map(|room| if *room == "words" { "model" } else { *room });
            used.extend(room.map(str::to_owned));
        } else if packages.contains(first) && !is_local {
            used.push(first.to_owned());
        }
    }
    used
}

#[test]
fn every_edge_is_in_the_table() {
    let table: BTreeMap<&str, BTreeSet<&str>> =
        MAY_USE.iter().map(|(room, uses)| (*room, uses.iter().copied().collect())).collect();
    let (packages, mut wrong) = (package_names(), Vec::new());
    for source in sources().iter().filter(|s| !matches!(s.room.as_str(), "lib" | "bin")) {
        let Some(allowed) = table.get(source.room.as_str()) else {
            wrong.push(format!("{}: room '{}' is not in the table", source.path.display(), source.room));
            continue;
        };
        for used in rooms_used(source, &packages) {
            if used != source.room && !allowed.contains(used.as_str()) {
                wrong.push(format!("{}: {} → {used}", source.path.display(), source.room));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that the layer table does not have:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_cycle() {
    let mut done: BTreeSet<&str> = BTreeSet::new();
    while done.len() < MAY_USE.len() {
        let next = MAY_USE
            .iter()
            .find(|(room, uses)| !done.contains(room) && uses.iter().all(|used| done.contains(used)));
        let (room, _) = next.unwrap_or_else(|| panic!("a cycle among rooms other than {done:?}"));
        done.insert(room);
    }
}

/// Cycles of files that are allowed, with the reason; at most five.
const ALLOWED_CYCLES: &[(&[&str], &str)] = &[(
    &["fetch::registry", "fetch::store", "fetch::task"],
    "the registry starts the task of a fetch, and the task removes itself from the registry",
)];

/// The modules of all files, and the items that each re-exports with `pub use`.
struct Modules<'a> {
    files: BTreeMap<String, &'a Source>,
    reexports: BTreeMap<(String, &'a str), Vec<&'a str>>,
}

impl<'a> Modules<'a> {
    fn new(sources: &'a [Source], texts: &'a BTreeMap<String, String>) -> Modules<'a> {
        let mut reexports = BTreeMap::new();
        for (module, text) in texts {
            for (at, found) in text.match_indices(" use ").filter(|(at, _)| {
                let before = text[..*at].rsplit([';', '}']).next().unwrap_or_default().trim();
                before.starts_with("pub") || before.ends_with("pub")
            }) {
                let mut all = Vec::new();
                path(&text[at + found.len()..], &[], &mut all);
                for names in all {
                    reexports.insert((module.clone(), *names.last().expect("a path has names")), names);
                }
            }
        }
        let files = sources.iter().map(|source| (source.module.clone(), source)).collect();
        Modules { files, reexports }
    }

    /// The module that `crate` names: that of the room, if the crate is one room.
    fn root(&self, within: &str) -> String {
        let room = within.split("::").next().unwrap_or_default();
        let is_crate = self.files.get(room).is_some_and(|source| source.path.ends_with("lib.rs"));
        if is_crate { room.to_owned() } else { String::new() }
    }

    /// Resolves a path in the code of the module `within`. Returns the module that the path names, or that defines the item
    /// that the path names; `None` if it is in none of the files.
    fn resolve(&self, within: &str, path: &[&str]) -> Option<String> {
        let join = |above: &str, name: &str| {
            if above.is_empty() { name.to_owned() } else { format!("{above}::{name}") }
        };
        let parent = |of: &str| of.rsplit_once("::").map_or("", |(above, _)| above).to_owned();
        let (mut at, names) = match path[0] {
            "crate" => (self.root(within), &path[1..]),
            "self" => (within.to_owned(), &path[1..]),
            "super" => (parent(within), &path[1..]),
            name if self.files.contains_key(&join(within, name)) => (within.to_owned(), path),
            _ => return None,
        };
        for name in names {
            let below = join(&at, name);
            if self.files.contains_key(&below) {
                at = below;
            } else if let Some(from) = self.reexports.get(&(at.clone(), *name)).filter(|from| **from != path)
            {
                return self.resolve(&at, from);
            } else {
                break;
            }
        }
        self.files.contains_key(&at).then_some(at)
    }
}

/// Returns the sets of files of a room that use each other in a cycle. An edge from a file to another one is a path in
/// its code (`crate::room::file`, `super::file`, `child::…`). `mod x;` is not an edge. The use of an item that a
/// `mod.rs` re-exports with `pub use` is an edge to the file that defines the item. The use of a `mod.rs` above the file
/// is not an edge, because such a `mod.rs` contains the items that the files of its folder share, and declares these
/// files. The use of the `mod.rs` of another folder is an edge.
fn cycles() -> BTreeSet<BTreeSet<String>> {
    let sources = sources();
    let texts: BTreeMap<String, String> =
        sources.iter().map(|source| (source.module.clone(), source.code.join(" "))).collect();
    let modules = Modules::new(&sources, &texts);
    let mut edges: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (from, source) in &modules.files {
        let used = paths(&texts[from]).into_iter().filter_map(|path| modules.resolve(from, &path));
        let is_edge = |to: &String| {
            modules.files[to].room == source.room && to != from && !from.starts_with(&format!("{to}::"))
        };
        edges.insert(from, used.filter(is_edge).collect());
    }
    let reached = |from: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(file) = next.pop() {
            next.extend(edges[file.as_str()].iter().filter(|to| seen.insert((*to).clone())).cloned());
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<String>> = edges.keys().map(|file| (*file, reached(file))).collect();
    let cycle = |file: &&str| -> BTreeSet<String> {
        reached[file].iter().filter(|other| reached[other.as_str()].contains(*file)).cloned().collect()
    };
    edges.keys().map(cycle).filter(|cycle| !cycle.is_empty()).collect()
}

#[test]
fn files_of_a_room_form_no_cycle() {
    assert!(ALLOWED_CYCLES.len() <= 5);
    let mut found = cycles();
    for (allowed, reason) in ALLOWED_CYCLES {
        let allowed = allowed.iter().map(|file| (*file).to_owned()).collect();
        assert!(found.remove(&allowed), "no longer a cycle ({reason}): {allowed:?}");
    }
    assert!(found.is_empty(), "cycles of files: {found:#?}");
}

#[test]
fn no_file_uses_super_super_or_re_exports_items_of_other_rooms() {
    let mut wrong = Vec::new();
    for source in sources() {
        for line in &source.code {
            if line.contains("super::super::") {
                wrong.push(format!("{}: {line}", source.path.display()));
            }
            let is_reexport = line.starts_with("pub use ");
            let is_of_own_folder = source.path.file_name().is_some_and(|n| n == "mod.rs" || n == "lib.rs")
                && !line.starts_with("pub use crate::")
                && !line.starts_with("pub use super::");
            if is_reexport && !is_of_own_folder && source.room != "lib" {
                wrong.push(format!("{}: {line}", source.path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "super::super, or a re-export of something that is not the room's own:\n{}",
        wrong.join("\n")
    );
}

/// The paths in the table "Three operations, file by file" of the documentation.
#[test]
fn documented_files_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/architecture.md")).expect("the page");
    let table = text.split("## Three operations").nth(1).expect("the section");
    let documented: Vec<&str> = table
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.ends_with(".rs") && word.contains('/'))
        .collect();
    assert!(documented.len() > 15, "{documented:?}");
    let sources = sources();
    let paths: Vec<String> =
        sources.iter().map(|source| format!("/{}", source.path.display()).replace("/src/", "/")).collect();
    let missing: Vec<&&str> = documented
        .iter()
        .filter(|file| !paths.iter().any(|path| path.ends_with(&format!("/{file}"))))
        .collect();
    assert!(missing.is_empty(), "files that docs/architecture.md names do not exist: {missing:?}");
}

#[test]
fn files_have_a_module_comment_few_lines_and_a_specific_name() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.text.starts_with("//!") {
            wrong.push(format!("{}: does not begin with //!", source.path.display()));
        }
        if source.code.len() > MAX_LINES {
            wrong.push(format!("{}: {} lines of code", source.path.display(), source.code.len()));
        }
        let name = source.path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        if matches!(
            name.as_str(),
            "util" | "utils" | "common" | "helper" | "helpers" | "misc" | "types" | "manager" | "service"
        ) {
            wrong.push(format!("{}: says nothing about what is in it", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names of files and modules that were replaced by standard terms. `CONTRIBUTING.md` has the rules for names.
const RETIRED_FILES: &[&str] = &[
    "afar", "aside", "behind", "board", "bundled", "doors", "fault", "flight", "giving", "glance", "herald",
    "inside", "judge", "kept", "landing", "lanes", "late", "learn", "live", "nightly", "offered", "operator",
    "owed", "patience", "pilot", "place", "places", "proof", "recalled", "seen", "served", "shown", "stale",
    "sum", "tail", "taking", "told", "unpacked", "vacant", "wanted", "warm", "clean_up", "look",
];

/// Names of types that were replaced by standard terms.
const RETIRED_TYPES: &[&str] = &[
    "Answered",
    "Asked",
    "Beside",
    "Board",
    "Brought",
    "Card",
    "Crew",
    "Doors",
    "Fixtures",
    "Flight",
    "Flights",
    "Given",
    "Hearer",
    "Held",
    "Herald",
    "House",
    "Kept",
    "Known",
    "Landed",
    "Late",
    "Learnt",
    "Lent",
    "Life",
    "Look",
    "Looked",
    "Looker",
    "Offer",
    "Outcome",
    "Parcel",
    "Parceled",
    "Passenger",
    "Patience",
    "Patient",
    "Pilot",
    "Place",
    "Porch",
    "Recalled",
    "Said",
    "Seen",
    "Shown",
    "Stale",
    "Ticket",
    "Told",
    "Tongue",
    "Wanted",
    "Warm",
    "Wish",
    "Wished",
    "Work",
    "Claimed",
    "CheckArgs",
    "Story",
    "Trouble",
    "Unfit",
    "ZipDialect",
    "Verified",
    "Prepared",
    "Inherited",
    "Restamped",
    "Reloaded",
    "Reopened",
    "Ended",
    "Compared",
    "Planned",
];

/// Types whose inherent methods are in more files than their own, and why. Other types have functions in the other files,
/// which take the type as an argument: the path of a call names the file.
const SEVERAL_FILES: &[(&str, &str)] = &[
    ("catalog::Catalog", "the times of changes are computed from fields that only the catalog has"),
    ("config::Platforms", "reading the sections needs as many lines as using them"),
    ("config::Property", "the table of properties is longer than a file; rows.rs contains its rows"),
    ("daemon::Supervisor", "modes and hand-over are states of one task, which owns the app"),
    ("downloader::Run", "the check whether anything is new is a part of the run"),
    ("storage::S3", "multipart uploads and bodies use the client and its retries"),
    ("storage::Storage", "one handle to all classes; trash, comparison and condition use its backends"),
    ("sync::Sync", "schedules and back-fills start as jobs of the same handle"),
    ("upstream::Upstream", "advisories and rules are fetched by the same client"),
    ("usage::Inner", "the state of the handle usage::Usage"),
    ("usage::Usage", "the roll-up and the summary read what the handle counts"),
];

/// Names of the types that a line defines (`struct`, `enum`), and of the type that it begins an inherent `impl` of.
fn defined_and_implemented<'a>(line: &'a str) -> (Option<&'a str>, Option<&'a str>) {
    let name = |rest: &'a str| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
    };
    let item = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ").map_or("", |(_, rest)| rest),
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let defined = item.strip_prefix("struct ").or_else(|| item.strip_prefix("enum ")).and_then(name);
    let implemented = line.strip_prefix("impl").filter(|_| !line.contains(" for "));
    let implemented = implemented.map(|rest| match rest.strip_prefix('<') {
        Some(rest) => rest.split_once("> ").map_or("", |(_, rest)| rest),
        None => rest.trim_start(),
    });
    (defined, implemented.and_then(name))
}

#[test]
fn methods_are_in_the_file_of_their_type() {
    let sources = sources();
    let mut defined: BTreeMap<String, BTreeSet<&Path>> = BTreeMap::new();
    let mut implemented: BTreeMap<String, BTreeSet<&Path>> = BTreeMap::new();
    for source in &sources {
        for line in &source.code {
            let (defines, implements) = defined_and_implemented(line);
            if let Some(name) = defines {
                defined.entry(format!("{}::{name}", source.room)).or_default().insert(&source.path);
            }
            if let Some(name) = implements {
                implemented.entry(format!("{}::{name}", source.room)).or_default().insert(&source.path);
            }
        }
    }
    let allowed: BTreeSet<&str> = SEVERAL_FILES.iter().map(|(name, _)| *name).collect();
    let mut scattered = BTreeMap::new();
    for (name, files) in &implemented {
        let Some(own) = defined.get(name) else { continue };
        let others: Vec<_> = files.difference(own).map(|path| path.display().to_string()).collect();
        if !others.is_empty() {
            scattered.insert(name.as_str(), others.join(", "));
        }
    }
    let wrong: Vec<_> = scattered.iter().filter(|(name, _)| !allowed.contains(*name)).collect();
    assert!(wrong.is_empty(), "methods in files other than that of the type: {wrong:?}");
    let stale: Vec<_> = allowed.iter().filter(|name| !scattered.contains_key(*name)).collect();
    assert!(stale.is_empty(), "exceptions that are not needed any more: {stale:?}");
}

#[test]
fn retired_names_do_not_come_back() {
    let mut wrong = Vec::new();
    for source in sources() {
        for part in source.path.iter().map(|part| part.to_string_lossy()) {
            if RETIRED_FILES.contains(&part.trim_end_matches(".rs")) {
                wrong.push(format!("{}: a retired name", source.path.display()));
            }
        }
        for line in &source.code {
            let words: Vec<&str> = line.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            for pair in words.windows(2) {
                let defines = matches!(pair[0], "struct" | "enum" | "trait" | "type" | "union");
                if defines && RETIRED_TYPES.contains(&pair[1]) {
                    wrong.push(format!("{}: {line}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "retired names:\n{}", wrong.join("\n"));
}

/// The rooms whose tables state what differs between languages and kinds.
const LANGUAGE_TABLES: &[&str] = &["model", "language"];

/// The tables of other rooms, with a row for each language: instructions for clients, tools of builds, tasks of a sync.
const LANGUAGE_TABLE_FILES: &[&str] = &[
    "crates/pages/src/setup/mod.rs",
    "crates/tasks/src/build/toolchain.rs",
    "crates/tasks/src/sync/task.rs",
];

/// Places outside the tables that name a language or a kind, with the number of lines and the reason.
const NAMES_OF_LANGUAGES: &[(&str, usize, &str)] = &[
    ("crates/downloader/src/args.rs", 2, "the language whose commands have flags of their own"),
    ("crates/downloader/src/lib.rs", 2, "the commands of this language"),
    ("crates/downloader/src/projects/python/mod.rs", 2, "the download of this language"),
    ("crates/pages/src/first_packages.rs", 1, "the spelling of a flag in the mission's examples"),
    ("crates/runtime/src/catalog/mod.rs", 1, "the language of a source that is not in the catalog"),
    ("crates/tasks/src/edit/upload_body.rs", 1, "the language of uploads without a language"),
    ("src/http/api/public/status.rs", 1, "a field of the original's response"),
    ("src/http/repo/python/upload.rs", 1, "the language of the upload API of PyPI"),
];

/// Returns whether a line names a variant of `Language`, `RepoKind` or `SourceKind`, or the source of PyPI.
fn names_a_language(line: &str) -> bool {
    let is_variant = |name: &str| {
        let named = line
            .match_indices(name)
            .filter(|(at, _)| !line[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        let variants = named.map(|(at, _)| &line[at + name.len()..]);
        // Constants such as `ALL` are in upper case, functions in lower case.
        variants.filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase())).any(|rest| {
            let word = word(rest);
            word.len() == 1 || word.chars().any(|c| c.is_ascii_lowercase())
        })
    };
    ["Language::", "RepoKind::", "SourceKind::"].into_iter().any(is_variant)
        || line.contains("SourceId::PYPI")
        || line.contains("PYPI_LANGUAGE")
}

#[test]
fn languages_differ_in_their_tables_only() {
    let mut found = BTreeMap::new();
    for source in sources().into_iter().filter(|source| !LANGUAGE_TABLES.contains(&source.room.as_str())) {
        let count = source.code.iter().filter(|line| names_a_language(line)).count();
        let path = source.path.display().to_string();
        // A test module in a file of its own.
        if count > 0 && !path.ends_with("tests.rs") && !LANGUAGE_TABLE_FILES.contains(&path.as_str()) {
            found.insert(path, count);
        }
    }
    let allowed: BTreeMap<String, usize> =
        NAMES_OF_LANGUAGES.iter().map(|(path, lines, _)| ((*path).to_owned(), *lines)).collect();
    assert_eq!(found, allowed, "lines that name a language or kind: add a method to a table instead");
}

/// Returns the patterns of the parameters in `code` that are tuples of names, such as `(a, b)` in `f(x: X, (a, b): (A, B))`.
fn tuple_parameters(code: &str) -> Vec<&str> {
    let is_names = |text: &str| {
        text.contains(',')
            && text
                .split(',')
                .all(|name| name.trim().chars().all(|c| c.is_alphanumeric() || "_ ".contains(c)))
    };
    let mut found = Vec::new();
    for (end, _) in code.match_indices("): (") {
        let Some(start) = code[..end].rfind('(') else { continue };
        let before = code[..start].trim_end();
        if before.ends_with(['(', ',']) && is_names(&code[start + 1..end]) {
            found.push(&code[start..=end]);
        }
    }
    found
}

#[test]
fn no_parameter_is_a_tuple() {
    assert_eq!(
        tuple_parameters("fn f(x: X, (a, mut b): (A, B)) { let (c, d): (C, D) = g((1, 2)); }"),
        ["(a, mut b)"]
    );
    let mut wrong = Vec::new();
    for source in sources() {
        let code = source.code.join(" ");
        for parameter in tuple_parameters(&code) {
            wrong.push(format!("{}: {parameter}", source.path.display()));
        }
    }
    assert!(wrong.is_empty(), "parameters that need names of their own:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_has_unfinished_code() {
    let marks = ["todo!(", "unimplemented!(", "FIXME", "XXX"];
    let wrong: Vec<String> = sources()
        .iter()
        .flat_map(|s| s.text.lines().map(move |line| (s, line)))
        .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)))
        .map(|(s, line)| format!("{}: {}", s.path.display(), line.trim()))
        .collect();
    assert!(wrong.is_empty(), "unfinished:\n{}", wrong.join("\n"));
}

#[test]
fn multi_line_uses_are_found() {
    let packages = package_names();
    let used = |code: &str| {
        let (module, room, code) = ("serve::x".into(), "serve".into(), vec![code.to_owned()]);
        rooms_used(&Source { path: PathBuf::new(), module, room, text: String::new(), code }, &packages)
    };
    assert_eq!(used("use store::{ db::{Db, Conn}, logs, };"), ["db", "db", "logs"]);
    assert_eq!(used("fn f(x: crate::fetch::Fetches) -> api::Error"), ["fetch", "api"]);
    assert_eq!(used("use super::upstream; fn f() -> upstream::Row"), [""; 0]);
    assert_eq!(
        used("use super::upstream::{self, X}; use ::upstream::Row; const A: &str = \"tasks::edit\";"),
        ["upstream"]
    );
}
