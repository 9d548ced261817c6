//! `rspm create|edit|delete|run|rerun git-builder`, the lists of builders and builds, and `rspm logs`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::client::Client;
use super::error::CliError;
use super::git_args::{
    BuilderName, CreateGitBuilder, EditGitBuilder, Logs, LogsCommand, RerunGitBuilder, RunGitBuilder,
    WaitFlags,
};
use super::output::{Output, format_time, print_part, table};
use api::git::{self, GitBuild, GitBuilder, GitPoll, ListGitBuilders, ListGitBuilds, ReadGitBuildLog};
use api::operations::admin as operations;
use base::model::recorded_words::BuildState;

/// Interval of polls of the state and the log of a build.
const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// Formats a builder: the five lines that Posit Package Manager prints, followed by further properties.
fn describe(builder: &GitBuilder) -> String {
    let mut lines = vec![
        format!("- {}", builder.name),
        format!("    Source: {}", builder.source),
        format!("    URL: {}", builder.url),
        format!("    Trigger: {}", builder.build_trigger),
        format!("    Key: {}", builder.credential.as_deref().unwrap_or("none")),
    ];
    let branch = if builder.branch.is_empty() { "default" } else { &builder.branch };
    lines.push(format!("    Branch: {branch}"));
    if !builder.sub_dir.is_empty() {
        lines.push(format!("    Directory: {}", builder.sub_dir));
    }
    if builder.vignettes {
        lines.push("    Vignettes: yes".to_owned());
    }
    if builder.webhook {
        lines.push(format!("    Webhook: POST /__api__/git-builders/{}/poll", builder.id));
    }
    let last_poll = builder.polled.as_deref().map_or_else(|| "never".to_owned(), format_time);
    let error = if builder.error.is_empty() { String::new() } else { format!("; failed: {}", builder.error) };
    lines.push(format!("    Last poll: {last_poll}{error}"));
    let last_build = builder.last_build.as_ref().map_or_else(|| "none".to_owned(), summary);
    lines.push(format!("    Last build: {last_build}"));
    lines.join("\n") + "\n"
}

/// Formats a build: `published 1.2.0 from 1a2b3c4, transaction 17`.
fn summary(build: &GitBuild) -> String {
    let commit = build.commit.get(..7).unwrap_or(&build.commit);
    let version = if build.version.is_empty() { String::new() } else { format!(" {}", build.version) };
    let tag = if build.tag.is_empty() { String::new() } else { format!(" (tag {})", build.tag) };
    let transaction = build.transaction.map(|tx| format!(", transaction {tx}")).unwrap_or_default();
    let reason = if build.reason.is_empty() { String::new() } else { format!(": {}", build.reason) };
    format!("{}{version} from {commit}{tag}{transaction}{reason}", build.state)
}

/// Returns the secret in a file, without the newline at its end; `None` without a file.
fn secret(file: Option<&Path>) -> Result<Option<String>, CliError> {
    let Some(file) = file else { return Ok(None) };
    let text = fs::read_to_string(file)
        .map_err(|source| CliError::Local { operation: format!("read {}", file.display()), source })?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(CliError::refused(format!("{} is empty", file.display()))),
        secret => Ok(Some(secret.to_owned())),
    }
}

pub async fn create(client: &Client, output: &Output, args: CreateGitBuilder) -> Result<(), CliError> {
    let body = git::CreateGitBuilder {
        webhook_secret: secret(args.webhook_secret_path.as_deref())?,
        ..args.request
    };
    let poll = client.send::<operations::CreateGitBuilder>([&args.source], &body).await?;
    if output.is_human() {
        output.print(&poll, || {
            format!("{}Git Builders:\n{}", host_key_lines(&poll.builder), describe(&poll.builder))
        })?;
    }
    finish(client, output, poll, &args.wait_flags).await
}

pub async fn edit(client: &Client, output: &Output, args: EditGitBuilder) -> Result<(), CliError> {
    let new_value = |is_removed: bool, value| if is_removed { Some(String::new()) } else { value };
    let body = git::EditGitBuilder {
        sub_dir: new_value(args.remove_sub_dir, args.request.sub_dir),
        vignettes: (args.vignettes || args.no_vignettes).then_some(args.vignettes),
        credential: new_value(args.remove_credential, args.request.credential),
        webhook_secret: new_value(args.remove_webhook_secret, secret(args.webhook_secret_path.as_deref())?),
        ..args.request
    };
    let builder = client.send::<operations::EditGitBuilder>(args.builder.path(), &body).await?;
    output.print(&builder, || format!("{}Git Builders:\n{}", host_key_lines(&builder), describe(&builder)))
}

/// Returns a line for each SSH host key that was accepted.
fn host_key_lines(builder: &GitBuilder) -> String {
    let line = |key: &String| {
        format!(
            "Accepted the host key {key}: compare it with the one that the administrator of the git server names.\n"
        )
    };
    builder.accepted_host_keys.iter().map(line).collect()
}

pub async fn delete(client: &Client, output: &Output, args: BuilderName) -> Result<(), CliError> {
    client.call::<operations::DeleteGitBuilder>(args.path(), &()).await?;
    output.print(&serde_json::json!({ "deleted": args.name }), || {
        format!("Deleted git builder '{}'. Its packages remain in the source '{}'.", args.name, args.source)
    })
}

pub async fn run(client: &Client, output: &Output, args: RunGitBuilder) -> Result<(), CliError> {
    let poll = client.call::<operations::PollGitBuilder>(args.builder.path(), &()).await?;
    if output.is_human() {
        output.print(&poll, || poll.message.clone())?;
    }
    finish(client, output, poll, &args.wait_flags).await
}

