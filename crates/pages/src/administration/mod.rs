//! The pages of administrators: health, sources, repositories, jobs, storage, rules, tokens. Each form is displayed
//! with the equivalent command, which replaces it on a page without forms.

pub mod form;
pub mod health;
pub mod jobs;
pub mod repositories;
pub mod rules;
pub mod sources;
pub mod storage;
pub mod tokens;

use form::RejectedForm;
use maud::{Markup, html};

use super::frame::{Frame, Root};
use super::text::{segment, visible};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdministrationSection {
    Health,
    Sources,
    Repositories,
    Jobs,
    Storage,
    Rules,
    Tokens,
}

impl AdministrationSection {
    /// All sections, in the order of the navigation.
    pub const ALL: [AdministrationSection; 7] = [
        AdministrationSection::Health,
        AdministrationSection::Sources,
        AdministrationSection::Repositories,
        AdministrationSection::Jobs,
        AdministrationSection::Storage,
        AdministrationSection::Rules,
        AdministrationSection::Tokens,
    ];

    pub fn segment(self) -> &'static str {
        match self {
            AdministrationSection::Health => "health",
            AdministrationSection::Sources => "sources",
            AdministrationSection::Repositories => "repositories",
            AdministrationSection::Jobs => "jobs",
            AdministrationSection::Storage => "storage",
            AdministrationSection::Rules => "rules",
            AdministrationSection::Tokens => "tokens",
        }
    }

    fn label(self) -> &'static str {
        match self {
            AdministrationSection::Health => "Health",
            AdministrationSection::Sources => "Sources",
            AdministrationSection::Repositories => "Repositories",
            AdministrationSection::Jobs => "Jobs",
            AdministrationSection::Storage => "Storage",
            AdministrationSection::Rules => "Rules",
            AdministrationSection::Tokens => "Tokens",
        }
    }

    pub fn address(self, root: &Root) -> String {
        format!("{root}__ui__/admin/{}/", self.segment())
    }

    pub fn object(self, root: &Root, name: &str) -> String {
        format!("{}{}/", self.address(root), segment(name))
    }
}

/// The parts that all pages of administrators display around their content.
#[derive(Clone, Debug)]
pub struct AdministrationFrame {
    pub root: Root,
    pub section: AdministrationSection,
    pub object: Option<String>,
    /// The token of forms; `None` if the page has no forms.
    pub form_token: Option<String>,
    /// The message about the change that led to this page, if any.
    pub done: Option<&'static str>,
    /// The refused form, if the page is the response to one.
    pub rejected: Option<RejectedForm>,
}

impl AdministrationFrame {
    pub fn address(&self) -> String {
        match &self.object {
            None => self.section.address(&self.root),
            Some(name) => self.section.object(&self.root, name),
        }
    }

    pub fn render(&self, title: &str, content: &Markup) -> String {
        let navigation = Some(self.navigation());
        let frame = Frame { navigation, ..Frame::new(self.root.clone(), title) };
        // On a page without forms, the message of a refused form is displayed at the top.
        let rejected_form = self.rejected.as_ref().filter(|_| self.form_token.is_none());
        frame.render(&html! {
            h1 { (visible(title)) }
            @if let Some(done) = self.done { p.notice role="status" { (done) } }
            @if let Some(rejected) = rejected_form { p.notice role="alert" { (visible(&rejected.message)) } }
            @if self.form_token.is_none() {
                p.muted { "Changes are possible only on the server's machine, with rspm, because Authentication.APITokenAuth is off." }
            }
            (content)
        })
    }

    fn navigation(&self) -> Markup {
        let address = self.section.address(&self.root);
        html! {
            nav aria-label="Path" { ol {
                li { "Administration" }
                @match &self.object {
                    None => { li { (self.section.label()) } }
                    Some(name) => { li { a href=(address) { (self.section.label()) } } li { (visible(name)) } }
                }
            } }
            nav aria-label="Administration" { ul {
                @for section in AdministrationSection::ALL {
                    @let current = (section == self.section).then_some("page");
                    li { a href=(section.address(&self.root)) aria-current=[current] { (section.label()) } }
                }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_without_a_token_of_forms_have_no_form() {
        let page = |form_token| AdministrationFrame {
            root: Root::of_path("/__ui__/admin/storage/"),
            section: AdministrationSection::Storage,
            object: None,
            form_token,
            done: Some("Done."),
            rejected: None,
        };
        let form = form::Form::new("sweep", "Sweep", "rspm storage sweep".to_owned());
        let text = page(None).render("Storage", &form.render(&page(None)));
        assert!(!text.contains("method=\"post\"") && text.contains("rspm storage sweep"), "{text}");
        let text = page(Some("0a".to_owned())).render("Storage", &form.render(&page(Some("0a".to_owned()))));
        assert!(text.contains("method=\"post\"") && text.contains("value=\"0a\""), "{text}");
        assert!(text.contains("href=\"../../../__ui__/admin/jobs/\""), "{text}");
    }
}
