//! `rspm create|edit|delete source|repo`, `subscribe`, `unsubscribe`, `reorder`, `url create`.

use super::args::{DeleteSource, EditRepo, EditSource, NameArg, Reorder, Subscribe, Unsubscribe, UrlCommand};
use super::client::Client;
use super::error::CliError;
use super::output::{Output, note, warn};
use api::fixed_url::CreateUrl;
use api::operations::admin as operations;
use api::repo::{self, Repo, Subscription};
use api::source::{self, Source};
use base::model::kind::ChangePolicy;

/// Formats the line that Posit Package Manager prints for a repository.
fn describe(repo: &Repo) -> String {
    let description =
        if repo.description.is_empty() { String::new() } else { format!(" - {}", repo.description) };
    let hidden = if repo.hidden { " - hidden" } else { "" };
    let authenticated = if repo.authenticated { " - authenticated" } else { "" };
    let changes = match changes(repo) {
        "" => String::new(),
        text => format!(" - changes {text}"),
    };
    format!("Repository: {}{description} - {}{hidden}{authenticated}{changes}\n", repo.name, repo.kind)
}

/// Returns how the repository is changed, if not by every administrator.
pub(super) fn changes(repo: &Repo) -> &'static str {
    match repo.changes {
        ChangePolicy::Any => "",
        ChangePolicy::TwoPersons => "by promotion, approved by a second person",
        ChangePolicy::Promotion => "by promotion",
    }
}

/// Returns `@3.20` for a subscription to one version of Bioconductor, otherwise an empty text.
pub(super) fn version_suffix(subscription: &Subscription) -> String {
    subscription.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default()
}

/// Formats the lines that Posit Package Manager prints after a change of subscriptions.
fn describe_sources(repo: &Repo) -> String {
    let list: String = repo
        .sources
        .iter()
        .map(|s| format!("--{}{} ({})\n", s.name, version_suffix(s), s.type_label))
        .collect();
    format!("Repository: {}\nSources:\n{list}", repo.name)
}

/// Prints the warnings of a change on standard error.
fn print_warnings(repo: &Repo) {
    for warning in &repo.warnings {
        warn(warning);
    }
}

pub async fn create(client: &Client, output: &Output, args: repo::CreateRepo) -> Result<(), CliError> {
    let repo = client.send::<operations::CreateRepo>([], &args).await?;
    output.print(&repo, || describe(&repo))
}

pub async fn edit(client: &Client, output: &Output, mut args: EditRepo) -> Result<(), CliError> {
    if args.clear_description {
        args.request.description = Some(String::new());
    }
    let repo = client.send::<operations::EditRepo>([&args.name], &args.request).await?;
    print_warnings(&repo);
    output.print(&repo, || describe(&repo))
}

pub async fn delete(client: &Client, output: &Output, args: NameArg) -> Result<(), CliError> {
    client.call::<operations::DeleteRepo>([&args.name], &()).await?;
    output.print(&serde_json::json!({ "deleted": args.name }), || {
        format!("Deleted repository '{}'.", args.name)
    })
}

pub async fn subscribe(client: &Client, output: &Output, args: Subscribe) -> Result<(), CliError> {
    let repo = client.send::<operations::Subscribe>([&args.repo], &args.request).await?;
    print_warnings(&repo);
    output.print(&repo, || describe_sources(&repo))
}

pub async fn unsubscribe(client: &Client, output: &Output, args: Unsubscribe) -> Result<(), CliError> {
    let repo = client.call::<operations::Unsubscribe>([&args.repo, &args.source], &args.query).await?;
    output.print(&repo, || describe_sources(&repo))
}

pub async fn reorder(client: &Client, output: &Output, args: Reorder) -> Result<(), CliError> {
    let repo = client.send::<operations::ReorderSources>([&args.repo], &args.request).await?;
    output.print(&repo, || describe_sources(&repo))
}

/// Formats a source with the lines of Posit Package Manager.
fn describe_source(source: &Source) -> String {
    format!("Source '{}':\n  Type:  {}\n", source.name, source.type_label)
}

pub async fn create_source(
    client: &Client,
    output: &Output,
    args: source::CreateSource,
) -> Result<(), CliError> {
    let source = client.send::<operations::CreateSource>([], &args).await?;
    output.print(&source, || describe_source(&source))
}

pub async fn edit_source(client: &Client, output: &Output, args: EditSource) -> Result<(), CliError> {
    let source = client.send::<operations::EditSource>([&args.name], &args.request).await?;
    output.print(&source, || describe_source(&source))
}

pub async fn delete_source(client: &Client, output: &Output, args: DeleteSource) -> Result<(), CliError> {
    let _ = client.call::<operations::DeleteSource>([&args.name], &args.query).await?;
    output.print(&serde_json::json!({ "deleted": args.name }), || format!("Deleted source '{}'.", args.name))
}

pub async fn create_url(client: &Client, output: &Output, command: UrlCommand) -> Result<(), CliError> {
    let UrlCommand::Create(args) = command;
    let (repo, version) = match args.repo.split_once('@') {
        Some((repo, version)) => (repo.to_owned(), Some(version.to_owned())),
        None => (args.repo, None),
    };
    let body = CreateUrl { version, ..args.request };
    let url = client.send::<operations::CreateUrl>([&repo], &body).await?;
    if !url.has_address && output.is_human() {
        note("Note: the URL is valid on this machine only; set Server.Address to the address for clients.");
    }
    output.print(&url, || url.url.clone())
}
