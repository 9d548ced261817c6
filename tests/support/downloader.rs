//! The real `rspm-offline-downloader` and its bundles.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rstudio_pm::bundle::{Product, ProductState, Record};
use rstudio_pm::config::Proxy;
use rstudio_pm::upstream::Upstream;
use rstudio_pm::upstream::origin::bundle::{Bundle, VerifiedHead};

use super::mirror_dir::{MirrorDir, file_url};
use super::process::{ProcessOutput, run_to_end};

/// A command of the downloader. `get` omits the rules for system requirements unless `args` have their address: the
/// default address is on the internet.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rspm-offline-downloader"));
    command.args(args);
    let has_rules = matches!(args.get(1), Some(&"cran" | &"bioconductor"));
    if args.first() == Some(&"get") && !args.contains(&"--requirements-url") && has_rules {
        command.args(["--requirements-url", "none"]);
    }
    command
}

/// Runs the downloader to completion.
pub(crate) fn run(args: &[&str]) -> ProcessOutput {
    run_to_end(&mut command(args))
}

/// Runs `get cran` from a mirror.
pub(crate) fn get_cran(from: &str, to: &Path, more_args: &[&str]) -> ProcessOutput {
    let to = to.to_str().expect("UTF-8");
    run(&[&["get", "cran", "--base-url", from, "--destination", to], more_args].concat())
}

/// [`get_cran`], which must succeed; returns its standard error.
pub(crate) fn must_get_cran(from: &str, to: &Path, more_args: &[&str]) -> String {
    let output = get_cran(from, to, more_args);
    assert_eq!(output.code, Some(0), "{}\n{}", output.out, output.err);
    output.err
}

/// Writes a mirror below a directory with these releases: package, version, day of publication.
pub(crate) fn create_mirror(dir: &Path, releases: &[(&str, &str, &str)]) -> MirrorDir {
    let mut mirror = MirrorDir::new(dir.join("mirror"));
    for (package, version, day) in releases {
        mirror.simple(package, version, day);
    }
    mirror.write();
    mirror
}

/// Creates a bundle of a whole mirror below a directory.
pub(crate) fn bundle(dir: &Path, mirror: &MirrorDir) -> PathBuf {
    let to = dir.join("bundle");
    must_get_cran(&mirror.url(), &to, &[]);
    to
}

/// Runs `validate`; returns the exit code and the findings as `(word, file, text)`.
pub(crate) fn validate(
    product: &str,
    root: &Path,
    more_args: &[&str],
) -> (i32, Vec<(String, String, String)>) {
    let output =
        run(&[&["validate", product, "--destination", root.to_str().expect("UTF-8")], more_args].concat());
    let line = |line: &str| {
        let mut parts = line.splitn(3, '\t').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        (next(), next(), next())
    };
    let findings = output.out.lines().map(line).collect();
    (output.code.unwrap_or_else(|| panic!("a signal: {}", output.err)), findings)
}

/// Asserts that a bundle is complete.
pub(crate) fn assert_complete(root: &Path) {
    assert_eq!(validate("cran", root, &["--packages"]), (0, Vec::new()));
}

/// Asserts that a bundle is complete except for files with these names, which could not be fetched.
pub(crate) fn assert_missing(root: &Path, files: &[&str]) {
    let (code, findings) = validate("cran", root, &["--packages"]);
    assert_eq!((code, findings.len()), (1, files.len()), "{findings:?}");
    for file in files {
        let finding = findings.iter().find(|(_, path, _)| path.ends_with(file));
        let (word, _, text) = finding.unwrap_or_else(|| panic!("{file}: {findings:?}"));
        assert!(word == "missing" && text.contains("could not be fetched"), "{findings:?}");
    }
}

/// Opens a bundle as a server does.
pub(crate) fn open_bundle(root: &Path) -> Bundle {
    open_bundle_at(&file_url(&root.canonicalize().expect("a directory")))
}

/// Opens the bundle at an address.
pub(crate) fn open_bundle_at(url: &str) -> Bundle {
    rstudio_pm::storage::install_tls_provider();
    let upstream = Upstream::new(&Proxy::default()).expect("no proxy");
    upstream.bundle(url).expect("an address")
}

/// The content of a product: its head, its records in order, and their final state.
pub(crate) async fn read(root: &Path, product: &Product) -> (VerifiedHead, Vec<Record>, ProductState) {
    let bundle = open_bundle(root);
    let head = bundle.head(product).await.expect("a head");
    let (mut records, mut state) = (Vec::new(), ProductState::default());
    for segment in head.since(0) {
        for record in bundle.segment(product, segment).await.expect("a segment") {
            state.apply(&record).expect("a valid record");
            records.push(record);
        }
    }
    (head, records, state)
}

/// Every file below a directory: its bytes by relative path.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        let entries = std::fs::read_dir(dir).expect("a directory");
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
                files.insert(name, std::fs::read(&path).expect("readable"));
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(root, root, &mut files);
    files
}

/// Copies a directory over another, as `cp -r` does.
pub(crate) fn copy_over(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").arg(from.join(".")).arg(to).status().expect("cp");
    assert!(status.success());
}

/// The paths of the package files of a bundle.
pub(crate) fn objects(root: &Path) -> Vec<String> {
    tree(root).into_keys().filter(|path| path.contains("/obj/")).collect()
}

/// A directory with spaces and non-ASCII letters in its name.
pub(crate) fn path_with_spaces(dir: &Path) -> PathBuf {
    dir.join("USB stick, größe ℵ")
}
