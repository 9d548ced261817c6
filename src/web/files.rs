//! The files of a package, and the text of one of them.

use maud::{Markup, html};

use super::frame::{Frame, Location, Root, Section};
use super::readme::Html;
use super::text::{self, count, segment, visible};

/// What the pages of the files of a package have in common.
#[derive(Clone, Debug)]
pub struct Files {
    /// The snapshot.
    pub location: Location,
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
}

/// The contents of a file.
#[derive(Clone, Debug)]
pub enum Contents {
    /// Text.
    Text(String),
    /// Text that was converted to HTML.
    Html(Html),
    /// Another format.
    Other,
}

impl Files {
    /// The address of a file.
    fn address(&self, root: &Root, path: &str) -> String {
        let path: Vec<String> = path.split('/').map(segment).collect();
        self.page(root, &format!("files/{}", path.join("/")))
    }

    /// The address of a page below that of the package, for this version.
    fn page(&self, root: &Root, page: &str) -> String {
        let folder = root.folder(&self.location.repo, &self.location.snapshot);
        let query = root.query(&[("version", self.version.as_str())]);
        format!("{folder}web/packages/{}/{page}{query}", segment(&self.package))
    }

    fn frame(&self, root: Root, page: &'static str, title: &str) -> Frame {
        let Location { repo, snapshot } = &self.location;
        Frame {
            location: Some((self.location.clone(), Section::Packages)),
            package: Some((self.package.clone(), Some(page))),
            ..Frame::new(
                root,
                format!("{} of {}, {repo}, {snapshot}", visible(title), visible(&self.package)),
            )
        }
    }

    /// Returns the page of all files, as path and size. `pages` are the names and addresses of other pages with some of them;
    /// `total` is their number, also of those that are not listed.
    #[must_use]
    pub fn list(
        &self,
        root: Root,
        files: &[(String, u64)],
        (pages, total): (&[(&str, &str)], usize),
    ) -> String {
        let frame = self.frame(root, "Files", "Files");
        let root = &frame.root;
        frame.render(&html! {
            h1 { "Files of " (visible(&self.package)) " " (visible(&self.version)) }
            p { (count(total, "file", "files"))
                @if total > files.len() { "; the first " (text::number(files.len())) " are listed" } "."
            }
            @if !pages.is_empty() {
                ul.links { @for (name, page) in pages {
                    li { a href=(self.page(root, page)) { (name) } }
                } }
            }
            section.scroll tabindex="0" aria-label="Files" { table {
                thead { tr { th scope="col" { "File" } th.number scope="col" { "Size" } } }
                tbody { @for (path, size) in files { tr {
                    td { a href=(self.address(root, path)) { code { (visible(path)) } } }
                    td.number { (text::size(*size)) }
                } } }
            } }
        })
    }

    /// Returns the page of a file. `page` is what the navigation calls it; `size` is in bytes.
    #[must_use]
    pub fn file(
        &self,
        root: Root,
        page: &'static str,
        (path, size): (&str, u64),
        contents: &Contents,
    ) -> String {
        let frame = self.frame(root, page, path);
        let files = self.page(&frame.root, "files/");
        frame.render(&html! {
            h1 { (visible(path)) }
            p { "In " (visible(&self.package)) " " (visible(&self.version)) ", " (text::size(size)) ". "
                a href=(files) { "All files" }
            }
            (self.contents(size, contents))
        })
    }

    fn contents(&self, size: u64, contents: &Contents) -> Markup {
        match contents {
            Contents::Text(text) => html! {
                @if (text.len() as u64) < size { p.notice { "Only the beginning is shown." } }
                pre.readme tabindex="0" { code { (visible(text)) } }
            },
            Contents::Html(html) => html! { h2 { "Text" } (html) },
            Contents::Other => html! { p { "This file is not a text." } },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_links_and_their_text_is_escaped() {
        let files = Files {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            package: "a".to_owned(),
            version: "1.0".to_owned(),
        };
        let root = || Root::of_path("/prod/latest/web/packages/a/files/");
        let html = files.list(root(), &[("R/a b<.R".to_owned(), 1_200)], (&[("NEWS", "news/")], 3));
        assert!(html.contains("/a/news/?version=1.0\""), "{html}");
        assert!(html.contains("/a/files/R/a%20b%3C.R?version=1.0\""), "{html}");
        assert!(html.contains("3 files; the first 1 are listed") && html.contains("a b&lt;.R"), "{html}");
        let text = Contents::Text("<script>\u{202e}".to_owned());
        let html = files.file(root(), "Files", ("R/a.R", 4_000), &text);
        assert!(html.contains("&lt;script&gt;⟨U+202E⟩") && html.contains("Only the beginning"), "{html}");
        assert!(!html.contains("<script>"));
    }
}
