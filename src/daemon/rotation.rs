//! Rotates the log files that logrotate does not rotate, while this process is the main one.

use std::path::Path;

use jiff::Zoned;

use super::logging::Logs;
use runtime::control::LogControl as _;
use store::logs::rotation::{Rotation, schedule};

/// Checks the files at the start, at each midnight, after each change of the configuration, and at least hourly,
/// because the clock may be changed. Runs until the future is dropped.
pub(super) async fn run(logs: Logs) {
    let mut rotation = Rotation::new(Path::new("/"));
    loop {
        let shared_logs = logs.clone();
        let result = tokio::task::spawn_blocking(move || {
            rotation.run(&shared_logs.files(), &Zoned::now(), &|| shared_logs.reopen().map(drop));
            rotation
        });
        rotation = match result.await {
            Ok(rotation) => rotation,
            Err(error) => return tracing::error!("log rotation stopped: {error}"),
        };
        tokio::select! {
            () = tokio::time::sleep(schedule::time_until_check(&Zoned::now())) => {}
            () = logs.wait_change() => {}
        }
    }
}
