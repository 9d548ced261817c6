//! The history of a git repository with package files, such as one of drat: each commit of the first parents is a state. It is
//! cloned without a work tree, and blobs are read by id: no hook, filter or program of its configuration runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use super::events::{Events, is_package, removal};
use crate::args::ListOrigin;
use crate::destination::{Destination, persist};
use crate::error::OfflineError;
use crate::file::digest_of;
use base::config::without_userinfo;
use base::model::import_list::{AddedFile, Event};
use base::model::text::one_line;
use base::model::time::{SECOND, Timestamp};
use formats::r::name::SourceFileName;

/// Replaces the configuration of the system and of the user, also for the process that reads a local repository.
const CONFIG: &str = "[core]\nhooksPath = /dev/null\nfsmonitor = false\n[safe]\ndirectory = *\n\
    [protocol]\nallow = never\n[protocol \"file\"]\nallow = always\n[protocol \"http\"]\nallow = always\n\
    [protocol \"https\"]\nallow = always\n[http]\nfollowRedirects = false\n[credential]\nhelper =\n[gc]\nauto = 0\n";
/// Variables that git gets; all others could name programs.
const VARIABLES: &str =
    "PATH http_proxy https_proxy HTTPS_PROXY no_proxy NO_PROXY SSL_CERT_FILE SSL_CERT_DIR";
/// Further variables, all with the value 1.
const SET_VARIABLES: &str = "GIT_CONFIG_NOSYSTEM GIT_ATTR_NOSYSTEM GIT_NO_REPLACE_OBJECTS GIT_NO_LAZY_FETCH";
const CLONE: &str = "clone --quiet --bare --no-local --single-branch --no-tags --template=";
/// The log as fields that end with NUL: `commit=SECONDS`, and for each file `:MODE MODE OLD NEW STATUS` and its path.
const LOG: &str = "log --first-parent --reverse --diff-merges=first-parent --raw --root -z --no-abbrev --no-renames \
    --no-ext-diff --format=commit=%ct HEAD -- *.tar.gz *.tgz *.tar.bz2 *.tar.xz *.zip *.whl *.egg";
/// The beginning of a file that git LFS has replaced.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/";

/// A clone in a temporary folder.
struct BareClone<'a> {
    args: &'a ListOrigin,
    folder: tempfile::TempDir,
}

/// The mode and the id of a file.
#[derive(Clone)]
struct Blob {
    mode: String,
    id: String,
}

/// The files of a commit: by name, then by path.
#[derive(Default)]
struct Tree(BTreeMap<String, BTreeMap<String, Blob>>);

/// The changes of a commit by path; `None` for a deleted file.
type Changes = Vec<(String, Option<Blob>)>;

/// Size and SHA-256 of a written file, or why it cannot be imported.
type Written = Result<(u64, String), &'static str>;

