//! `[SystemRequirements]`: a reload of each property.

use crate::support::fixtures::until;
use crate::support::rules::folder;
use crate::support::server::{Builder, Server};

#[test]
pub(super) fn url_is_the_origin_of_the_next_sync() {
    let server = Server::start();
    assert!(server.sync_of("sysreqs").is_err(), "there are no rules");
    folder(&server.dir().join("other"), &["zlib", "gmp"]);
    server.hup_applies(
        "[SystemRequirements]\nURL = file://{dir}/other",
        &["SystemRequirements.URL is 'file://{dir}/other' now, was ''"],
    );
    assert!(server.sync_of("sysreqs").expect("the new rules").starts_with("2 rules"));
}

#[test]
pub(super) fn sync_schedule_replaces_the_time_of_the_next_sync() {
    let server = Builder::default().gcfg("[SystemRequirements]\nSyncSchedule = 0 0 30 2 *").start();
    server.hup_applies(
        "[SystemRequirements]\nSyncSchedule = 19 4 * * *",
        &["SystemRequirements.SyncSchedule is '19 4 * * *' now, was '0 0 30 2 *'"],
    );
    let next = || {
        let lines = server.log_lines();
        lines.iter().any(|line| {
            line.contains("the next scheduled sync is at ")
                && line.contains("T04:19:00Z")
                && line.contains("sysreqs")
        })
    };
    until("the next sync is scheduled", next);
}
