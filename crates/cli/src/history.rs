//! `rspm history`: the signed log of what the server published and served, and the verification of its proofs.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use md5::{Digest, Md5};

use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_count, format_time, warn};
use api::history::{HistoryStatus, InitHistory};
use api::operations::admin as operations;
use base::model::digest::Sha256;
use base::model::time::{Day, SECOND, Timestamp};
use formats::tlog::entry_proof::{EntryProof, ProvedView, ViewRequest};
use formats::tlog::policy::Policy;
use formats::tlog::record_proof::{FileDigest, INDEX, RecordProof, records_of};
use formats::tlog::tree::Root;

/// `rspm history …`
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Begin the log, which is signed and append-only
    Init(InitHistory),
    /// Show the log, its public key and its newest checkpoint
    Status,
    /// Verify a proof of the log without a server
    Verify(VerifyProof),
}

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 proved; 1 not proved; 2 wrong usage.\n\
    Example: rspm history verify abind_1.4-8.tar.gz.proof --policy=policy.txt --repo=prod --snapshot=2026-11-26 \
    --file=abind_1.4-8.tar.gz")]
pub struct VerifyProof {
    /// The proof: the file at the address of a package, or of PACKAGES, with .proof at its end
    pub proof: PathBuf,
    /// The keys of the log and of its witnesses, and the required number of them (C2SP tlog-policy)
    #[arg(long, value_name = "FILE")]
    pub policy: PathBuf,
    /// The repository that the proof has to be about
    #[arg(long, value_name = "NAME")]
    pub repo: String,
    /// The day that it has to be about
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub snapshot: Day,
    /// The file of the package, to be compared with the record
    #[arg(long, value_name = "FILE", conflicts_with = "packages")]
    pub file: Option<PathBuf>,
    /// The index PACKAGES, to be compared with the proof of it
    #[arg(long, value_name = "FILE")]
    pub packages: Option<PathBuf>,
}

/// `rspm history init`.
///
/// # Errors
/// The server has no encryption key, or no name for the log.
pub async fn init(client: &Client, output: &Output, args: &InitHistory) -> Result<(), CliError> {
    let status = client.send::<operations::InitHistory>([], args).await?;
    output.print(&status, || text(&status))
}

/// `rspm history status`.
///
/// # Errors
/// There is no log.
pub async fn status(client: &Client, output: &Output) -> Result<(), CliError> {
    let status = client.call::<operations::ShowHistory>([], &()).await?;
    output.print(&status, || text(&status))
}

fn text(status: &HistoryStatus) -> String {
    let waiting = match status.waiting {
        0 => String::new(),
        count => format!(", {} waiting", format_count(i64::try_from(count).unwrap_or(i64::MAX))),
    };
    format!(
        "Log:          {}\nKey:          {}\nEntries:      {}, {} of them signed\nTransactions: up to {}{waiting}\n\
         Days:         before {}",
        status.origin,
        status.key,
        status.entries,
        status.signed,
        status.transaction,
        format_time(&status.closed_until),
    )
}

/// `rspm history verify`.
///
/// # Errors
/// The proof does not prove what was requested.
pub fn verify(output: &Output, args: &VerifyProof) -> Result<(), CliError> {
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|source| CliError::Local { operation: format!("read {}", path.display()), source })
    };
    let not_proved =
        |path: &Path, problem: String| CliError::refused(format!("{}: {problem}", path.display()));
    let text = String::from_utf8_lossy(&read(&args.policy)?).into_owned();
    let policy = Policy::parse(&text).map_err(|error| not_proved(&args.policy, error.to_string()))?;
    let proof = read(&args.proof)?;
    let snapshot = args.snapshot.to_string();
    let request = ViewRequest { repository: &args.repo, snapshot: &snapshot, document: INDEX };
    let mut lines = vec![("State", format!("{} on {snapshot}", args.repo))];
    let view = if proof.starts_with(b"rspm-proof/") {
        let proof = RecordProof::parse(&proof).and_then(|proof| proof.verify(&policy, &request));
        let record = proof.map_err(|error| not_proved(&args.proof, error.to_string()))?;
        let field = |name| record.field(name).unwrap_or_default().to_owned();
        lines.insert(0, ("Package", format!("{} {}", field("Package"), field("Version"))));
        match (&args.file, record.digest) {
            (None, _) => {}
            (Some(path), None) => {
                return Err(not_proved(path, "the record has no digest of the file".to_owned()));
            }
            (Some(path), Some(digest)) => {
                let bytes = read(path)?;
                let (name, is_equal) = match digest {
                    FileDigest::Md5(md5) => ("MD5", Md5::digest(&bytes).as_slice() == md5),
                    FileDigest::Sha256(sha256) => ("SHA-256", Sha256::of(&bytes).0 == sha256),
                };
                if !is_equal {
                    return Err(not_proved(path, format!("the file does not have the {name} of the record")));
                }
                lines.push(("File", format!("{} has the {name} of the record", path.display())));
            }
        }
        record.view
    } else {
        let proof = EntryProof::parse(&proof).and_then(|proof| proof.verify_view(&policy, &request));
        proof.map_err(|error| not_proved(&args.proof, error.to_string()))?
    };
    if let Some(path) = &args.packages {
        let root = Root::of(records_of(&read(path)?));
        if root != view.root {
            return Err(not_proved(
                path,
                format!("its records have the root {root}, the entry has {}", view.root),
            ));
        }
        lines.push(("Index", format!("{} has the {} records of the state", path.display(), root.count)));
    }
    lines.extend(log_lines(&view));
    if policy.needs_no_witness() {
        warn("the policy requires no witness: the log can show others another history.");
    }
    output.print(
        &serde_json::Map::from_iter(lines.iter().map(|(k, v)| ((*k).to_lowercase(), v.clone().into()))),
        || {
            let lines = lines.iter().map(|(name, value)| format!("{:9}{value}", format!("{name}:")));
            lines.collect::<Vec<_>>().join("\n")
        },
    )
}

fn log_lines(view: &ProvedView) -> Vec<(&'static str, String)> {
    let trusted = &view.proved.trusted;
    let log = format!(
        "{}, entry {} of {}",
        trusted.checkpoint.origin, view.proved.index, trusted.checkpoint.root.count
    );
    let witnesses = trusted.cosignatures.iter().map(|cosignature| {
        let seconds = i64::try_from(cosignature.time).unwrap_or(i64::MAX / SECOND);
        let time = Timestamp(seconds.saturating_mul(SECOND));
        ("Witness", format!("{}, {time}", cosignature.witness))
    });
    std::iter::once(("Log", log)).chain(witnesses).collect()
}