pub(super) fn read(args: &ListOrigin, events: &mut Events) -> Result<(), OfflineError> {
    let Some(out) = args.out.as_deref() else {
        let text = "list from-git needs --out FILE: the files of the history are written to FILE.files";
        return Err(OfflineError::Usage(text.to_owned()));
    };
    let clone = BareClone::create(args)?;
    let mut lost = BTreeMap::new();
    let (mut tree, now, commits) = (Tree::default(), events.now(), clone.commits(&mut lost)?);
    lost.into_iter().try_for_each(|(path, why)| events.lose(path, why))?;
    let mut written: HashMap<String, Written> = HashMap::new();
    // Times in the future are not known, and those of rewritten commits may decrease; the order of the commits is that of the
    // states.
    let mut last = commits.iter().map(|(at, _)| *at).find(|at| *at <= now).unwrap_or(now);
    for (at, changes) in commits {
        last = if at <= now { last.max(at) } else { last };
        for (mut event, blob) in tree.apply(last, changes) {
            let (Some(blob), Event::Add(file) | Event::Replace(file)) = (blob, &mut event) else {
                events.push(event)?;
                continue;
            };
            let from = format!("{}.files/{}/{}", file_name(out), blob.id, file.file);
            let result = match written.get(&from) {
                Some(result) => result.clone(),
                None => clone.write(&blob, &out.with_file_name(&from))?,
            };
            match &result {
                Ok((size, sha256)) => {
                    file.from = Some(from.clone());
                    (file.size, file.sha256) = (Some(*size), Some(sha256.clone()));
                    events.push(event)?;
                }
                Err(why) => events.lose(file.file.as_str(), *why)?,
            }
            written.insert(from, result);
        }
    }
    if fs::read(clone.folder.path().join("repository/shallow")).is_ok_and(|text| !text.is_empty()) {
        events.lose("what precedes the first commit", "the repository is shallow: history starts here")?;
    }
    tree.archived_packages().iter().try_for_each(|package| events.lose_archiving(package))
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl BareClone<'_> {
    fn create(args: &ListOrigin) -> Result<BareClone<'_>, OfflineError> {
        let to_error = |e| OfflineError::destination("write to", &std::env::temp_dir(), e);
        let clone = BareClone { args, folder: tempfile::tempdir().map_err(to_error)? };
        fs::write(clone.folder.path().join("config"), CONFIG).map_err(to_error)?;
        let branch = args.branch.iter().map(|branch| format!("--branch={branch}"));
        let mut command = clone.git();
        command.args(CLONE.split(' ')).args(branch).arg("--").arg(&args.origin);
        clone.output(command.arg(clone.folder.path().join("repository")))?;
        Ok(clone)
    }

    fn git(&self) -> Command {
        let (mut command, folder) = (Command::new("git"), self.folder.path());
        command.env_clear().stdin(Stdio::null()).env("LC_ALL", "C").env("GIT_TERMINAL_PROMPT", "0");
        command.envs(VARIABLES.split(' ').filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(SET_VARIABLES.split(' ').map(|name| (name, "1")));
        command.env("HOME", folder).env("GIT_CONFIG_GLOBAL", folder.join("config"));
        if let Some(proxy) = &self.args.outbound_proxy {
            command.env("http_proxy", proxy).env("https_proxy", proxy);
        }
        command
    }

    /// Returns a command for the clone.
    fn git_in(&self) -> Command {
        let mut command = self.git();
        command.arg("--git-dir").arg(self.folder.path().join("repository"));
        command
    }

    /// Returns what a command prints. SECURITY: errors are without user and password of the address.
    fn output(&self, command: &mut Command) -> Result<Vec<u8>, OfflineError> {
        let refused = |text: &str| {
            let shown = without_userinfo(&self.args.origin);
            let text = one_line(&text.replace(&self.args.origin, &shown), 500);
            let is_of_transport = text.contains("transport '") && text.contains("not allowed");
            let remedy = if is_of_transport { "; clone it first, and give the folder" } else { "" };
            OfflineError::Refused(format!("{shown}: git: {text}{remedy}"))
        };
        let output = command.output().map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => refused("not installed: install the package git"),
            _ => refused(&e.to_string()),
        })?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(refused(&String::from_utf8_lossy(&output.stderr))),
        }
    }

    /// Returns the changes of package files by each commit, the oldest first. Adds to `lost` the paths of the others, with the
    /// reason why each cannot be imported.
    fn commits(
        &self,
        lost: &mut BTreeMap<String, &'static str>,
    ) -> Result<Vec<(Timestamp, Changes)>, OfflineError> {
        let log = self.output(self.git_in().args(LOG.split(' ')))?;
        let mut fields = log.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut commits: Vec<(Timestamp, Changes)> = Vec::new();
        while let Some(field) = fields.next() {
            let field = field.trim_start_matches('\n');
            if let Some(seconds) =
                field.strip_prefix("commit=").and_then(|seconds| seconds.parse::<i64>().ok())
            {
                commits.push((Timestamp(seconds.saturating_mul(SECOND)), Vec::new()));
            } else if let Some(change) = field.strip_prefix(':') {
                let path = fields.next().unwrap_or_default().into_owned();
                match (commits.last_mut(), is_package(&path)) {
                    (Some((_, changes)), Ok(true)) => changes.push((path, new_blob(change))),
                    (Some(_), Err(why)) => drop(lost.insert(path, why)),
                    (Some(_), Ok(false)) | (None, _) => {}
                }
            }
        }
        Ok(commits)
    }

    fn write(&self, blob: &Blob, path: &Path) -> Result<Written, OfflineError> {
        if !blob.mode.starts_with("100") {
            return Ok(Err("is a link"));
        }
        let to_error = |e: io::Error| OfflineError::destination("write", path, e);
        let folder = path.parent().unwrap_or(path);
        fs::create_dir_all(folder).map_err(to_error)?;
        let file = Destination::temp_file(folder).map_err(to_error)?;
        let stdout = file.as_file().try_clone().map_err(to_error)?;
        let status =
            self.git_in().args(["cat-file", "blob", &blob.id]).stdout(stdout).status().map_err(to_error)?;
        if !status.success() {
            return Ok(Err("is missing in the repository"));
        }
        let mut start = Vec::new();
        let opened = file.reopen().map_err(to_error)?;
        opened.take(LFS.len() as u64).read_to_end(&mut start).map_err(to_error)?;
        if start == LFS {
            return Ok(Err(
                "is a pointer of git LFS: clone the repository with its files, and list from-folder",
            ));
        }
        let digest = digest_of(file.path()).map_err(to_error)?;
        let size = file.as_file().metadata().map_err(to_error)?.len();
        persist(file, path).map_err(to_error)?;
        Ok(Ok((size, digest.to_string())))
    }
}

