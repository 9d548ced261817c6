//! The page of storage classes.

use maud::{Markup, html};

use super::AdministrationFrame;
use super::form::{CONFIRM, Form, Kind};
use crate::text::{self, number, time, visible};
use api::storage::{Storage, StorageOwner, StorageState};

pub fn list(page: &AdministrationFrame, storage: &Storage) -> String {
    let sweep = Form::new("sweep", "Sweep now", "rspm storage sweep".to_owned());
    let restore = Form::new("restore", "Restore", "rspm storage restore".to_owned()).field(
        CONFIRM,
        "All objects in the trash return to storage",
        Kind::Confirm,
    );
    let adopt = Form::new("adopt", "Adopt", "rspm storage adopt".to_owned()).field(
        CONFIRM,
        "No other server uses this storage",
        Kind::Confirm,
    );
    let days = usize::try_from(storage.grace_days).unwrap_or(usize::MAX);
    page.render(
        "Storage",
        &html! {
            p { "Database " code { (storage.database) } ". Removed objects are in the trash for " (text::count(days, "day", "days")) "." }
            section.scroll tabindex="0" aria-label="Storage classes" { table {
                thead { tr {
                    th scope="col" { "Class" } th scope="col" { "Location" } th scope="col" { "Owner" }
                    th.number scope="col" { "Files" } th.number scope="col" { "In the trash" } th scope="col" { "Since" }
                    th.number scope="col" { "Damaged" } th.number scope="col" { "Lost" }
                } }
                tbody { @for class in &storage.classes { (row(class)) } }
            } }
            @for class in storage.classes.iter().filter(|class| class.waiting.is_some()) { (waiting(page, class)) }
            h2 { "Sweep" }
            p.prose { "Moves objects to which no row refers to the trash, and deletes old ones from it." }
            (sweep.render(page))
            h2 { "Restore from the trash" }
            (restore.render(page))
            h2 { "Adopt" }
            p.prose { "Makes this database the owner of all classes, after it was copied or restored." }
            (adopt.render(page))
        },
    )
}

fn row(class: &StorageState) -> Markup {
    let whole = |count: u64| number(i64::try_from(count).unwrap_or(i64::MAX));
    html! {
        tr {
            td.name { (class.class) }
            td { code { (visible(&class.location)) } }
            td { (owner(class)) @if let Some(reason) = &class.problem { " " span.danger { (visible(reason)) } } }
            td.number { (whole(class.files)) " (" (text::size(class.bytes)) ")" }
            td.number { (whole(class.trash_objects)) " (" (text::size(class.trash_bytes)) ")" }
            td { @if let Some(since) = &class.trash_since { (time(since)) } }
            td.number { (whole(class.damaged)) }
            td.number { (whole(class.lost)) }
        }
    }
}

fn owner(class: &StorageState) -> Markup {
    match class.owner {
        StorageOwner::Own => html! { "this database" },
        StorageOwner::Foreign => html! {
            span.danger { "another database" } " " (class.database.as_deref().unwrap_or_default())
        },
        StorageOwner::Contested => html! { span.danger { "used by a copy of this database" } },
        StorageOwner::Missing => html! { span.danger { "its objects are missing" } },
        StorageOwner::Unreadable => html! { span.danger { "its marker cannot be read" } },
        StorageOwner::Unclaimed => html! { span.changed { "none" } },
        StorageOwner::Unchecked | StorageOwner::Unknown => html! { span.changed { "not known yet" } },
    }
}

/// Renders the form to confirm a sweep, if the class has one that needs confirmation.
fn waiting(page: &AdministrationFrame, class: &StorageState) -> Markup {
    let Some(sweep) = &class.waiting else { return html! {} };
    let name = &class.class;
    let confirm = Form::new("sweep", "Sweep", format!("rspm storage sweep --confirm={name}")).of(name).field(
        CONFIRM,
        "These objects are not needed",
        Kind::Confirm,
    );
    let [objects, of] = [sweep.objects, sweep.of].map(|n| number(i64::try_from(n).unwrap_or(i64::MAX)));
    html! {
        h2 { "The sweep of " (name) " needs confirmation" }
        p.notice { "It would remove " (objects) " of " (of) " objects." }
        (confirm.render(page))
    }
}
