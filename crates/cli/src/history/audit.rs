//! `rspm history audit`: verifies every entry of a log against its tiles and its signed checkpoint, and checks the rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::StreamExt;
use futures_util::future::try_join;
use serde::{Deserialize, Serialize};

use super::log::Log;
use super::{lifetime, not_proved, policy, read, witness_text};
use crate::error::CliError;
use crate::output::{Output, warn};
use crate::tokens_file;
use api::audit::{AuditRow, AuditSalt};
use api::operations::admin as operations;
use base::model::digest::{Sha256, digest_of_row};
use formats::tlog::TlogError;
use formats::tlog::audit::{Auditor, Finding, KnownCheckpoint, Rule, Trail};
use formats::tlog::edge::Edge;
use formats::tlog::note::Note;
use formats::tlog::policy::Policy;
use formats::tlog::tile::{Content, Tile, decode_entries, tiles};

/// Number of bundles that are requested before they are needed.
const AHEAD: usize = 8;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 no rule is violated; 1 a rule is violated, or something is not proved; 2 wrong usage; \
    3 the server cannot be reached.\n\
    Example: rspm history audit --policy=policy.txt --state=packages.example.org.checkpoints --from=/srv/log-copy"
)]
pub struct AuditLog {
    /// The keys of the log and of its witnesses, and the required number of them (C2SP tlog-policy)
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// A copy of the log: a directory or an address with the paths of C2SP tlog-tiles (default: the server)
    #[arg(long, value_name = "DIR|URL")]
    pub from: Option<String>,
    /// The number of the log, if the server has begun several
    #[arg(long, value_name = "NUMBER", default_value_t = 1, conflicts_with = "from")]
    pub log: u32,
    /// Earlier checkpoints, whose entries the log must have
    #[arg(long, value_name = "FILE")]
    pub since_checkpoint: Option<PathBuf>,
    /// A file that keeps all checkpoints; the log must have the entries of each (created if missing)
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// The audit trail, as `rspm audit export --proof` writes it, to be compared with the digests of its rows in the log
    #[arg(long, value_name = "FILE")]
    pub trail: Option<PathBuf>,
    /// Maximum age of the cosignatures that the policy requires: a number with s, m, h or d
    #[arg(long, value_name = "AGE", default_value = "never", hide_default_value = true, value_parser = lifetime)]
    pub max_age: std::option::Option<i64>,
}

/// The result of an audit.
#[derive(Serialize)]
struct AuditResult {
    log: String,
    entries: u64,
    /// In hexadecimal digits.
    root: String,
    /// The number of entries of each kind.
    kinds: BTreeMap<String, u64>,
    witnesses: Vec<String>,
    /// The number of earlier checkpoints with which the log was compared.
    earlier: usize,
    findings: Vec<AuditFinding>,
    /// The number of findings that are not listed.
    omitted: u64,
}

#[derive(Serialize)]
struct AuditFinding {
    entry: u64,
    rule: String,
    is_violation: bool,
    text: String,
    bundle: String,
}

