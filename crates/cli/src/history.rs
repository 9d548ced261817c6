//! `rspm history`: the signed log of what the server published and served, and the verification of its proofs.

pub mod audit;
pub mod log;
pub mod prove;

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use md5::{Digest, Md5};

use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_count, format_time, warn};
use api::flag_values::lifetime;
use api::history::{ExportHistory, HistoryStatus, HistoryText, InitHistory, RecoverHistory, ShowCheckpoint};
use api::operations::admin as operations;
use base::model::digest::Sha256;
use base::model::snapshot::Snapshot;
use base::model::time::{SECOND, Timestamp};
use formats::tlog::MAX_PROOF_SIZE;
use formats::tlog::entry_proof::{EntryProof, ProvedView, ViewRequest};
use formats::tlog::policy::{Cosignature, Policy};
use formats::tlog::record_proof::{FileDigest, INDEX, RecordProof, records_of};
use formats::tlog::tree::Root;
use formats::tlog::witness::MAX_REQUEST_SIZE;

/// `rspm history …`
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    #[command(flatten)]
    Server(ServerCommand),
    /// Verify a proof of the log without a server
    Verify(VerifyProof),
    /// Read and verify all entries of a log, and check the rules that they follow
    Audit(audit::AuditLog),
    /// Write the proofs of packages that a repository had on a day
    Prove(prove::Prove),
}

/// The commands that the server runs.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Begin the log, which is signed and append-only
    Init(InitHistory),
    /// Show the log, its public keys, its newest checkpoint and its witnesses
    Status,
    /// Print the newest checkpoint
    Checkpoint(ShowCheckpoint),
    /// Copy the log to a directory or a bucket, with the paths of C2SP tlog-tiles
    Export(ExportHistory),
    /// Complete a log that is paused, such as after a restore, and end the pause
    #[command(
        after_help = "A signed checkpoint of the copy has to prove the entries, and no witness may have cosigned more of them."
    )]
    Recover(RecoverHistory),
    /// Replace the key of the log; the previous one signs too for 90 days
    RotateKey,
    /// Cosign a checkpoint of another log, as its witness: reads a request, and prints the answer
    #[command(after_help = "Examples:\n\
        rspm history checkpoint --old=0 > request   on the server of the log\n\
        rspm history cosign < request > answer      on this server, whose property History.WitnessFor has its key")]
    Cosign,
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
    /// The day, or the number of a transaction, that it has to be about
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub snapshot: Snapshot,
    /// The index that it has to be about: packages/3.20/bioc/src/contrib/PACKAGES of a part of Bioconductor, simple/ of Python
    #[arg(long, value_name = "PATH", default_value = INDEX)]
    pub document: String,
    /// Maximum age of the cosignatures that the policy requires: a number with s, m, h or d
    #[arg(long, value_name = "AGE", default_value = "never", hide_default_value = true, value_parser = lifetime)]
    pub max_age: std::option::Option<i64>,
    /// The file of the package, to be compared with the record
    #[arg(long, value_name = "FILE", conflicts_with = "packages")]
    pub file: Option<PathBuf>,
    /// The index PACKAGES, to be compared with the proof of it
    #[arg(long, value_name = "FILE")]
    pub packages: Option<PathBuf>,
}

/// Runs a command of the server, and prints its result.
///
/// # Errors
/// The server refuses it: there is no log, or it is paused, or not paused.
pub async fn run(client: &Client, output: &Output, command: ServerCommand) -> Result<(), CliError> {
    match command {
        ServerCommand::Init(args) => {
            let status = client.send::<operations::InitHistory>([], &args).await?;
            output.print(&status, || text(&status))
        }
        ServerCommand::Status => {
            let status = client.call::<operations::ShowHistory>([], &()).await?;
            output.print(&status, || text(&status))
        }
        ServerCommand::Checkpoint(args) => {
            let checkpoint = client.call::<operations::ShowCheckpoint>([], &args).await?;
            output.print(&checkpoint, || checkpoint.text.trim_end().to_owned())
        }
        ServerCommand::Export(args) => {
            let exported = client.send::<operations::ExportHistory>([], &args).await?;
            output.print(&exported, || {
                format!("{} has the log with {} entries.", args.to, format_count_of(exported.entries))
            })
        }
        ServerCommand::Recover(args) => {
            let recovered = client.send::<operations::RecoverHistory>([], &args).await?;
            for key in &recovered.keys {
                warn(format!(
                    "the key {key} was lost with the database; make another one: rspm history rotate-key"
                ));
            }
            let entries = format_count_of(recovered.entries as u64);
            output.print(&recovered, || {
                format!("The database lacked {entries} entries. The log is written again.")
            })
        }
        ServerCommand::RotateKey => {
            let status = client.call::<operations::RotateHistoryKey>([], &()).await?;
            output.print(&status, || text(&status))
        }
        ServerCommand::Cosign => {
            let mut text = String::new();
            let mut input = std::io::stdin().take(MAX_REQUEST_SIZE as u64 + 1);
            let read = input.read_to_string(&mut text);
            read.map_err(|source| CliError::Local { operation: "read the request".to_owned(), source })?;
            let answer = client.send::<operations::CosignHistory>([], &HistoryText { text }).await?;
            output.print(&answer, || answer.text.trim_end().to_owned())
        }
    }
}

fn format_count_of(count: u64) -> String {
    format_count(i64::try_from(count).unwrap_or(i64::MAX))
}

