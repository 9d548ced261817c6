//! Recognizes the addresses of web pages, so that an error at one of them is a page. No I/O.

use super::repo_path::{PACKAGES, SIMPLE};
use super::web::WEB;

/// First segments of addresses that are neither in a repository nor pages.
const NON_PAGE_SEGMENTS: [&str; 6] = ["assets", "favicon.ico", "robots.txt", "upload", "_", "__ping__"];

/// Returns true if a raw path is the address of a page. Its errors, such as a snapshot that does not exist, or a query
/// that is malformed or too long, are then displayed as pages.
pub fn is_page_path(path: &str) -> bool {
    let mut segments: Vec<&str> = path.split('/').skip(1).take(6).collect();
    if segments.last() == Some(&"") {
        segments.pop();
    }
    match segments[..] {
        [] | ["client" | "__docs__", ..] => true,
        [first, ..] if NON_PAGE_SEGMENTS.contains(&first) => false,
        [repo, "__linux__", _, _] => !repo.starts_with("__"),
        [first, ..] if first.starts_with("__") => false,
        // Programs request these.
        [_, "config.yaml" | PACKAGES | SIMPLE | "__linux__"] => false,
        [_, _] => true,
        [_, _, WEB, ref rest @ ..] => rest != ["packages", "packages.rds"],
        _ => false,
    }
}

/// Returns true if a raw path is the address of a repository without a snapshot: `/prod`, `/prod/`.
pub fn is_repository_path(path: &str) -> bool {
    let name = path.strip_prefix('/').unwrap_or_default();
    let name = name.strip_suffix('/').unwrap_or(name);
    !name.is_empty() && !name.contains('/') && !name.starts_with("__") && !NON_PAGE_SEGMENTS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_programs_request_are_no_pages() {
        for page in [
            "/",
            "/client/",
            "/__docs__/x/",
            "/prod/2026-13-01",
            "/prod/2026-13-01/",
            "/prod/LATEST/web/packages/a/versions/",
            "/prod/latest/web/packages/a/files/x/y/z",
            "/prod/__linux__/noble/x/",
        ] {
            assert!(is_page_path(page), "{page}");
        }
        for other in [
            "/prod",
            "/prod/",
            "/assets/ui.css",
            "/upload/pypi/",
            "/__api__/repos",
            "/__api__/admin",
            "/prod/config.yaml",
            "/py/simple/",
            "/bioc/packages/",
            "/prod/x/src/contrib/PACKAGES",
            "/prod/x/src",
            "/prod/latest/web/packages/packages.rds",
            "/prod/__linux__/noble/x/src/contrib/PACKAGES",
            "/_/oidc/audience",
        ] {
            assert!(!is_page_path(other), "{other}");
        }
        for (path, is_repository) in [
            ("/prod", true),
            ("/prod/", true),
            ("/", false),
            ("/assets", false),
            ("/__api__/", false),
            ("/a/b", false),
        ] {
            assert_eq!(is_repository_path(path), is_repository, "{path}");
        }
    }
}
