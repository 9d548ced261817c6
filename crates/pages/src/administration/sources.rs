//! The pages of sources.

use maud::{Markup, html};

use super::form::{CONFIRM, Form, Kind, choices};
use super::{AdministrationFrame, AdministrationSection};
use crate::text::{count, number, time};
use api::source::Source;
use base::model::kind::{Layout, SourceKind, Supply};

/// Returns whether the page can create sources of a kind. Those that select from lists are created with a state of
/// the index, which the form cannot name.
fn can_create(kind: SourceKind) -> bool {
    match kind.supply() {
        Supply::Uploads | Supply::Builds => true,
        Supply::Curated => kind.layout() == Layout::Projects,
        Supply::Mirror | Supply::Snapshot => false,
    }
}

/// Returns the kinds of sources that the page can create, by the way in which packages are added.
fn types() -> Vec<SourceKind> {
    let of_supply =
        |supply| SourceKind::ALL.into_iter().filter(move |kind| kind.is_listed() && kind.supply() == supply);
    let supplies = [Supply::Uploads, Supply::Builds, Supply::Curated];
    supplies.into_iter().flat_map(of_supply).filter(|kind| can_create(*kind)).collect()
}

/// Returns the kinds of data that can be synced: the value in the API, and the label.
fn synced() -> Vec<(String, String)> {
    let mirrors = SourceKind::ALL.into_iter().filter(|kind| kind.is_listed() && kind.is_built_in());
    let mirrors = mirrors.map(|kind| (kind.as_str(), kind.label()));
    let others = [("sysreqs", "Rules of system requirements"), ("vulns", "Advisories about vulnerabilities")];
    mirrors.chain(others).map(|(value, label)| (value.to_owned(), label.to_owned())).collect()
}

pub fn list(page: &AdministrationFrame, sources: &[Source]) -> String {
    let types = types();
    let first = types.first().map_or("", |kind| kind.as_str());
    let create = Form::new("create", "Create", "rspm create source --name=NAME --type=TYPE".to_owned())
        .field("name", "Name", Kind::Required(64))
        .filled("type", "Type", choices(types.iter().map(|kind| kind.as_str())), first);
    let sync = Form::new("sync", "Sync now", "rspm sync --type=TYPE".to_owned()).field(
        "type",
        "Data",
        Kind::Choice(synced()),
    );
    page.render(
        "Sources",
        &html! {
            (table(page, sources))
            h2 { "Create a source" }
            (create.render(page))
            h2 { "Sync with a mirror" }
            (sync.render(page))
        },
    )
}

fn table(page: &AdministrationFrame, sources: &[Source]) -> Markup {
    html! {
        section.scroll tabindex="0" aria-label="Sources" { table {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "Type" } th.number scope="col" { "Packages" }
                th scope="col" { "Last change" } th scope="col" { "Changed" }
            } }
            tbody { @for source in sources { tr {
                td.name { a href=(AdministrationSection::Sources.object(&page.root, &source.name)) { (source.name) } }
                td { (source.type_label) }
                td.number { (number(source.packages)) }
                @match &source.last_transaction {
                    None => { td { "never" } td {} }
                    Some(tx) => { td { (time(&tx.at)) } td { (changes(tx.added, tx.updated, tx.removed)) } }
                }
            } } }
        } }
    }
}

fn changes(added: i64, updated: i64, removed: i64) -> String {
    format!("{} new, {} updated, {} removed", number(added), number(updated), number(removed))
}

pub fn show(page: &AdministrationFrame, source: &Source) -> String {
    let name = &source.name;
    let rename = Form::new("rename", "Rename", format!("rspm edit source --name={name} --new-name=NAME"))
        .filled("new_name", "New name", Kind::Required(64), name);
    let delete = Form::new("delete", "Delete", format!("rspm delete source --name={name} --with-packages"))
        .field(CONFIRM, "Its packages are not listed any more", Kind::Confirm);
    let packages = usize::try_from(source.packages).unwrap_or_default();
    page.render(
        name,
        &html! {
            dl.facts {
                dt { "Type" } dd { (source.type_label) }
                dt { "Packages" } dd { (count(packages, "package", "packages")) }
                // The sources that a migration of the schema creates have the epoch as their time of creation.
                @if !source.created.starts_with("1970-01-01") { dt { "Created" } dd { (time(&source.created)) } }
                dt { "Last change" }
                dd {
                    @match &source.last_transaction {
                        None => { "never" }
                        Some(tx) => {
                            (time(&tx.at)) ", transaction " (tx.id) ": "
                            (changes(tx.added, tx.updated, tx.removed))
                        }
                    }
                }
            }
            @if can_create(source.kind) {
                @if source.kind.supply() == Supply::Uploads {
                    h2 { "Add packages" }
                    p { "Files are sent with " code { "rspm add --source=" (name) " --path=FILE" } "." }
                }
                h2 { "Rename" }
                (rename.render(page))
                h2 { "Delete" }
                p.prose { "A source can be deleted when no repository subscribes to it." }
                (delete.render(page))
            } @else if source.kind.is_built_in() {
                p { "This source always exists; its packages come from a mirror." }
            } @else {
                p {
                    "It is renamed with " code { "rspm edit source --name=" (name) " --new-name=NAME" }
                    ", and deleted with " code { "rspm delete source --name=" (name) } "."
                }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Root;

    #[test]
    fn sources_that_select_from_lists_are_not_created_on_the_page() {
        let types: Vec<&str> = types().into_iter().map(SourceKind::as_str).collect();
        assert_eq!(types, ["local", "local-python", "git", "git-python", "curated-pypi"]);
        let synced: Vec<String> = synced().into_iter().map(|(value, _)| value).collect();
        assert_eq!(synced, ["cran", "bioconductor", "pypi", "sysreqs", "vulns"]);
    }

    #[test]
    fn only_the_page_of_a_built_in_source_states_that_it_always_exists() {
        let page = AdministrationFrame {
            root: Root::of_path("/__ui__/admin/sources/subset/"),
            section: AdministrationSection::Sources,
            object: Some("subset".to_owned()),
            form_token: None,
            done: None,
            rejected: None,
        };
        let page_of_type = |kind: SourceKind| {
            let source = Source {
                id: 7,
                name: "subset".to_owned(),
                kind,
                type_label: kind.label().to_owned(),
                created: "2026-11-20T00:00:00Z".to_owned(),
                packages: 0,
                last_transaction: None,
                index: None,
                definition: None,
            };
            show(&page, &source)
        };
        for kind in [SourceKind::Cran, SourceKind::Bioconductor, SourceKind::Pypi] {
            let text = page_of_type(kind);
            assert!(text.contains("This source always exists"), "{kind}: {text}");
        }
        for kind in [SourceKind::CuratedCran, SourceKind::CranSnapshot] {
            let text = page_of_type(kind);
            assert!(!text.contains("always exists"), "{kind}: {text}");
            assert!(text.contains("rspm delete source --name=subset"), "{kind}: {text}");
        }
    }
}
