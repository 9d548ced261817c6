//! Pages for people, requested from a running server: form, headers, links, texts that others wrote, setup text.

mod administration;
mod appearance;
mod badges;
mod block_rules;
mod changes;
mod document;
mod empty;
mod feeds;
mod files;
mod headers;
mod health;
mod history;
mod hostile;
mod links;
mod lists;
mod lock_file;
mod packages;
mod read_only;
mod real_packages;
mod relations;
mod repositories;
mod screenshots;
mod script;
mod search;
mod servers;
mod setup;
mod tasks;
mod yanks;

use crate::support::server::Server;
use crate::support::tarball::Tarball;

/// A server with the repository `team`: `beta` depends on `alpha`, which also has an archived version.
fn server() -> Server {
    let server = Server::start();
    server.local_repository(
        "team",
        &[
            Tarball::new("alpha", "1.0"),
            Tarball::new("alpha", "1.1").with("README.md", "# Alpha\n<script>alert(1)</script>\n"),
            Tarball::new("beta", "2.0").field("Imports: alpha (>= 1.0), methods"),
        ],
    );
    server
}
