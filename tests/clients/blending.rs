//! A team's package and a higher version of the same name on a mirror: R gets the team's package at every path.

use super::{Mirror, add_with_warnings, curl, expected_output, r, repository};
use crate::support::server::{Builder, Server};
use crate::support::tarball::Tarball;

/// The versions that R lists and installs, and the status of each path of both versions.
fn versions(server: &Server, repository: &str) -> (String, [u16; 4]) {
    let url = server.url(&format!("/{repository}/latest"));
    let code = "found <- available.packages(repos = args[[1]], filters = list())
        install.packages('internalpkg', repos = args[[1]], quiet = TRUE, INSTALL_opts = fast)
        say('versions', found[found[, 'Package'] == 'internalpkg', 'Version'], as.character(packageVersion('internalpkg')),
            'zoo' %in% found[, 'Package'])";
    let output = r(code, &[&url]);
    let statuses = [
        "internalpkg_1.0.tar.gz",
        "Archive/internalpkg/internalpkg_1.0.tar.gz",
        "internalpkg_99.0.tar.gz",
        "Archive/internalpkg/internalpkg_99.0.tar.gz",
    ]
    .map(|file| curl(&[], &format!("{url}/src/contrib/{file}")).status);
    (output["versions"].clone(), statuses)
}

/// Adds a package whose name the mirror listed before; the command must print a warning.
fn add_with_warning(server: &Server, package: &Tarball) {
    assert_eq!(
        add_with_warnings(server, "team", std::slice::from_ref(package)),
        "Warning: the sources team and cran both have a package 'internalpkg': the first of them in a \
         repository provides the name; to hide the other: rspm create name-guard\n"
    );
}

#[test]
fn a_higher_version_of_a_mirror_is_never_served_to_r_while_the_team_comes_first() {
    let mirror = Mirror::of(&[
        Tarball::new("internalpkg", "99.0").with("R/evil.R", "evil <- function() 1\n"),
        Tarball::new("zoo", "1.0"),
    ]);
    let server = Builder::default().gcfg(&mirror.gcfg()).start();
    server.rspm_stdout("sync");
    server.rspm_stdout("create source --name=team");
    add_with_warning(&server, &Tarball::new("internalpkg", "1.0"));
    repository(&server, "prod", &["team", "cran"]);

    let safe = ("1.0 1.0 TRUE".to_owned(), [200, 200, 404, 404]);
    assert_eq!(versions(&server, "prod"), safe);
    // Only the order of sources decides.
    server.rspm_stdout("reorder --repo=prod --sources=cran,team");
    let other = ("99.0 99.0 TRUE".to_owned(), [404, 404, 200, 200]);
    assert_eq!(versions(&server, "prod"), other);
    server.rspm_stdout("reorder --repo=prod --sources=team,cran");
    assert_eq!(versions(&server, "prod"), safe);
    server.rspm_stdout("unsubscribe --repo=prod --source=cran");
    assert_eq!(versions(&server, "prod"), ("1.0 1.0 FALSE".to_owned(), [200, 200, 404, 404]));
    let subscribed = server.rspm("subscribe --repo=prod --source=cran");
    let warning =
        "Warning: the sources team and cran both have the package 'internalpkg'; team, which precedes cran ";
    assert!(subscribed.code == 0 && subscribed.err.starts_with(warning), "{subscribed:?}");
    assert_eq!(versions(&server, "prod"), safe);
}

#[test]
fn a_version_of_both_sources_is_served_from_the_team() {
    let same = Tarball::new("internalpkg", "1.0");
    let mirror = Mirror::of(&[same.clone().with("R/evil.R", "evil <- function() 1\n")]);
    let server = Builder::default().gcfg(&mirror.gcfg()).start();
    server.rspm_stdout("sync");
    server.rspm_stdout("create source --name=team");
    add_with_warning(&server, &same);
    repository(&server, "prod", &["team", "cran"]);
    let code = "install.packages('internalpkg', repos = args[[1]], quiet = TRUE, INSTALL_opts = fast)
        say('evil', 'evil' %in% ls(asNamespace('internalpkg')))";
    let output = r(code, &[&server.url("/prod/latest")]);
    assert_eq!(output, expected_output(&[("evil", "FALSE")]));
}
