//! A clock over a month ahead of the last publish: right after a long outage, or wrong. It is believed while it is
//! synchronised by NTP.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::repo::Repo;

/// How often a clock that is not believed is looked at again.
const AGAIN: Duration = Duration::from_secs(60);
/// Seconds that `timedatectl` waits for an answer, as it reads them from its environment.
const LONGEST: &str = "5";

/// Whether this machine's clock is synchronised by NTP, by whatever daemon: the kernel knows, and systemd-timedated says.
/// False where it cannot be asked. It is asked through `timedatectl`, because `adjtimex(2)` is closed to the service by
/// `ProtectClock=`.
pub(super) fn is_synchronised() -> bool {
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]);
    command.env("SYSTEMD_BUS_TIMEOUT", LONGEST).stdin(Stdio::null()).stderr(Stdio::null());
    command.output().is_ok_and(|said| said.status.success() && said.stdout.trim_ascii() == b"yes")
}

/// Accepts the clock if it is ahead and synchronised. Failures are logged.
pub(super) async fn believe(repo: &Repo) {
    if !repo.may_have_been_off() || !tokio::task::spawn_blocking(is_synchronised).await.unwrap_or(false) {
        return;
    }
    match repo.accept_clock().await {
        Ok(Some(repair)) => {
            tracing::warn!("{}; it is synchronised by NTP, and is accepted", repair.skew);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "could not accept the clock, which is synchronised by NTP"),
    }
}

/// Does so from now on: a machine that starts has its time from the network a little later.
pub(super) async fn watch(repo: Repo) {
    loop {
        believe(&repo).await;
        tokio::time::sleep(AGAIN).await;
    }
}
