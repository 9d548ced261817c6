//! The log of a build: in memory while it runs, an object of the class `launcher` afterwards.
//!
//! The first megabyte and the last nine are stored; control characters are removed, secrets replaced with `***`.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Builds;
use base::model::digest::Sha256;
use base::model::ids::{SourceId, TxId};
use base::model::recorded_words::BuildState;
use content::serve::RepoError;
use store::db::git_build::{self, GitBuild};
use store::db::git_builder;
use store::storage::Key;

/// Maximum size of the stored beginning of a log, in bytes.
const HEAD: usize = 1 << 20;
/// Maximum size of the stored end of a log, in bytes.
const TAIL: usize = 9 << 20;
/// Maximum length of a line, in bytes; a longer one is divided.
const MAX_LINE: usize = 64 << 10;
/// Maximum size of one part of a log in a response, in bytes.
const PAGE: usize = 256 << 10;
/// Number of bytes that are repeated for a reader whose offset is beyond the end of a stored log.
const OVERLAP: usize = 4 << 10;
/// A message of R's tar that is irrelevant for the package.
const IRRELEVANT_MESSAGE: &str = "value replaced by that for user 'nobody'";

/// General advice that git prints after each failure of SSH. The message with the cause precedes it.
const ADVICE: [&str; 2] =
    ["Please make sure you have the correct access rights", "and the repository exists."];

/// The first line of the output of the sandbox without network.
const BUILD_BEGIN: &str = "\n== sources\n";
/// The beginning of the line with the reason of a failure.
pub(super) const FAILED: &str = "== Failed: ";
/// The reason that users see if a build failed before the sandbox without network had started.
const NOT_STARTED: &str = "the commit could not be fetched, or the build did not start";
/// Number of log lines in an explanation of a package's last build.
const LAST_LINES: usize = 20;
/// The text that is returned for a log that is not stored.
const NO_LOG: &str =
    "The log of this build is not stored: it is older than 180 days, or the server was killed.\n";

/// The log of a running build.
pub struct BuildLog {
    text: Mutex<Text>,
    secrets: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Text {
    /// The bytes of an unfinished line.
    partial: Vec<u8>,
    head: String,
    tail: VecDeque<u8>,
    /// Number of bytes between `head` and `tail` that were left out.
    dropped: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    pub text: String,
    /// The offset of the next part.
    pub next: u64,
    /// Whether the build has ended and nothing follows.
    pub is_end: bool,
}

impl BuildLog {
    pub(super) fn new() -> BuildLog {
        BuildLog { text: Mutex::default(), secrets: Mutex::default() }
    }

    /// Adds texts that are replaced by `***` in all later output.
    pub(super) fn hide(&self, secrets: Vec<String>) {
        self.secrets.lock().extend(secrets.into_iter().filter(|secret| !secret.is_empty()));
    }

    /// Appends bytes of a command's output.
    pub(super) fn write(&self, bytes: &[u8]) {
        let mut text = self.text.lock();
        let mut rest = std::mem::take(&mut text.partial);
        // The stored beginning of the line contains no line feed.
        let (mut start, mut searched) = (0, rest.len());
        rest.extend_from_slice(bytes);
        while let Some(end) =
            rest[searched..].iter().position(|byte| *byte == b'\n').map(|at| searched + at + 1)
        {
            text.append(&self.clean(&rest[start..end]));
            (start, searched) = (end, end);
        }
        rest.drain(..start);
        if rest.len() > MAX_LINE {
            text.append(&self.clean(&rest));
            rest.clear();
        }
        text.partial = rest;
    }

    /// Appends a line that the server itself writes.
    pub(super) fn line(&self, line: &str) {
        self.flush();
        self.write(format!("{line}\n").as_bytes());
    }

    pub(super) fn flush(&self) {
        let mut text = self.text.lock();
        let rest = std::mem::take(&mut text.partial);
        if !rest.is_empty() {
            let line = self.clean(&rest) + "\n";
            text.append(&line);
        }
    }

