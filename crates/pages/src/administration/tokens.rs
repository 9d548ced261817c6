//! The page of access tokens.

use std::borrow::Cow;

use maud::{Markup, html};

use super::AdministrationFrame;
use super::form::{Form, Kind, choices};
use crate::text::{time, visible};
use api::token::{CreatedToken, Scope, Token};

const SCOPES: [&str; 6] =
    ["repos:read", "sources:write", "blocklist:read", "blocklist:admin", "metadata:admin", "global:admin"];

/// Returns the page; `created` is a token that was just created, which is displayed once.
pub fn list(page: &AdministrationFrame, tokens: &[Token], created: Option<&CreatedToken>) -> String {
    let create = Form::new(
        "create",
        "Create",
        "rspm create token --scope=SCOPE --repos=NAMES --description=TEXT --expires=90d".to_owned(),
    )
    .filled("scope", "Scope", choices(SCOPES), SCOPES[0])
    .field("objects", "Repositories or sources, separated by commas; * for all", Kind::Text(4000))
    .field("description", "Purpose", Kind::Required(500))
    .field("user", "User", Kind::Text(200))
    .filled("expires", "Lifetime in days; empty for unlimited", Kind::Text(6), "90");
    page.render(
        "Tokens",
        &html! {
            @if let Some(created) = created { (new_token(created)) }
            @if tokens.is_empty() {
                p { "There is no token yet." }
            } @else {
                (table(page, tokens))
            }
            h2 { "Create a token" }
            (create.render(page))
        },
    )
}

fn new_token(created: &CreatedToken) -> Markup {
    html! {
        div.notice role="status" {
            p { strong { "The new token is shown once." } " Store it now; it is not shown again." }
            figure.snippet {
                figcaption { "Token " (created.guid) }
                pre tabindex="0" { code { (created.token) } }
            }
        }
    }
}

fn table(page: &AdministrationFrame, tokens: &[Token]) -> Markup {
    html! {
        section.scroll tabindex="0" aria-label="Tokens" { table {
            thead { tr {
                th scope="col" { "Token" } th scope="col" { "Purpose" } th scope="col" { "Scopes" }
                th scope="col" { "Created" } th scope="col" { "Last used" } th scope="col" { "Expires" }
                th scope="col" { "Revoked" }
            } }
            tbody { @for token in tokens {
                tr {
                    td.name { code { (token.excerpt) } }
                    td dir="auto" {
                        (visible(&token.description))
                        @if !token.user.is_empty() { " (" (visible(&token.user)) ")" }
                    }
                    td { (scopes(&token.scopes)) }
                    td { (time(&token.created)) " by " span.long { (visible(&creator(&token.created_by))) } }
                    td { @match &token.last_used { None => { "never" } Some(day) => (time(day)) } }
                    td { @match &token.expires {
                        None => { "never" }
                        Some(at) => { @if token.expired { span.changed { "expired" } " " } (time(at)) }
                    } }
                    td { @match &token.revoked { None => { "no" } Some(at) => (time(at)) } }
                }
                @if token.revoked.is_none() { tr.action { td colspan="7" {
                    (Form::new("revoke", "Revoke", format!("rspm revoke token --guid={}", token.guid))
                        .of(&token.guid).render(page))
                } } }
            } }
        } }
    }
}

/// Returns the name of a creator; that of a token without a user begins with an empty user: ` (token 0a1b…)`.
fn creator(name: &str) -> Cow<'_, str> {
    match name.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')')) {
        Some(token) => Cow::Owned(format!("the {token}")),
        None => Cow::Borrowed(name),
    }
}

fn scopes(scopes: &[Scope]) -> String {
    let text = |scope: &Scope| match scope.objects.as_slice() {
        [] => scope.scope.clone(),
        objects => format!("{}:{}", scope.scope, objects.join(",")),
    };
    scopes.iter().map(text).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::administration::AdministrationSection;
    use crate::frame::Root;

    #[test]
    fn a_long_name_of_a_creator_can_break_and_a_token_without_user_has_no_parentheses() {
        let page = AdministrationFrame {
            root: Root::of_path("/__ui__/admin/tokens/"),
            section: AdministrationSection::Tokens,
            object: None,
            form_token: None,
            done: None,
            rejected: None,
        };
        let guid = "0a".repeat(32);
        let token = |created_by: String| Token {
            guid: guid.clone(),
            excerpt: "a…b".to_owned(),
            user: String::new(),
            description: "pages".to_owned(),
            scopes: Vec::new(),
            created_by,
            created: "2026-11-26T09:32:28Z".to_owned(),
            expires: None,
            expired: false,
            last_used: None,
            revoked: None,
        };
        let tokens = [token(format!(" (token {guid})")), token(format!("ann (token {guid})"))];
        let html = list(&page, &tokens, None);
        for creator in [format!("the token {guid}"), format!("ann (token {guid})")] {
            assert!(html.contains(&format!(" by <span class=\"long\">{creator}</span>")), "{html}");
        }
    }
}
