//! What R does with blocked packages.

use super::{curl, expected_output, r};
use crate::support::server::Server;
use crate::support::tarball::Tarball;

fn server() -> Server {
    let server = Server::start();
    let packages = [
        Tarball::new("one", "1.0"),
        Tarball::new("one", "2.0"),
        Tarball::new("gone", "1.0"),
        Tarball::new("user", "1.0").field("Imports: one"),
    ];
    server.local_repository("prod", &packages);
    server
}

#[test]
fn r_installs_the_highest_allowed_version_also_as_a_dependency() {
    let server = server();
    server.rspm_stdout("create blocklist-rule --package-name=one --version=2.0");
    let code = "found <- available.packages(repos = args[[1]], filters = list())
        install.packages('user', repos = args[[1]], quiet = TRUE, INSTALL_opts = fast)
        say('listed', found[found[, 'Package'] == 'one', 'Version'])
        say('installed', as.character(packageVersion('one')))";
    let output = r(code, &[&server.url("/prod/latest")]);
    assert_eq!(output, expected_output(&[("listed", "1.0"), ("installed", "1.0")]));
}

#[test]
fn r_reports_a_blocked_package_as_not_available_and_a_blocked_file_as_forbidden() {
    let server = server();
    server.rspm_stdout("create blocklist-rule --package-name=gone --description=abandoned");
    let url = server.url("/prod/latest");
    let code = "message_of <- function(code) {
            messages <- character()
            note <- function(condition) {
                messages <<- c(messages, conditionMessage(condition))
                if (inherits(condition, 'warning')) invokeRestart('muffleWarning')
            }
            try(withCallingHandlers(code, warning = note, error = note), silent = TRUE)
            paste(messages, collapse = '; ')
        }
        say('package', message_of(install.packages('gone', repos = args[[1]], quiet = TRUE)))
        file <- paste0(args[[1]], '/src/contrib/gone_1.0.tar.gz')
        say('file', message_of(download.file(file, tempfile(), quiet = TRUE)))";
    let output = r(code, &[&url]);
    assert!(output["package"].contains("is not available"), "{output:?}");
    assert!(output["file"].contains("403 Forbidden"), "{output:?}");
    let answer = curl(&[], &format!("{url}/src/contrib/gone_1.0.tar.gz"));
    assert_eq!((answer.status, answer.header("x-pm-reason")), (403, "rule 1 (abandoned)"));
    assert_eq!(
        answer.text(),
        "gone 1.0 is blocked in this repository by rule 1 (abandoned); no version of the package is allowed\n"
    );
}