    fn clean(&self, line: &[u8]) -> String {
        let text = String::from_utf8_lossy(line);
        let mut text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
        if text.contains(IRRELEVANT_MESSAGE) {
            return String::new();
        }
        for secret in &*self.secrets.lock() {
            text = text.replace(secret.as_str(), "***");
        }
        text
    }

    pub(super) fn text(&self) -> String {
        let text = self.text.lock();
        let tail: Vec<u8> = text.tail.iter().copied().collect();
        let tail = String::from_utf8_lossy(&tail);
        match text.dropped {
            0 => format!("{}{tail}", text.head),
            dropped => format!("{}\n… {dropped} bytes are left out …\n{tail}", text.head),
        }
    }

    /// Returns the last lines, joined by ` / `, for messages.
    pub(super) fn last_lines(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().filter(|line| !ADVICE.contains(line)).collect();
        last_lines(&lines.join("\n"), count, " / ")
    }

    /// Returns the part that begins at an offset in bytes, and the offset of the next part.
    fn page(&self, offset: u64) -> (String, u64) {
        let text = self.text.lock();
        let head = text.head.len() as u64;
        let bytes: Vec<u8> = if offset < head {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            text.head.as_bytes().iter().skip(from).take(PAGE).copied().collect()
        } else {
            let from = offset.max(head + text.dropped) - head - text.dropped;
            text.tail.iter().skip(usize::try_from(from).unwrap_or(usize::MAX)).take(PAGE).copied().collect()
        };
        let offset = if offset < head { offset } else { offset.max(head + text.dropped) };
        let bytes = whole_characters(&bytes);
        (String::from_utf8_lossy(bytes).into_owned(), offset + bytes.len() as u64)
    }
}

impl Text {
    fn append(&mut self, text: &str) {
        let in_head = self.tail.is_empty() && self.dropped == 0 && self.head.len() + text.len() <= HEAD;
        if in_head {
            self.head.push_str(text);
            return;
        }
        self.tail.extend(text.as_bytes());
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
        self.dropped += surplus as u64;
    }
}

/// Removes an incomplete UTF-8 character at the end.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => &bytes[..error.valid_up_to()],
        _ => bytes,
    }
}

/// Returns the last `count` lines of a text that are not blank, joined by the separator.
pub fn last_lines(text: &str, count: usize, separator: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join(separator)
}

pub(super) async fn store(builds: &Builds, build: i64, log: &BuildLog) -> Result<(), RepoError> {
    log.flush();
    let text = log.text();
    let sha256 = Sha256::of(&text);
    let size = i64::try_from(text.len()).unwrap_or(i64::MAX);
    builds.state.storage.put(&Key::BuildLog(sha256), Bytes::from(text)).await?;
    Ok(builds.state.db.write(move |c| git_build::set_log(c, build, sha256, size)).await?)
}

/// Returns the build with the id `build`, or the build that the transaction `tx` recorded.
pub async fn find(builds: &Builds, build: Option<i64>, tx: Option<i64>) -> Result<GitBuild, RepoError> {
    let build_row = builds.state.db.read(move |c| match (build, tx) {
        (Some(id), _) => git_build::get(c, id),
        (None, Some(tx)) => git_build::by_tx(c, TxId(tx)),
        (None, None) => Ok(None),
    });
    build_row.await?.ok_or_else(|| unknown(build, tx))
}

/// Returns the error for a build that does not exist, or that the client may not see.
pub fn unknown(build: Option<i64>, tx: Option<i64>) -> RepoError {
    let name = match (build, tx) {
        (Some(id), _) => format!("there is no build {id}"),
        (None, tx) => format!("the transaction {} is not that of a build", tx.unwrap_or_default()),
    };
    RepoError::NotFound(format!("{name}; rspm list git-builds shows all"))
}

/// Returns the source of a build; `None` if its builder was deleted.
pub async fn source(builds: &Builds, build: &GitBuild) -> Result<Option<SourceId>, RepoError> {
    let id = build.builder;
    Ok(builds.state.db.read(move |c| git_builder::get(c, id)).await?.map(|builder| builder.source))
}

