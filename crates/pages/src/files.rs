//! The files of a package, and the text of one of them.

use maud::{Markup, html};

use super::frame::{Frame, Location, Root, Section, pager};
use super::readme::Html;
use super::table::{Column, table};
use super::text::{self, count, segment, visible};

/// Maximum length of a path that is displayed as a link, in bytes; the encoded path may be three times as long.
const MAX_LINKED: usize = 1000;
const PER_PAGE: usize = 150;

/// The data that all pages of files of a package have in common.
#[derive(Clone, Debug)]
pub struct Files {
    pub location: Location,
    pub package: String,
    pub version: String,
    /// The file name of the archive of a Python package whose files these are.
    pub distribution: Option<String>,
}

/// A row of the archives of a version of a Python package.
#[derive(Clone, Debug)]
pub struct DistributionFile {
    pub name: String,
    pub size: Option<u64>,
    /// Whether the archive is in storage, so that its files can be displayed.
    pub is_stored: bool,
}

#[derive(Clone, Debug)]
pub enum Contents {
    Text(String),
    Html(Html),
    Other,
}

/// Returns the address of the page of a file, relative to that of the package.
pub fn page_of(path: &str) -> String {
    let path: Vec<String> = path.split('/').map(segment).collect();
    format!("files/{}", path.join("/"))
}

impl Files {
    /// Returns the address of a file; `None` for a path that is too long or refused in addresses.
    pub fn address(&self, root: &Root, path: &str) -> Option<String> {
        let is_possible = path.len() <= MAX_LINKED
            && !path.chars().any(|c| c.is_control() || c == '%' || c == '\\')
            && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        is_possible.then(|| self.page(root, &page_of(path)))
    }

