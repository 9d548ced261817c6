//! The pages of the documentation to which messages refer, by their installed paths.

use std::fmt;

/// The directory in which `make install` installs `docs/`.
const DIRECTORY: &str = "/usr/share/doc/rstudio-pm";

/// A page, printed as the path of the installed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page(&'static str);

macro_rules! pages {
    ($($name:ident = $file:literal),* $(,)?) => {
        impl Page {
            $(
                #[doc = concat!("`docs/", $file, "`.")]
                pub const $name: Page = Page($file);
            )*
            #[cfg(test)]
            const ALL: &[Page] = &[$(Page::$name),*];
        }
    };
}

pages! {
    ACCESS = "admin/access.md",
    AIR_GAPPED = "admin/air-gapped.md",
    API = "api/README.md",
    BIOCONDUCTOR = "admin/bioconductor.md",
    COMPATIBILITY = "compatibility.md",
    CONFIGURATION = "admin/configuration.md",
    GIT = "admin/git.md",
    LOGGING = "logging.md",
    OPERATIONS = "admin/operations.md",
    REPOSITORIES = "admin/repositories.md",
    VULNERABILITIES = "admin/vulnerabilities.md",
}

impl Page {
    /// Returns the path below `docs/`.
    pub fn file(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{DIRECTORY}/{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_page_exists_and_is_installed() {
        let root = &Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for page in Page::ALL {
            assert!(root.join("docs").join(page.0).is_file(), "{page}");
        }
        let makefile = std::fs::read_to_string(root.join("Makefile")).expect("readable");
        assert!(makefile.contains(&format!("docs/$$page $(DESTDIR){DIRECTORY}/$$page")));
    }

    #[test]
    fn no_message_names_a_page_by_its_path_in_the_sources() {
        fn walk(dir: &Path, violations: &mut Vec<String>) {
            for entry in
                std::fs::read_dir(dir).expect("readable").map(|entry| entry.expect("readable").path())
            {
                if entry.is_dir() {
                    walk(&entry, violations);
                    continue;
                }
                if entry.extension().is_none_or(|extension| extension != "rs") {
                    continue;
                }
                let text = std::fs::read_to_string(&entry).expect("UTF-8");
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                let matching_lines = lines.filter(|line| {
                    line.contains("docs/") && line.contains(".md") && !line.contains("concat!")
                });
                violations.extend(matching_lines.map(|line| format!("{}: {line}", entry.display())));
            }
        }
        let mut violations = Vec::new();
        for folder in ["src", "crates"] {
            walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(folder), &mut violations);
        }
        assert_eq!(violations, [""; 0]);
    }
}
