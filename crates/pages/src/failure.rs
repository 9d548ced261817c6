//! The page of an error.

use maud::html;

use super::frame::{Frame, Root};
use super::text::with_packages;

/// Returns the error page for a status and its reason phrase; `phrase` describes the error, and may contain text of the
/// request. `pages` are names of packages and the addresses of their pages: names in quotes in the phrase become links.
pub fn page(root: Root, status: u16, reason: &str, phrase: &str, pages: &[(String, String)]) -> String {
    let frame = Frame::new(root, format!("{status} {reason}"));
    let address = |name: &str| pages.iter().find(|(known, _)| known == name).map(|(_, page)| page.clone());
    frame.render(&html! {
        h1 { (status) " " (reason) }
        p.prose { (with_packages(phrase, address)) }
        p { a href=(frame.root) { "All repositories" } }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_packages_with_a_page_are_links_and_the_phrase_is_escaped() {
        let pages = [("alpha".to_owned(), "../alpha/".to_owned())];
        let phrase = "no package '<b>alpha' or 'alpho'; did you mean 'alpha' or 'beta'?";
        let html = page(Root::of_path("/prod/latest/web/packages/x/"), 404, "Not Found", phrase, &pages);
        let expected = "no package '&lt;b&gt;alpha' or 'alpho'; \
            did you mean '<a href=\"../alpha/\">alpha</a>' or 'beta'?</p>";
        assert!(html.contains(expected) && html.contains("<h1>404 Not Found</h1>"), "{html}");
    }
}
