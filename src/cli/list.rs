//! `rspm list …` and `rspm info`.

use serde::Serialize;

use super::args::{Info, ListPackages, ListRepos, ListSources};
use super::client::{Client, segment};
use super::error::CliError;
use super::output::{Output, count, table};
use crate::api::package::Packages;
use crate::api::repo::Repo;
use crate::api::source::Source;

/// `rspm list`.
///
/// # Errors
/// The server refuses.
pub async fn everything(client: &Client, output: &Output) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Everything {
        repos: Vec<Repo>,
        sources: Vec<Source>,
    }
    let all = Everything { repos: client.get("/repos").await?, sources: client.get("/sources").await? };
    output.print(&all, || {
        format!("Repositories\n{}\nSources\n{}", repo_table(&all.repos), source_table(&all.sources))
    })
}

/// `rspm list repos`.
///
/// # Errors
/// The server refuses.
pub async fn repos(client: &Client, output: &Output, args: ListRepos) -> Result<(), CliError> {
    let query = args.source.map(|s| format!("?source={}", segment(&s))).unwrap_or_default();
    let repos: Vec<Repo> = client.get(&format!("/repos{query}")).await?;
    output.print(&repos, || repo_table(&repos))
}

/// `rspm list sources`.
///
/// # Errors
/// The server refuses.
pub async fn sources(client: &Client, output: &Output, args: ListSources) -> Result<(), CliError> {
    let query: Vec<String> = [("repo", args.repo), ("type", args.kind)]
        .into_iter()
        .filter_map(|(key, value)| value.map(|v| format!("{key}={}", segment(&v))))
        .collect();
    let sources: Vec<Source> = client.get(&format!("/sources?{}", query.join("&"))).await?;
    output.print(&sources, || source_table(&sources))
}

/// `rspm list packages`.
///
/// # Errors
/// The server refuses.
pub async fn packages(client: &Client, output: &Output, args: ListPackages) -> Result<(), CliError> {
    let of = match (&args.repo, &args.source) {
        (Some(repo), _) => format!("/repos/{}", segment(repo)),
        (None, source) => format!("/sources/{}", segment(source.as_deref().unwrap_or_default())),
    };
    let search = args.search.map(|s| format!("&search={}", segment(&s))).unwrap_or_default();
    let path = format!("{of}/packages?count={}&page={}{search}", args.count, args.page);
    let page: Packages = client.get(&path).await?;
    output.print(&page, || {
        let rows: Vec<Vec<String>> = page
            .packages
            .iter()
            .map(|p| {
                let published = p.published.as_deref().unwrap_or("").get(..10).unwrap_or("");
                vec![p.name.clone(), p.version.clone(), p.source.clone(), published.to_owned()]
            })
            .collect();
        let shown = rows.len();
        let total = count(page.total);
        format!("{}\n{shown} of {total}", table(&["Name", "Version", "Source", "Published"], &rows))
    })
}

/// `rspm info`.
///
/// # Errors
/// The server refuses.
pub async fn info(client: &Client, output: &Output, args: Info) -> Result<(), CliError> {
    if let Some(name) = args.repo {
        let repo: Repo = client.get(&format!("/repos/{}", segment(&name))).await?;
        return output.print(&repo, || {
            let sources: Vec<String> =
                repo.sources.iter().map(|s| format!("{} ({})", s.name, s.type_label)).collect();
            fields(&[
                ("Repository", repo.name.clone()),
                ("Type", repo.kind.clone()),
                ("Description", repo.description.clone()),
                ("Hidden", if repo.hidden { "yes" } else { "no" }.to_owned()),
                ("Created", repo.created.clone()),
                ("Sources", sources.join(", ")),
                ("URL", repo.url.clone()),
            ])
        });
    }
    let source: Source =
        client.get(&format!("/sources/{}", segment(&args.source.unwrap_or_default()))).await?;
    output.print(&source, || {
        let last = source.last_transaction.as_ref().map_or_else(
            || "none yet".to_owned(),
            |t| {
                format!(
                    "{} at {} ({} added, {} updated, {} archived, {} removed)",
                    t.id, t.at, t.added, t.updated, t.archived, t.removed
                )
            },
        );
        fields(&[
            ("Source", source.name.clone()),
            ("Type", source.type_label.clone()),
            ("Created", source.created.clone()),
            ("Packages", count(source.packages)),
            ("Last transaction", last),
        ])
    })
}

fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    pairs.iter().map(|(name, value)| format!("{:<width$}  {value}\n", format!("{name}:"))).collect()
}

fn repo_table(repos: &[Repo]) -> String {
    if repos.is_empty() {
        return "There is no repository yet. Create one: rspm create repo --name=NAME\n".to_owned();
    }
    let rows: Vec<Vec<String>> = repos
        .iter()
        .map(|r| {
            let sources: Vec<&str> = r.sources.iter().map(|s| s.name.as_str()).collect();
            let hidden = if r.hidden { "hidden" } else { "" }.to_owned();
            vec![r.name.clone(), r.kind.clone(), sources.join(", "), r.description.clone(), hidden]
        })
        .collect();
    table(&["Name", "Type", "Sources", "Description", ""], &rows)
}

fn source_table(sources: &[Source]) -> String {
    let rows: Vec<Vec<String>> = sources
        .iter()
        .map(|s| {
            let last = s.last_transaction.as_ref().map_or_else(String::new, |t| t.at.clone());
            vec![s.name.clone(), s.type_label.clone(), count(s.packages), last]
        })
        .collect();
    table(&["Name", "Type", "Packages", "Last change"], &rows)
}
