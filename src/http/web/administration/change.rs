//! Converts forms of administrators to requests to the admin API. Pure.

use http::Method;
use serde_json::{Map, Value, json};

use crate::http::error::Failure;
use crate::http::route::administration::AdministrationPage;
use crate::http::target::Query;
use api::operations::{Operation, address, admin as operations};
use api::repo::Unsubscribe;
use api::source::DeleteSource;
use pages::administration::AdministrationSection;
use pages::administration::form::{ACTION, CONFIRM, OBJECT};
use pages::administration::rules::{self, RuleObjects};
use pages::frame::Root;

const DAY: i64 = 86_400;

#[derive(Debug, PartialEq)]
pub(super) struct Change {
    pub(super) method: Method,
    /// The path below `/__api__/admin/v1`, with its query.
    pub(super) path: String,
    pub(super) body: Value,
    /// The field of the form at which a refusal of the API is displayed.
    pub(super) field: &'static str,
    pub(super) next_page: NextPage,
    /// The key of the message on that page; see [`message`].
    pub(super) message_key: &'static str,
    pub(super) displayed_part: ResponsePart,
}

impl Change {
    /// Returns the field and the message of a refusal by the API. The form of a rule has the checkbox `all`
    /// instead of the option that the message names.
    pub(super) fn refusal(&self, failure: &Failure) -> (&'static str, String) {
        match failure.unconfirmed_reason() {
            Some(reason) => ("all", format!("{reason}; this box confirms that")),
            None => (self.field, failure.phrase.clone()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponsePart {
    /// Nothing: the browser is redirected to [`Change::next_page`].
    Nothing,
    Token,
    /// The packages that match a rule, which is tested without being created.
    Matches,
}

#[derive(Debug, PartialEq)]
pub(super) enum NextPage {
    Section(AdministrationSection),
    Object(AdministrationSection, String),
}

impl NextPage {
    pub(super) fn address(&self, root: &Root) -> String {
        match self {
            NextPage::Section(section) => section.address(root),
            NextPage::Object(section, name) => section.object(root, name),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(super) struct Invalid {
    pub(super) field: &'static str,
    pub(super) message: String,
}

fn invalid(field: &'static str, message: &str) -> Invalid {
    Invalid { field, message: message.to_owned() }
}

/// Returns the message after a change. SECURITY: only these texts, because anyone can make a link with any text.
pub(super) fn message(name: &str) -> Option<&'static str> {
    match name {
        "created" => Some("Created."),
        "renamed" => Some("Renamed."),
        "deleted" => Some("Deleted."),
        "changed" => Some("Changed."),
        "opened" => Some("Changed. Everyone who can connect to the server can read these packages now."),
        "started" => Some("The job was started; the page of jobs shows its progress and its result."),
        "revoked" => Some("Revoked."),
        _ => None,
    }
}

/// Returns a call of an operation, with the most common values of the other fields.
fn change<O: Operation<Query: Default>>(
    path: O::Path<'_>,
    body: Value,
    next_page: NextPage,
    message_key: &'static str,
) -> Change {
    Change {
        method: O::METHOD,
        path: address::<O>(path, &O::Query::default()),
        body,
        field: "",
        next_page,
        message_key,
        displayed_part: ResponsePart::Nothing,
    }
}

/// Converts a form of a page to a request.
pub(super) fn plan(page: &AdministrationPage, form: &Query) -> Result<Change, Invalid> {
    let action = form.get(ACTION).unwrap_or_default();
    match page {
        AdministrationPage::Sources => sources(action, form),
        AdministrationPage::Source(name) => source(action, form, name),
        AdministrationPage::Repositories => repositories(action, form),
        AdministrationPage::Repository(name) => repository(action, form, name),
        AdministrationPage::Storage => storage(action, form),
        AdministrationPage::Rules => block_rules(action, form),
        AdministrationPage::Tokens => tokens(action, form),
        AdministrationPage::Start | AdministrationPage::Health | AdministrationPage::Jobs => Err(unknown()),
    }
}

fn unknown() -> Invalid {
    invalid("", "the page has no such form; open it again")
}

/// Returns the text of a field without leading and trailing spaces.
fn text<'a>(form: &'a Query, name: &str) -> &'a str {
    form.get(name).unwrap_or_default().trim()
}

/// Returns the text of a field that must not be empty.
fn required<'a>(form: &'a Query, name: &'static str, message: &str) -> Result<&'a str, Invalid> {
    let text = text(form, name);
    if text.is_empty() { Err(invalid(name, message)) } else { Ok(text) }
}

/// Checks that the box of an action that cannot be undone is ticked.
fn require_confirmation(form: &Query) -> Result<(), Invalid> {
    match form.get(CONFIRM) {
        Some("yes") => Ok(()),
        _ => Err(invalid(CONFIRM, "tick the box to confirm")),
    }
}

fn name(form: &Query) -> Result<&str, Invalid> {
    required(form, "name", "enter a name")
}

fn new_name(form: &Query) -> Result<&str, Invalid> {
    required(form, "new_name", "enter the new name")
}

fn flag(form: &Query, name: &'static str) -> Result<bool, Invalid> {
    match form.get(name) {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => Err(invalid(name, "choose yes or no")),
    }
}

fn sources(action: &str, form: &Query) -> Result<Change, Invalid> {
    match action {
        "create" => {
            let name = name(form)?;
            let body = json!({ "name": name, "type": text(form, "type") });
            let next_page = NextPage::Object(AdministrationSection::Sources, name.to_owned());
            Ok(Change { field: "name", ..change::<operations::CreateSource>([], body, next_page, "created") })
        }
        "sync" => {
            let body = json!({ "type": text(form, "type") });
            let next_page = NextPage::Section(AdministrationSection::Jobs);
            Ok(Change { field: "type", ..change::<operations::StartSync>([], body, next_page, "started") })
        }
        _ => Err(unknown()),
    }
}

fn source(action: &str, form: &Query, name: &str) -> Result<Change, Invalid> {
    match action {
        "rename" => {
            let new = new_name(form)?;
            let next_page = NextPage::Object(AdministrationSection::Sources, new.to_owned());
            let body = json!({ "new_name": new });
            Ok(Change {
                field: "new_name",
                ..change::<operations::EditSource>([name], body, next_page, "renamed")
            })
        }
        "delete" => {
            require_confirmation(form)?;
            let next_page = NextPage::Section(AdministrationSection::Sources);
            Ok(Change {
                field: CONFIRM,
                path: address::<operations::DeleteSource>([name], &DeleteSource { with_packages: true }),
                ..change::<operations::DeleteSource>([name], Value::Null, next_page, "deleted")
            })
        }
        _ => Err(unknown()),
    }
}

fn repositories(action: &str, form: &Query) -> Result<Change, Invalid> {
    if action != "create" {
        return Err(unknown());
    }
    let name = name(form)?;
    let body = json!({
        "name": name,
        "type": text(form, "type"),
        "description": text(form, "description"),
        "authenticated": flag(form, "authenticated")?,
    });
    let next_page = NextPage::Object(AdministrationSection::Repositories, name.to_owned());
    Ok(Change { field: "name", ..change::<operations::CreateRepo>([], body, next_page, "created") })
}

fn repository(action: &str, form: &Query, name: &str) -> Result<Change, Invalid> {
    let here = || NextPage::Object(AdministrationSection::Repositories, name.to_owned());
    let edit = |body: Value, field: &'static str, next_page: NextPage, message_key: &'static str| {
        Ok(Change { field, ..change::<operations::EditRepo>([name], body, next_page, message_key) })
    };
    match action {
        "describe" => {
            let body = json!({ "description": text(form, "description") });
            edit(body, "description", here(), "changed")
        }
        "visibility" => {
            let (hidden, authenticated) = (flag(form, "hidden")?, flag(form, "authenticated")?);
            let body = json!({ "hidden": hidden, "authenticated": authenticated });
            edit(body, "authenticated", here(), "changed")
        }
        "rename" => {
            let new = new_name(form)?;
            let next_page = NextPage::Object(AdministrationSection::Repositories, new.to_owned());
            edit(json!({ "new_name": new }), "new_name", next_page, "renamed")
        }
        "delete" => {
            require_confirmation(form)?;
            let next_page = NextPage::Section(AdministrationSection::Repositories);
            Ok(Change {
                field: CONFIRM,
                ..change::<operations::DeleteRepo>([name], Value::Null, next_page, "deleted")
            })
        }
        "subscribe" => {
            let source = required(form, "source", "choose a source")?;
            let version = Some(text(form, "version")).filter(|version| !version.is_empty());
            let body = json!({ "source": source, "version": version });
            Ok(Change { field: "source", ..change::<operations::Subscribe>([name], body, here(), "changed") })
        }
        "reorder" => {
            let sources = required(form, "sources", "enter all sources of the repository")?;
            let sources: Vec<&str> =
                sources.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
            let body = json!({ "sources": sources });
            Ok(Change {
                field: "sources",
                ..change::<operations::ReorderSources>([name], body, here(), "changed")
            })
        }
        "unsubscribe" => {
            let object = text(form, OBJECT);
            let (source, version) = match object.split_once(' ') {
                Some((source, version)) => (source, Some(version.to_owned())),
                None => (object, None),
            };
            let path = address::<operations::Unsubscribe>([name, source], &Unsubscribe { version });
            Ok(Change {
                path,
                ..change::<operations::Unsubscribe>([name, source], Value::Null, here(), "changed")
            })
        }
        _ => Err(unknown()),
    }
}

fn storage(action: &str, form: &Query) -> Result<Change, Invalid> {
    let jobs = || NextPage::Section(AdministrationSection::Jobs);
    match action {
        "sweep" => {
            let class = Some(text(form, OBJECT)).filter(|class| !class.is_empty());
            if class.is_some() {
                require_confirmation(form)?;
            }
            let body = json!({ "confirm": class.into_iter().collect::<Vec<_>>() });
            Ok(change::<operations::SweepStorage>([], body, jobs(), "started"))
        }
        "restore" => {
            require_confirmation(form)?;
            Ok(change::<operations::RestoreStorage>([], json!({ "classes": [] }), jobs(), "started"))
        }
        "adopt" => {
            require_confirmation(form)?;
            let next_page = NextPage::Section(AdministrationSection::Storage);
            Ok(change::<operations::AdoptStorage>([], json!({ "classes": [] }), next_page, "changed"))
        }
        _ => Err(unknown()),
    }
}

fn block_rules(action: &str, form: &Query) -> Result<Change, Invalid> {
    let here = NextPage::Section(AdministrationSection::Rules);
    match action {
        "create" => {
            let rule = rule(form)?;
            let displayed_part =
                if flag(form, "dry_run")? { ResponsePart::Matches } else { ResponsePart::Nothing };
            let body = json!({ "rules": [rule], "dry_run": displayed_part == ResponsePart::Matches });
            Ok(Change { displayed_part, ..change::<operations::CreateBlockRules>([], body, here, "created") })
        }
        "delete" => {
            require_confirmation(form)?;
            let body = json!({ "id": text(form, OBJECT) });
            Ok(change::<operations::DeleteBlockRules>([], body, here, "deleted"))
        }
        _ => Err(unknown()),
    }
}

fn tokens(action: &str, form: &Query) -> Result<Change, Invalid> {
    let here = NextPage::Section(AdministrationSection::Tokens);
    match action {
        "create" => {
            let description = required(form, "description", "enter the purpose of the token")?;
            let days = match text(form, "expires") {
                "" => None,
                days => Some(days.parse::<u32>().map_err(|_| {
                    invalid(
                        "expires",
                        "enter a number of days, such as 90, or nothing for an unlimited lifetime",
                    )
                })?),
            };
            let objects: Vec<&str> =
                text(form, "objects").split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
            let body = json!({
                "scopes": [{ "scope": text(form, "scope"), "objects": objects }],
                "description": description,
                "user": text(form, "user"),
                "expires_in": days.map(|days| i64::from(days) * DAY),
            });
            let created = change::<operations::CreateToken>([], body, here, "created");
            Ok(Change { field: "objects", displayed_part: ResponsePart::Token, ..created })
        }
        "revoke" => {
            let body = json!({ "guid": text(form, OBJECT) });
            Ok(change::<operations::RevokeToken>([], body, here, "revoked"))
        }
        _ => Err(unknown()),
    }
}

/// Returns the rule that a form describes, as the API accepts it; an empty field adds no criterion.
fn rule(form: &Query) -> Result<Map<String, Value>, Invalid> {
    let mut rule = Map::new();
    for field in rules::form(&RuleObjects::default()).fields() {
        let text = text(form, field.name);
        let (key, value): (&str, Value) = match field.name {
            "dry_run" => continue,
            "effect" if text == "allow" => ("exception", true.into()),
            "effect" if text == "warn" => ("warn", true.into()),
            "effect" => continue,
            _ if field.is_flag() && text != "true" => continue,
            name if field.is_flag() => (name, true.into()),
            _ if text.is_empty() => continue,
            name @ "min_severity" => match text.parse::<f64>() {
                Ok(score) if (0.0..=10.0).contains(&score) => (name, score.into()),
                _ => return Err(invalid(name, "the severity is a number from 0 to 10, such as 7.0")),
            },
            name @ "priority" => match text.parse::<i64>() {
                Ok(priority) => (name, priority.into()),
                Err(_) => return Err(invalid(name, "the priority is a whole number, such as 100")),
            },
            name => (name, text.into()),
        };
        rule.insert(key.to_owned(), value);
    }
    Ok(rule)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::block_rule::BlockRule;

    fn planned(page: &AdministrationPage, form: &str) -> Result<(String, Value), &'static str> {
        let form = Query::parse(Some(form), 4096).expect("a form");
        let change = plan(page, &form).map_err(|invalid| invalid.field)?;
        Ok((format!("{} {}", change.method, change.path), change.body))
    }

    #[test]
    fn each_form_is_a_request_of_the_admin_api() {
        let repo = AdministrationPage::Repository("a b".to_owned());
        let source = AdministrationPage::Source("team".to_owned());
        let request = |text: &str, body: Value| Ok((text.to_owned(), body));
        for (page, form, expected) in [
            (
                &AdministrationPage::Sources,
                "action=create&name=+team+&type=local",
                request("POST /sources", json!({ "name": "team", "type": "local" })),
            ),
            (&AdministrationPage::Sources, "action=create&name=+", Err("name")),
            (
                &AdministrationPage::Sources,
                "action=sync&type=cran",
                request("POST /sync", json!({ "type": "cran" })),
            ),
            (&source, "action=rename&new_name=x", request("PATCH /sources/team", json!({ "new_name": "x" }))),
            (&source, "action=delete", Err("confirm")),
            (
                &source,
                "action=delete&confirm=yes",
                request("DELETE /sources/team?with_packages=true", Value::Null),
            ),
            (
                &repo,
                "action=unsubscribe&object=bioc+3.20",
                request("DELETE /repos/a%20b/sources/bioc?version=3%2E20", Value::Null),
            ),
            (
                &repo,
                "action=reorder&sources=a,+b,",
                request("PUT /repos/a%20b/sources", json!({ "sources": ["a", "b"] })),
            ),
            (&repo, "action=visibility&hidden=true&authenticated=x", Err("authenticated")),
            (
                &AdministrationPage::Storage,
                "action=sweep",
                request("POST /storage/sweep", json!({ "confirm": [] })),
            ),
            (&AdministrationPage::Storage, "action=sweep&object=cran", Err("confirm")),
            (
                &AdministrationPage::Rules,
                "action=create&package_name=+x+&version=&vulns=false&dry_run=true",
                request("POST /block-rules", json!({ "rules": [{ "package_name": "x" }], "dry_run": true })),
            ),
            (&AdministrationPage::Rules, "action=create&package_name=x", Err("dry_run")),
            (&AdministrationPage::Rules, "action=create&min_severity=high&dry_run=true", Err("min_severity")),
            (&AdministrationPage::Rules, "action=delete&object=7", Err("confirm")),
            (
                &AdministrationPage::Rules,
                "action=delete&object=7&confirm=yes",
                request("POST /block-rules/delete", json!({ "id": "7" })),
            ),
            (&AdministrationPage::Tokens, "action=create&description=d&expires=soon", Err("expires")),
            (&AdministrationPage::Jobs, "action=create", Err("")),
        ] {
            assert_eq!(planned(page, form), expected, "{form}");
        }
        let (_, body) = planned(
            &AdministrationPage::Tokens,
            "action=create&description=d&expires=2&scope=repos:read&objects=a,b",
        )
        .expect("a token");
        assert_eq!(body["expires_in"], json!(172_800));
        assert_eq!(body["scopes"][0]["objects"], json!(["a", "b"]));
    }

    fn read(form: &str) -> Result<BlockRule, &'static str> {
        let rule = rule(&Query::parse(Some(form), 4096).expect("a form")).map_err(|invalid| invalid.field)?;
        Ok(serde_json::from_value(rule.into()).expect("a rule of the API"))
    }

    #[test]
    fn empty_fields_are_no_criteria() {
        assert_eq!(read("package_name=&version=+&license_types=,&min_severity="), Ok(BlockRule::default()));
        let rule = read("license_types=MIT,+GPL-3.0-only&min_severity=7&vulns=true&effect=allow&priority=5")
            .expect("a rule");
        assert_eq!(rule.license_types, ["MIT", "GPL-3.0-only"]);
        assert_eq!((rule.min_severity, rule.priority), (Some(7.0), Some(5)));
        assert!(rule.vulns && rule.exception && !rule.warn && !rule.deleted_packages);
        assert!(
            read("effect=warn&not_dated=true")
                .is_ok_and(|rule| rule.warn && rule.not_dated && !rule.exception && !rule.all)
        );
        assert!(read("repo=prod&all=true").is_ok_and(|rule| rule.all));
    }

    #[test]
    fn numbers_are_checked() {
        for (form, field) in [
            ("min_severity=high", "min_severity"),
            ("min_severity=NaN", "min_severity"),
            ("min_severity=11", "min_severity"),
            ("priority=1.5", "priority"),
        ] {
            assert_eq!(read(form), Err(field), "{form}");
        }
    }
}
