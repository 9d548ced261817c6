//! `rspm audit list|verify|export|names`.

use clap::{Args, Subcommand, ValueEnum};

use super::client::Client;
use super::error::CliError;
use super::name_guard;
use super::output::{Output, format_time, print_document, table};
use api::audit::{self, AuditRow};
use api::operations::admin as operations;
use base::model::text::quoted_csv_cell;

/// Number of rows in one response during an export.
const PAGE: usize = 10_000;

/// `rspm audit …`
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List rows of the audit trail, newest first
    List(ListAudit),
    /// Verify that no row of the audit trail was changed, removed or moved
    Verify(audit::VerifyAudit),
    /// Print rows of the audit trail, oldest first, one on each line
    Export(ExportAudit),
    /// List guarded names, and names that local and git sources share with mirrors
    Names(name_guard::AuditNames),
}

#[derive(Debug, Args)]
pub struct ListAudit {
    #[command(flatten)]
    query: audit::ListAudit,
    /// Maximum number of rows, at most 10000
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
}

#[derive(Debug, Args)]
pub struct ExportAudit {
    #[command(flatten)]
    query: audit::ListAudit,
    /// Only rows after the one with this number
    #[arg(long, default_value_t = 0)]
    pub after: usize,
    /// After the rows, print the salts by which the log of history names rows, for rspm history audit --trail
    #[arg(long, conflicts_with = "format")]
    pub proof: bool,
    /// Format of a line
    #[arg(long, value_enum, default_value_t = ExportFormat::Json)]
    pub format: ExportFormat,
}

/// Format of exported rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A JSON object on each line.
    Json,
    /// Values separated by commas (RFC 4180), with a header; texts that are formulas begin with an apostrophe.
    Csv,
    /// Names and values: time=… level=info type=audit action=…
    Text,
}

/// Runs a command.
///
/// # Errors
/// The server refuses, or the audit trail was manipulated.
pub async fn run(client: &Client, output: &Output, command: AuditCommand) -> Result<(), CliError> {
    match command {
        AuditCommand::List(args) => list(client, output, args).await,
        AuditCommand::Verify(args) => verify(client, output, args).await,
        AuditCommand::Export(args) => export(client, args).await,
        AuditCommand::Names(args) => name_guard::audit(client, output, &args).await,
    }
}

async fn list(client: &Client, output: &Output, args: ListAudit) -> Result<(), CliError> {
    let query = audit::ListAudit { order: Some("newest".to_owned()), limit: Some(args.limit), ..args.query };
    let rows = client.call::<operations::Audit>([], &query).await?;
    output.print(&rows, || {
        let cells = |row: &AuditRow| {
            let refused = if row.outcome == "refused" { " (refused)" } else { "" };
            vec![
                row.id.to_string(),
                format_time(&row.time),
                row.actor.clone(),
                format!("{}{refused}", row.action),
                row.object.clone(),
                row.detail.clone(),
            ]
        };
        table(&["Row", "Time", "Actor", "Action", "Object", "Detail"], rows.iter().map(cells))
    })
}

async fn verify(client: &Client, output: &Output, args: audit::VerifyAudit) -> Result<(), CliError> {
    let result = client.call::<operations::VerifyAudit>([], &args).await?;
    output.print(&result, || {
        let mut text = format!("Rows: {}\n", result.rows);
        if result.last > 0 {
            text += &format!("Newest row: {} with the digest {}\n", result.last, result.sha256);
        }
        if result.problems.is_empty() {
            text += "Every row has the digest of the row before it.\n";
        }
        text
    })?;
    match result.problems.is_empty() {
        true => Ok(()),
        false => Err(CliError::refused(format!(
            "the audit trail was manipulated:\n{}",
            result.problems.join("\n")
        ))),
    }
}

