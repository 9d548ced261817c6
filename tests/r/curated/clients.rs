//! Real R installs from a repository with a curated source.

use super::start;
use crate::support::rscript;

#[test]
fn r_installs_the_closure_and_does_not_see_other_packages() {
    let curated = start();
    let first = curated.commit("app\n", "2025-10-12");
    curated.commit("app\nlib <2\n", "2025-10-14");
    let code = r#"
        args <- commandArgs(TRUE)
        options(repos = args[[1]], warn = 1)
        fast <- c('--no-docs', '--no-byte-compile', '--no-test-load')
        offered <- available.packages(filters = list())
        cat('offered', paste(offered[, 'Package'], offered[, 'Version']), '\n')
        install.packages('app', quiet = TRUE, INSTALL_opts = fast)
        message <- tryCatch(install.packages('other', quiet = TRUE), warning = conditionMessage)
        cat('refused', grepl('is not available', message), '\n')
        installed <- installed.packages(lib.loc = .libPaths()[[1]])
        cat('installed', paste(installed[, 'Package'], installed[, 'Version']), '\n')
    "#;
    for (snapshot, packages) in [
        ("latest".to_owned(), "app 2.0 hdr 1.0 lib 1.5 util 1.0"),
        (first.to_string(), "app 1.0 hdr 1.0 lib 1.5 util 1.0"),
    ] {
        let output = rscript::run(code, &[curated.server.url(&format!("/prod/{snapshot}"))]);
        let expected = format!("offered {packages} \nrefused TRUE \ninstalled {packages} \n");
        assert_eq!(output, expected, "{snapshot}");
    }
}
