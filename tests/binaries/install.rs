//! Real R installs builds: through each kind of address, with the header it sends by itself and the documented one.

use super::{add, telling};
use crate::support::server::Server;
use crate::support::{binary, rscript};

/// Installs `ledger` and what it needs, loads it, and tells how each package was installed.
const INSTALL: &str = r#"
args <- commandArgs(TRUE)
lib <- Sys.getenv("R_LIBS_USER")
outputs <- tempfile("outputs"); dir.create(outputs)
install.packages("ledger", lib = lib, repos = args[[1]], type = "source", quiet = FALSE, keep_outputs = outputs,
    INSTALL_opts = c("--no-docs", "--no-byte-compile", "--no-test-load"))
for (package in c("greeting", "tally", "ledger")) {
    said <- readLines(file.path(outputs, paste0(package, ".out")))
    how <- sub(".*installing [*](source|binary)[*].*", "\\1", grep("installing [*]", said, value = TRUE)[[1]])
    cat(package, how, packageDescription(package, lib)$Repository,
        read.dcf(file.path(lib, package, "DESCRIPTION"), "Repository"), "\n")
}
library(ledger, lib.loc = lib)
cat(ledger::summarise("world", c(1, 1, 2)), "\n")
"#;

pub(super) fn install(server: &Server, repository: &str, agent: &str) -> Vec<String> {
    let told = rscript::run(&telling(agent, INSTALL), &[server.url(repository).as_str()]);
    let how = |package: &str| {
        let line = told.lines().find(|line| line.starts_with(package));
        line.unwrap_or_else(|| panic!("{package}: {told}")).trim().to_owned()
    };
    ["greeting", "tally", "ledger"].map(how).to_vec()
}

#[test]
fn r_installs_builds_and_sources_as_its_address_and_header_say() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "bookworm");
    let built = ["greeting binary RSPM RSPM", "tally binary RSPM RSPM", "ledger source RSPM RSPM"];
    let sources = ["greeting source RSPM RSPM", "tally source RSPM RSPM", "ledger source RSPM RSPM"];
    let negotiated = "/prod/__linux__/bookworm/latest";
    assert_eq!(install(&server, negotiated, "documented"), built);
    assert_eq!(install(&server, negotiated, "default"), sources, "R hides itself behind libcurl");
    let explicit = format!("/prod/latest/bin/linux/bookworm-x86_64/{}", binary::r_version());
    assert_eq!(install(&server, &explicit, "default"), built);
}
