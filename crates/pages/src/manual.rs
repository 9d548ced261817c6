//! The manual: the pages of `docs/admin/` and some of `docs/`, which are part of the program.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use maud::{Markup, PreEscaped, html};

use super::frame::{Frame, Root};

#[derive(Clone, Copy, Debug)]
pub struct ManualPage {
    /// Its name in addresses: `access`, `runbooks/disk-full`.
    pub name: &'static str,
    /// Its file below `docs/`, without `.md`.
    pub file: &'static str,
    pub text: &'static str,
}

macro_rules! page {
    ($name:literal, $file:literal) => {
        ManualPage { name: $name, file: $file, text: include_str!(concat!("../../../docs/", $file, ".md")) }
    };
}

pub const PAGES: &[ManualPage] = &[
    page!("access", "admin/access"),
    page!("air-gapped", "admin/air-gapped"),
    page!("auditors", "admin/auditors"),
    page!("backup", "admin/backup"),
    page!("binaries", "admin/binaries"),
    page!("bioconductor", "admin/bioconductor"),
    page!("block-rules", "admin/block-rules"),
    page!("builders", "admin/builders"),
    page!("bundle", "bundle"),
    page!("cluster", "admin/cluster"),
    page!("compatibility", "compatibility"),
    page!("configuration", "admin/configuration"),
    page!("curation", "admin/curation"),
    page!("encryption", "admin/encryption"),
    page!("export-files", "admin/export-files"),
    page!("federation", "admin/federation"),
    page!("files", "admin/files"),
    page!("git", "admin/git"),
    page!("history", "admin/history"),
    page!("import", "admin/import"),
    page!("import-origins", "admin/import-origins"),
    page!("logging", "logging"),
    page!("metadata", "admin/metadata"),
    page!("metrics", "admin/metrics"),
    page!("migration", "admin/migration"),
    page!("mirrors", "admin/mirrors"),
    page!("modes", "admin/modes"),
    page!("name-guard", "admin/name-guard"),
    page!("operations", "admin/operations"),
    page!("platforms", "admin/platforms"),
    page!("promotion", "admin/promotion"),
    page!("proofs", "admin/proofs"),
    page!("python", "admin/python"),
    page!("repositories", "admin/repositories"),
    page!("rspm", "admin/rspm"),
    page!("runbooks", "admin/runbooks/README"),
    page!("runbooks/air-gapped-upgrade", "admin/runbooks/air-gapped-upgrade"),
    page!("runbooks/auditor-asks", "admin/runbooks/auditor-asks"),
    page!("runbooks/bad-release", "admin/runbooks/bad-release"),
    page!("runbooks/clock-jumped", "admin/runbooks/clock-jumped"),
    page!("runbooks/database-lost", "admin/runbooks/database-lost"),
    page!("runbooks/disk-full", "admin/runbooks/disk-full"),
    page!("runbooks/everything-lost", "admin/runbooks/everything-lost"),
    page!("runbooks/files-lost", "admin/runbooks/files-lost"),
    page!("runbooks/key-lost", "admin/runbooks/key-lost"),
    page!("runbooks/move-by-backup", "admin/runbooks/move-by-backup"),
    page!("runbooks/move-by-bucket", "admin/runbooks/move-by-bucket"),
    page!("runbooks/move-by-copying", "admin/runbooks/move-by-copying"),
    page!("runbooks/one-to-three", "admin/runbooks/one-to-three"),
    page!("runbooks/postgres-fail-over", "admin/runbooks/postgres-fail-over"),
    page!("runbooks/postgres-to-sqlite", "admin/runbooks/postgres-to-sqlite"),
    page!("runbooks/read-only", "admin/runbooks/read-only"),
    page!("runbooks/second-server", "admin/runbooks/second-server"),
    page!("runbooks/sqlite-to-postgres", "admin/runbooks/sqlite-to-postgres"),
    page!("runbooks/upgrade", "admin/runbooks/upgrade"),
    page!("scrub", "admin/scrub"),
    page!("sign-in", "admin/sign-in"),
    page!("state", "admin/state"),
    page!("system-requirements", "admin/system-requirements"),
    page!("systemd", "admin/systemd"),
    page!("usage", "admin/usage"),
    page!("vulnerabilities", "admin/vulnerabilities"),
    page!("web", "admin/web"),
    page!("witnesses", "admin/witnesses"),
];

/// The first part of the address of a page, after the root of the server.
const FOLDER: &str = "__docs__/";

impl ManualPage {
    pub fn find(name: &str) -> Option<&'static ManualPage> {
        PAGES.iter().find(|page| page.name == name)
    }

    pub fn title(&self) -> &'static str {
        let heading = self.text.lines().find_map(|line| line.strip_prefix("# "));
        heading.unwrap_or(self.name)
    }

    pub fn render(&self, root: Root) -> String {
        let frame = Frame::new(root, format!("{} – Manual", self.title()));
        let root = frame.root.to_string();
        let file = self.file;
        let mut options = comrak::Options::default();
        options.extension.table = true;
        options.extension.autolink = true;
        options.extension.link_url_rewriter =
            Some(Arc::new(move |target: &str| address(&root, file, target)));
        let body = with_anchors(&comrak::markdown_to_html(self.text, &options));
        frame.render(&html! {
            p { a href={ (frame.root) (FOLDER) } { "Manual" } }
            div.prose.readme { (PreEscaped(body)) }
        })
    }
}