async fn export(client: &Client, args: ExportAudit) -> Result<(), CliError> {
    let write = |text: &str| print_document(text).map_err(CliError::Output);
    if args.format == ExportFormat::Csv {
        write(&format!("{}\r\n", COLUMNS.join(",")))?;
    }
    // Before the rows, so that each row that the log names is there.
    let mut salts = Vec::new();
    let mut next = args.proof.then(audit::ListSalts::default);
    while let Some(query) = next {
        let page = client.call::<operations::AuditSalts>([], &query).await?;
        let (log, last) = (page.last().map(|last| last.log), page.last().map_or(0, |last| last.entry));
        let log = log.and_then(|log| usize::try_from(log).ok()).or(query.log).unwrap_or(0);
        // The rest of the log, or the log before it.
        let (log, first) = match page.len() == PAGE {
            true => (log, usize::try_from(last + 1).unwrap_or(usize::MAX)),
            false => (log.saturating_sub(1), 0),
        };
        next = (log > 0).then_some(audit::ListSalts { log: Some(log), first: Some(first) });
        salts.extend(page);
    }
    let mut query = audit::ListAudit {
        order: Some("oldest".to_owned()),
        after: Some(args.after),
        limit: Some(PAGE),
        ..args.query
    };
    loop {
        let rows = client.call::<operations::Audit>([], &query).await?;
        for row in &rows {
            write(&line(row, args.format)?)?;
        }
        match rows.last() {
            Some(last) if rows.len() == PAGE => query.after = usize::try_from(last.id).ok(),
            _ => break,
        }
    }
    salts.iter().try_for_each(|salt| write(&format!("{}\n", serde_json::to_string(salt)?)))
}

const COLUMNS: [&str; 12] = [
    "id",
    "time",
    "actor_kind",
    "actor",
    "address",
    "action",
    "object_kind",
    "object",
    "outcome",
    "detail",
    "previous",
    "sha256",
];

/// Returns a row as one line, with the line feed.
fn line(row: &AuditRow, format: ExportFormat) -> Result<String, CliError> {
    let json = serde_json::to_value(row)?;
    let values =
        COLUMNS.map(|name| json[name].as_str().map_or_else(|| json[name].to_string(), str::to_owned));
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    Ok(match format {
        ExportFormat::Json => {
            format!("{}\n", serde_json::to_string(row)?)
        }
        ExportFormat::Csv => {
            let cells = values.map(|value| quoted_csv_cell(&value));
            format!("{}\r\n", cells.join(","))
        }
        ExportFormat::Text => {
            let pairs = COLUMNS.iter().zip(values).filter(|(name, _)| **name != "time");
            let pairs: Vec<String> = pairs
                .map(|(name, value)| {
                    match value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c)) {
                        true if !value.is_empty() => format!("{name}={value}"),
                        _ => format!("{name}={}", quoted(&value)),
                    }
                })
                .collect();
            format!("time={} level=info type=audit {}\n", quoted(&row.time), pairs.join(" "))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_in_every_format() {
        let row = AuditRow {
            id: 7,
            time: "2026-11-22T12:00:00Z".to_owned(),
            actor_kind: "socket".to_owned(),
            actor: "alice (uid 1000)".to_owned(),
            address: String::new(),
            action: "rename source".to_owned(),
            object_kind: "source".to_owned(),
            object: "team".to_owned(),
            outcome: "success".to_owned(),
            detail: "a \"b\", c".to_owned(),
            previous: "00".to_owned(),
            sha256: "ff".to_owned(),
        };
        let printed = |format| line(&row, format).map_err(|error| error.to_string());
        let json = printed(ExportFormat::Json).expect("printed");
        assert_eq!(serde_json::from_str::<AuditRow>(&json).expect("the row"), row);
        assert_eq!(
            printed(ExportFormat::Csv).as_deref(),
            Ok(
                "\"7\",\"2026-11-22T12:00:00Z\",\"socket\",\"alice (uid 1000)\",\"\",\"rename source\",\"source\",\"team\",\
                \"success\",\"a \"\"b\"\", c\",\"00\",\"ff\"\r\n"
            )
        );
        assert_eq!(
            printed(ExportFormat::Text).as_deref(),
            Ok(
                "time=\"2026-11-22T12:00:00Z\" level=info type=audit id=7 actor_kind=socket actor=\"alice (uid 1000)\" \
                address=\"\" action=\"rename source\" object_kind=source object=team outcome=success \
                detail=\"a \\\"b\\\", c\" previous=00 sha256=ff\n"
            )
        );
        // A user of an identity provider may choose this name.
        let formula = AuditRow { actor: "=HYPERLINK(\"x\")".to_owned(), detail: "-1".to_owned(), ..row };
        let csv = line(&formula, ExportFormat::Csv).map_err(|error| error.to_string()).expect("printed");
        assert!(csv.contains(",\"'=HYPERLINK(\"\"x\"\")\",") && csv.contains(",\"'-1\","), "{csv}");
    }
}
