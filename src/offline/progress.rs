//! How far it is: a bar with rate and time left on a terminal, one line a minute in a log, nothing with `--quiet`.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};

/// How often a log gets a line.
const EVERY: Duration = Duration::from_secs(60);

/// Where sentences go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// Standard error is a terminal.
    Terminal,
    /// It is a file or a pipe.
    Log,
    /// Only errors are told.
    Quiet,
}

impl Voice {
    pub(super) fn new(quiet: bool) -> Voice {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Voice::Quiet,
            (false, true) => Voice::Terminal,
            (false, false) => Voice::Log,
        }
    }

    /// A sentence about what is done.
    pub(super) fn say(self, text: &str) {
        if self != Voice::Quiet {
            tell(text);
        }
    }

    /// Something that an administrator must hear.
    pub(super) fn warn(self, text: &str) {
        tell(&format!("Warning: {text}"));
    }
}

/// Nobody is left to tell when standard error is gone.
pub(super) fn tell(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Files and bytes on their way.
pub(super) struct Progress {
    voice: Voice,
    bar: ProgressBar,
    files: u64,
    size: u64,
    done: AtomicU64,
    bytes: AtomicU64,
    began: Instant,
    told: parking_lot::Mutex<Instant>,
}

impl Progress {
    /// `files` of `size` bytes are to come.
    pub(super) fn new(voice: Voice, files: u64, size: u64) -> Progress {
        let bar = match voice {
            Voice::Terminal => ProgressBar::new(size),
            Voice::Log | Voice::Quiet => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template(
            "{bar:30} {percent:>3} % {bytes}/{total_bytes} {bytes_per_sec}, {eta} left, {msg}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        let now = Instant::now();
        let (done, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Progress { voice, bar, files, size, done, bytes, began: now, told: parking_lot::Mutex::new(now) }
    }

    /// A file is done.
    pub(super) fn file(&self, bytes: u64) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let all = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        match self.voice {
            Voice::Terminal => {
                // Sizes that nobody told make the whole larger than was thought.
                self.bar.set_length(self.size.max(all));
                self.bar.set_position(all);
                self.bar.set_message(format!("{} of {} files", HumanCount(done), HumanCount(self.files)));
            }
            Voice::Log => {
                let mut told = self.told.lock();
                if told.elapsed() >= EVERY {
                    *told = Instant::now();
                    tell(&self.line(done, all));
                }
            }
            Voice::Quiet => {}
        }
    }

    fn line(&self, done: u64, bytes: u64) -> String {
        line(done, self.files, bytes, self.size, self.began.elapsed())
    }

    /// Ends the bar and tells what was done.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
        let (done, bytes) = (self.done.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        if done > 0 {
            self.voice.say(&self.line(done, bytes));
        }
    }
}

fn line(done: u64, files: u64, bytes: u64, size: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let rate = (bytes as f64 / seconds) as u64;
    let left = match (size.saturating_sub(bytes), rate) {
        (0, _) | (_, 0) => String::new(),
        (rest, rate) => format!(", {} left", HumanDuration(Duration::from_secs(rest / rate))),
    };
    format!(
        "{} of {} files, {}, {}/s{left}",
        HumanCount(done),
        HumanCount(files),
        HumanBytes(bytes),
        HumanBytes(rate)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_files_bytes_rate_and_the_time_that_is_left() {
        let minute = Duration::from_secs(60);
        let text = line(1000, 2000, 600 << 20, 1200 << 20, minute);
        assert_eq!(text, "1,000 of 2,000 files, 600.00 MiB, 10.00 MiB/s, 60 seconds left");
        assert!(!line(2000, 2000, 1200 << 20, 1200 << 20, minute).contains("left"));
        assert!(line(0, 0, 0, 0, Duration::ZERO).starts_with("0 of 0 files"));
    }
}
