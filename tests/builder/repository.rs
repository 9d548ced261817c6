//! Git repositories for tests, created by the real program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A repository with a working tree.
pub(crate) struct Repository {
    directory: tempfile::TempDir,
}

impl Repository {
    pub(crate) fn new() -> Repository {
        Repository::below(Path::new("/tmp"))
    }

    /// A repository in a new directory of `parent`.
    pub(crate) fn below(parent: &Path) -> Repository {
        let repository =
            Repository { directory: tempfile::Builder::new().prefix("git").tempdir_in(parent).unwrap() };
        fs::set_permissions(repository.path(), PermissionsExt::from_mode(0o755)).unwrap();
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    /// Writes a file of the working tree; returns its path.
    pub(crate) fn write(&self, path: &str, content: &str) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes a small R package into a directory.
    pub(crate) fn package(&self, directory: &str, version: &str) {
        let description = format!(
            "Package: tested\nVersion: {version}\nTitle: T\nDescription: D.\nLicense: MIT\nAuthor: A\nMaintainer: A \
             <a@example.org>\n"
        );
        self.write(&format!("{directory}DESCRIPTION"), &description);
        self.write(&format!("{directory}NAMESPACE"), "export(f)\n");
        self.write(&format!("{directory}R/f.R"), "f <- function() 1\n");
    }

    /// Adds a shell script that a help page of the package runs during the build, with its output in the log.
    pub(crate) fn run_in_build(&self, script: &str) {
        self.write("run.sh", &format!("{script}\n"));
        let code = r#"if (system("sh ./run.sh") != 0) stop("run.sh failed"); "x""#;
        let page =
            format!("\\name{{f}}\\title{{t}}\\description{{\\Sexpr[stage=build,results=text]{{{code}}}}}\n");
        self.write("man/f.Rd", &page);
    }

    /// Commits everything; returns the commit.
    pub(crate) fn commit(&self) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=x"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the working tree; returns its standard output.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}
