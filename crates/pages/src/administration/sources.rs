//! The pages of sources.

use maud::{Markup, html};

use super::form::{CONFIRM, Form, Kind, choices};
use super::{AdministrationFrame, AdministrationSection};
use crate::text::{count, number, time};
use api::source::Source;

/// The types of sources that administrators create.
const TYPES: [&str; 5] = ["local", "local-python", "git", "git-python", "curated-pypi"];
/// The types of the sources that always exist.
const BUILT_IN: [&str; 3] = ["cran", "bioconductor", "pypi"];
/// The kinds of data that can be synced: the value in the API, and the label.
const SYNC_KINDS: [(&str, &str); 5] = [
    ("cran", "CRAN"),
    ("bioconductor", "Bioconductor"),
    ("pypi", "PyPI"),
    ("sysreqs", "Rules of system requirements"),
    ("vulns", "Advisories about vulnerabilities"),
];

pub fn list(page: &AdministrationFrame, sources: &[Source]) -> String {
    let create = Form::new("create", "Create", "rspm create source --name=NAME --type=TYPE".to_owned())
        .field("name", "Name", Kind::Required(64))
        .filled("type", "Type", choices(TYPES), TYPES[0]);
    let synced = SYNC_KINDS.map(|(value, label)| (value.to_owned(), label.to_owned())).to_vec();
    let sync = Form::new("sync", "Sync now", "rspm sync --type=TYPE".to_owned()).field(
        "type",
        "Data",
        Kind::Choice(synced),
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
    let is_own = TYPES.contains(&source.kind.as_str());
    let rename = Form::new("rename", "Rename", format!("rspm edit source --name={name} --new-name=NAME"))
        .filled("new_name", "New name", Kind::Required(64), name);
    let delete = Form::new("delete", "Delete", format!("rspm delete source --name={name}")).field(
        CONFIRM,
        "Its packages are not listed any more",
        Kind::Confirm,
    );
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
            @if is_own {
                @if source.kind.as_str().starts_with("local") {
                    h2 { "Add packages" }
                    p { "Files are sent with " code { "rspm add --source=" (name) " --path=FILE" } "." }
                }
                h2 { "Rename" }
                (rename.render(page))
                h2 { "Delete" }
                p.prose { "A source can be deleted when no repository subscribes to it." }
                (delete.render(page))
            } @else if BUILT_IN.contains(&source.kind.as_str()) {
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
    fn only_the_page_of_a_built_in_source_states_that_it_always_exists() {
        let page = AdministrationFrame {
            root: Root::of_path("/__ui__/admin/sources/subset/"),
            section: AdministrationSection::Sources,
            object: Some("subset".to_owned()),
            form_token: None,
            done: None,
            rejected: None,
        };
        let page_of_type = |kind: &str| {
            let source = Source {
                id: 7,
                name: "subset".to_owned(),
                kind: kind.parse().expect("a type"),
                type_label: kind.to_owned(),
                created: "2026-11-20T00:00:00Z".to_owned(),
                packages: 0,
                last_transaction: None,
                index: None,
                definition: None,
            };
            show(&page, &source)
        };
        for kind in BUILT_IN {
            let text = page_of_type(kind);
            assert!(text.contains("This source always exists"), "{kind}: {text}");
        }
        for kind in ["curated-cran", "cran-snapshot"] {
            let text = page_of_type(kind);
            assert!(!text.contains("always exists"), "{kind}: {text}");
            assert!(text.contains("rspm delete source --name=subset"), "{kind}: {text}");
        }
    }
}
