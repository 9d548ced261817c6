//! Real clients (R, remotes, curl) against the real programs.

mod auditors;
pub(crate) mod bioconductor;
mod blending;
mod blocked;
mod history;
mod immutable_snapshots;
mod indexes;
mod log;
mod log_roots;
mod matrix;
mod name_guards;
mod proxies;
mod requirements;
mod slashes;
mod snapshots;
mod timestamps;
mod witnesses;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::nginx::Nginx;
use crate::support::rscript;
use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// A response to curl.
#[derive(Debug)]
struct Response {
    status: u16,
    /// `1.1` or `2`.
    protocol: String,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(n, _)| n == name);
        header.map_or_else(|| panic!("no {name}: {self:?}"), |(_, value)| value.as_str())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Runs curl with these options.
fn curl(options: &[&str], url: &str) -> Response {
    let dir = tempfile::tempdir().expect("a directory");
    let (head, body) = (dir.path().join("head"), dir.path().join("body"));
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "90", "--path-as-is"])
        .args(["--write-out", "%{http_code} %{http_version}"])
        .arg("--dump-header")
        .arg(&head)
        .arg("--output")
        .arg(&body)
        .args(options)
        .arg(url)
        .output()
        .unwrap_or_else(|e| panic!("curl cannot be run ({e}): install curl"));
    assert!(output.status.success(), "curl {url}: {}", String::from_utf8_lossy(&output.stderr));
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    let (status, protocol) = summary.split_once(' ').expect("two words");
    let head = std::fs::read_to_string(&head).expect("the head");
    let pair = |line: &str| {
        line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    Response {
        status: status.parse().expect("a number"),
        protocol: protocol.to_owned(),
        headers: head.lines().filter_map(pair).collect(),
        // For HEAD, curl writes the head in place of a body.
        body: if options.contains(&"--head") { Vec::new() } else { std::fs::read(&body).unwrap_or_default() },
    }
}

/// Runs R code; returns the output of `say(what, value)`.
fn r(code: &str, args: &[&str]) -> BTreeMap<String, String> {
    r_with(code, args, |_| ())
}

fn r_with(code: &str, args: &[&str], prepare: impl FnOnce(&mut Command)) -> BTreeMap<String, String> {
    let prelude = "options(warn = 2); args <- commandArgs(TRUE)\n\
        say <- function(what, ...) cat(what, '\\t', paste(..., collapse = ' '), '\\n', sep = '')\n\
        fast <- c('--no-docs', '--no-byte-compile', '--no-test-load')\n";
    let out = rscript::run_with(&format!("{prelude}{code}"), args, prepare);
    let pairs = out.lines().filter_map(|line| line.split_once('\t'));
    pairs.map(|(what, value)| (what.to_owned(), value.to_owned())).collect()
}

fn expected_output(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(what, value)| ((*what).to_owned(), (*value).to_owned())).collect()
}

/// Builds the example packages into `folder`: greeting, tally, ledger.
fn examples(folder: &Path) -> Vec<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/build");
    let output = Command::new(script).arg(folder).output().expect("examples/build runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect()
}

/// Paths in the form of `rspm add --path`.
fn path_list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(",")
}

/// Writes packages to files of the server's directory and adds them.
fn add(server: &Server, source: &str, tarballs: &[Tarball]) {
    assert_eq!(add_with_warnings(server, source, tarballs), "");
}

/// As [`add`]; returns the warnings.
fn add_with_warnings(server: &Server, source: &str, tarballs: &[Tarball]) -> String {
    let paths: Vec<PathBuf> = tarballs.iter().map(|tarball| server.dir().join(tarball.file())).collect();
    for (path, tarball) in paths.iter().zip(tarballs) {
        std::fs::write(path, tarball.bytes()).expect("written");
    }
    let added = server.rspm(&format!("add --source={source} --path={}", path_list(&paths)));
    assert_eq!(added.code, 0, "{}", added.err);
    added.err
}

/// Creates a repository with these existing sources.
fn repository(server: &Server, name: &str, sources: &[&str]) {
    server.rspm_stdout(&format!("create repo --name={name}"));
    for source in sources {
        // Sources with packages of the same names cause a warning.
        let output = server.rspm(&format!("subscribe --repo={name} --source={source}"));
        assert_eq!(output.code, 0, "{}", output.err);
    }
}

/// A mirror in a temporary directory.
struct Mirror(tempfile::TempDir);

impl Mirror {
    fn new() -> Mirror {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(dir.path().join("src/contrib")).expect("a folder");
        Mirror(dir)
    }

    fn of(tarballs: &[Tarball]) -> Mirror {
        let mirror = Mirror::new();
        for tarball in tarballs {
            mirror.list(tarball, "");
        }
        mirror
    }

    /// Lists a package; `more` are lines of its record. If `more` has a `Path:`, the file is written to that folder.
    fn list(&self, tarball: &Tarball, more: &str) {
        let below = more.lines().find_map(|line| line.strip_prefix("Path: ")).unwrap_or_default();
        let folder = self.0.path().join("src/contrib").join(below);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(tarball.file()), tarball.bytes()).expect("written");
        let record = format!(
            "Package: {}\nVersion: {}\nLicense: MIT\nNeedsCompilation: no\n{}{more}\n",
            tarball.package, tarball.version, tarball.fields
        );
        let index = self.0.path().join("src/contrib/PACKAGES");
        let before = std::fs::read_to_string(&index).unwrap_or_default();
        std::fs::write(&index, before + &record).expect("written");
    }

    /// The configuration for this mirror.
    fn gcfg(&self) -> String {
        format!("[CRAN]\nURL = file://{}", self.0.path().display())
    }
}

/// A proxy of a repository: `/gz` has no `PACKAGES.rds`, `/plain` has only `PACKAGES`.
fn proxy_with_fewer_formats(repository: &str) -> Nginx {
    Nginx::start(&format!(
        "location ~ ^/gz/.*PACKAGES\\.rds$ {{ return 404; }}
         location ~ ^/plain/.*PACKAGES\\.(rds|gz)$ {{ return 404; }}
         location /gz/ {{ proxy_pass {repository}/; }}
         location /plain/ {{ proxy_pass {repository}/; }}"
    ))
}