/// Runs an audit.
///
/// # Errors
/// The checkpoint is not signed as the policy requires, the entries are not those of the checkpoint, or a rule is violated.
pub(crate) async fn run(log: Log<'_>, output: &Output, args: AuditLog) -> Result<(), CliError> {
    let policy = policy(&args.policy, args.max_age)?;
    let place = log.place("checkpoint");
    let wrong = |problem: TlogError| CliError::refused(format!("{place}: {problem}"));
    let note = Note::parse(&log.read("checkpoint").await?).map_err(wrong)?;
    let trusted = policy.check(&note).map_err(wrong)?;
    // Cosignatures of earlier checkpoints are older.
    let earlier = self::policy_of_any_age(&args.policy)?;
    let mut known = Vec::new();
    let stored = args.state.as_deref().filter(|path| path.exists());
    for path in args.since_checkpoint.as_deref().into_iter().chain(stored) {
        for (note, number) in notes(path)?.iter().zip(1..) {
            let trusted = earlier.check(note).map_err(|error| not_proved(path, error))?;
            known.push(KnownCheckpoint {
                place: format!("checkpoint {number} of {}", path.display()),
                trusted,
            });
        }
    }
    let checkpoint = &trusted.checkpoint;
    if let Some(other) = known.iter().find(|known| known.trusted.checkpoint.origin != checkpoint.origin) {
        let origin = &other.trusted.checkpoint.origin;
        let problem = format!("it is of the log {origin}, and {place} of {}", checkpoint.origin);
        return Err(CliError::refused(format!("{}: {problem}", other.place)));
    }
    let earlier = known.len();
    let larger =
        known.iter().filter(|known| known.trusted.checkpoint.root.count > checkpoint.root.count).count();
    known.push(KnownCheckpoint { place: place.clone(), trusted: trusted.clone() });
    let mut auditor = Auditor::new(known);
    if let Some(path) = &args.trail {
        auditor = auditor.with_trail(trail(path, args.log)?);
    }
    let mut entries = add_entries(&log, checkpoint.root.count, &mut auditor).await;
    if entries.is_ok() && auditor.root() != checkpoint.root {
        let (found, root) = (auditor.root(), checkpoint.root);
        entries =
            Err(CliError::refused(format!("{place}: its root is {root}, and that of the entries {found}")));
    }
    if let Err(error) = entries {
        // What the log signed without such entries is evidence too.
        args.state.as_deref().map_or(Ok(()), |path| keep(path, &note, false))?;
        return Err(error);
    }
    let report = auditor.finish();
    let contradictions = report.findings.iter().filter(|found| found.rule == Rule::A1).count();
    // Larger checkpoints, which the log does not reach, are findings too.
    let is_fork = contradictions > larger;
    if let Some(path) = &args.state {
        keep(path, &note, is_fork)?;
    }
    let result = AuditResult {
        log: checkpoint.origin.clone(),
        entries: checkpoint.root.count,
        root: Sha256(checkpoint.root.hash).to_string(),
        kinds: report.kinds,
        witnesses: trusted.cosignatures.iter().map(witness_text).collect(),
        earlier,
        findings: report.findings.iter().map(AuditFinding::new).collect(),
        omitted: report.omitted,
    };
    output.print(&result, || text(&result, &report.findings))?;
    if let Log::Server(client, _) = &log {
        let newest = client.call::<operations::ShowHistory>([], &()).await?.origin;
        if newest != result.log {
            warn(format!("the server has begun another log since: {newest}; audit it with --log=NUMBER"));
        }
    }
    match report.is_violated {
        false => Ok(()),
        true if is_fork => Err(CliError::refused(
            "the log contradicts a checkpoint that it signed: keep both checkpoints, they are the evidence",
        )),
        true if contradictions > 0 => Err(CliError::refused(
            "the log has fewer entries than a checkpoint that it signed: it is an older copy, or entries were removed",
        )),
        true => Err(CliError::refused("the log violates rules")),
    }
}

impl AuditFinding {
    fn new(found: &Finding) -> AuditFinding {
        AuditFinding {
            entry: found.entry,
            rule: format!("{:?}", found.rule),
            is_violation: found.is_violation,
            text: found.text.clone(),
            bundle: found.bundle().to_string(),
        }
    }
}

fn text(result: &AuditResult, findings: &[Finding]) -> String {
    let kinds: Vec<String> = result.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let mut lines = vec![
        format!("Log:     {}", result.log),
        format!("Entries: {}: {}", result.entries, kinds.join(", ")),
        format!("Root:    {}", result.root),
    ];
    lines.extend(result.witnesses.iter().map(|witness| format!("Witness: {witness}")));
    lines.push(format!("Earlier: {} checkpoints compared", result.earlier));
    lines.extend(findings.iter().map(ToString::to_string));
    if result.omitted > 0 {
        lines.push(format!("… and {} more", result.omitted));
    }
    if !findings.iter().any(|found| found.is_violation) {
        lines.push("No rule is violated.".to_owned());
    }
    lines.join("\n")
}