pub async fn builder_name(builds: &Builds, build: &GitBuild) -> Result<String, RepoError> {
    let id = build.builder;
    Ok(builds.state.db.read(move |c| git_builder::name_of(c, id)).await?)
}

/// Returns the part of the log of a build that begins at an offset in bytes.
pub async fn page(builds: &Builds, build: &GitBuild, offset: u64) -> Result<LogPage, RepoError> {
    let running_log = builds.running.lock().get(&build.id).cloned();
    if let Some(log) = running_log {
        let (text, next) = log.page(offset);
        return Ok(LogPage { text, next, is_end: false });
    }
    // The log may have been stored after the caller read the row.
    let sha256 = match build.log {
        Some(sha256) => Some(sha256),
        None => {
            let id = build.id;
            builds.state.db.read(move |c| git_build::get(c, id)).await?.and_then(|build| build.log)
        }
    };
    let Some(sha256) = sha256 else {
        let text = match build.state {
            BuildState::Published | BuildState::Failed if offset == 0 => NO_LOG.to_owned(),
            _ => String::new(),
        };
        let next = offset + text.len() as u64;
        return Ok(LogPage { text, next, is_end: build.state.is_final() });
    };
    let bytes = builds.state.storage.read(&Key::BuildLog(sha256)).await?;
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    // The middle of a long log is not stored: for an offset beyond the end, the last lines are returned again.
    let from = if from > bytes.len() { bytes.len().saturating_sub(OVERLAP) } else { from };
    let to = from.saturating_add(PAGE).min(bytes.len());
    let text = whole_characters(&bytes[from..to]);
    let to = from + text.len();
    let text = String::from_utf8_lossy(text).into_owned();
    // A build that waits for another attempt has the log of the previous one.
    Ok(LogPage { text, next: to as u64, is_end: to == bytes.len() && build.state.is_final() })
}

/// The last finished build of a package, and its log.
pub struct LastBuild {
    pub build: GitBuild,
    text: String,
}

/// The part of a build's result that everyone with read access to the package may see.
pub struct PublicResult {
    /// The reason for a failure, or a remark.
    pub reason: String,
    pub lines: String,
}

impl LastBuild {
    pub fn lines(&self) -> String {
        last_lines(&self.text, LAST_LINES, "\n")
    }

    /// Returns the output of the build's commands, without other messages, which may name hosts, paths and repositories.
    pub fn public(&self) -> PublicResult {
        let reason = self.build.reason.as_str();
        let output = self.text.split_once(BUILD_BEGIN).map(|(_, output)| output);
        match (output, self.build.state) {
            (None, BuildState::Failed) => {
                PublicResult { reason: NOT_STARTED.to_owned(), lines: String::new() }
            }
            (None, _) => PublicResult { reason: reason.to_owned(), lines: String::new() },
            (Some(output), _) => {
                let lines: Vec<&str> = output.lines().map(without_remedy).collect();
                let lines = last_lines(&lines.join("\n"), LAST_LINES, "\n");
                PublicResult { reason: first_clause(reason).to_owned(), lines }
            }
        }
    }
}

/// Removes the remedy from a log line that states the reason for a failure.
fn without_remedy(line: &str) -> &str {
    if line.starts_with(FAILED) { first_clause(line) } else { line }
}

/// Returns the part of a reason before the first semicolon. The rest may name repositories and sources.
fn first_clause(reason: &str) -> &str {
    reason.split(';').next().unwrap_or_default()
}

