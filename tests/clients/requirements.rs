//! `remotes::system_requirements()` against the server: by name, and with the DESCRIPTION of a package in development.

use super::{add, r, repository};
use crate::support::data;
use crate::support::server::Builder;
use crate::support::tarball::Tarball;

#[test]
fn remotes_gets_the_commands_that_install_system_requirements() {
    let rules = data::path("sysreqs").canonicalize().expect("the folder exists");
    let server =
        Builder::default().gcfg(&format!("[SystemRequirements]\nURL = file://{}", rules.display())).start();
    server.sync_of("sysreqs").expect("the rules");
    server.rspm_stdout("create source --name=team");
    repository(&server, "prod", &["team"]);
    add(
        &server,
        "team",
        &[
            Tarball::new("app", "1.0").field("Imports: maps"),
            Tarball::new("maps", "1.0").field("SystemRequirements: GEOS"),
            Tarball::new("keys", "1.0").field("SystemRequirements: zlib"),
        ],
    );
    let output = r(
        "Sys.setenv(RSPM_ROOT = args[[1]], RSPM_REPO_ID = 'prod')
        commands <- function(...) paste(remotes::system_requirements('ubuntu', '20.04', ...), collapse = '; ')
        say('by name', commands(package = c('app', 'keys')))
        own <- tempfile(); dir.create(own)
        writeLines(c('Package: own', 'Version: 0.1', 'Imports: app', 'Suggests: keys', 'SystemRequirements: libcurl'),
            file.path(own, 'DESCRIPTION'))
        say('by description', commands(path = own))
        unsupported <- tryCatch(remotes::system_requirements('centos', '6', package = 'app'), error = conditionMessage)
        say('unsupported', unsupported)",
        &[&server.url("")],
    );
    let install = |packages: &[&str]| {
        packages.iter().map(|name| format!("apt-get install -y {name}")).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(output["by name"], install(&["zlib1g-dev", "libgeos-dev"]));
    let by_description = &output["by description"];
    for package in ["libcurl4-openssl-dev", "libgeos-dev", "zlib1g-dev"] {
        assert!(by_description.contains(&install(&[package])), "{package}: {by_description}");
    }
    assert_eq!(output["unsupported"], "Unsupported system");
}