pub fn contents(root: Root) -> String {
    let frame = Frame::new(root, "Manual");
    let list = |is_of_list: fn(&ManualPage) -> bool| -> Markup {
        let pages = PAGES.iter().filter(|page| is_of_list(page));
        html! {
            ul { @for page in pages {
                li { a href={ (frame.root) (FOLDER) (page.name) "/" } { (page.title().replace('`', "")) } }
            } }
        }
    };
    frame.render(&html! {
        h1 { "Manual" }
        p.prose { "The manual of this version." }
        (list(|page| !page.name.starts_with("runbooks/")))
        h2 { "Runbooks" }
        (list(|page| page.name.starts_with("runbooks/")))
    })
}

/// Returns the address for a link in a page: of another page of the manual, as it is to other sites or within
/// the page, or else of the table of contents.
fn address(root: &str, file: &str, target: &str) -> String {
    if target.starts_with('#') || target.contains("://") {
        return target.to_owned();
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let page = resolve(file, path).and_then(|path| PAGES.iter().find(|page| page.file == path));
    match (page, anchor) {
        (Some(page), Some(anchor)) => format!("{root}{FOLDER}{}/#{anchor}", page.name),
        (Some(page), None) => format!("{root}{FOLDER}{}/", page.name),
        (None, _) => format!("{root}{FOLDER}"),
    }
}

/// Returns the file below `docs/`, without `.md`, to which the relative link `path` in `file` leads.
fn resolve(file: &str, path: &str) -> Option<String> {
    let path = path.strip_suffix(".md")?;
    let mut segments: Vec<&str> = file.split('/').collect();
    segments.pop();
    for segment in path.split('/') {
        match segment {
            "." => {}
            ".." => drop(segments.pop()?),
            segment => segments.push(segment),
        }
    }
    Some(segments.join("/"))
}

/// Adds to headings the ids that they have on GitHub, to table headings a scope, to code blocks the keyboard's focus.
fn with_anchors(html: &str) -> String {
    let mut out = String::with_capacity(html.len() + html.len() / 16);
    // The frame has an element with this id.
    let mut ids = BTreeSet::from(["content".to_owned()]);
    let mut rest = html;
    while let Some((before, heading)) = rest.split_once("<h") {
        out.push_str(before);
        let level = heading.chars().next().filter(char::is_ascii_digit);
        let Some((level, content)) = level.and_then(|level| Some((level, heading.get(2..)?))) else {
            out.push_str("<h");
            rest = heading;
            continue;
        };
        let end = content.find("</h").unwrap_or(content.len());
        let text = anchor(&content[..end]);
        let numbered = (1..).map(|number| format!("{text}-{number}"));
        let id =
            std::iter::once(text.clone()).chain(numbered).find(|id| !ids.contains(id)).unwrap_or_default();
        ids.insert(id.clone());
        // The id has only letters, digits, hyphens and underscores.
        let _ = write!(out, "<h{level} id=\"{id}\">");
        rest = content;
    }
    out.push_str(rest);
    // comrak replaces comments in a page by this text.
    out.replace("<pre>", "<pre tabindex=\"0\">")
        .replace("<th>", "<th scope=\"col\">")
        .replace("<!-- raw HTML omitted -->\n", "")
        .replace(" />", ">")
}

/// Returns the id of a heading: its text in lower case, without punctuation, with hyphens for spaces.
fn anchor(heading: &str) -> String {
    let mut id = String::new();
    let mut is_tag = false;
    for c in heading.chars() {
        match c {
            '<' => is_tag = true,
            '>' => is_tag = false,
            _ if is_tag => {}
            ' ' => id.push('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => id.extend(c.to_lowercase()),
            _ => {}
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn render(page: &ManualPage) -> String {
        page.render(Root::of_path(&format!("/{FOLDER}{}/", page.name)))
    }

    #[test]
    fn every_file_of_the_guide_is_a_page() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for folder in ["admin", "admin/runbooks"] {
            for entry in std::fs::read_dir(root.join("docs").join(folder)).expect("a directory") {
                let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
                let Some(name) = name.strip_suffix(".md") else { continue };
                let file = format!("{folder}/{name}");
                assert!(PAGES.iter().any(|page| page.file == file), "{file} is not in the manual");
            }
        }
        assert!(PAGES.is_sorted_by_key(|page| page.name));
    }

    #[test]
    fn links_between_pages_lead_to_headings_that_exist() {
        let ids = |page: &ManualPage| -> BTreeSet<String> {
            let html = render(page);
            let parts = html.split(" id=\"").skip(1);
            parts.map(|part| part.split('"').next().expect("an id").to_owned()).collect()
        };
        for page in PAGES {
            let html = render(page);
            let prefix = Root::of_path(&format!("/{FOLDER}{}/", page.name)).to_string();
            for link in html.split("href=\"").skip(1).map(|part| part.split('"').next().expect("an address"))
            {
                let Some(rest) =
                    link.strip_prefix(&format!("{prefix}{FOLDER}")).filter(|rest| !rest.is_empty())
                else {
                    continue;
                };
                let (name, anchor) = rest.split_once("/#").unwrap_or((rest.trim_end_matches('/'), ""));
                let target = ManualPage::find(name).unwrap_or_else(|| panic!("{}: {link}", page.file));
                assert!(anchor.is_empty() || ids(target).contains(anchor), "{}: {link}", page.file);
            }
        }
    }

    #[test]
    fn a_page_has_one_main_heading_and_escapes_its_code() {
        for page in PAGES {
            let html = render(page);
            assert_eq!(html.matches("<h1").count(), 1, "{}", page.file);
            assert!(!html.contains("<script>"), "{}", page.file);
        }
        let access = render(ManualPage::find("access").expect("a page"));
        assert!(
            access.contains("<pre tabindex=\"0\">") && access.contains(&format!("{FOLDER}sign-in/")),
            "{access}"
        );
        let list = contents(Root::of_path("/__docs__/"));
        assert!(list.contains("href=\"../__docs__/runbooks/disk-full/\""), "{list}");
    }
}
