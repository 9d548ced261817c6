//! READMEs as HTML, and which HTML they may have: converts Markdown, reStructuredText, and plain text.
//!
//! SECURITY: authors of packages write READMEs, and no converter is trusted: [`clean`] filters the result of each.

mod clean;
mod markdown;
mod nesting;
mod restructured;
mod restructured_inline;
mod tag;

use std::collections::BTreeSet;
use std::sync::Arc;

use maud::{Render, html};
use memchr::memmem;

use super::text::visible;
pub use clean::Links;
pub use markdown::to_html as markdown_to_html;

use clean::{CleanHtml, MissingAddress};

/// Maximum size of a README that is converted, in bytes. For a larger one, the beginning is displayed as text.
const MAX_CONVERTED: usize = 256 << 10;
/// Lines, `<`, `[` and `|` together in a README that is converted, which limits the time.
const MAX_MARKS: usize = 40_000;
/// Maximum number of bytes that a README may have more as text of a page: characters that are invisible are replaced.
const MAX_REPLACED: usize = 64 << 10;

/// Maximum size of a README that is shown as text, in bytes.
const MAX_SHOWN: usize = 512 << 10;

/// Of a missing address with its placeholder, approximately.
const MISSING_BYTES: usize = 100;

/// Maximum number of images that are searched in a README.
const MAX_IMAGES: usize = 100;
/// Maximum number of paths with unusual characters that are searched in a README.
const MAX_UNUSUAL: usize = 50;

/// The format of a README.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Markdown,
    Restructured,
    Plain,
}

impl Format {
    /// Returns the format for a media type, such as that of `Description-Content-Type`. Without one it is
    /// reStructuredText, as the core metadata specification of Python packages defines.
    pub fn of_media_type(media_type: Option<&str>) -> Format {
        let Some(media_type) = media_type else { return Format::Restructured };
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "text/markdown" => Format::Markdown,
            "text/x-rst" | "" => Format::Restructured,
            _ => Format::Plain,
        }
    }
}

/// A README as HTML that lacks the addresses of pages and figures of the package, so that it is the same in all snapshots.
#[derive(Clone, Debug)]
pub struct HtmlTemplate {
    html: Arc<str>,
    /// The offsets in `html` at which addresses are missing, in ascending order.
    missing: Arc<[(usize, MissingAddress)]>,
}

impl HtmlTemplate {
    /// Returns its size in bytes, approximately.
    pub fn size(&self) -> usize {
        self.html.len() + self.missing.len() * MISSING_BYTES
    }

    pub fn with_addresses(&self, links: &Links) -> Html {
        if self.missing.is_empty() {
            return Html(self.html.clone());
        }
        let mut html = String::with_capacity(self.size());
        let mut start = 0;
        for (at, missing) in self.missing.iter() {
            html.push_str(self.html.get(start..*at).unwrap_or_default());
            html.push_str(&missing.text(links));
            start = *at;
        }
        html.push_str(self.html.get(start..).unwrap_or_default());
        Html(html.into())
    }
}

/// HTML that [`HtmlTemplate::with_addresses`] returned, so that a page may contain it.
#[derive(Clone, Debug)]
pub struct Html(Arc<str>);

impl Render for Html {
    fn render_to(&self, buffer: &mut String) {
        buffer.push_str(&self.0);
    }
}

/// Returns the relative paths of raster images that the text of a README may name: at most 100.
pub fn image_paths(text: &[u8]) -> BTreeSet<&str> {
    let excerpt = text.get(..MAX_CONVERTED).unwrap_or(text);
    let is_other = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"_./-".contains(byte));
    let words = excerpt.split(is_other).filter_map(|word| std::str::from_utf8(word).ok());
    let paths = words.map(|word| word.strip_prefix("./").unwrap_or(word)).filter(|word| {
        let extension = word.rsplit_once('.').map_or("", |(_, extension)| extension);
        let is_image =
            ["png", "jpg", "jpeg", "gif", "webp"].iter().any(|e| e.eq_ignore_ascii_case(extension));
        is_image && word.split('/').all(|part| !matches!(part, "" | "." | ".."))
    });
    paths.take(MAX_IMAGES).collect()
}

/// Returns the paths of images, at most 50, that [`image_paths`] does not find in the text of a README
/// because their characters, such as spaces, may be percent-encoded.
pub fn unusual_image_paths<'a>(text: &[u8], paths: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte);
    let excerpt = text.get(..MAX_CONVERTED).unwrap_or(text);
    let is_named = |path: &str| memmem::find(excerpt, path.as_bytes()).is_some();
    let unusual = paths.into_iter().filter(|path| !path.bytes().all(is_usual)).take(MAX_UNUSUAL);
    unusual.filter(|path| is_named(path) || is_named(&path.replace(' ', "%20"))).collect()
}

