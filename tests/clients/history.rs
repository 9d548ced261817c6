//! Real R at dates before the first sync: versions of those days from a current mirror.

use super::{expected_output, r, repository};
use crate::support::data;
use crate::support::server::Builder;

#[test]
fn r_installs_the_version_of_a_day_before_the_first_sync() {
    let mirror = data::path("cran-mirror");
    let server = Builder::default().gcfg(&format!("[CRAN]\nURL = file://{}", mirror.display())).start();
    server.rspm_stdout("sync");
    repository(&server, "prod", &["cran"]);
    let message = server.rspm_stdout("backfill --source=cran --since=2015-01-01");
    assert!(message.contains("were added") && !message.contains("left out"), "{message}");
    let now = data::cran().version("R6").to_owned();
    // R6 2.5.1 was published on 2021-08-19, its successor in 2025.
    let code = "now <- available.packages(repos = args[[2]])
        then <- available.packages(repos = args[[1]])
        say('now', now['R6', 'Version'])
        say('then', then['R6', 'Version'])
        say('glue then', then['glue', 'Version'])
        say('young', sum(rownames(then) == 'cachem'), nrow(then) < nrow(now))
        install.packages(c('R6', 'glue')[1], repos = args[[1]], quiet = TRUE, INSTALL_opts = fast)
        say('installed', as.character(packageVersion('R6')))
        library(R6)
        counter <- R6Class('counter', public = list(n = 41, add = function() self$n <- self$n + 1))
        one <- counter$new()
        say('works', one$add())
        got <- download.packages('R6', tempdir(), repos = args[[1]], type = 'source', quiet = TRUE)
        say('file', basename(got[1, 2]))";
    let url = |snapshot: &str| server.url(&format!("/prod/{snapshot}"));
    let then = r(code, &[&url("2023-01-15"), &url("latest")]);
    assert_eq!(
        then,
        expected_output(&[
            ("now", &now),
            ("then", "2.5.1"),
            ("glue then", "1.6.2"),
            ("young", "0 TRUE"),
            ("installed", "2.5.1"),
            ("works", "42"),
            ("file", "R6_2.5.1.tar.gz"),
        ])
    );
    // And from the archive of a day, whose tables `remotes::install_version` reads.
    let code = "contrib <- contrib.url(args[[1]])
        file <- tempfile()
        download.file(paste0(contrib, '/Meta/archive.rds'), file, quiet = TRUE)
        say('archived', rownames(readRDS(file)[['R6']]))
        download.file(paste0(contrib, '/Archive/R6/R6_2.5.1.tar.gz'), file, quiet = TRUE)
        say('entries', 'R6/DESCRIPTION' %in% untar(file, list = TRUE))";
    let later = r(code, &[&url("2025-03-01")]);
    assert_eq!(later, expected_output(&[("archived", "R6/R6_2.5.1.tar.gz"), ("entries", "TRUE")]));
}
