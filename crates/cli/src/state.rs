//! `rspm export state`, `rspm apply`: the configured objects of a server as files.

use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, note, print_document};
use super::state_files::{StateFiles, to_toml, write};
use api::definition::UpdateDefinition;
use api::git::{CreateGitBuilder, EditGitBuilder};
use api::operations::admin as operations;
use api::source::EditSource;
use api::state::{
    ApplyState, ExportState, Section, State, StateAction, StateBuilder, StateChange, StateFile, StatePlan,
    StateProblem, StateSource, StateText,
};
use base::model::kind::{Layout, SourceKind};
use base::model::text::{count_of, shell_argument};
use base::model::visible::for_terminal;

/// Maximum number of changes that are printed.
const MAX_PRINTED: usize = 500;
/// The kinds of dependencies that a definition includes by default.
const INCLUDE: &str = "imports,depends,linking-to";
/// Maximum length of a printed value, in characters.
const MAX_VALUE: usize = 100;

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    pub query: ExportState,
    /// The file, or a folder for a file for each section (default: standard output)
    #[arg(long, value_name = "FILE|DIR")]
    pub to: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Without --commit, nothing is changed. Exit codes: 0 done, or no difference; 1 refused; 2 wrong usage; 3 \
                        server not reachable; 5 with --expect-no-changes if there are differences."
)]
pub struct Apply {
    /// State files, TOML or JSON, and folders with such files; - for standard input
    #[arg(required = true, value_name = "FILE|DIR")]
    pub files: Vec<PathBuf>,
    #[command(flatten)]
    pub request: ApplyState,
    /// Exit with code 5 if the server differs from the files
    #[arg(long, conflicts_with = "commit")]
    pub expect_no_changes: bool,
    /// Only print the changes, the default
    #[arg(long, hide = true, conflicts_with = "commit")]
    pub plan: bool,
}

pub(super) async fn export(client: &Client, output: &Output, args: ExportArgs) -> Result<(), CliError> {
    let exported = client.call::<operations::ExportState>([], &args.query).await?;
    match &args.to {
        Some(path) => write(&exported, path, args.query.names.as_deref()),
        None if output.is_human() => print_document(&to_toml(&exported)?).map_err(CliError::Output),
        None => output.print(&exported.state, String::new),
    }
}

pub(super) async fn apply(client: &Client, output: &Output, args: Apply) -> Result<(), CliError> {
    let files = StateFiles::read(&args.files)?;
    let request = ApplyState { state: StateText::new(&files.state)?, ..args.request };
    let plan = client.send::<operations::ApplyState>([], &request).await?;
    let is_empty = plan.changes.is_empty() && plan.problems.is_empty() && plan.kept == 0;
    if let Some(names) = request.names.as_ref().filter(|names| is_empty && !files.has_selected(names)) {
        return Err(CliError::refused(format!(
            "--names='{names}' selects no object of the files and of the server: give a name of a source or repository, or a \
             prefix of names and '*'"
        )));
    }
    let words = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    output.print(&plan, || describe(&plan, words))?;
    let mut reasons: Vec<String> =
        plan.problems.iter().map(|problem| describe_problem(&files, problem)).collect();
    if args.expect_no_changes && !plan.changes.is_empty() {
        let count = count_of(plan.changes.len(), "difference", "differences");
        reasons.push(format!("the server has {count} to the files"));
        return Err(CliError::Different(reasons.join("\n")));
    }
    if !reasons.is_empty() {
        return Err(CliError::refused(reasons.join("\n")));
    }
    if plan.committed { make_later_changes(client, &request, &files.state, &plan).await } else { Ok(()) }
}

/// Returns the words of a command that makes the changes of the plan of a command, without `--commit` and `--base`.
fn commit_command(words: impl Iterator<Item = String>) -> String {
    let mut command = vec!["rspm".to_owned()];
    let mut words = words.skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--base" => drop(words.next()),
            "--plan" | "--expect-no-changes" => {}
            word if word.starts_with("--base=") => {}
            word => command.push(shell_argument(word)),
        }
    }
    command.join(" ")
}

