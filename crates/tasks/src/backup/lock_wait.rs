//! The wait for the lock of a folder of backups that another program uses.

use std::time::{Duration, Instant};

use super::error::BackupError;
use base::config::BackupPlace;

/// The first pause between attempts; also the maximum time until a halt is detected.
const MIN_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause in a bucket, where each attempt writes, lists and removes an object.
const MAX_BUCKET_PAUSE: Duration = Duration::from_secs(20);

/// The timeout and the intervals of the attempts to take a lock.
#[derive(Clone, Copy, Debug)]
pub struct LockWait {
    timeout: Duration,
    max_pause: Duration,
}

impl LockWait {
    /// Returns the wait for the lock of a folder, of at most `timeout`.
    pub fn of(place: &BackupPlace, timeout: Duration) -> LockWait {
        let max_pause = match place {
            BackupPlace::Directory(_) => MIN_PAUSE,
            BackupPlace::Bucket { .. } => MAX_BUCKET_PAUSE,
        };
        LockWait { timeout, max_pause }
    }

    /// Repeats an attempt while another program uses the folder, until the timeout or until `is_halted`.
    ///
    /// # Errors
    /// The last error of the attempt.
    pub fn until<T>(
        &self,
        is_halted: impl Fn() -> bool,
        mut attempt: impl FnMut() -> Result<T, BackupError>,
    ) -> Result<T, BackupError> {
        let (start, mut pause) = (Instant::now(), MIN_PAUSE);
        loop {
            match attempt() {
                Err(BackupError::InUse(_)) if start.elapsed() < self.timeout && !is_halted() => {
                    let end = Instant::now() + pause.min(self.timeout.saturating_sub(start.elapsed()));
                    while Instant::now() < end && !is_halted() {
                        std::thread::sleep(MIN_PAUSE.min(end - Instant::now()));
                    }
                    pause = self.next_pause(pause);
                }
                result => return result,
            }
        }
    }

    /// Returns the pause that follows `pause`. It is longer, up to the maximum. Its length is random, because two
    /// programs with equal pauses would find each other's lock at each attempt.
    fn next_pause(&self, pause: Duration) -> Duration {
        pause.mul_f64(rand::random_range(1.3..1.9)).min(self.max_pause.mul_f64(rand::random_range(0.7..=1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(place: &str) -> LockWait {
        LockWait::of(&place.parse().unwrap(), Duration::from_secs(60))
    }

    #[test]
    fn pauses_grow_in_a_bucket_and_stay_short_in_a_directory() {
        let pauses = |wait: LockWait| {
            std::iter::successors(Some(MIN_PAUSE), |pause| Some(wait.next_pause(*pause))).take(40).last()
        };
        assert!(pauses(wait("/srv/backups")) <= Some(MIN_PAUSE));
        let bucket = pauses(wait("s3://bucket/prefix")).unwrap();
        assert!((MAX_BUCKET_PAUSE.mul_f64(0.7)..=MAX_BUCKET_PAUSE).contains(&bucket), "{bucket:?}");
    }

    #[test]
    fn only_a_folder_in_use_is_waited_for_and_only_while_nothing_halts() {
        let in_use = || BackupError::InUse("in use".to_owned());
        let mut attempts = 0;
        let result = wait("/srv/backups").until(
            || false,
            || {
                attempts += 1;
                if attempts < 3 { Err(in_use()) } else { Ok(attempts) }
            },
        );
        assert_eq!(result.unwrap(), 3);
        let halted: Result<(), _> = wait("/srv/backups").until(|| true, || Err(in_use()));
        assert!(matches!(halted, Err(BackupError::InUse(_))));
        let mut attempts = 0;
        let refused: Result<(), _> = wait("s3://bucket/prefix").until(
            || false,
            || {
                attempts += 1;
                Err(BackupError::Refused("no".to_owned()))
            },
        );
        assert!(matches!(refused, Err(BackupError::Refused(_))) && attempts == 1);
    }
}
