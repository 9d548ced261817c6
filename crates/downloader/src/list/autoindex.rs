//! Listings of folders by web servers, such as nginx, Apache and `python -m http.server`.

use percent_encoding::percent_decode_str;

use crate::error::OfflineError;
use crate::page::page;
use base::model::html::{Token, Tokens};
use upstream::transport::Transport;

/// Returns the names in a folder, those of folders with a slash at their end; none without a listing.
pub(super) async fn names(transport: &Transport, path: &str) -> Result<Vec<String>, OfflineError> {
    let page = page(transport, path, "text/html").await?.unwrap_or_default();
    Ok(links(&String::from_utf8_lossy(&page)))
}

fn links(html: &str) -> Vec<String> {
    let mut names: Vec<String> = Tokens::of_page(html)
        .filter_map(|token| match token {
            Token::Start(tag) if tag.name == "a" => {
                let href = percent_decode_str(tag.attribute("href")?).decode_utf8().ok()?.into_owned();
                let href = href.strip_prefix("./").unwrap_or(&href);
                let name = href.strip_suffix('/').unwrap_or(href);
                let is_name = !name.is_empty() && !name.contains(['/', '\\', '?', '#', ':']);
                (is_name && !name.starts_with('.') && !name.contains(char::is_control))
                    .then(|| href.to_owned())
            }
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_listings_are_read_and_other_links_are_not() {
        let nginx = "<h1>Index of /m/</h1><hr><pre><a href=\"../\">../</a>\n<a href=\"Archive/\">Archive/</a>  10-Mar-2024 09:00  -\n\
                     <a href=\"b_1.0%2B1.tar.gz\">b_1.0+1.tar.gz</a>  10-Mar-2024 09:00  381\n</pre>";
        assert_eq!(links(nginx), ["Archive/", "b_1.0+1.tar.gz"]);
        let python =
            "<ul><li><a href=\"Archive/\">Archive/</a></li><li><a href=\"./a_1.tar.gz\">a</a></li></ul>";
        assert_eq!(links(python), ["Archive/", "a_1.tar.gz"]);
        let apache = "<a href=\"?C=N;O=D\">Name</a><a href=\"/\">Parent</a><a href=\"a_1.tar.gz\">a</a>";
        assert_eq!(links(apache), ["a_1.tar.gz"]);
        let hostile = "<a href=\"http://h/a\">x</a><a href=\"//h/a\">x</a><a href=\"%2e%2e/x\">x</a><a href=\"..%2fx\">x</a>";
        assert!(links(hostile).is_empty());
    }
}
