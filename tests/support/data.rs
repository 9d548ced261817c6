//! Test data: packages, indexes and tables, and the content of the mirrors, derived from file names alone.

use std::path::{Path, PathBuf};

use rstudio_pm::model::text::count_of;

use super::data_root::root;

/// The path of a file or folder of the test data; if it is missing, panics with the remedy.
pub(crate) fn path(relative: &str) -> PathBuf {
    // Servers do not follow links that lead out of their configured folder.
    let root = root();
    let root = root.canonicalize().unwrap_or(root);
    let path = root.join(relative);
    if !path.exists() {
        let reason = std::fs::read_to_string(root.join("missing")).unwrap_or_default();
        panic!(
            "test data '{}' is missing: run tests/setup, which makes it, or set RSPM_TEST_DATA {reason}",
            path.display()
        );
    }
    path
}

/// The sorted names of the files in a folder that end with `suffix`.
pub(crate) fn files(folder: &Path, suffix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut files: Vec<String> = names.filter(|name| name.ends_with(suffix)).collect();
    files.sort();
    files
}

/// The content of `cran-mirror/`.
pub(crate) struct Cran {
    /// Source files of the listed packages.
    pub(crate) listed: Vec<String>,
    /// Source files in the archive.
    pub(crate) archived: Vec<String>,
    /// Binaries for Windows and R 4.5.
    pub(crate) binaries: Vec<String>,
}

/// Lists the files of `cran-mirror/`.
pub(crate) fn cran() -> Cran {
    let contrib = path("cran-mirror/src/contrib");
    let archive = contrib.join("Archive");
    let archived = files(&archive, "").into_iter().flat_map(|folder| files(&archive.join(folder), ".tar.gz"));
    Cran {
        listed: files(&contrib, ".tar.gz"),
        archived: archived.collect(),
        binaries: files(&path("cran-mirror/bin/windows/contrib/4.5"), ".zip"),
    }
}

/// The files of a package among `files`.
fn files_of<'a>(files: &'a [String], package: &str) -> impl Iterator<Item = &'a str> {
    let prefix = format!("{package}_");
    files.iter().map(String::as_str).filter(move |file| file.starts_with(&prefix))
}

impl Cran {
    /// The beginning of the message of the first sync.
    pub(crate) fn added_message(&self) -> String {
        count_of(self.listed.len(), "package", "packages") + " added"
    }

    /// The numbers of listed and of archived releases.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.listed.len(), self.archived.len())
    }

    /// The source file of a listed package.
    pub(crate) fn file(&self, package: &str) -> &str {
        files_of(&self.listed, package).next().unwrap_or_else(|| panic!("{package} is not in cran-mirror/"))
    }

    /// The listed version of a package.
    pub(crate) fn version(&self, package: &str) -> &str {
        let version = self.file(package).strip_prefix(package).and_then(|rest| rest.strip_suffix(".tar.gz"));
        &version.expect("a file of the package")[1..]
    }

    /// The files of a package in the archive; at least one.
    pub(crate) fn archived_files(&self, package: &str) -> Vec<&str> {
        let files: Vec<&str> = files_of(&self.archived, package).collect();
        assert!(!files.is_empty(), "cran-mirror/ has no archived release of {package}");
        files
    }

    /// Binaries for Windows whose source is listed or archived.
    pub(crate) fn binaries_with_source(&self) -> Vec<&str> {
        let has_source = |binary_file: &&str| {
            let source = binary_file.replace(".zip", ".tar.gz");
            self.listed.contains(&source) || self.archived.contains(&source)
        };
        self.binaries.iter().map(String::as_str).filter(has_source).collect()
    }

    /// The binary for Windows of a package.
    pub(crate) fn binary(&self, package: &str) -> &str {
        files_of(&self.binaries, package)
            .next()
            .unwrap_or_else(|| panic!("cran-mirror/ has no binary of {package}"))
    }
}

/// `name_version` of the software packages of a Bioconductor version in `bioc-mirror/`.
pub(crate) fn bioconductor(version: &str) -> Vec<String> {
    let contrib = path(&format!("bioc-mirror/packages/{version}/bioc/src/contrib"));
    files(&contrib, ".tar.gz")
        .iter()
        .filter_map(|file| file.strip_suffix(".tar.gz").map(str::to_owned))
        .collect()
}

/// The version of a software package of a Bioconductor version in `bioc-mirror/`.
pub(crate) fn bioconductor_version(version: &str, package: &str) -> String {
    let names = bioconductor(version);
    let version_text = names.iter().find_map(|file| file.strip_prefix(package)?.strip_prefix('_'));
    version_text
        .unwrap_or_else(|| panic!("Bioconductor {version} of bioc-mirror/ has no {package}"))
        .to_owned()
}

/// The path of the source file of a package below a Bioconductor mirror.
pub(crate) fn bioconductor_file(version: &str, package: &str) -> String {
    let file = format!("{package}_{}.tar.gz", bioconductor_version(version, package));
    format!("packages/{version}/bioc/src/contrib/{file}")
}

/// The text of every advisory of `advisories/cran/`, which has a folder for each package and a file for each advisory.
pub(crate) fn advisories() -> Vec<String> {
    let folder = path("advisories/cran/vulns");
    let packages = files(&folder, "").into_iter().map(|name| folder.join(name)).filter(|path| path.is_dir());
    let advisory_files = packages.flat_map(|package| {
        files(&package, ".yaml").into_iter().map(move |name| package.join(name)).collect::<Vec<_>>()
    });
    let texts: Vec<String> =
        advisory_files.map(|file| std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{e}"))).collect();
    assert!(texts.len() > 10, "{}", texts.len());
    texts
}

/// All source tarballs of the mirror, current and archived.
pub(crate) fn tarballs() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![path("cran-mirror/src/contrib")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the mirror") {
            let file = entry.expect("an entry").path();
            if file.is_dir() {
                folders.push(file);
            } else if file.to_string_lossy().ends_with(".tar.gz") {
                files.push(file);
            }
        }
    }
    files.sort();
    let (listed, archived) = cran().counts();
    assert!(files.len() == listed + archived && files.len() > 80, "{}", files.len());
    files
}
