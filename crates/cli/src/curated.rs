//! `rspm update`, and `rspm add` for curated sources: plans an update of the definition, or publishes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;

use super::client::Client;
use super::curated_r::{self, chain_text, counts, kind};
use super::error::CliError;
use super::output::{Output, format_count, note, table};
use api::definition::{DefinitionFile, DefinitionPlan, PlannedPackage, UpdateDefinition};
use api::operations::admin as operations;
use base::model::definition_file::{decode_text, included_files, included_path};
use base::model::kind::{Layout, SourceKind};
use base::model::text::{count_of, csv_cell};

/// Maximum size of a file of a definition, in bytes.
const MAX_FILE: u64 = 16 << 20;
/// Maximum number of files of a definition.
const MAX_FILES: usize = 100;

/// Flags of an update of a curated source.
#[derive(Debug, Default, Args)]
pub struct DefinitionFlags {
    #[command(flatten)]
    pub request: UpdateDefinition,
    /// For a curated source: only print the plan, the default
    #[arg(long, alias = "dryrun", conflicts_with = "commit")]
    pub dry_run: bool,
    /// For a curated source: also write the plan to this file
    #[arg(long, value_name = "FILE")]
    pub csv_out: Option<PathBuf>,
    /// For a curated source: also print packages that do not change
    #[arg(long)]
    pub show_kept: bool,
    /// For a curated source of R packages: publish the update with the state of this transaction; the same as --commit
    /// --snapshot=ID
    #[arg(long, value_name = "ID", conflicts_with_all = ["snapshot", "commit", "dry_run"])]
    pub transaction_id: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Update {
    /// The curated source
    #[arg(long)]
    pub source: String,
    /// The new definition: a list of packages, renv.lock or rv.lock, a requirements file, pylock.toml, uv.lock,
    /// poetry.lock, pdm.lock or Pipfile.lock (default: the current definition)
    #[arg(long, value_name = "FILE")]
    pub file_in: Option<PathBuf>,
    /// Comment of the transaction
    #[arg(long, default_value = "", hide_default_value = true)]
    pub comment: String,
    #[command(flatten)]
    pub flags: DefinitionFlags,
}

impl DefinitionFlags {
    /// Returns whether any of the flags is set.
    pub(super) fn is_used(&self) -> bool {
        self.request != UpdateDefinition::default()
            || self.dry_run
            || self.csv_out.is_some()
            || self.show_kept
            || self.transaction_id.is_some()
    }
}

pub(super) async fn update(client: &Client, output: &Output, args: Update) -> Result<(), CliError> {
    let files = args.file_in.as_deref().map(read_definition).transpose()?.unwrap_or_default();
    let body = UpdateDefinition { files, comment: args.comment, ..UpdateDefinition::default() };
    send(client, output, &args.source, body, &args.flags).await
}

/// `rspm add` for a curated source: adds packages to its definition.
pub(super) async fn add(
    client: &Client,
    output: &Output,
    source: &str,
    packages: &[String],
    file_in: Option<&Path>,
    include_suggests: bool,
    flags: &DefinitionFlags,
) -> Result<(), CliError> {
    let files = match file_in {
        Some(file) => read_definition(file)?,
        None => {
            let text = packages.iter().map(|package| format!("{package}\n")).collect();
            vec![DefinitionFile { name: "--packages".to_owned(), text }]
        }
    };
    let body = UpdateDefinition { files, add: true, include_suggests, ..UpdateDefinition::default() };
    send(client, output, source, body, flags).await
}

async fn send(
    client: &Client,
    output: &Output,
    source: &str,
    body: UpdateDefinition,
    flags: &DefinitionFlags,
) -> Result<(), CliError> {
    let UpdateDefinition { files, add, include_suggests, comment, .. } = body;
    let request = flags.request.clone();
    let body = UpdateDefinition {
        files,
        add,
        include_suggests,
        comment,
        snapshot: request.snapshot.or(flags.transaction_id.map(|id| id.to_string())),
        commit: request.commit || flags.transaction_id.is_some(),
        ..request
    };
    if let Some(file) = &flags.csv_out {
        // The file is opened before the request: if it could not be written after a commit, the commit would
        // appear to have failed.
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(file);
        opened.map_err(|source| unwritable(file, source))?;
    }
    let plan = client.send::<operations::UpdateDefinition>([source], &body).await?;
    if let Some(file) = &flags.csv_out {
        let text = match layout(&plan) {
            Layout::Lists => curated_r::csv(&plan.packages),
            Layout::Projects => csv_text(&plan.packages),
        };
        std::fs::write(file, text).map_err(|source| unwritable(file, source))?;
    }
    for notice in &plan.notices {
        note(notice);
    }
    output.print(&plan, || plan_text(&plan, source, flags.show_kept))?;
    if plan.problems.is_empty() {
        return Ok(());
    }
    let result = if body.commit { "Nothing was changed." } else { "The plan cannot be committed." };
    Err(CliError::refused(format!("{}\n{result}", plan.problems.join("\n"))))
}

fn unwritable(file: &Path, source: std::io::Error) -> CliError {
    CliError::Local { operation: format!("write {}", file.display()), source }
}

fn layout(plan: &DefinitionPlan) -> Layout {
    kind(plan).map_or(Layout::Projects, SourceKind::layout)
}

/// Returns the last lines of the output: the result, or the command that publishes the plan.
fn last_line(plan: &DefinitionPlan, source: &str) -> String {
    match (plan.committed, plan.transaction) {
        (true, Some(transaction)) => format!("Source '{source}' was updated in transaction {transaction}."),
        (true, None) => format!("Nothing changed: source '{source}' has this definition and snapshot."),
        (false, _) if plan.problems.is_empty() => format!(
            "To complete this operation, execute this command with the --commit and --snapshot={} flags.",
            plan.snapshot
        ),
        (false, _) => String::new(),
    }
}

/// The header of the table of a plan of Python packages; the last column is present only with dependencies.
const COLUMNS: [&str; 6] = ["Name", "Versions", "Files", "Newest", "Change", "Why"];

fn plan_text(plan: &DefinitionPlan, source: &str, show_kept: bool) -> String {
    let packages = match layout(plan) {
        Layout::Lists => curated_r::describe(plan, show_kept),
        Layout::Projects => describe(plan, show_kept),
    };
    format!("{packages}\n{}", last_line(plan, source))
}

fn describe(plan: &DefinitionPlan, show_kept: bool) -> String {
    // Without dependencies, the definition names every package.
    let has_chains = plan.packages.iter().any(|package| !package.chain.is_empty());
    let row = |package: &PlannedPackage| {
        let files = package.files.map(|files| files.to_string()).unwrap_or_default();
        let newest = package.newest.clone().unwrap_or_default();
        let mut row =
            vec![package.name.clone(), package.constraint.clone(), files, newest, package.state.clone()];
        if has_chains {
            row.push(chain_text(&package.chain));
        }
        row
    };
    let packages = plan.packages.iter().filter(|package| show_kept || package.state != "kept");
    let rows: Vec<Vec<String>> = packages.map(row).collect();
    let table = if rows.is_empty() {
        String::new()
    } else {
        let columns = if has_chains { &COLUMNS[..] } else { &COLUMNS[..COLUMNS.len() - 1] };
        format!("{}\n", table(columns, rows))
    };
    let blocked = plan.packages.iter().filter_map(|package| {
        let files = package.blocked_files.as_ref()?;
        let count = match (files.count, package.files) {
            (Some(count), Some(all)) => {
                format!("{} of {}", format_count(count), count_of(all, "file", "files"))
            }
            (Some(count), None) => count_of(count, "file", "files"),
            (None, _) => "all files".to_owned(),
        };
        Some(format!("{}: {count} {}\n", package.name, files.reason))
    });
    let counts = counts(plan, &["added", "changed", "removed", "kept"]);
    format!("{table}{}{counts}", blocked.collect::<String>())
}

/// Returns the plan as CSV, with all packages.
fn csv_text(packages: &[PlannedPackage]) -> String {
    let mut text = "name,versions,files,newest,change,blocked_files,blocked,why\n".to_owned();
    for package in packages {
        let files = package.files.map(|files| files.to_string()).unwrap_or_default();
        let newest = package.newest.as_deref().unwrap_or_default();
        let blocked = package.blocked_files.as_ref();
        let count =
            blocked.and_then(|blocked| blocked.count).map(|count| count.to_string()).unwrap_or_default();
        let reason = blocked.map(|blocked| blocked.reason.as_str()).unwrap_or_default();
        let why = chain_text(&package.chain);
        let fields =
            [&*package.name, &*package.constraint, &*files, newest, &*package.state, &*count, reason, &*why];
        text.push_str(&fields.map(csv_cell).join(","));
        text.push('\n');
    }
    text
}

/// Reads a definition and the files that it names with `-r` and `-c`.
pub(super) fn read_definition(main: &Path) -> Result<Vec<DefinitionFile>, CliError> {
    let directory = main.parent().unwrap_or(Path::new(""));
    let name = main.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut files = vec![read_file(main, name)?];
    let mut names: BTreeSet<String> = files.iter().map(|file| file.name.clone()).collect();
    let mut index = 0;
    while let Some(file) = files.get(index) {
        let paths = included_files(&file.text);
        let paths: Vec<String> = paths.iter().map(|path| included_path(&file.name, path)).collect();
        for path in paths {
            if !names.insert(path.clone()) {
                continue;
            }
            if names.len() > MAX_FILES {
                let reason = format!("{} names more than {MAX_FILES} files; use fewer", main.display());
                return Err(CliError::refused(reason));
            }
            files.push(read_file(&directory.join(&path), path)?);
        }
        index += 1;
    }
    Ok(files)
}

/// Reads a file of a definition.
pub(super) fn read_file(path: &Path, name: String) -> Result<DefinitionFile, CliError> {
    let failed = |source| CliError::Local { operation: format!("read {}", path.display()), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > MAX_FILE {
        let reason = format!("{} has {size} bytes, more than the {MAX_FILE} allowed", path.display());
        return Err(CliError::refused(reason));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let text = decode_text(&bytes).map_err(|position| {
        CliError::refused(format!(
            "{}: the bytes after position {position} are not UTF-8; save the file as UTF-8",
            path.display()
        ))
    })?;
    let text = text.into_owned();
    Ok(DefinitionFile { name, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, constraint: &str, state: &str) -> PlannedPackage {
        PlannedPackage {
            name: name.to_owned(),
            constraint: constraint.to_owned(),
            files: (state != "removed").then_some(2),
            state: state.to_owned(),
            ..PlannedPackage::default()
        }
    }

    #[test]
    fn a_plan_ends_with_the_flags_of_the_commit_and_a_commit_with_its_transaction() {
        let mut plan = DefinitionPlan {
            kind: "curated-pypi".to_owned(),
            packages: vec![package("odd", ">=1,<2", "added"), package("even", "all versions", "kept")],
            problems: Vec::new(),
            notices: Vec::new(),
            snapshot: "2024-01-31".to_owned(),
            state_at: "2024-01-31T23:59:59.999999Z".to_owned(),
            sha256: String::new(),
            committed: false,
            transaction: None,
        };
        let text = plan_text(&plan, "subset", false);
        let last = "execute this command with the --commit and --snapshot=2024-01-31 flags.";
        assert_eq!(text.matches("--snapshot=").count(), 1, "{text}");
        assert!(text.ends_with(last) && text.contains("1 added, 0 changed, 0 removed, 1 kept"), "{text}");
        assert!(text.contains("odd   >=1,<2") && !text.contains("even"), "{text}");
        plan.problems = vec!["r.txt, line 1: there is no package 'odd'".to_owned()];
        assert!(!plan_text(&plan, "subset", false).contains("To complete"));
        (plan.problems, plan.committed, plan.transaction) = (Vec::new(), true, Some(7));
        assert!(plan_text(&plan, "subset", false).ends_with("Source 'subset' was updated in transaction 7."));
        assert_eq!(
            csv_text(&plan.packages),
            "name,versions,files,newest,change,blocked_files,blocked,why\nodd,\">=1,<2\",2,,added,,,\neven,all versions,2,,kept,,,\n"
        );
        assert!(plan_text(&plan, "subset", true).contains("even") && !text.contains("Why"), "{text}");
        for (package, chain) in plan.packages.iter_mut().zip([&["odd"][..], &["odd", "even"]]) {
            package.chain = chain.iter().map(|name| (*name).to_owned()).collect();
        }
        let text = plan_text(&plan, "subset", true);
        assert!(text.contains("Why") && text.contains("root") && text.contains("odd > even"), "{text}");
        assert!(csv_text(&plan.packages).ends_with("even,all versions,2,,kept,,,odd > even\n"));
    }
}
