//! Packages, indexes and tables to test with, and what the mirrors hold, counted by the names of their files alone.

use std::path::{Path, PathBuf};

use super::data_root::root;

/// The path of a file or folder of the test data; panics with what to do when it is not there.
pub(crate) fn path(relative: &str) -> PathBuf {
    // Servers do not follow links out of the folder that they were given.
    let root = root();
    let root = root.canonicalize().unwrap_or(root);
    let path = root.join(relative);
    if !path.exists() {
        let why = std::fs::read_to_string(root.join("missing")).unwrap_or_default();
        panic!(
            "test data '{}' is missing: run tests/setup, which makes it, or set RSPM_TEST_DATA {why}",
            path.display()
        );
    }
    path
}

/// The sorted names of the files in a folder that end so.
pub(crate) fn files(folder: &Path, end: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut files: Vec<String> = names.filter(|name| name.ends_with(end)).collect();
    files.sort();
    files
}

/// What `cran-mirror/` holds.
pub(crate) struct Cran {
    /// Source files of the listed packages.
    pub(crate) listed: Vec<String>,
    /// Source files in the archive.
    pub(crate) archived: Vec<String>,
    /// Builds for Windows with R 4.5.
    pub(crate) builds: Vec<String>,
}

/// Reads the names of the files of `cran-mirror/`.
pub(crate) fn cran() -> Cran {
    let contrib = path("cran-mirror/src/contrib");
    let archive = contrib.join("Archive");
    let archived = files(&archive, "").into_iter().flat_map(|folder| files(&archive.join(folder), ".tar.gz"));
    Cran {
        listed: files(&contrib, ".tar.gz"),
        archived: archived.collect(),
        builds: files(&path("cran-mirror/bin/windows/contrib/4.5"), ".zip"),
    }
}

fn of<'a>(files: &'a [String], package: &str) -> impl Iterator<Item = &'a str> {
    let prefix = format!("{package}_");
    files.iter().map(String::as_str).filter(move |file| file.starts_with(&prefix))
}

impl Cran {
    /// What the first sync says of it.
    pub(crate) fn added(&self) -> String {
        format!("{} packages added", self.listed.len())
    }

    /// How many releases are listed, and how many are in the archive.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.listed.len(), self.archived.len())
    }

    /// The listed file of a package.
    pub(crate) fn file(&self, package: &str) -> &str {
        of(&self.listed, package).next().unwrap_or_else(|| panic!("{package} is not in cran-mirror/"))
    }

    /// The listed version of a package.
    pub(crate) fn version(&self, package: &str) -> &str {
        let version = self.file(package).strip_prefix(package).and_then(|rest| rest.strip_suffix(".tar.gz"));
        &version.expect("a file of the package")[1..]
    }

    /// The files of a package in the archive; at least one.
    pub(crate) fn older(&self, package: &str) -> Vec<&str> {
        let older: Vec<&str> = of(&self.archived, package).collect();
        assert!(!older.is_empty(), "cran-mirror/ has no archived release of {package}");
        older
    }

    /// Builds for Windows whose source is listed or archived.
    pub(crate) fn builds_with_source(&self) -> Vec<&str> {
        let has_source = |build: &&str| {
            let source = build.replace(".zip", ".tar.gz");
            self.listed.contains(&source) || self.archived.contains(&source)
        };
        self.builds.iter().map(String::as_str).filter(has_source).collect()
    }

    /// The build for Windows of a package.
    pub(crate) fn build(&self, package: &str) -> &str {
        of(&self.builds, package).next().unwrap_or_else(|| panic!("cran-mirror/ has no build of {package}"))
    }
}

/// `name_version` of the software packages of a version in `bioc-mirror/`.
pub(crate) fn bioconductor(version: &str) -> Vec<String> {
    let contrib = path(&format!("bioc-mirror/packages/{version}/bioc/src/contrib"));
    files(&contrib, ".tar.gz")
        .iter()
        .filter_map(|file| file.strip_suffix(".tar.gz").map(str::to_owned))
        .collect()
}

/// The text of every advisory of `advisories/cran/`: a folder for each package, a file for each advisory.
pub(crate) fn advisories() -> Vec<String> {
    let folder = path("advisories/cran/vulns");
    let packages = files(&folder, "").into_iter().map(|name| folder.join(name)).filter(|path| path.is_dir());
    let each = packages.flat_map(|package| {
        files(&package, ".yaml").into_iter().map(move |name| package.join(name)).collect::<Vec<_>>()
    });
    let texts: Vec<String> =
        each.map(|file| std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{e}"))).collect();
    assert!(texts.len() > 10, "{}", texts.len());
    texts
}
