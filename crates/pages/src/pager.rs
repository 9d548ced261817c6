//! The links between the pages of a long list.

use maud::{Markup, html};

use super::text::number;

/// Renders links to the pages near `page`, the first and the last one; nothing if there is only one page. `address`
/// returns the address of a page, counted from 1.
pub fn pager(page: usize, pages: usize, address: impl Fn(usize) -> String) -> Markup {
    if pages < 2 {
        return html! {};
    }
    let near = page.saturating_sub(2).max(1)..=page.saturating_add(2).min(pages);
    html! {
        nav aria-label="Pages" { ul.pages {
            @if page > 1 { li { a href=(address(page - 1)) rel="prev" { "Previous" } } }
            @if *near.start() > 1 { li { a href=(address(1)) { "1" } } }
            @for other in near.clone() { li {
                @if other == page { span aria-current="page" { (number(other)) } }
                @else { a href=(address(other)) { (number(other)) } }
            } }
            @if *near.end() < pages { li { a href=(address(pages)) { (number(pages)) } } }
            @if page < pages { li { a href=(address(page + 1)) rel="next" { "Next" } } }
        } }
    }
}