fn text(status: &HistoryStatus) -> String {
    let waiting = match status.waiting {
        0 => String::new(),
        count => format!(", {} waiting", format_count_of(count as u64)),
    };
    let mut text = format!(
        "Log:          {}\nKey:          {}\nWitness key:  {}\nEntries:      {}, {} of them signed\n\
         Transactions: up to {}{waiting}\nDays:         before {}",
        status.origin,
        status.key,
        status.witness_key,
        status.entries,
        status.signed,
        status.transaction,
        format_time(&status.closed_until),
    );
    let mut add = |name: &str, value: String| text.push_str(&format!("\n{:14}{value}", format!("{name}:")));
    if let (Some(key), Some(until)) = (&status.old_key, &status.old_key_until) {
        add("Old key", format!("{key}, signs until {}", format_time(until)));
    }
    for witness in &status.witnesses {
        let cosigned = match &witness.cosigned_at {
            Some(at) => format!("{} entries, {}", witness.size, format_time(at)),
            None => "nothing cosigned yet".to_owned(),
        };
        let error = witness.error.as_ref().map(|error| format!("; {error}")).unwrap_or_default();
        add("Witness", format!("{}: {cosigned}{error}", witness.name));
    }
    if let Some(failure) = &status.failure {
        add("Failure", failure.clone());
    }
    if let Some(pause) = &status.pause {
        add("Paused", format!("{pause}; see rspm history recover --help"));
    }
    text
}

/// How far the clock of a witness may be ahead of that of this machine, in seconds.
const MAX_CLOCK_ERROR: i64 = 3_600;

/// `rspm history verify`.
///
/// # Errors
/// The proof does not prove what was requested.
pub fn verify(output: &Output, args: &VerifyProof) -> Result<(), CliError> {
    let policy = policy(&args.policy, args.max_age)?;
    let proof = read_small(&args.proof)?;
    let snapshot = args.snapshot.to_string();
    let request = ViewRequest { repository: &args.repo, snapshot: &snapshot, document: &args.document };
    let mut lines = vec![("State", format!("{} on {snapshot}", args.repo))];
    let view = if proof.starts_with(b"rspm-proof/") {
        let proof = RecordProof::parse(&proof).and_then(|proof| proof.verify(&policy, &request));
        let record = proof.map_err(|error| not_proved(&args.proof, error))?;
        let field = |name| record.field(name).unwrap_or_default().to_owned();
        lines.insert(0, ("Package", format!("{} {}", field("Package"), field("Version") + &field("File"))));
        match (&args.file, record.digest) {
            (None, _) => {}
            (Some(path), None) => {
                return Err(not_proved(path, "the record has no digest of the file"));
            }
            (Some(path), Some(digest)) => {
                let version = format!("{}_{}.tar.gz", field("Package"), field("Version"));
                let of_record = Some(field("File")).filter(|file| !file.is_empty()).unwrap_or(version);
                if path.file_name().is_none_or(|name| name != of_record.as_str()) {
                    return Err(not_proved(path, format!("the record is of the file {of_record}")));
                }
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
        if let Some(path) = &args.file {
            let reason =
                "the proof is of an index, and proves no file: give it --packages, or a proof of the package";
            return Err(not_proved(path, reason));
        }
        let proof = EntryProof::parse(&proof).and_then(|proof| proof.verify_view(&policy, &request));
        proof.map_err(|error| not_proved(&args.proof, error))?
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
    let witnesses = trusted.cosignatures.iter().map(|cosignature| ("Witness", witness_text(cosignature)));
    std::iter::once(("Log", log)).chain(witnesses).collect()
}

/// Returns the name of a witness and the time of its cosignature.
fn witness_text(cosignature: &Cosignature) -> String {
    let seconds = i64::try_from(cosignature.time).unwrap_or(i64::MAX / SECOND);
    format!("{}, {}", cosignature.witness, Timestamp(seconds.saturating_mul(SECOND)))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    read_up_to(path, u64::MAX)
}

/// Reads a proof or a policy; of a file that is too large for both, the bytes up to a size that is refused.
fn read_small(path: &Path) -> Result<Vec<u8>, CliError> {
    read_up_to(path, MAX_PROOF_SIZE as u64 + 1)
}

fn read_up_to(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map(|_| bytes)
        .map_err(|source| CliError::Local { operation: format!("read {}", path.display()), source })
}

fn not_proved(path: &Path, problem: impl std::fmt::Display) -> CliError {
    CliError::refused(format!("{}: {problem}", path.display()))
}

/// Reads a policy, and warns if it requires no witness. `max_age`: of cosignatures, in seconds.
fn policy(path: &Path, max_age: Option<i64>) -> Result<Policy, CliError> {
    let text = String::from_utf8(read_small(path)?).map_err(|error| not_proved(path, error))?;
    let mut policy = Policy::parse(&text).map_err(|error| not_proved(path, error))?;
    if let Some(age) = max_age {
        let now = jiff::Timestamp::now().as_second();
        let [since, until] = [now.saturating_sub(age), now.saturating_add(MAX_CLOCK_ERROR)];
        policy.require_times(u64::try_from(since).unwrap_or(0)..=u64::try_from(until).unwrap_or(0));
    }
    if policy.needs_no_witness() {
        warn("the policy requires no witness: the log can show others another history.");
    }
    Ok(policy)
}
