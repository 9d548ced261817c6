//! Accepts a clock that is over a month ahead of the last publish (after a long outage, or because it is wrong) if it
//! is synchronized by NTP. Compares the clock with that of the database's host.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base::config::{Check, Config, Verdict};
use base::model::time::SECOND;
use runtime::state::State;
use store::db::Db;
use tasks::upkeep;

const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// Seconds, as a value of `SYSTEMD_BUS_TIMEOUT`.
const TIMEOUT_SECONDS: &str = "5";

/// Difference of two clocks, in microseconds, above which a check recommends to synchronize them.
const TOLERANCE: i64 = 2 * SECOND;

/// Compares the clock with that of PostgreSQL; an unreachable database is reported by another check.
pub(super) fn check(config: &Config) -> Option<Check> {
    let difference = Db::clock_difference(config).ok()??;
    let side = if difference > 0 { "ahead of" } else { "behind" };
    let tenths = difference.unsigned_abs() / (SECOND.unsigned_abs() / 10);
    let mut finding = format!("{}.{} s {side} the database", tenths / 10, tenths % 10);
    if difference.abs() >= TOLERANCE {
        finding.push_str("; synchronize the clocks of both machines (NTP)");
    }
    Some(Check { title: "Clock", verdict: Verdict::Info, findings: vec![finding] })
}

/// Returns whether an NTP daemon synchronizes the clock; false if unknown. Runs `timedatectl`, because
/// `ProtectClock=` denies `adjtimex(2)` to the service.
pub(super) fn is_synchronized() -> bool {
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]);
    command.env("SYSTEMD_BUS_TIMEOUT", TIMEOUT_SECONDS).stdin(Stdio::null()).stderr(Stdio::null());
    command.output().is_ok_and(|output| output.status.success() && output.stdout.trim_ascii() == b"yes")
}

/// Accepts the clock if it is far ahead of the last publish and synchronized. Logs errors.
pub(super) async fn accept_if_synchronized(state: &State) {
    if !upkeep::clock::may_have_been_off(state)
        || !tokio::task::spawn_blocking(is_synchronized).await.unwrap_or(false)
    {
        return;
    }
    match upkeep::clock::accept(state).await {
        Ok(Some(repair)) => {
            tracing::warn!("{}; accepted, because the clock is synchronized by NTP", repair.skew);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "could not accept the NTP-synchronized clock"),
    }
}

/// Checks the clock periodically, because a machine is synchronized only some time after its boot.
pub(super) async fn watch(state: Arc<State>) {
    loop {
        accept_if_synchronized(&state).await;
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
}