/// Returns the last finished build of a package, from the first source that builds it, or the build of a version.
pub async fn last_build(
    builds: &Builds,
    sources: &[SourceId],
    package: &str,
    version: Option<&str>,
) -> Result<Option<LastBuild>, RepoError> {
    let (sources, package) = (sources.to_vec(), package.to_owned());
    let version = version.map(str::to_owned);
    let found = builds.state.db.read(move |c| {
        for source in &sources {
            let Some(builder) = git_builder::by_name(c, *source, &package)? else { continue };
            let ended = git_build::of_builder(c, builder.id)?.into_iter().filter(|build| match &version {
                Some(version) => build.state == BuildState::Published && build.version == *version,
                None => matches!(build.state, BuildState::Published | BuildState::Failed),
            });
            return Ok(ended.max_by_key(|build| (build.ended_at, build.id)));
        }
        Ok(None)
    });
    let Some(build) = found.await? else { return Ok(None) };
    let text = match build.log {
        Some(sha256) => builds.state.storage.read(&Key::BuildLog(sha256)).await?,
        None => Bytes::from_static(NO_LOG.as_bytes()),
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(Some(LastBuild { build, text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_control_characters_are_removed_even_if_divided() {
        let log = BuildLog::new();
        log.hide(vec!["s3cret".to_owned()]);
        log.write(b"fatal: s3c");
        log.write(b"ret\x07 is wrong\r\nnext");
        log.line("== end");
        assert_eq!(log.text(), "fatal: *** is wrong\nnext\n== end\n");
        assert_eq!(log.page(0), (log.text(), 32));
        assert_eq!(log.page(25), ("== end\n".to_owned(), 32));
        assert_eq!(log.page(32), (String::new(), 32));
        assert_eq!(log.last_lines(2), "next / == end");
        log.line("ssh: Could not resolve hostname x\nfatal: Could not read from remote repository.\n");
        log.line("Please make sure you have the correct access rights\nand the repository exists.");
        let message = "ssh: Could not resolve hostname x / fatal: Could not read from remote repository.";
        assert_eq!(log.last_lines(2), message);
    }

    #[test]
    fn the_public_part_of_a_log_has_no_message_of_the_fetch() {
        let result = |state: BuildState, reason: &str, text: &str| {
            let build = GitBuild { state, reason: reason.to_owned(), ..build() };
            let PublicResult { reason, lines } = LastBuild { build, text: text.to_owned() }.public();
            (reason, lines)
        };
        let fetch = "== tested: commit ab, attempt 1\nfatal: /srv/git/x on git.example.org\n";
        let failed = format!("{fetch}== Failed: git fetch failed: fatal: /srv/git/x\n");
        assert_eq!(
            result(BuildState::Failed, "git fetch failed: /srv/git/x", &failed),
            (NOT_STARTED.to_owned(), String::new())
        );
        let built =
            format!("{fetch}== the repository 'dev' lists no x\n== R 4.2\n== sources\noutput; of R\n");
        let failed = format!("{built}== Failed: R CMD build failed; the repository 'dev' lists no x\n");
        assert_eq!(
            result(BuildState::Failed, "R CMD build failed; the repository 'dev' lists no x", &failed),
            ("R CMD build failed".to_owned(), "output; of R\n== Failed: R CMD build failed".to_owned())
        );
        assert_eq!(
            result(BuildState::Published, "", &format!("{built}== Published tested 1.0\n")),
            (String::new(), "output; of R\n== Published tested 1.0".to_owned())
        );
        assert_eq!(result(BuildState::Published, "version unchanged", NO_LOG).1, "");
    }

    fn build() -> GitBuild {
        GitBuild {
            id: 1,
            builder: 1,
            tag: String::new(),
            commit: "ab".to_owned(),
            state: BuildState::Failed,
            attempt: 1,
            replaces: false,
            reason: String::new(),
            version: String::new(),
            tx: None,
            log: None,
            actor: String::new(),
            queued_at: base::model::time::Timestamp(0),
            started_at: None,
            ended_at: None,
        }
    }

    #[test]
    fn a_long_log_keeps_its_beginning_and_its_end() {
        let log = BuildLog::new();
        let line = format!("{}\n", "x".repeat(999));
        for _ in 0..20_000 {
            log.write(line.as_bytes());
        }
        log.line("end");
        let text = log.text();
        assert!(text.len() < HEAD + TAIL + 100 && text.ends_with("\nend\n"), "{}", text.len());
        assert!(text.contains("bytes are left out"));
        let (mut offset, mut read) = (0, 0);
        loop {
            let (part, next) = log.page(offset);
            if part.is_empty() {
                break;
            }
            read += part.len();
            assert!(next > offset);
            offset = next;
        }
        assert!(read > TAIL && offset == 20_000_004, "{read} {offset}");
    }
}