impl Tree {
    /// Applies the changes of a commit. Returns its events, with the blob of each that has one.
    fn apply(&mut self, at: Timestamp, changes: Changes) -> Vec<(Event, Option<Blob>)> {
        let names: BTreeSet<String> = changes.iter().map(|(path, _)| file_name(Path::new(path))).collect();
        let before: Vec<Option<Blob>> = names.iter().map(|name| self.blob(name).cloned()).collect();
        for (path, blob) in changes {
            let paths = self.0.entry(file_name(Path::new(&path))).or_default();
            match blob {
                Some(blob) => drop(paths.insert(path, blob)),
                None => drop(paths.remove(&path)),
            }
        }
        self.0.retain(|_, paths| !paths.is_empty());
        let event = |(name, before): (String, Option<Blob>)| {
            let after = self.blob(&name).cloned();
            let (at, exact) = (Some(at), "commit");
            let file = AddedFile::new(&name, at, exact);
            match (before, after) {
                (None, Some(blob)) => Some((Event::Add(file), Some(blob))),
                (Some(old), Some(blob)) if old.id != blob.id => Some((Event::Replace(file), Some(blob))),
                (Some(_), None) => Some((removal(at, exact, &name), None)),
                (Some(_), Some(_)) | (None, None) => None,
            }
        };
        let mut events: Vec<_> = names.into_iter().zip(before).filter_map(event).collect();
        events.sort_by_key(|(event, _)| !matches!(event, Event::Remove(_)));
        events
    }

    /// Returns the file with a name: the listed one, or the one in the archive.
    fn blob(&self, name: &str) -> Option<&Blob> {
        let paths = self.0.get(name)?;
        paths.iter().min_by_key(|(path, _)| is_archived(path)).map(|(_, blob)| blob)
    }

    /// Returns the R packages of which all versions are in the archive.
    fn archived_packages(&self) -> BTreeSet<&str> {
        let mut packages: [BTreeSet<&str>; 2] = Default::default();
        for (name, paths) in &self.0 {
            let is_listed = paths.keys().any(|path| !is_archived(path));
            packages[usize::from(is_listed)].extend(SourceFileName::parse(name).map(|file| file.package));
        }
        &packages[0] - &packages[1]
    }
}

fn is_archived(path: &str) -> bool {
    path.split('/').any(|part| part == "Archive")
}

/// Parses `MODE MODE OLD NEW STATUS`; `None` for a deleted file.
fn new_blob(change: &str) -> Option<Blob> {
    let mut parts = change.split(' ').skip(1);
    let (mode, id) = (parts.next()?.to_owned(), parts.nth(1)?.to_owned());
    (mode != "000000").then_some(Blob { mode, id })
}
