//! Real R installs binaries: through each kind of address, with its default header and with the documented one.

use super::{add, with_agent};
use crate::support::server::Server;
use crate::support::{binary, rscript};

/// Installs `ledger` and its dependencies, loads it, and prints how each package was installed.
const INSTALL: &str = r#"
args <- commandArgs(TRUE)
lib <- Sys.getenv("R_LIBS_USER")
outputs <- tempfile("outputs"); dir.create(outputs)
install.packages("ledger", lib = lib, repos = args[[1]], type = "source", quiet = FALSE, keep_outputs = outputs,
    INSTALL_opts = c("--no-docs", "--no-byte-compile", "--no-test-load"))
for (package in c("greeting", "tally", "ledger")) {
    log <- readLines(file.path(outputs, paste0(package, ".out")))
    how <- sub(".*installing [*](source|binary)[*].*", "\\1", grep("installing [*]", log, value = TRUE)[[1]])
    cat(package, how, packageDescription(package, lib)$Repository,
        read.dcf(file.path(lib, package, "DESCRIPTION"), "Repository"), "\n")
}
library(ledger, lib.loc = lib)
cat(ledger::summarise("world", c(1, 1, 2)), "\n")
"#;

pub(super) fn install(server: &Server, repository: &str, agent: &str) -> Vec<String> {
    let output = rscript::run(&with_agent(agent, INSTALL), &[server.url(repository).as_str()]);
    let how = |package: &str| {
        let line = output.lines().find(|line| line.starts_with(package));
        line.unwrap_or_else(|| panic!("{package}: {output}")).trim().to_owned()
    };
    ["greeting", "tally", "ledger"].map(how).to_vec()
}

#[test]
fn r_installs_binaries_or_sources_by_address_and_header() {
    let server = Server::start();
    let [greeting, tally, _] = server.team_with_examples();
    add(&server, &[&greeting, &tally], "bookworm");
    let built = ["greeting binary RSPM RSPM", "tally binary RSPM RSPM", "ledger source RSPM RSPM"];
    let sources = ["greeting source RSPM RSPM", "tally source RSPM RSPM", "ledger source RSPM RSPM"];
    let negotiated = "/prod/__linux__/bookworm/latest";
    assert_eq!(install(&server, negotiated, "documented"), built);
    assert_eq!(install(&server, negotiated, "default"), sources, "R sends the header of libcurl");
    let explicit = format!("/prod/latest/bin/linux/bookworm-x86_64/{}", binary::r_version());
    assert_eq!(install(&server, &explicit, "default"), built);
}