fn mark_count(text: &[u8]) -> usize {
    text.iter().filter(|byte| matches!(byte, b'\n' | b'<' | b'[' | b'|')).count()
}

/// Converts a README to HTML; `links` are the pages to which relative links may lead, with
/// [placeholders](Links::placeholders).
pub fn convert(text: &[u8], format: Format, links: &Links) -> HtmlTemplate {
    convert_with(text, format, links, markdown_to_html)
}

/// Like [`convert`], with a function that does what [`markdown_to_html`] does, in another process.
pub fn convert_with(
    text: &[u8],
    format: Format,
    links: &Links,
    markdown: impl Fn(&str) -> Option<String>,
) -> HtmlTemplate {
    let excerpt = text.get(..MAX_CONVERTED).unwrap_or(text);
    let readable = visible(&String::from_utf8_lossy(excerpt));
    let is_whole = text.len() <= MAX_CONVERTED;
    let is_short =
        is_whole && readable.len() <= MAX_CONVERTED + MAX_REPLACED && mark_count(text) <= MAX_MARKS;
    let converted = match format {
        Format::Markdown if is_short => markdown(&readable).and_then(|html| clean::clean(&html, links)),
        Format::Restructured if is_short => {
            restructured::to_html(&readable).and_then(|html| clean::clean(&html, links))
        }
        Format::Markdown | Format::Restructured | Format::Plain => None,
    };
    let (html, missing) = match converted {
        Some(CleanHtml { html: cleaned, missing }) => {
            // A wide table is scrolled with the keyboard, which needs an element with the focus in the text or around it.
            let has_stop = cleaned.contains(" href=\"") || cleaned.contains(" tabindex=\"0\"");
            let tabindex = (!has_stop).then_some("0");
            let start = html! { div.prose.readme tabindex=[tabindex] lang="" dir="auto" {} }.into_string();
            let start = start.strip_suffix("</div>").unwrap_or(&start);
            let missing = missing.into_iter().map(|(at, missing)| (start.len() + at, missing));
            (format!("{start}{cleaned}</div>"), missing.collect::<Vec<_>>())
        }
        None => {
            // Invisible characters are replaced by longer texts.
            let shown = &readable[..readable.floor_char_boundary(MAX_SHOWN)];
            let html = html! {
                @if !is_whole || shown.len() < readable.len() { p.notice { "Only the beginning is shown." } }
                pre.readme tabindex="0" lang="" dir="auto" { (shown) }
            };
            (html.into_string(), Vec::new())
        }
    };
    HtmlTemplate { html: html.into(), missing: missing.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn links() -> Links {
        Links {
            description: Some("DESCRIPTION".to_owned()),
            news: "news/".to_owned(),
            license: Some("license/".to_owned()),
            figures: BTreeMap::new(),
        }
    }

    fn render(text: &[u8], format: Format, links: &Links) -> Html {
        convert(text, format, &links.placeholders()).with_addresses(links)
    }

    fn html(text: &str, format: Format) -> String {
        render(text.as_bytes(), format, &links()).0.to_string()
    }

    /// Returns the names of start tags, with their attributes. Panics if the HTML is not well-formed.
    fn tags(html: &str) -> Vec<(String, Vec<(String, String)>)> {
        let mut tags = Vec::new();
        for part in html.split('<').skip(1) {
            let (tag, text) = part.split_once('>').expect("an end of the tag");
            assert!(!text.contains('>'), "a bare > in {part}");
            if tag.starts_with('/') {
                continue;
            }
            let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
            let mut attributes = Vec::new();
            while let Some((attribute, after)) = rest.trim_start().split_once("=\"") {
                let (value, after) = after.split_once('"').expect("a closing quote");
                attributes.push((attribute.to_owned(), value.to_owned()));
                rest = after;
            }
            assert!(rest.is_empty(), "<{tag}>");
            tags.push((name.to_owned(), attributes));
        }
        tags
    }

    /// Asserts that HTML contains nothing that executes code, loads a resource or affects the rest of the page.
    fn assert_harmless(html: &str, origin: &str) {
        const ATTRIBUTES: [&str; 13] = [
            "href",
            "title",
            "rel",
            "lang",
            "dir",
            "id",
            "class",
            "tabindex",
            "colspan",
            "rowspan",
            "start",
            "scope",
            "aria-label",
        ];
        let excerpt: String = origin.chars().take(300).collect();
        for (name, attributes) in tags(html) {
            assert!(nesting::ELEMENTS.contains(&name.as_str()) && name != "img", "<{name}> of {excerpt:?}");
            for (attribute, value) in attributes {
                assert!(ATTRIBUTES.contains(&attribute.as_str()), "{attribute} of {excerpt:?}");
                let is_header = name == "th" && value == "col";
                assert!(attribute != "scope" || is_header, "scope {value} of <{name}> of {excerpt:?}");
                if attribute == "href" {
                    let known =
                        ["http://", "https://", "mailto:", "#readme-", "DESCRIPTION", "news/", "license/"];
                    let value = value.to_ascii_lowercase();
                    let is_known = known.iter().any(|start| value.starts_with(&start.to_ascii_lowercase()));
                    assert!(is_known, "{value} of {excerpt:?}");
                }
            }
        }
    }

    #[test]
    fn a_text_of_too_many_marks_is_displayed_unconverted() {
        let html = |text: &str| render(text.as_bytes(), Format::Markdown, &Links::default()).0;
        let few = format!("# A\n\n{}", "|".repeat(MAX_MARKS - 2));
        assert!(html(&few).contains("<h3"), "{}", &html(&few)[..100]);
        for mark in ["[", "<", "|", "\n"] {
            let many = format!("# A\n\n{}", mark.repeat(MAX_MARKS - 1));
            let many = html(&many);
            assert!(!many.contains("<h3") && !many.contains("Only the beginning"), "{mark}");
        }
    }

    #[test]
    fn markdown_becomes_html_below_the_headings_of_the_page() {
        let text = "# Alpha `x`\n\nA **b** [c](https://a.example) ~~d~~\n\n## Usage\n\n\
                    | a | b |\n|---|---|\n| 1 | 2 |\n\n\
                    [up](#alpha-x) [d](DESCRIPTION) [n](NEWS.md) [v](vignettes/a.Rmd) [gone](#nothing)\n\n\
                    ###### Deep\n";
        let html = html(text, Format::Markdown);
        assert!(html.contains("<h3 id=\"readme-alpha-x\">Alpha <code>x</code></h3>"), "{html}");
        assert!(
            html.contains("<h4 id=\"readme-usage\">") && html.contains("<h5 id=\"readme-deep\">Deep</h5>"),
            "{html}"
        );
        assert!(html.contains("<strong>b</strong>") && html.contains("<td>1</td>"), "{html}");
        assert!(html.contains("href=\"https://a.example\" rel=\"nofollow noopener noreferrer\""), "{html}");
        assert!(html.contains("href=\"#readme-alpha-x\"") && html.contains("href=\"DESCRIPTION\""), "{html}");
        assert!(html.contains("href=\"news/\""), "{html}");
        assert!(!html.contains("vignettes/") && !html.contains("#readme-nothing"), "{html}");
        assert_harmless(&html, text);
    }

    #[test]
    fn links_to_the_license_lead_to_its_page_if_there_is_one() {
        let text = "[a](LICENSE) [b](./LICENSE.md) [c](licence) [d](inst/LICENSE)";
        let with_page = html(text, Format::Markdown);
        assert_eq!(with_page.matches("href=\"license/\"").count(), 3, "{with_page}");
        let links = Links { license: None, ..links() };
        let without = render(text.as_bytes(), Format::Markdown, &links).0.to_string();
        assert!(!without.contains("href") && without.contains('d'), "{without}");
    }

    #[test]
    fn links_to_nothing_are_their_text() {
        for (text, format) in [
            (
                "a [b](inst/b.R)c <a href=\"https:/d.example\">d</a> <a name=\"e\">e</a> [f](#gone)",
                Format::Markdown,
            ),
            ("a [b](HTTPS:/b.example)", Format::Markdown),
            ("a `b <inst/b.R>`__ c `d <https:/d.example>`__ e", Format::Restructured),
        ] {
            let html = html(text, format);
            assert!(html.contains("<p>a b") && !html.contains("<a"), "{html}");
            assert!(!html.contains("href") && !html.contains(" rel="), "{html}");
        }
        let html = html(
            "[b](inst/b.R)c <a id=\"d\">d</a> <a title=\"e\">e</a> [f](HTTPS://f.example) [g](#d) [h](mailto:h@h.example)\n",
            Format::Markdown,
        );
        assert!(
            html.contains(
                ">bc <span id=\"readme-d\">d</span> <span title=\"e\">e</span> <a href=\"HTTPS://f.example\""
            ),
            "{html}"
        );
        assert!(
            html.contains("<a href=\"#readme-d\"") && html.contains("<a href=\"mailto:h@h.example\""),
            "{html}"
        );
        assert_eq!(html.matches(" rel=").count(), 3, "{html}");
    }

    #[test]
    fn paragraphs_in_headings_are_text_and_those_in_lists_items() {
        let text = "<h1 align=\"center\">\n\nalpha **b**\n\n</h1>\n\n<h2>c<p id=\"d\">d</p><div>e</div></h2>\n\n\
                    <ul><li><p>f</p></li><p></p><p lang=\"en\">g</p><li>h</li></ul>\n\n[i](#d)\n";
        let html = html(text, Format::Markdown);
        for part in [
            ">\nalpha <strong>b</strong>\n</h3>",
            ">c<span id=\"readme-d\"></span> d e</h4>",
            "<ul><li><p>f</p></li><li lang=\"en\">g</li><li>h</li></ul>",
            "<a href=\"#readme-d\"",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert_harmless(&html, text);
    }

    #[test]
    fn a_conversion_is_the_same_for_all_addresses() {
        let of = |snapshot: &str| Links {
            description: Some(format!("/{snapshot}/DESCRIPTION?a=\"1&2\"")),
            news: format!("/{snapshot}/news/"),
            license: None,
            figures: BTreeMap::from([
                ("a.png".to_owned(), format!("/{snapshot}/a.png")),
                ("b.png".to_owned(), format!("/{snapshot}/b.png")),
            ]),
        };
        let text = "[n](NEWS.md) [d](DESCRIPTION) [![](b.png)](NEWS.md) ![x](a.png) <a href=\"NEWS.md\"><b>&nbsp;</b></a> \
                    [forged](readme-page:news) readme-page:news <img src=\"readme-figure:0\" alt=\"readme-figure:1\"> \
                    <a title=\"readme-page:news\" href=\"/x/news/\">y</a>\n";
        let (first, second) = (of("first"), of("second"));
        assert_eq!(first.placeholders(), second.placeholders());
        assert!(first.placeholders() != links().placeholders());
        let converted = convert(text.as_bytes(), Format::Markdown, &first.placeholders());
        assert!(!converted.html.contains("first"), "{}", converted.html);
        for links in [first, second] {
            let html = converted.with_addresses(&links).0.to_string();
            assert_eq!(html.matches(&format!("href=\"{}\"", links.news)).count(), 3, "{html}");
            let name = format!("aria-label=\"{}\"", links.news.trim_matches('/'));
            assert_eq!(html.matches(&name).count(), 2, "{html}");
            let description =
                links.description.unwrap_or_default().replace('&', "&amp;").replace('"', "&quot;");
            assert!(html.contains(&format!("href=\"{description}\"")), "{html}");
            for path in ["a.png", "b.png"] {
                let address = format!("src=\"{}\"", links.figures[path]);
                assert_eq!(html.matches(&address).count(), 1, "{html}");
            }
            assert!(html.contains(" readme-page:news readme-figure:1"), "{html}");
            assert!(!html.contains("href=\"readme-") && !html.contains("src=\"readme-"), "{html}");
        }
    }

    #[test]
    fn headings_skip_no_level() {
        let text = "## First\n\n#### Below\n\n## Second\n\n# Third\n\n<h6><b><h2>inner</h2></b></h6>\n";
        let markdown = html(text, Format::Markdown);
        for part in
            [">First</h3>", ">Below</h4>", ">Second</h3>", ">Third</h3>", "<h4 id=\"readme-inner\">", "</h4>"]
        {
            assert!(markdown.contains(part), "{part}: {markdown}");
        }
        let levels: Vec<u32> =
            tags(&markdown).iter().filter_map(|(name, _)| name.strip_prefix('h')?.parse().ok()).collect();
        assert_eq!(levels.len(), 6, "{markdown}");
        let mut previous = 2;
        for level in levels {
            assert!((3..=previous + 1).contains(&level), "{level} after {previous}: {markdown}");
            previous = level;
        }
        for level in 3..=6 {
            let (starts, ends) = (format!("<h{level}"), format!("</h{level}>"));
            assert_eq!(markdown.matches(&starts).count(), markdown.matches(&ends).count(), "{markdown}");
        }
        assert_harmless(&markdown, text);
    }

    #[test]
    fn empty_headers_of_tables_are_cells() {
        let text = "| | b | &nbsp; |\n|---|---|---|\n| 1 | 2 | 3 |\n\n\
                    <table><tr><th colspan=2><img src='x.png' alt=''></th><th><img src='x.png' alt='c'></th>\
                    <th><table><tr><th>d</th></tr></table></th></tr></table>\n";
        let html = html(text, Format::Markdown);
        for part in
            ["<td></td>", "<th scope=\"col\">b</th>", "<td colspan=\"2\"></td>", "<th scope=\"col\">c</th>"]
        {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert_eq!((html.matches("<th ").count(), html.matches("</th>").count()), (4, 4), "{html}");
        assert_eq!(html.matches("<td").count(), html.matches("</td>").count(), "{html}");
        assert_harmless(&html, text);
    }

    #[test]
    fn figures_of_the_archive_are_images_and_others_are_their_text() {
        let address = "../files/man/figures/logo.png?version=1.0&bioc=3.20";
        let links = Links {
            figures: BTreeMap::from([("man/figures/logo.png".to_owned(), address.to_owned())]),
            ..links()
        };
        let text = "# a <img src=\"man/figures/logo.png\" align=\"right\" onerror=\"x\" alt=\"\" />\n\n\
            ![A \"plot\"](./man/figures/logo.png) [![](man/figures/logo.png)](https://a.example)\n\n\
            ![remote](https://e.example/man/figures/logo.png) ![other](man/figures/other.png)\n\n\
            <img src=\"../files/man/figures/logo.png?version=1.0&bioc=3.20\" alt=\"forged\">\n\n\
            ![data](data:image/png;base64,AA==) ![svg](man/figures/logo.svg)\n";
        assert_eq!(
            image_paths(text.as_bytes()).into_iter().collect::<Vec<_>>(),
            ["man/figures/logo.png", "man/figures/other.png",]
        );
        let html = render(text.as_bytes(), Format::Markdown, &links).0.to_string();
        let image = |text: &str| {
            format!("<img src=\"../files/man/figures/logo.png?version=1.0&amp;bioc=3.20\" alt=\"{text}\">")
        };
        for part in [image(""), image("A &quot;plot&quot;"), format!(">{}</a>", image(""))] {
            assert!(html.contains(&part), "{part}: {html}");
        }
        assert_eq!(html.matches("<img ").count(), 3, "{html}");
        for text in ["remote", "other", "forged", "data", "svg"] {
            assert!(html.contains(text), "{text}: {html}");
        }
        assert!(
            !html.contains("e.example") && !html.contains("onerror") && !html.contains("align"),
            "{html}"
        );
    }

    #[test]
    fn figures_have_the_sizes_in_pixels_that_the_readme_states() {
        let links =
            Links { figures: BTreeMap::from([("logo.png".to_owned(), "logo".to_owned())]), ..links() };
        let image = |attributes: &str| {
            let html =
                render(format!("<img src=logo.png {attributes}>").as_bytes(), Format::Markdown, &links);
            let tags = tags(&html.0);
            let (_, attributes) = tags.iter().find(|(name, _)| name == "img").expect("an image").clone();
            let sizes =
                attributes.into_iter().filter(|(name, _)| ["width", "height"].contains(&name.as_str()));
            sizes.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(image("height=139 align=right"), ["height=139"]);
        assert_eq!(image("height='60px' width=' 120 '"), ["width=120", "height=60"]);
        assert_eq!(image("width=2000 height=1"), ["width=2000", "height=1"]);
        for other in
            ["width=0", "width=2001", "width=-5", "width='50%'", "width=1e3", "width=''", "height=auto"]
        {
            assert_eq!(image(other), [] as [&str; 0], "{other}");
        }
    }

    #[test]
    fn figures_are_found_by_names_with_spaces_and_plus_signs_and_in_addresses_with_a_query() {
        let paths = ["a b.png", "man/figures/c+d.png", "e.png", "not named.png"];
        let text = "![1](a%20b.png) ![2](<a b.png>) <img src='a b.png'> ![3](man/figures/c+d.png) \
                    ![4](e.png?raw=true) ![5](e.png#x)";
        let unusual = unusual_image_paths(text.as_bytes(), paths);
        assert_eq!(unusual.into_iter().collect::<Vec<_>>(), ["a b.png", "man/figures/c+d.png"]);
        assert!(image_paths(text.as_bytes()).contains("e.png"));
        let figures = paths.iter().enumerate().map(|(at, path)| ((*path).to_owned(), format!("figure{at}")));
        let links = Links { figures: figures.collect(), ..links() };
        let html = render(text.as_bytes(), Format::Markdown, &links).0.to_string();
        let found: Vec<usize> =
            (0..paths.len()).map(|at| html.matches(&format!("<img src=\"figure{at}\"")).count()).collect();
        assert_eq!(found, [3, 1, 2, 0], "{html}");
        let many: Vec<String> = (0..100).map(|at| format!("a {at}.png")).collect();
        let text = many.join("\n");
        let found = unusual_image_paths(text.as_bytes(), many.iter().map(String::as_str));
        assert_eq!(found.len(), MAX_UNUSUAL);
    }

    #[test]
    fn links_without_text_have_a_name_and_those_of_images_a_class() {
        let links =
            Links { figures: BTreeMap::from([("logo.png".to_owned(), "logo".to_owned())]), ..links() };
        let html = |text: &str| render(text.as_bytes(), Format::Markdown, &links).0.to_string();
        let name = "aria-label=\"a.example/x?y=&quot;1&amp;2\"";
        for text in [
            "<a href='https://a.example/x?y=\"1&amp;2'><img src='logo.png' alt=''></a>",
            "[![](logo.png)](<https://a.example/x?y=%221&2>)",
        ] {
            let html = html(text);
            assert!(html.contains(" class=\"badge\"") && html.contains("<img "), "{html}");
            assert!(
                html.contains(name) || html.contains("aria-label=\"a.example/x?y=%221&amp;2\""),
                "{html}"
            );
            assert_harmless(&html.replace("<img src=\"logo\" alt=\"\">", ""), text);
        }
        let unnamed = html("<a href='https://a.example/'><b>&nbsp;</b></a>");
        assert!(unnamed.contains("aria-label=\"a.example\"") && !unnamed.contains("badge"), "{unnamed}");
        let badge = html("[![CRAN status](https://a.example/b.svg)](https://cran.example)");
        assert!(badge.contains("class=\"badge\"") && !badge.contains("aria-label"), "{badge}");
        let text = html("[text](https://a.example) <a id='x'><img src='logo.png' alt=''></a>");
        assert!(!text.contains("aria-label") && !text.contains("badge"), "{text}");
    }

    #[test]
    fn wide_text_is_scrolled_with_the_keyboard() {
        let code = html("    x <- 1\n", Format::Markdown);
        assert!(code.contains("<pre tabindex=\"0\"><code>x &lt;- 1"), "{code}");
        assert_eq!(code.matches("tabindex").count(), 1, "{code}");
        let table = "| a | b |\n|---|---|\n| 1 | 2 |\n";
        let focusable = "<div class=\"prose readme\" tabindex=\"0\"";
        assert!(html(table, Format::Markdown).contains(focusable));
        let with_link = html(&format!("{table}\n[a](https://a.example)\n"), Format::Markdown);
        assert!(!with_link.contains("tabindex"), "{with_link}");
    }

    #[test]
    fn images_are_their_text_and_badges_without_text_are_nothing() {
        let text = "[![CRAN status](https://a.example/b.svg)](https://cran.example) \
                    [![](https://a.example/c.svg)](https://b.example) \
                    <img src=\"man/figures/logo.png\" align=\"right\" />\
                    ![a & \"b\"](x.png)\n\n<script>alert(1)</script><style>p{}</style><!-- c -->end";
        let html = html(text, Format::Markdown);
        assert!(html.contains(">CRAN status</a>") && !html.contains("b.example"), "{html}");
        assert!(html.contains("a &amp; &quot;b&quot;"), "{html}");
        for gone in ["<img", "svg", "logo", "alert", "p{}", "<!--"] {
            assert!(!html.contains(gone), "{gone}: {html}");
        }
        assert!(html.contains("end"), "{html}");
    }

    #[test]
    fn restructured_text_becomes_html_and_what_is_unknown_stays_text() {
        let text = "=====\nAlpha\n=====\n\nA *b* **c** ``d <e>`` `f <https://f.example>`_ g_ :func:`h` |badge|.\n\n\
                    .. |badge| image:: https://a.example/b.svg\n   :alt: build\n\n.. _g: https://g.example\n\n\
                    Usage\n-----\n\nRun::\n\n    $ alpha <x>\n\n* one\n* two\n  more\n\n1. first\n2. second\n\n\
                    .. note:: Careful\n\n   with *this*.\n\n.. code-block:: python\n   :linenos:\n\n   import x\n\n\
                    .. unknown:: y\n\n   kept\n\n.. a comment\n\n:Author: me\n\n\
                    ====  ====\na     b\n====  ====\n1     2\n\
                    ====  ====\n\n>>> f(1)\n2\n";
        let html = html(text, Format::Restructured);
        for part in [
            "<h3 id=\"readme-alpha\">Alpha</h3>",
            "<h4 id=\"readme-usage\">Usage</h4>",
            "<em>b</em> <strong>c</strong> <code>d &lt;e&gt;</code>",
            "href=\"https://f.example\"",
            "href=\"https://g.example\"",
            "<code>h</code> build.",
            "<p>Run:</p>",
            "<pre tabindex=\"0\">$ alpha &lt;x&gt;</pre>",
            "<li>",
            "<ol>",
            "<strong>Note</strong>",
            "<pre tabindex=\"0\">import x</pre>",
            ".. unknown:: y",
            "kept",
            "<dt>Author</dt>",
            "====  ====",
            "<pre tabindex=\"0\">&gt;&gt;&gt; f(1)\n2</pre>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("a comment") && !html.contains("b.svg"), "{html}");
        assert_harmless(&html, text);
    }

    #[test]
    fn other_formats_and_long_texts_are_shown_as_they_are() {
        assert!(html("*a* <b>\u{202e}", Format::Plain).contains(">*a* &lt;b&gt;⟨U+202E⟩</pre>"));
        let long = "# a\n".repeat(MAX_CONVERTED / 4 + 1);
        let excerpt = html(&long, Format::Markdown);
        assert!(excerpt.contains("Only the beginning") && excerpt.contains("# a\n# a"), "{}", excerpt.len());
        assert!(excerpt.len() < MAX_CONVERTED + 1000, "{}", excerpt.len());
        let invalid = render(b"\xff\xfe\0 a", Format::Markdown, &links()).0.to_string();
        assert!(invalid.contains("⟨U+0000⟩"), "{invalid}");
        for (media_type, format) in [
            (None, Format::Restructured),
            (Some("text/markdown; charset=UTF-8; variant=GFM"), Format::Markdown),
            (Some("text/x-rst"), Format::Restructured),
            (Some("text/plain"), Format::Plain),
            (Some("text/html"), Format::Plain),
        ] {
            assert_eq!(Format::of_media_type(media_type), format, "{media_type:?}");
        }
    }

    /// Fragments of known attacks (OWASP's list, mutation of namespaces) and of syntax.
    const FRAGMENTS: [&str; 48] = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg><animate onbegin=alert(1)>",
        "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
        "<a href=\"jav&#x61;script:alert(1)\">x</a>",
        "<a href=\" javascript:alert(1)\">x</a>",
        "<a href=\"java\nscript:alert(1)\">x</a>",
        "[x](javascript:alert(1))",
        "[x](<data:text/html,a>)",
        "[x]: javascript:alert(1)\n\n[x]",
        "<javascript:alert(1)>",
        "![x](https://e.example/x.png)",
        "<iframe src=//e.example>",
        "<form action=//e.example><button>x",
        "<base href=//e.example>",
        "<style>@import '//e.example'</style>",
        "<p style=\"background:url(//e.example)\" onclick=alert(1) id=content class=wide>x</p>",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
        "<textarea><img title=\"</textarea><img src=x onerror=alert(1)>\">",
        "<template><script>alert(1)</script></template>",
        "<!--><img src=x onerror=alert(1)>-->",
        "<![CDATA[><script>alert(1)</script>]]>",
        "<?php x ?>",
        "</div></main></body></html>",
        "<table><td><table><tr><p>",
        "<details open ontoggle=alert(1)><summary>",
        "`<b>`",
        "```html\n<script>\n```\n",
        "`x <javascript:alert(1)>`_",
        "`x <https://e.example/\"onclick=\"a>`__",
        ".. raw:: html\n\n   <script>alert(1)</script>\n\n",
        ".. image:: javascript:alert(1)\n   :alt: <b>\n   :target: javascript:alert(1)\n\n",
        ".. _x: javascript:alert(1)\n\nx_ ",
        ".. |s| replace:: <script>\n\n|s|",
        ".. include:: /etc/passwd\n\n",
        "====\n",
        "\n    ",
        "::\n\n ",
        "* ",
        "> ",
        "1. ",
        "| a | b |\n|---|---|\n",
        "[^1]\n\n[^1]: x\n",
        "&lt;script&gt;&quot;&#0;&#x1F4A9;&amp;",
        "\u{202e}\u{2066}\0\u{7f}\u{feff}",
        "**",
        "``",
        "_ é 日本 ",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn combinations_of_attacks_give_no_element_that_is_not_admitted(
            parts in prop::collection::vec(prop::sample::select(FRAGMENTS.to_vec()), 1..12),
            glue in prop::sample::select(vec!["", " ", "\n", "\n\n", "\n  "]),
        ) {
            let text = parts.join(glue);
            for format in [Format::Markdown, Format::Restructured, Format::Plain] {
                let html = html(&text, format);
                assert_harmless(&html, &text);
                // Nothing around the README changes, because all elements are nested as a parser nests them.
                // A link without an address is like a span.
                let name = |name: String| if name == "a" { "span".to_owned() } else { name };
                let names =
                    |html: &str| tags(html).into_iter().map(|(tag, _)| name(tag)).collect::<Vec<_>>();
                let nested = nesting::well_nested(&html).expect("short");
                prop_assert_eq!(names(&nested), names(&html), "{}", text);
                prop_assert_eq!(nested.matches("</").count(), html.matches("</").count(), "{}", text);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_shown(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "\\PC{0,200}") {
            for format in [Format::Markdown, Format::Restructured] {
                assert_harmless(render(&bytes, format, &links()).0.as_ref(), "bytes");
                assert_harmless(&html(&text, format), &text);
            }
        }

        #[test]
        fn any_restructured_text_is_shown(
            text in "([-=~*#.:|`_>+ 0-9a-c<&\\\\]{0,12}(\n|\n\n|\n  |\n   )){0,30}",
        ) {
            assert_harmless(&html(&text, Format::Restructured), &text);
        }
    }

    #[test]
    fn repeated_and_nested_text_has_a_bounded_result() {
        let distinct: String = (0..9_000).map(|at| format!("<b id={at}>")).collect();
        let numbered = |before: &str, after: &str| {
            (0..3_000).map(|at| format!("{before}{at}{after}")).collect::<String>()
        };
        let texts = [
            "> ".repeat(10_000),
            "[".repeat(100_000),
            "* ".repeat(20_000),
            "`".repeat(100_000),
            "|".repeat(50_000),
            "<div>".repeat(20_000),
            "<b>".repeat(50_000),
            format!("{distinct}{}", "<p>x".repeat(9_000)),
            format!(".. |s| replace:: {}\n\n{}", "a".repeat(50_000), "|s| ".repeat(20_000)),
            format!(".. |s| replace:: {}\n\n{}", "a".repeat(400), "|s| ".repeat(50_000)),
            format!(".. _t: https://a.example/{}\n\n{}", "a".repeat(1_900), "t_\n\n".repeat(20_000)),
            "_-".repeat(30_000),
            // Elements that are open at the end of a paragraph are repeated in all following ones, with their
            // attributes.
            format!("<p><b title=\"{}\">{}", "a".repeat(100_000), "<p>x".repeat(4_000)),
            format!("<p><a title='>{}'>{}", "a".repeat(100_000), "<p>x".repeat(4_000)),
            format!("<p><b{}>{}", numbered(" a", ""), "<p>x".repeat(4_000)),
            format!("<p>{}{}", numbered("<b title='<", "'>"), "<p>x".repeat(2_000)),
            format!("<p{}>x</p{}>", numbered(" a", ""), numbered(" b", "=1")),
            // Formatting elements whose end tags a parser ignores.
            format!("<table>{}{}", numbered("<tr><b id=", "><span><td></span></b>"), "<tr>x".repeat(3_000)),
            // Texts that a parser moves before the table, and characters that are written as references.
            format!("<table>{}", "a&amp;a<br>".repeat(4_900)),
            format!("<p title='{}'>{}", "\"".repeat(4_000), "<p>x".repeat(990)),
            format!("<p>{}{}", "<a href=https://a.example><object>".repeat(200), "\u{a0}".repeat(100_000)),
            "a\n  b\n".repeat(10_000),
            (0..300).map(|depth| format!("{}* a\n\n", "  ".repeat(depth))).collect(),
            "x_ ".repeat(50_000),
            "a\n=\n".repeat(20_000),
            ".. note::\n\n".repeat(10_000),
        ];
        for text in &texts {
            for format in [Format::Markdown, Format::Restructured] {
                let html = html(text, format);
                assert!(html.len() < 40 * text.len() + 10_000, "{} bytes", html.len());
                assert!(html.len() < 3 << 19, "{} bytes", html.len());
                assert_harmless(&html, text);
            }
        }
        let ordinary = "A **b** `c` [d](https://d.example/path?query=value#fragment).\n\n".repeat(500);
        assert!(html(&ordinary, Format::Markdown).contains("<strong>b</strong>"));
    }
}
