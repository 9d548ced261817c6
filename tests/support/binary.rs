//! Binaries of the example packages, built by real R once for all tests.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use sha2::Digest;

use super::server::Server;

/// A source archive of an example package, and the binary that R built from it.
#[derive(Clone, Debug)]
pub(crate) struct Example {
    pub(crate) package: &'static str,
    pub(crate) version: &'static str,
    pub(crate) source: PathBuf,
    pub(crate) binary: PathBuf,
}

impl Example {
    /// The files of the binary, by path.
    pub(crate) fn files(&self) -> Vec<(String, Vec<u8>)> {
        let file = fs::File::open(&self.binary).expect("built");
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(file));
        let mut files = Vec::new();
        for entry in tar.entries().expect("a tar") {
            let mut entry = entry.expect("a member");
            let path = entry.path().expect("a path").to_string_lossy().into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("contents");
            if !path.ends_with('/') {
                files.push((path, bytes));
            }
        }
        files
    }

    /// The files of a binary for another system: with this `Built`, and with these files below `libs/`.
    pub(crate) fn files_for(&self, built: &str, libraries: &[(&str, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
        let other_files = self.files().into_iter().filter(|(path, _)| !path.contains("/libs/"));
        let mut files: Vec<(String, Vec<u8>)> = other_files.collect();
        for (path, bytes) in &mut files {
            if path.ends_with("/DESCRIPTION") {
                let text = String::from_utf8(bytes.clone()).expect("text");
                let lines = text.lines().filter(|line| !line.starts_with("Built:"));
                let text: String = lines.map(|line| format!("{line}\n")).collect();
                *bytes = format!("{text}Built: {built}\n").into_bytes();
            }
        }
        let to_file =
            |(path, bytes): &(&str, Vec<u8>)| (format!("{}/libs/{path}", self.package), bytes.clone());
        files.extend(libraries.iter().map(to_file));
        files
    }
}

/// `greeting` (not compiled), `tally` (C code), `ledger` (depends on both).
pub(crate) fn examples() -> [Example; 3] {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/build");
    let directory = tempfile::tempdir().expect("a directory");
    run(Command::new("sh").arg(examples).arg(directory.path()));
    let packages = [("greeting", "1.0.0"), ("tally", "0.2.1"), ("ledger", "2.0-1")];
    let source = |(package, version): (&str, &str)| format!("{package}_{version}.tar.gz");
    let mut hash = sha2::Sha256::new();
    for package in packages {
        hash.update(fs::read(directory.path().join(source(package))).expect("built"));
    }
    let folder = cached_folder(hash, |folder| {
        let library = directory.path().join("library");
        fs::create_dir(&library).expect("a directory");
        for package in packages {
            let archive = directory.path().join(source(package));
            install(&archive, &library, folder);
            fs::copy(&archive, folder.join(source(package))).expect("copied");
        }
    });
    packages.map(|(package, version)| {
        let binary = format!("{package}_{version}_R_x86_64-pc-linux-gnu.tar.gz");
        let example = Example {
            package,
            version,
            source: folder.join(source((package, version))),
            binary: folder.join(binary),
        };
        assert!(example.binary.is_file(), "R CMD INSTALL --build made no {}", example.binary.display());
        example
    })
}

/// The binaries that R builds from these source archives, in their order, once for all tests. Their dependencies must
/// be installed.
pub(crate) fn build_binaries(sources: &[PathBuf]) -> Vec<PathBuf> {
    let mut hash = sha2::Sha256::new();
    for source in sources {
        hash.update(fs::read(source).unwrap_or_else(|e| panic!("{}: {e}", source.display())));
    }
    let folder = cached_folder(hash, |folder| {
        let library = tempfile::tempdir().expect("a directory");
        sources.iter().for_each(|source| install(source, library.path(), folder));
    });
    let name = |source: &PathBuf| {
        let name = source.file_name().expect("a file").to_string_lossy().into_owned();
        name.replace(".tar.gz", "_R_x86_64-pc-linux-gnu.tar.gz")
    };
    sources.iter().map(|source| folder.join(name(source))).collect()
}

/// The folder for this hash, which `fill` fills once: every test is a separate process, the first one creates the
/// folder, the others wait.
fn cached_folder(mut hash: sha2::Sha256, fill: impl FnOnce(&Path)) -> PathBuf {
    hash.update(r_version());
    let digest = hex::encode(&hash.finalize()[..8]);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("binaries-{digest}"));
    let lock = fs::File::create(folder.with_extension("lock")).expect("a lock");
    lock.lock().expect("the lock");
    if !folder.exists() {
        let new_folder = folder.with_extension("new");
        let _ = fs::remove_dir_all(&new_folder);
        fs::create_dir(&new_folder).expect("a directory");
        fill(&new_folder);
        fs::rename(new_folder, &folder).expect("renamed");
    }
    folder
}

/// Installs a source archive into a library and writes the binary to `folder`.
fn install(source: &Path, library: &Path, folder: &Path) {
    run(Command::new("R")
        .args(["CMD", "INSTALL", "--build", "--no-docs", "--no-test-load", "-l"])
        .arg(library)
        .arg(source)
        .env("R_LIBS", library)
        .current_dir(folder));
}

/// Writes the archive `binary` to `to` with a different padding and compression, so that its bytes differ.
pub(crate) fn repack(binary: &Path, to: &Path) {
    let file = fs::File::open(binary).expect("built");
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut tar).expect("gzip");
    tar.extend([0; 1024]);
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gz, &tar).expect("memory");
    fs::write(to, gz.finish().expect("memory")).expect("written");
}

/// The major and minor version of the installed R, such as `4.5`.
pub(crate) fn r_version() -> String {
    static VERSION: OnceLock<String> = OnceLock::new();
    let code = "cat(R.version$major, sub('[.].*', '', R.version$minor), sep = '.')";
    VERSION.get_or_init(|| super::rscript::run::<&str>(code, &[])).clone()
}

fn run(command: &mut Command) {
    let output =
        command.output().unwrap_or_else(|e| panic!("{command:?} cannot be run ({e}): install r-base-core"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    /// Creates a repository `prod` with a local source `team` that has the source packages of the examples.
    pub(crate) fn team_with_examples(&self) -> [Example; 3] {
        let examples = examples();
        self.rspm_stdout("create source --name=team");
        self.rspm_stdout("create repo --name=prod");
        self.rspm_stdout("subscribe --repo=prod --source=team");
        let paths: Vec<String> = examples.iter().map(|e| e.source.display().to_string()).collect();
        self.rspm_stdout(&format!("add --source=team --path={}", paths.join(",")));
        examples
    }
}