pub async fn rerun(client: &Client, output: &Output, args: RerunGitBuilder) -> Result<(), CliError> {
    let build = client.send::<operations::RerunGitBuilder>(args.builder.path(), &args.request).await?;
    follow_all(client, output, &[build.id], &args.wait_flags).await
}

/// Follows the builds of a poll; prints the poll as JSON if there are none.
async fn finish(client: &Client, output: &Output, poll: GitPoll, flags: &WaitFlags) -> Result<(), CliError> {
    if !poll.builds.is_empty() {
        return follow_all(client, output, &poll.builds, flags).await;
    }
    if output.is_human() { Ok(()) } else { output.print(&poll, String::new) }
}

/// Prints the logs of builds until they end; with `--no-wait`, only the ids and states of the builds.
async fn follow_all(
    client: &Client,
    output: &Output,
    ids: &[i64],
    flags: &WaitFlags,
) -> Result<(), CliError> {
    let mut results = Vec::new();
    for id in ids {
        if flags.no_wait {
            results.push(fetch(client, *id).await?);
            continue;
        }
        if output.is_human() {
            print_log(client, *id, true, print_part).await?;
        }
        results.push(wait(client, *id).await?);
    }
    output.print(&results, || {
        let line = |build: &GitBuild| match build.ended {
            true => format!("Build {}: {}", build.id, summary(build)),
            false => format!(
                "Build {} is {}; see rspm logs --build-id={} --follow",
                build.id, build.state, build.id
            ),
        };
        results.iter().map(line).collect::<Vec<_>>().join("\n")
    })?;
    match results.iter().find(|build| build.state == BuildState::Failed) {
        Some(build) => Err(CliError::refused(format!("build {} failed: {}", build.id, build.reason))),
        None => Ok(()),
    }
}

async fn fetch(client: &Client, id: i64) -> Result<GitBuild, CliError> {
    client.call::<operations::GitBuild>([&id.to_string()], &()).await
}

async fn wait(client: &Client, id: i64) -> Result<GitBuild, CliError> {
    loop {
        let build = fetch(client, id).await?;
        if build.ended {
            return Ok(build);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Prints the log of a build; with `follow`, until it ends, including the logs of later attempts.
async fn print_log(
    client: &Client,
    id: i64,
    follow: bool,
    mut write: impl FnMut(&str) -> std::io::Result<()>,
) -> Result<(), CliError> {
    let (mut offset, mut attempt) = (0, fetch(client, id).await?.attempt);
    loop {
        let query = ReadGitBuildLog { offset: usize::try_from(offset).ok() };
        let page = client.call::<operations::GitBuildLog>([&id.to_string()], &query).await?;
        let current = fetch(client, id).await?.attempt;
        if current != attempt {
            // A new attempt began, and the page may belong to the log of the previous one: the new log is read
            // from its beginning.
            (offset, attempt) = (0, current);
            continue;
        }
        write(&page.text).map_err(CliError::Output)?;
        let is_unchanged = page.next == offset;
        offset = page.next;
        if page.end || (!follow && is_unchanged) {
            return Ok(());
        }
        if is_unchanged {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

pub async fn list_builders(client: &Client, output: &Output, args: ListGitBuilders) -> Result<(), CliError> {
    let builders = client.call::<operations::GitBuilders>([], &args).await?;
    output.print(&builders, || match builders.as_slice() {
        [] => {
            "There is no git builder. Create one: rspm create git-builder --source=NAME --url=URL".to_owned()
        }
        builders => format!("Git Builders:\n{}", builders.iter().map(describe).collect::<String>()),
    })
}

pub async fn list_builds(client: &Client, output: &Output, args: ListGitBuilds) -> Result<(), CliError> {
    let builds = client.call::<operations::GitBuilds>([], &args).await?;
    output.print(&builds, || {
        if builds.is_empty() {
            return "There is no build.".to_owned();
        }
        let row = |build: &GitBuild| {
            let commit = build.commit.get(..7).unwrap_or(&build.commit).to_owned();
            let state = match build.reason.as_str() {
                "" => build.state.to_string(),
                reason => format!("{}: {reason}", build.state),
            };
            vec![
                build.transaction.map(|tx| tx.to_string()).unwrap_or_default(),
                build.id.to_string(),
                build.builder.clone(),
                commit,
                build.tag.clone(),
                build.version.clone(),
                state,
                build.started_at.as_deref().map(format_time).unwrap_or_default(),
                build.attempt.to_string(),
            ]
        };
        let header =
            ["Transaction", "Build", "Builder", "Commit", "Tag", "Version", "State", "Started", "Attempt"];
        table(&header, builds.iter().map(row))
    })
}

pub async fn logs(client: &Client, output: &Output, args: Logs) -> Result<(), CliError> {
    if let Some(LogsCommand::Reopen) = args.command {
        let result = client.call::<operations::ReopenLogs>([], &()).await?;
        return output.print(&result, || match result.files.as_slice() {
            [] => "The server has no log files.".to_owned(),
            files => format!("Reopened:\n  {}", files.join("\n  ")),
        });
    }
    let build = match (args.build_id, args.transaction_id) {
        (Some(id), _) => client.call::<operations::GitBuild>([&id.to_string()], &()).await?,
        (None, id) => {
            let id = id.unwrap_or_default().to_string();
            client.call::<operations::TransactionGitBuild>([&id], &()).await?
        }
    };
    match args.file_out {
        Some(file) => {
            let create = File::create(&file);
            let mut out = create.map_err(|source| CliError::Local {
                operation: format!("create {}", file.display()),
                source,
            })?;
            print_log(client, build.id, args.follow, |text| out.write_all(text.as_bytes())).await
        }
        None => print_log(client, build.id, args.follow, print_part).await,
    }
}
