//! `rspm create|edit|delete|list name-guard(s)` and `rspm audit names`.

use clap::{Args, ValueEnum};

use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_time, print_document, table};
use api::name_guard::{
    self, AuditedName, CreateNameGuard, DeleteNameGuard, NameChange, NameGuard, describe_hidden,
};
use api::operations::admin as operations;
use base::model::text::csv_cell;

/// Number of packages that change and are printed; the JSON output has all.
const MAX_ROWS: usize = 20;

#[derive(Debug, Args)]
pub struct EditGuard {
    /// Number of the guard
    #[arg(long)]
    pub id: i64,
    #[command(flatten)]
    pub request: name_guard::EditNameGuard,
}

#[derive(Debug, Args)]
pub struct DeleteGuard {
    /// Number of the guard
    #[arg(long)]
    pub id: i64,
    /// Show which packages of repositories would change, and delete nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct AuditNames {
    /// Format of the rows
    #[arg(long, value_enum, default_value_t = NameFormat::Table)]
    pub format: NameFormat,
}

/// Format of audited names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NameFormat {
    /// A table; JSON with `-o json`.
    Table,
    /// Values separated by commas (RFC 4180), with a header.
    Csv,
}

pub async fn create(client: &Client, output: &Output, args: CreateNameGuard) -> Result<(), CliError> {
    let created = client.send::<operations::CreateNameGuard>([], &args).await?;
    output.print(&created, || {
        let NameGuard { id, name, source, .. } = &created.guard;
        let mut lines = vec![match id {
            Some(id) => format!("Created name guard {id}: only the source {source} provides '{name}'."),
            None => format!("Only the source {source} would provide '{name}'."),
        }];
        let verb = if args.dry_run { "It would hide" } else { "It hides" };
        let hidden = describe_hidden(&created.hidden);
        lines.push(format!("{verb} {}", hidden.as_deref().unwrap_or("no package of another source now.")));
        if args.dry_run {
            lines.push("Nothing was created: --dry-run".to_owned());
        }
        lines.join("\n")
    })
}

pub async fn edit(client: &Client, output: &Output, args: EditGuard) -> Result<(), CliError> {
    let EditGuard { id, request } = args;
    let (changes_names, dry_run) = (request.name.is_some() || request.source.is_some(), request.dry_run);
    let changed = client.send::<operations::EditNameGuard>([&id.to_string()], &request).await?;
    output.print(&changed, || {
        let NameGuard { name, source, .. } = &changed.guard;
        let mut text = match dry_run {
            true => format!("Only the source {source} would provide '{name}'."),
            false => format!("Changed name guard {id}: only the source {source} provides '{name}'."),
        };
        if changes_names || dry_run {
            text += &format!("\n{}", describe_changes(&changed.changes, dry_run));
        }
        if dry_run {
            text += "\nNothing was changed: --dry-run";
        }
        text
    })
}

pub async fn delete(client: &Client, output: &Output, args: DeleteGuard) -> Result<(), CliError> {
    let DeleteGuard { id, dry_run } = args;
    let query = DeleteNameGuard { dry_run: dry_run.then(|| "true".to_owned()) };
    let deleted = client.call::<operations::DeleteNameGuard>([&id.to_string()], &query).await?;
    output.print(&deleted, || {
        let NameGuard { name, automatic, .. } = &deleted.guard;
        let first = match (dry_run, automatic) {
            (true, _) => format!("Without name guard {id}, other sources could provide '{name}'."),
            (false, true) => {
                format!("Ended the automatic guard of '{name}': other sources may provide the name.")
            }
            (false, false) => format!("Deleted name guard {id}: other sources may provide '{name}'."),
        };
        let last = if dry_run { "\nNothing was deleted: --dry-run" } else { "" };
        format!("{first}\n{}{last}", describe_changes(&deleted.changes, dry_run))
    })
}

/// Returns a table of the packages that repositories list in another way.
fn describe_changes(changes: &[NameChange], is_dry_run: bool) -> String {
    if changes.is_empty() {
        let verb = if is_dry_run { "would list" } else { "lists" };
        return format!("No repository {verb} a package differently.");
    }
    let listed = |version: Option<&String>, source: Option<&String>| match (version, source) {
        (Some(version), Some(source)) => format!("{version} of {source}"),
        (None, Some(source)) => format!("a version of {source}"),
        (_, None) => "none".to_owned(),
    };
    let row = |change: &NameChange| {
        vec![
            change.place(),
            change.name.clone(),
            listed(change.from_version.as_ref(), change.from_source.as_ref()),
            listed(change.to_version.as_ref(), change.to_source.as_ref()),
        ]
    };
    let mut text =
        table(&["Repository", "Package", "Before", "After"], changes.iter().take(MAX_ROWS).map(row));
    if let Some(more) = changes.len().checked_sub(MAX_ROWS).filter(|more| *more > 0) {
        text += &format!("and {more} more; -o json shows all");
    }
    text.trim_end().to_owned()
}

pub async fn list(client: &Client, output: &Output) -> Result<(), CliError> {
    let guards = client.call::<operations::NameGuards>([], &()).await?;
    output.print(&guards, || {
        if guards.is_empty() {
            return "There is no name guard. Create one: rspm create name-guard".to_owned();
        }
        let row = |guard: &NameGuard| {
            vec![
                guard.id.map(|id| id.to_string()).unwrap_or_default(),
                guard.name.clone(),
                guard.language.clone(),
                source_text(&guard.source, guard.source_deleted),
                if guard.automatic { "automatic" } else { "created" }.to_owned(),
                guard.state.clone(),
                format_time(&guard.created),
                guard.description.clone(),
            ]
        };
        table(
            &["ID", "Name", "Language", "Source", "Kind", "State", "Since", "Description"],
            guards.iter().map(row),
        )
    })
}

/// `rspm audit names`.
pub async fn audit(client: &Client, output: &Output, args: &AuditNames) -> Result<(), CliError> {
    let names = client.call::<operations::AuditNames>([], &()).await?;
    if args.format == NameFormat::Csv {
        return print_document(&csv(&names)).map_err(CliError::Output);
    }
    output.print(&names, || {
        if names.is_empty() {
            return "No name is guarded, and no uploaded name is listed by another source.".to_owned();
        }
        table(&HEADER, names.iter().map(|name| cells(name, format_time)))
    })
}

/// Returns the name of a source, or states that it was deleted.
fn source_text(source: &str, is_deleted: bool) -> String {
    if is_deleted { format!("deleted source {source}") } else { source.to_owned() }
}

const HEADER: [&str; 9] =
    ["finding", "language", "name", "source", "guard", "other name", "other source", "since", "note"];

fn cells(name: &AuditedName, time: impl Fn(&str) -> String) -> Vec<String> {
    vec![
        name.finding.clone(),
        name.language.clone(),
        name.name.clone(),
        source_text(&name.source, name.source_deleted),
        name.guard.map(|id| id.to_string()).unwrap_or_default(),
        name.other_name.clone().unwrap_or_default(),
        name.other_source.clone().unwrap_or_default(),
        name.since.as_deref().map(time).unwrap_or_default(),
        name.note.clone(),
    ]
}

fn csv(names: &[AuditedName]) -> String {
    let header = HEADER.map(|name| name.replace(' ', "_")).to_vec();
    let rows = names.iter().map(|name| cells(name, str::to_owned));
    let mut text = String::new();
    for row in [header].into_iter().chain(rows) {
        let fields: Vec<String> = row.iter().map(|field| csv_cell(field)).collect();
        text += &fields.join(",");
        text += "\r\n";
    }
    text
}
