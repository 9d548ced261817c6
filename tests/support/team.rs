//! A local source in a repository, and packages for it.

use std::path::PathBuf;

use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// Writes package files into the server's directory and returns their paths.
pub(crate) fn files(server: &Server, tarballs: &[Tarball]) -> Vec<PathBuf> {
    let path = |tarball: &Tarball| {
        let path = server.dir().join(tarball.file());
        std::fs::write(&path, tarball.bytes()).expect("written");
        path
    };
    tarballs.iter().map(path).collect()
}

/// The flag `--path=a,b` for these files.
pub(crate) fn path_flag(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    format!("--path={}", files.join(","))
}

/// Adds packages; the command must succeed.
pub(crate) fn add(server: &Server, source: &str, tarballs: &[Tarball]) {
    let files = files(server, tarballs);
    server.rspm_stdout(&format!("add --source={source} {}", path_flag(&files)));
}

/// A server with the local source `team` in the repository `prod`.
pub(crate) fn team() -> Server {
    let server = Server::start();
    server.rspm_stdout("create source --name=team");
    server.rspm_stdout("create repo --name=prod");
    server.rspm_stdout("subscribe --repo=prod --source=team");
    server
}