fn describe_problem(files: &StateFiles, problem: &StateProblem) -> String {
    match problem.section {
        Some(section) => format!("{}: {}", files.describe(section, &problem.name), problem.error),
        None => problem.error.clone(),
    }
}

/// Returns the changes of a plan, a line each, and the next step. `words` are those of the command.
fn describe(plan: &StatePlan, words: impl Iterator<Item = String>) -> String {
    let rows: Vec<(char, &str, String, String)> = plan.changes.iter().take(MAX_PRINTED).map(row).collect();
    let width = |cell: fn(&(char, &str, String, String)) -> usize| rows.iter().map(cell).max().unwrap_or(0);
    let (kind_width, name_width) = (width(|row| row.1.len()), width(|row| row.2.chars().count()).min(40));
    let mut text = String::new();
    for (sign, kind, name, rest) in &rows {
        let style = style(*sign);
        let line = format!("{style}{sign}{style:#} {kind:kind_width$}  {name:name_width$}  {rest}");
        text += line.trim_end();
        text.push('\n');
    }
    if let Some(more) = plan.changes.len().checked_sub(MAX_PRINTED).filter(|more| *more > 0) {
        text += &format!("… and {more} more; -o json prints all\n");
    }
    let count =
        |test: &dyn Fn(&StateChange) -> bool| plan.changes.iter().filter(|change| test(change)).count();
    let now = |action| count(&|change| change.action == action && !change.later);
    let parts = [
        (now(StateAction::Create), "created"),
        (now(StateAction::Change), "changed"),
        (now(StateAction::Delete), "deleted"),
        (count(&|change| change.weaker), "protecting less (!)"),
        (count(&|change| change.later), "later"),
        (plan.kept, "not in the files"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    let no_changes = plan.changes.is_empty().then(|| "no changes".to_owned());
    let counts = no_changes.into_iter().chain(parts).collect::<Vec<_>>().join(", ");
    let next = match (plan.problems.is_empty(), plan.committed, plan.changes.is_empty()) {
        (false, ..) => "nothing was changed, see the problems below".to_owned(),
        (true, true, _) if plan.changes.iter().any(|change| change.later) => "now the later ones".to_owned(),
        (true, true, _) => "done".to_owned(),
        (true, false, true) if plan.kept > 0 => {
            "what the files have is as on the server (--prune deletes the rest)".to_owned()
        }
        (true, false, true) => "the server is as in the files".to_owned(),
        (true, false, false) => {
            format!("to apply: {} --commit --base={}", commit_command(words), plan.digest)
        }
    };
    format!("{text}{counts}; {next}\n")
}

/// Returns the cells of a change: its sign, the kind and the name of the object, and its fields and effects.
fn row(change: &StateChange) -> (char, &'static str, String, String) {
    let sign = match (change.weaker, change.action) {
        (true, _) => '!',
        (false, StateAction::Create) => '+',
        (false, StateAction::Change) => '~',
        (false, StateAction::Delete) => '-',
    };
    let kind = match change.section {
        Section::Sources if is_definition(change) => "definition",
        Section::Sources => "source",
        Section::Repositories => "repository",
        Section::GitCredentials => "git credential",
        Section::GitBuilders => "git builder",
        Section::NameGuards => "name guard",
        Section::BlockRules => "block rule",
        Section::Metadata => "metadata",
    };
    let value = |value: &Value| {
        let text: String = value.to_string().chars().take(MAX_VALUE).collect();
        if value.is_null() { "default".to_owned() } else { text }
    };
    let mut rest = Vec::new();
    let is_deletion = change.action == StateAction::Delete;
    for field in change.fields.iter().filter(|_| !is_deletion) {
        rest.push(match change.action {
            StateAction::Create => format!("{}: {}", field.field, value(&field.to)),
            _ => format!("{}: {} → {}", field.field, value(&field.from), value(&field.to)),
        });
    }
    match change.action {
        StateAction::Delete if change.weaker => rest.push("deleted".to_owned()),
        StateAction::Create if change.weaker => rest.push("created".to_owned()),
        _ => {}
    }
    rest.extend(change.later.then(|| "later".to_owned()));
    rest.extend(change.effects.iter().cloned());
    (sign, kind, for_terminal(&change.name), for_terminal(&rest.join("; ")))
}

fn style(sign: char) -> Style {
    match sign {
        '+' => AnsiColor::Green.on_default(),
        '~' => AnsiColor::Yellow.on_default(),
        _ => AnsiColor::Red.on_default(),
    }
}

/// Makes the changes that have operations of their own, one after the other, and then those that waited for them. A failed
/// one does not prevent the others.
async fn make_later_changes(
    client: &Client,
    request: &ApplyState,
    state: &State,
    plan: &StatePlan,
) -> Result<(), CliError> {
    let later: Vec<&StateChange> = plan.changes.iter().filter(|change| change.later).collect();
    let (mut failures, mut deleted) = (Vec::new(), 0);
    for change in later.iter().filter(|change| has_operation(change)) {
        let name = &change.name;
        let result = if is_definition(change) {
            match state.sources.as_ref().and_then(|sources| sources.get(name)) {
                Some(source) => update_definition(client, name, source, &request.comment).await,
                None => Ok(Vec::new()),
            }
        } else {
            let builder = state.git_builders.as_ref().and_then(|builders| builders.get(name));
            change_builder(client, change, builder).await.map(|()| Vec::new())
        };
        match result {
            Ok(notices) => {
                deleted += usize::from(change.action == StateAction::Delete);
                for text in notices.iter().map(String::as_str).chain(["done"]) {
                    note(format!("{} {name}: {text}", row(change).1));
                }
            }
            Err(error) => failures.push(format!("{} {name}: {error}", row(change).1)),
        }
    }
    if !later.iter().all(|change| has_operation(change)) {
        let confirm_deletes = request.confirm_deletes.map(|count| count.saturating_sub(deleted));
        let again = ApplyState { commit: false, base: None, confirm_deletes, ..request.clone() };
        let mut plan = client.send::<operations::ApplyState>([], &again).await?;
        // Each change of the plan is found once: an equal rule that was created since then is another one.
        let mut known = later.clone();
        let is_new = |change: &&StateChange| match known.iter().position(|known| is_of(known, change)) {
            Some(index) => {
                known.swap_remove(index);
                false
            }
            None => true,
        };
        let new = plan.changes.iter().filter(is_new);
        let new: Vec<String> = new
            .map(|change| format!("{} {}: was changed at the same time", row(change).1, change.name))
            .collect();
        if new.is_empty() {
            let again = ApplyState { commit: true, base: Some(plan.digest), ..again };
            plan = client.send::<operations::ApplyState>([], &again).await?;
        }
        failures.extend(new);
        failures.extend(plan.problems.iter().map(|problem| problem.error.clone()));
        let waiting = plan.changes.iter().filter(|change| change.later && !has_operation(change));
        failures.extend(waiting.map(|change| {
            format!("{} {}: waits for the definition of a source", row(change).1, change.name)
        }));
    }
    if failures.is_empty() {
        return Ok(());
    }
    let text = failures.join("\n");
    Err(CliError::refused(format!("{text}\nApply again to make what is left")))
}

/// Returns whether a change is that of the reviewed plan, or what is left of it.
///
/// SECURITY: one that protects less than it did in that plan is another change, and so is the deletion of other values.
fn is_of(known: &StateChange, change: &StateChange) -> bool {
    let is_left = match change.action {
        StateAction::Delete => change.fields == known.fields,
        StateAction::Create | StateAction::Change => {
            change.fields.iter().all(|field| known.fields.contains(field))
        }
    };
    // The effects of a rule depend on the packages.
    let has_effects = change.section != Section::Repositories
        || change.effects.iter().all(|effect| known.effects.contains(effect));
    (known.action, known.section, &known.name) == (change.action, change.section, &change.name)
        && is_left
        && has_effects
        && (known.weaker || !change.weaker)
}

/// Returns whether a change is that of the definition of a source, and not of the source. A definition is never deleted alone.
fn is_definition(change: &StateChange) -> bool {
    change.section == Section::Sources && change.later && change.action != StateAction::Delete
}

/// Returns whether a later change is made by an operation of its own, and does not only wait.
fn has_operation(change: &StateChange) -> bool {
    is_definition(change) || change.section == Section::GitBuilders
}

/// Publishes the definition of a curated source, or sets the state of a snapshot. Returns the notices about it.
async fn update_definition(
    client: &Client,
    name: &str,
    source: &StateSource,
    comment: &str,
) -> Result<Vec<String>, CliError> {
    let file = |file: &StateFile| match file {
        StateFile::File(file) => Some(file.clone()),
        StateFile::Path(_) => None,
    };
    if source.files.is_empty() {
        let edit = EditSource { new_name: None, snapshot: source.snapshot.clone() };
        return client.send::<operations::EditSource>([name], &edit).await.map(|_| Vec::new());
    }
    let kind = source.kind.as_deref().and_then(SourceKind::parse);
    let is_of_projects = kind.is_some_and(|kind| kind.layout() == Layout::Projects);
    let update = UpdateDefinition {
        files: source.files.iter().filter_map(file).collect(),
        snapshot: source.snapshot.clone(),
        commit: true,
        comment: comment.to_owned(),
        include: Some(source.include.clone().unwrap_or_else(|| INCLUDE.to_owned()))
            .filter(|_| !is_of_projects),
        dependencies: Some(source.dependencies).filter(|_| is_of_projects),
        ..UpdateDefinition::default()
    };
    let plan = client.send::<operations::UpdateDefinition>([name], &update).await?;
    match plan.problems.is_empty() {
        true => Ok(plan.notices),
        false => Err(CliError::refused(plan.problems.join("; "))),
    }
}

async fn change_builder(
    client: &Client,
    change: &StateChange,
    builder: Option<&StateBuilder>,
) -> Result<(), CliError> {
    let (source, name) = change.name.split_once('/').unwrap_or((&change.name, ""));
    let Some(builder) = builder else {
        return client.call::<operations::DeleteGitBuilder>([source, name], &()).await.map(drop);
    };
    // The keys of a builder in a state are those of the requests.
    let create: CreateGitBuilder = serde_json::from_value(serde_json::to_value(builder)?)?;
    if change.action == StateAction::Create {
        let create = CreateGitBuilder { name: Some(name.to_owned()), ..create };
        return client.send::<operations::CreateGitBuilder>([source], &create).await.map(drop);
    }
    let edit: EditGitBuilder = serde_json::from_value(serde_json::to_value(create)?)?;
    let edit = EditGitBuilder { credential: edit.credential.or(Some(String::new())), ..edit };
    client.send::<operations::EditGitBuilder>([source, name], &edit).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_command_has_the_words_of_the_command() {
        for (command, expected) in [
            (
                vec!["/usr/bin/rspm", "--config", "test.gcfg", "apply", "t/my site.toml"],
                "rspm --config test.gcfg apply 't/my site.toml'",
            ),
            (
                vec!["rspm", "apply", "-", "--plan", "--names=team-*", "--base", "0a"],
                "rspm apply - '--names=team-*'",
            ),
            (
                vec!["rspm", "-a", "https://h:1", "apply", "a", "--base=0a", "--expect-no-changes"],
                "rspm -a https://h:1 apply a",
            ),
        ] {
            assert_eq!(commit_command(command.into_iter().map(str::to_owned)), expected);
        }
    }
}