    /// Returns the address of a page below that of the package, for this version.
    fn page(&self, root: &Root, page: &str) -> String {
        let folder = root.folder(&self.location.repo, &self.location.snapshot);
        let mut query = vec![("version", self.version.as_str())];
        query.extend(self.distribution.as_deref().map(|name| ("distribution", name)));
        let query = root.query(&query);
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

    /// Returns a page of the list of files; `page` counts from 1. `files` are paths with sizes in bytes,
    /// `total` counts also files that no page lists, `pages` are names and addresses of pages that display
    /// some of the files, such as the news, and `distributions` are the archives of a Python package.
    pub fn list(
        &self,
        root: Root,
        files: &[(String, u64)],
        page: usize,
        pages: &[(&str, String)],
        total: usize,
        distributions: &[DistributionFile],
    ) -> String {
        let frame = self.frame(root, "Files", "Files");
        let root = &frame.root;
        frame.render(&html! {
            h1 { "Files of " (visible(&self.package)) " " (visible(&self.version)) }
            @if !distributions.is_empty() { (self.distributions(root, distributions)) }
            @if distributions.is_empty() || self.distribution.is_some() {
                (self.page_of_list(root, files, page, pages, total))
            }
        })
    }

    fn distributions(&self, root: &Root, distributions: &[DistributionFile]) -> Markup {
        let of = |name: &str| Files { distribution: Some(name.to_owned()), ..self.clone() };
        let columns = [Column::text("Archive"), Column::number("Size")];
        let rows = distributions.iter().map(|distribution| {
            let name = html! { code { (visible(&distribution.name)) } };
            let archive = html! {
                @if self.distribution.as_ref() == Some(&distribution.name) { strong { (name) } }
                @else if distribution.is_stored {
                    a href=(of(&distribution.name).page(root, "files/")) { (name) }
                } @else { (name) ", not in storage" }
            };
            [archive, html! { @if let Some(size) = distribution.size { (text::size(size)) } }]
        });
        html! {
            p.prose {
                "The files of an archive are shown once the server has it in storage, after its first download."
            }
            (table("Archives", columns, rows))
            @if let Some(name) = &self.distribution { h2 { "Files of " (visible(name)) } }
        }
    }

    fn page_of_list(
        &self,
        root: &Root,
        files: &[(String, u64)],
        page: usize,
        pages: &[(&str, String)],
        total: usize,
    ) -> Markup {
        let last = files.len().div_ceil(PER_PAGE).max(1);
        let page = page.clamp(1, last);
        let rows = files.chunks(PER_PAGE).nth(page - 1).unwrap_or_default();
        let first = (page - 1) * PER_PAGE;
        // The address has the parameter `version`.
        let list = self.page(root, "files/");
        let address = |page: usize| if page == 1 { list.clone() } else { format!("{list}&page={page}") };
        let columns = [Column::text("File"), Column::number("Size")];
        let lines = rows.iter().map(|(path, size)| {
            let name = html! { code { bdi { (visible(path)) } } };
            let file = match self.address(root, path) {
                Some(address) => html! { a href=(address) { (name) } },
                None => name,
            };
            [file, html! { (text::size(*size)) }]
        });
        html! {
            p { (count(total, "file", "files"))
                @if total > files.len() { "; the first " (text::number(files.len())) " are listed" }
                @if last > 1 {
                    "; this page has " (text::number(first + 1)) " to " (text::number(first + rows.len()))
                }
                "."
            }
            @if !pages.is_empty() {
                ul.links { @for (name, page) in pages {
                    li { a href=(self.page(root, page)) { (name) } }
                } }
            }
            (table("Files", columns, lines))
            (pager(page, last, address))
        }
    }

    /// Returns the page of a file. `page` is the name of the page in the navigation; `size` is in bytes.
    pub fn file(&self, root: Root, page: &'static str, path: &str, size: u64, contents: &Contents) -> String {
        let frame = self.frame(root, page, path);
        let files = self.page(&frame.root, "files/");
        frame.render(&html! {
            h1 { (visible(path)) }
            p { "In "
                @match &self.distribution {
                    Some(name) => (visible(name)),
                    None => { (visible(&self.package)) " " (visible(&self.version)) }
                }
                ", " (text::size(size)) ". "
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
            Contents::Other => html! { p { "This file is not text." } },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files of version 1.0 of the package `a`.
    fn files(repo: &str, distribution: Option<&str>) -> Files {
        Files {
            location: Location { repo: repo.to_owned(), snapshot: "latest".to_owned() },
            package: "a".to_owned(),
            version: "1.0".to_owned(),
            distribution: distribution.map(str::to_owned),
        }
    }

    #[test]
    fn files_are_links_and_their_text_is_escaped() {
        let files = files("prod", None);
        let root = || Root::of_path("/prod/latest/web/packages/a/files/");
        let html =
            files.list(root(), &[("R/a b<.R".to_owned(), 1_200)], 1, &[("NEWS", "news/".to_owned())], 3, &[]);
        assert!(html.contains("/a/news/?version=1.0\""), "{html}");
        assert!(html.contains("/a/files/R/a%20b%3C.R?version=1.0\""), "{html}");
        assert!(html.contains("3 files; the first 1 are listed") && html.contains("a b&lt;.R"), "{html}");
        let text = Contents::Text("<script>\u{202e}".to_owned());
        let html = files.file(root(), "Files", "R/a.R", 4_000, &text);
        assert!(html.contains("&lt;script&gt;⟨U+202E⟩") && html.contains("Only the beginning"), "{html}");
        assert!(!html.contains("<script>"));
    }

    #[test]
    fn many_files_are_on_several_pages_with_few_elements() {
        let files = files("prod", None);
        let all: Vec<(String, u64)> = (1..=2_000).map(|number| (format!("R/f{number}.R"), 1)).collect();
        let list = |page: usize| {
            let root = Root::of_path("/prod/latest/web/packages/a/files/");
            files.list(root, &all, page, &[], 2_500, &[])
        };
        let mut names = Vec::new();
        for page in 1..=14 {
            let html = list(page);
            let elements = html.matches('<').count() - html.matches("</").count();
            assert!(elements <= 1_500, "{elements} elements on page {page}");
            let paths = html.split("<bdi>").skip(1).filter_map(|part| part.split('<').next());
            names.extend(paths.map(str::to_owned));
        }
        assert!(names.iter().eq(all.iter().map(|(path, _)| path)), "{names:?}");
        let second = list(2);
        for part in [
            "2\u{202f}500 files; the first 2\u{202f}000 are listed; this page has 151 to 300.",
            "/a/files/?version=1.0\" rel=\"prev\"",
            "/a/files/?version=1.0&amp;page=3\" rel=\"next\"",
        ] {
            assert!(second.contains(part), "{part}: {second}");
        }
        assert_eq!(list(99), list(14), "the last page");
        let few = files.list(Root::of_path("/x/y/"), &all[..3], 1, &[], 3, &[]);
        assert!(few.contains("3 files.</p>") && !few.contains("rel=\"next\""), "{few}");
    }

    #[test]
    fn files_with_names_that_no_address_can_have_are_no_links() {
        let files = files("prod", None);
        let long = "n".repeat(MAX_LINKED + 1);
        for name in ["R/a%41.R", "a\nb", "a\\b", "a//b", "a/../b", "./a", long.as_str()] {
            let html = files.list(
                Root::of_path("/prod/latest/web/packages/a/files/"),
                &[(name.to_owned(), 1)],
                1,
                &[],
                1,
                &[],
            );
            assert!(!html.contains("/a/files/"), "{name}: {html}");
        }
        let html = files.list(Root::of_path("/x/y/"), &[("R/..a b.R".to_owned(), 1)], 1, &[], 1, &[]);
        assert!(html.contains("/a/files/R/..a%20b.R?version=1.0\""), "{html}");
    }

    #[test]
    fn archives_of_a_python_package_are_links_once_they_are_stored() {
        let distribution =
            |name: &str, is_stored| DistributionFile { name: name.to_owned(), size: Some(9), is_stored };
        let files = files("py", Some("a-1.0.tar.gz"));
        let all = [
            distribution("a-1.0.tar.gz", true),
            distribution("a-1.0-py3-none-any.whl", true),
            distribution("a-1.0-cp39-cp39-win32.whl", false),
        ];
        let root = || Root::of_path("/py/latest/web/packages/a/files/");
        let html = files.list(root(), &[("PKG-INFO".to_owned(), 5)], 1, &[], 1, &all);
        assert!(html.contains("/a/files/?version=1.0&amp;distribution=a-1.0-py3-none-any.whl\""), "{html}");
        assert!(html.contains("<code>a-1.0-cp39-cp39-win32.whl</code>, not in storage"), "{html}");
        assert!(html.contains("/a/files/PKG-INFO?version=1.0&amp;distribution=a-1.0.tar.gz\""), "{html}");
        let html = Files { distribution: None, ..files }.list(root(), &[], 1, &[], 0, &all[2..]);
        assert!(!html.contains("0 files"), "{html}");
    }
}
