//! The addresses of the pages of administrators, below `/__ui__/admin/`. No I/O.

use http::Method;

use crate::http::error::Failure;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdministrationPage {
    /// The address `/__ui__/admin/` itself: redirects to the page of health.
    Start,
    /// `health/`
    Health,
    /// `sources/`
    Sources,
    /// `sources/{name}/`; the name is not necessarily that of an existing source.
    Source(String),
    /// `repositories/`
    Repositories,
    /// `repositories/{name}/`; the name is not necessarily that of an existing repository.
    Repository(String),
    /// `jobs/`
    Jobs,
    /// `storage/`
    Storage,
    /// `rules/`
    Rules,
    /// `tokens/`
    Tokens,
}

impl AdministrationPage {
    /// Parses the decoded segments after `/__ui__/admin`. A slash at the end is optional. Fails with 404; 405 for a
    /// form that is sent to a page without forms.
    pub(super) fn parse(method: &Method, rest: &[&str]) -> Result<AdministrationPage, Failure> {
        let rest = match rest {
            [before @ .., ""] => before,
            rest => rest,
        };
        let page = match rest {
            [] => AdministrationPage::Start,
            ["health"] => AdministrationPage::Health,
            ["sources"] => AdministrationPage::Sources,
            ["sources", name] => AdministrationPage::Source((*name).to_owned()),
            ["repositories"] => AdministrationPage::Repositories,
            ["repositories", name] => AdministrationPage::Repository((*name).to_owned()),
            ["jobs"] => AdministrationPage::Jobs,
            ["storage"] => AdministrationPage::Storage,
            ["rules"] => AdministrationPage::Rules,
            ["tokens"] => AdministrationPage::Tokens,
            _ => return Err(Failure::no_such_address()),
        };
        let has_forms = !matches!(
            page,
            AdministrationPage::Start | AdministrationPage::Health | AdministrationPage::Jobs
        );
        match *method {
            Method::GET | Method::HEAD => Ok(page),
            Method::POST if has_forms => Ok(page),
            _ if has_forms => Err(Failure::method_not_allowed("GET, HEAD, POST")),
            _ => Err(Failure::method_not_allowed("GET, HEAD")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_one_address_with_and_without_a_slash_and_forms_only_where_there_is_one() {
        let parse = |method: Method, path: &str| {
            let segments: Vec<&str> = path.split('/').collect();
            AdministrationPage::parse(&method, &segments).map_err(|failure| failure.status.as_u16())
        };
        let source = || Ok(AdministrationPage::Source("team".to_owned()));
        for (path, get, post) in [
            ("", Ok(AdministrationPage::Start), Err(405)),
            ("health/", Ok(AdministrationPage::Health), Err(405)),
            ("sources", Ok(AdministrationPage::Sources), Ok(AdministrationPage::Sources)),
            ("sources/team", source(), source()),
            ("sources/team/", source(), source()),
            ("jobs/", Ok(AdministrationPage::Jobs), Err(405)),
            ("storage/", Ok(AdministrationPage::Storage), Ok(AdministrationPage::Storage)),
            ("tokens/", Ok(AdministrationPage::Tokens), Ok(AdministrationPage::Tokens)),
            ("rules/", Ok(AdministrationPage::Rules), Ok(AdministrationPage::Rules)),
            ("rules/7/", Err(404), Err(404)),
            ("tokens/1/", Err(404), Err(404)),
            ("other/", Err(404), Err(404)),
        ] {
            assert_eq!(parse(Method::GET, path), get, "{path}");
            assert_eq!(parse(Method::POST, path), post, "{path}");
            assert!(parse(Method::DELETE, path).is_err(), "{path}");
        }
    }
}
