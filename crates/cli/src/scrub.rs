//! `rspm scrub`: starts a scrub of the stored objects or of the database, follows it until it ends, and prints the
//! findings. `rspm repair`.

use std::str::FromStr;

use clap::Args;

use super::backup::place;
use super::client::Client;
use super::error::CliError;
use super::job::{self, JobFlags};
use super::output::{Output, format_time, table};
use api::operations::admin as operations;
use api::scrub::{CorrectedTransaction, RepairClock, Scrub, ScrubFinding, ScrubLevel, ScrubPart, StartScrub};

/// The maximum number of bad objects in the table.
const MAX_ROWS: usize = 200;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 no bad objects, or all were repaired; 1 bad objects remain; 2 wrong usage.\n\
                  Example: rspm scrub --max-duration=2h --rate=100MB --repair"
)]
pub struct ScrubArgs {
    #[command(flatten)]
    pub request: StartScrub,
    /// Compare only existence and size of the objects, not their SHA-256
    #[arg(long, conflicts_with_all = ["max_seconds", "rate"])]
    pub quick: bool,
    /// Compare one of several equal parts of the objects: 3/8 is the third of eight
    #[arg(long, conflicts_with = "max_seconds", value_name = "N/T")]
    pub subset: Option<Subset>,
    /// Examine the database instead of the stored objects
    #[arg(long, conflicts_with_all = ["classes", "quick", "subset", "max_seconds", "rate", "repair"])]
    pub database: bool,
    #[command(flatten)]
    pub job_flags: JobFlags,
}

/// One of several equal parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subset {
    /// The number of the part, from 1 to `total`.
    number: u16,
    total: u16,
}

impl FromStr for Subset {
    type Err = String;

    fn from_str(text: &str) -> Result<Subset, String> {
        let parts = text.split_once('/').and_then(|(n, t)| Some((n.parse().ok()?, t.parse().ok()?)));
        match parts {
            Some((number, total)) if number >= 1 && number <= total && total <= 256 => {
                Ok(Subset { number, total })
            }
            _ => Err("give N/T, such as 3/8, with N from 1 to T, and T up to 256".to_owned()),
        }
    }
}

pub async fn run(client: &Client, output: &Output, args: ScrubArgs) -> Result<(), CliError> {
    let level = match (args.database, args.quick) {
        (true, _) => ScrubLevel::Database,
        (_, true) => ScrubLevel::Quick,
        _ => ScrubLevel::Full,
    };
    let body = StartScrub {
        level,
        part: args.subset.map(|Subset { number, total }| ScrubPart { number, of: total }),
        from: args.request.from.as_deref().map(place).transpose()?,
        ..args.request
    };
    let job = client.send::<operations::StartScrub>([], &body).await?;
    let Some(job) = job::follow_to_end(client, output, job, &args.job_flags, "scrub").await? else {
        return Ok(());
    };
    let lost = "the server was upgraded or restarted before it sent the result of the scrub, which is in its log; run the \
                command again";
    let scrub = job::result::<operations::Scrub>(client, &job, lost).await?;
    output.print(&scrub, || describe(&scrub))?;
    if scrub.objects == 0 && !scrub.notes.is_empty() && level != ScrubLevel::Database {
        return Err(CliError::refused(
            "nothing was compared: no storage class that was selected can be compared; see rspm storage list",
        ));
    }
    match scrub.bad {
        0 => Ok(()),
        1 => Err(CliError::refused("1 object or row is bad and was not repaired")),
        bad => Err(CliError::refused(format!("{bad} objects or rows are bad and were not repaired"))),
    }
}

fn describe(scrub: &Scrub) -> String {
    let mut text = scrub.message.clone();
    if scrub.continued {
        text += "\nThis scrub continued an interrupted one, whose objects were not read again.";
    }
    if !scrub.complete {
        text +=
            "\nThe maximum duration was reached before everything was read; the next scrub reads the rest.";
    }
    if scrub.unknown > 0 {
        text += &format!("\nObjects without a row, which the sweep removes: {}", scrub.unknown);
    }
    for note in &scrub.notes {
        text += &format!("\nNote: {note}");
    }
    let (rows, other): (Vec<_>, Vec<_>) =
        scrub.findings.iter().take(MAX_ROWS).partition(|finding| finding.object.is_some());
    for finding in &other {
        text += &format!("\n{}", finding.detail);
    }
    if !rows.is_empty() {
        let header = ["Problem", "Outcome", "File", "Source", "Package", "Version", "Added by", "Added"];
        text += &format!("\n{}", table(&header, rows.into_iter().map(row)));
    }
    let rest = (scrub.bad + scrub.repaired).saturating_sub(MAX_ROWS as u64);
    if rest > 0 {
        text += &format!("\nand {rest} more; -o json lists up to 10,000");
    }
    text
}

fn row(finding: &ScrubFinding) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![
        finding.fault.clone(),
        finding.outcome.clone(),
        finding.file.clone().unwrap_or_else(|| text(&finding.object)),
        text(&finding.source),
        text(&finding.package),
        text(&finding.version),
        text(&finding.added_by),
        finding.added_at.as_deref().map(format_time).unwrap_or_default(),
    ]
}

pub async fn repair_clock(client: &Client, output: &Output, args: &RepairClock) -> Result<(), CliError> {
    let result = client.send::<operations::RepairClock>([], args).await?;
    output.print(&result, || {
        let row = |transaction: &CorrectedTransaction| {
            vec![transaction.id.to_string(), transaction.from.clone(), transaction.to.clone()]
        };
        let rows: Vec<_> = result.transactions.iter().map(row).collect();
        match rows.is_empty() {
            true => result.message.clone(),
            false => format!("{}\n{}", result.message, table(&["Transaction", "Time", "New time"], rows)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subset_has_a_number_from_1_to_the_total() {
        assert_eq!("3/8".parse(), Ok(Subset { number: 3, total: 8 }));
        for bad in ["", "3", "0/8", "9/8", "1/257", "a/b", "1/2/3", "-1/8"] {
            assert!(bad.parse::<Subset>().is_err(), "{bad}");
        }
    }
}
