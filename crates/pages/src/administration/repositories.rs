//! The pages of repositories.

use maud::{Markup, html};

use super::form::{CONFIRM, Form, Kind, choices, yes_or_no};
use super::{AdministrationFrame, AdministrationSection};
use crate::text::{time, visible};
use api::repo::Repo;
use base::model::kind::RepoKind;

fn type_choices() -> Kind {
    let kinds = RepoKind::ALL.into_iter().filter(|kind| kind.is_listed());
    Kind::Choice(kinds.map(|kind| (kind.to_string(), kind.label().to_owned())).collect())
}

pub fn list(page: &AdministrationFrame, repos: &[Repo]) -> String {
    let create = Form::new("create", "Create", "rspm create repo --name=NAME --type=TYPE".to_owned())
        .field("name", "Name", Kind::Required(64))
        .filled("type", "Type", type_choices(), RepoKind::default().as_str())
        .field("description", "Description", Kind::Text(500))
        .filled("authenticated", "Requires a token", yes_or_no(), "false");
    page.render(
        "Repositories",
        &html! {
            section.scroll tabindex="0" aria-label="Repositories" { table {
                thead { tr {
                    th scope="col" { "Name" } th scope="col" { "Type" } th scope="col" { "Sources" }
                    th scope="col" { "Visibility" } th scope="col" { "Description" }
                } }
                tbody { @for repo in repos { tr {
                    td.name { a href=(AdministrationSection::Repositories.object(&page.root, &repo.name)) { (repo.name) } }
                    td { (repo.kind) }
                    td { (names(repo).join(", ")) }
                    td { (visibility(repo)) }
                    td dir="auto" { (visible(&repo.description)) }
                } } }
            } }
            h2 { "Create a repository" }
            (create.render(page))
        },
    )
}

/// Returns the names of the subscribed sources, each once: a repository may subscribe to several versions of a source.
fn names(repo: &Repo) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for source in &repo.sources {
        if !names.contains(&source.name.as_str()) {
            names.push(&source.name);
        }
    }
    names
}

fn visibility(repo: &Repo) -> String {
    let of = [(repo.authenticated, "requires a token"), (repo.hidden, "hidden")];
    let all: Vec<&str> = of.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text).collect();
    if all.is_empty() { "open".to_owned() } else { all.join(", ") }
}

/// Returns the page of a repository. `sources` are the names of all sources.
pub fn show(page: &AdministrationFrame, repo: &Repo, sources: &[String]) -> String {
    let name = &repo.name;
    let flag = |value: bool| if value { "true" } else { "false" };
    let description = Form::new(
        "describe",
        "Change",
        format!("rspm edit repo --name={name} --description=TEXT"),
    )
    .filled("description", "Description", Kind::Text(500), &repo.description);
    let visibility = Form::new(
        "visibility",
        "Change",
        format!("rspm edit repo --name={name} --hide=BOOL --authenticated=BOOL"),
    )
    .filled("hidden", "Hidden from lists", yes_or_no(), flag(repo.hidden))
    .filled("authenticated", "Requires a token", yes_or_no(), flag(repo.authenticated));
    let rename = Form::new("rename", "Rename", format!("rspm edit repo --name={name} --new-name=NAME"))
        .filled("new_name", "New name", Kind::Required(64), name);
    let delete = Form::new("delete", "Delete", format!("rspm delete repo --name={name}")).field(
        CONFIRM,
        "Clients that use it get no packages any more",
        Kind::Confirm,
    );
    page.render(
        name,
        &html! {
            dl.facts {
                dt { "Type" } dd { (repo.kind) }
                dt { "Visibility" } dd { (self::visibility(repo)) }
                dt { "Created" } dd { (time(&repo.created)) }
                dt { "Pages" } dd { a href=(page.root.snapshot(name, "latest")) { (name) "/latest" } }
            }
            h2 { "Sources" }
            (subscriptions(page, repo, sources))
            h2 { "Description" }
            (description.render(page))
            h2 { "Visibility" }
            p.prose { "A hidden repository is in no list. Everyone who can connect to the server can read a repository that requires no token." }
            (visibility.render(page))
            h2 { "Name" }
            p.prose { "The name is part of the address that clients use." }
            (rename.render(page))
            h2 { "Delete" }
            (delete.render(page))
        },
    )
}

/// Renders the subscriptions, in order of precedence.
fn subscriptions(page: &AdministrationFrame, repo: &Repo, sources: &[String]) -> Markup {
    let name = &repo.name;
    let subscribe =
        Form::new("subscribe", "Subscribe", format!("rspm subscribe --repo={name} --source=SOURCE"))
            .field("source", "Source", choices(sources.iter().map(String::as_str)))
            .field("version", "Version of Bioconductor", Kind::Text(20));
    let reorder = Form::new(
        "reorder",
        "Set the order",
        format!("rspm reorder --repo={name} --sources={}", names(repo).join(",")),
    )
    .filled(
        "sources",
        "All sources in the new order, separated by commas",
        Kind::Required(4000),
        &names(repo).join(","),
    );
    html! {
        @if repo.sources.is_empty() {
            p { "The repository has no source yet, so it has no packages." }
        } @else {
            p.prose { "If several sources have a package, the first one serves it." }
            section.scroll tabindex="0" aria-label="Sources of the repository" { table {
                thead { tr {
                    th scope="col" { "Source" } th scope="col" { "Type" } th scope="col" { "Version" }
                } }
                tbody { @for source in &repo.sources {
                    @let version = source.version.as_deref();
                    tr {
                        td.name { a href=(AdministrationSection::Sources.object(&page.root, &source.name)) { (source.name) } }
                        td { (source.type_label) }
                        td { (version.unwrap_or("all")) }
                    }
                    tr.action { td colspan="3" { (unsubscribe(name, &source.name, version).render(page)) } }
                } }
            } }
        }
        h3 { "Subscribe to another source" }
        (subscribe.render(page))
        @if names(repo).len() > 1 {
            h3 { "Change the order" }
            (reorder.render(page))
        }
    }
}

/// Returns the form to unsubscribe. Its object is the source, followed by the version if the subscription has one.
fn unsubscribe(repo: &str, source: &str, version: Option<&str>) -> Form {
    let command = format!("rspm unsubscribe --repo={repo} --source={source}");
    match version {
        None => Form::new("unsubscribe", "Unsubscribe", command).of(source),
        Some(version) => Form::new("unsubscribe", "Unsubscribe", format!("{command} --version={version}"))
            .of(&format!("{source} {version}")),
    }
}
