//! `[Bioconductor]`: a reload of each reloadable property.

use super::property_bioconductor::create_bioconductor_mirror;
use crate::support::fixtures::until;
use crate::support::server::Builder;

#[test]
pub(super) fn url_is_the_mirror_of_the_next_sync() {
    let server = Builder::default().gcfg("[Bioconductor]\nURL = file://{dir}/none").start();
    let output = server.sync_of("bioconductor").expect_err("there is no mirror");
    assert!(output.contains("none: there is no such directory"), "{output}");
    create_bioconductor_mirror(&server.dir().join("other"));
    server.hup_applies(
        "[Bioconductor]\nURL = file://{dir}/other",
        &["Bioconductor.URL is 'file://{dir}/other' now, was 'file://{dir}/none'"],
    );
    assert!(server.sync_of("bioconductor").expect("the new mirror").contains("1 package added"));
}

#[test]
pub(super) fn sync_schedule_replaces_the_time_of_the_next_sync() {
    let server = Builder::default().gcfg("[Bioconductor]\nSyncSchedule = 0 0 30 2 *").start();
    server.hup_applies(
        "[Bioconductor]\nSyncSchedule = 17 3 * * *",
        &["Bioconductor.SyncSchedule is '17 3 * * *' now, was '0 0 30 2 *'"],
    );
    let is_logged = |text: &str| server.log_lines().iter().any(|line| line.contains(text));
    until("the next sync is scheduled", || {
        is_logged("the next scheduled sync is at ") && is_logged("T03:17:00Z")
    });
    server.hup_applies(
        "[Bioconductor]\nSyncSchedule = 0 0 30 2 *",
        &["Bioconductor.SyncSchedule is '0 0 30 2 *' now"],
    );
    until("no sync is scheduled", || is_logged("no sync is scheduled any more"));
}
