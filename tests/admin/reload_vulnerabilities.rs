//! `[Vulnerabilities]`: a reload of each property.

use crate::support::advisories::{folder, record};
use crate::support::fixtures::until;
use crate::support::server::Server;

#[test]
pub(super) fn url_is_the_origin_of_the_next_sync() {
    let server = Server::start();
    assert_eq!(server.sync_of("vulns").expect("none"), "there are no advisories about packages");
    folder(&server.dir().join("other"), &[record("RSEC-1", "CRAN", "a", "1.0")]);
    server.hup_applies(
        "[Vulnerabilities]\nURL = file://{dir}/other",
        &["Vulnerabilities.URL is 'file://{dir}/other' now, was ''"],
    );
    assert!(server.sync_of("vulns").expect("the new advisories").starts_with("1 advisory"));
}

#[test]
pub(super) fn sync_schedule_replaces_the_time_of_the_next_sync() {
    let server = Server::start();
    server.hup_applies(
        "[Vulnerabilities]\nSyncSchedule = 19 4 * * *",
        &["Vulnerabilities.SyncSchedule is '19 4 * * *' now, was '0 0 29 2 *'"],
    );
    let next = || {
        let lines = server.log_lines();
        lines.iter().any(|line| {
            line.contains("the next scheduled sync is at ")
                && line.contains("T04:19:00Z")
                && line.contains("vulns")
        })
    };
    until("the next sync is scheduled", next);
}