/// Reads all entries, compares them with all tiles, and gives them to the auditor.
async fn add_entries(log: &Log<'_>, size: u64, auditor: &mut Auditor) -> Result<(), CliError> {
    let mut edge =
        Edge::read(0, |_| Ok::<_, TlogError>(Vec::new())).map_err(|e| CliError::refused(e.to_string()))?;
    let bundles = tiles(0, size).filter(|tile| tile.content == Content::Entries);
    let files = bundles.map(|bundle| async move {
        let leaves = Tile { content: Content::Hashes(0), ..bundle };
        let (entries, leaves) = try_join(log.tile(bundle), log.tile(leaves)).await?;
        Ok::<_, CliError>((bundle, entries, leaves))
    });
    let mut files = futures_util::stream::iter(files).buffered(AHEAD);
    while let Some(file) = files.next().await {
        let (bundle, bytes, leaves) = file?;
        let wrong = |error| CliError::refused(format!("{}: {error}", log.place(&bundle.to_string())));
        let entries = decode_entries(&bytes, bundle.width).map_err(wrong)?;
        for (place, hashes) in edge.append(&entries) {
            let width = u16::try_from(hashes.len() / 32).unwrap_or(u16::MAX);
            let tile = Tile { content: Content::Hashes(place.level), index: place.index, width };
            if !tile.is_of(size) {
                continue;
            }
            let is_equal = if place.level == 0 { leaves == hashes } else { log.tile(tile).await? == hashes };
            if !is_equal {
                let tile = log.place(&tile.to_string());
                return Err(CliError::refused(format!("{tile}: it does not have the hashes of the entries")));
            }
        }
        entries.iter().for_each(|entry| auditor.push(entry));
    }
    Ok(())
}

/// Reads an exported audit trail, with the salts of a log.
///
/// # Errors
/// A line cannot be read, or a row does not have its digest or does not continue the row before it.
fn trail(path: &Path, log: u32) -> Result<Trail, CliError> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Line {
        Row(Box<AuditRow>),
        Salt(AuditSalt),
    }
    let (mut trail, mut last): (Trail, Option<AuditRow>) = (Trail::default(), None);
    for (text, number) in read(path)?.split(|byte| *byte == b'\n').zip(1..) {
        if text.is_empty() {
            continue;
        }
        let wrong = |reason: String| not_proved(path, format!("line {number}: {reason}"));
        match serde_json::from_slice(text) {
            Ok(Line::Row(row)) => {
                let id = row.id.to_string();
                let digest = digest_of_row([
                    &row.previous,
                    &id,
                    &row.time,
                    &row.actor_kind,
                    &row.actor,
                    &row.address,
                    &row.action,
                    &row.object_kind,
                    &row.object,
                    &row.outcome,
                    &row.detail,
                ]);
                let continues = match &last {
                    None => row.id == 1,
                    Some(last) => row.id == last.id.saturating_add(1) && row.previous == last.sha256,
                };
                if digest.to_string() != row.sha256 || !continues {
                    return Err(wrong(format!(
                        "row {id} was changed, or rows before it are missing (export without filters)"
                    )));
                }
                trail.rows.insert(row.id.unsigned_abs(), row.sha256.clone());
                last = Some(*row);
            }
            Ok(Line::Salt(salt)) if salt.log == i64::from(log) => {
                let bytes = hex::decode(&salt.salt).map_err(|error| wrong(error.to_string()))?;
                trail.salts.insert(salt.entry, bytes);
            }
            Ok(Line::Salt(_)) => {}
            Err(_) => return Err(wrong("neither a row nor a salt of rspm audit export --proof".to_owned())),
        }
    }
    if trail.salts.is_empty() {
        return Err(not_proved(path, format!("it has no salt of log {log}: write it with --proof")));
    }
    Ok(trail)
}

fn policy_of_any_age(path: &Path) -> Result<Policy, CliError> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    Policy::parse(&text).map_err(|error| not_proved(path, error))
}

/// Reads checkpoints, with an empty line between two of them.
fn notes(path: &Path) -> Result<Vec<Note>, CliError> {
    let text = String::from_utf8(read(path)?).map_err(|error| not_proved(path, error))?;
    let parts: Vec<&str> = text.trim_end_matches('\n').split("\n\n").collect();
    let notes = parts.chunks(2).map(|parts| Note::parse((parts.join("\n\n") + "\n").as_bytes()));
    notes.collect::<Result<_, _>>().map_err(|error| not_proved(path, error))
}

/// Adds a checkpoint to the file with all of them. One that contradicts them is written to a file beside it.
fn keep(path: &Path, note: &Note, is_fork: bool) -> Result<(), CliError> {
    if is_fork {
        let other = path.with_added_extension("contradiction");
        warn(format!("the checkpoint of the log is in {}", other.display()));
        return tokens_file::write(&other, &note.to_string());
    }
    let stored = if path.exists() { notes(path)? } else { Vec::new() };
    if stored.iter().any(|stored| stored.text() == note.text()) {
        return Ok(());
    }
    let texts: Vec<String> = stored.iter().chain([note]).map(ToString::to_string).collect();
    tokens_file::write(path, &texts.join("\n"))
}
