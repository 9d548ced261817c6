//! Progress output: a bar with rate and remaining time on a terminal, a line a minute in a log, nothing with `--quiet`.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base::model::visible::styled_for_terminal;
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};

/// Interval between progress lines in a log.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Standard error is a terminal.
    Terminal,
    /// Standard error is a file or a pipe.
    Log,
    /// Only warnings and errors are printed.
    Quiet,
}

impl Output {
    pub(super) fn new(quiet: bool) -> Output {
        match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Output::Quiet,
            (false, true) => Output::Terminal,
            (false, false) => Output::Log,
        }
    }

    /// Prints a message, unless quiet.
    pub(super) fn info(self, text: &str) {
        if self != Output::Quiet {
            print_line(text);
        }
    }

    /// Prints a warning, even if quiet.
    pub(super) fn warn(self, text: &str) {
        print_line(&format!("Warning: {text}"));
    }
}

/// Prints a line on standard error; a failed write cannot be reported.
pub(super) fn print_line(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", styled_for_terminal(text));
}

/// Counts of files and bytes.
pub(super) struct Progress {
    output: Output,
    bar: ProgressBar,
    /// Number of files to fetch.
    file_count: u64,
    /// Known size of the files to fetch, in bytes.
    size: u64,
    finished_count: AtomicU64,
    /// Size of the finished files, in bytes.
    finished_bytes: AtomicU64,
    start: Instant,
    /// Time of the last line in a log.
    last_line: parking_lot::Mutex<Instant>,
}

impl Progress {
    /// Starts the progress of `file_count` files with `size` bytes in total.
    pub(super) fn new(output: Output, file_count: u64, size: u64) -> Progress {
        let bar = match output {
            Output::Terminal => ProgressBar::new(size),
            Output::Log | Output::Quiet => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template(
            // The bar uses the rest of 80 columns, so that no other part is truncated.
            "{percent:>3} % {msg}{bytes}/{total_bytes}, {bytes_per_sec}, {eta} left {wide_bar}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        let now = Instant::now();
        Progress {
            output,
            bar,
            file_count,
            size,
            finished_count: AtomicU64::new(0),
            finished_bytes: AtomicU64::new(0),
            start: now,
            last_line: parking_lot::Mutex::new(now),
        }
    }

    /// Counts a finished file and prints a line if one is due.
    pub(super) fn add_file(&self, bytes: u64) {
        if let Some(line) = self.count(bytes, Instant::now()) {
            print_line(&line);
        }
    }

    /// Counts a file that is finished at `now`; returns a line for the log if one is due.
    fn count(&self, bytes: u64, now: Instant) -> Option<String> {
        let count = self.finished_count.fetch_add(1, Ordering::Relaxed) + 1;
        let total_bytes = self.finished_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        match self.output {
            Output::Terminal => {
                // Files of unknown size make the total larger than planned.
                self.bar.set_length(self.size.max(total_bytes));
                self.bar.set_position(total_bytes);
                let (count, file_count) = (HumanCount(count), HumanCount(self.file_count));
                self.bar.set_message(format!("{count} of {file_count} files, "));
                None
            }
            Output::Log => {
                let mut last_line = self.last_line.lock();
                if now.saturating_duration_since(*last_line) < LOG_INTERVAL {
                    return None;
                }
                *last_line = now;
                Some(self.line(count, total_bytes, now))
            }
            Output::Quiet => None,
        }
    }

    fn line(&self, count: u64, bytes: u64, now: Instant) -> String {
        line(count, self.file_count, bytes, self.size, now.saturating_duration_since(self.start))
    }

    /// Ends the bar and prints a summary.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
        let count = self.finished_count.load(Ordering::Relaxed);
        let bytes = self.finished_bytes.load(Ordering::Relaxed);
        if count > 0 {
            self.output.info(&self.line(count, bytes, Instant::now()));
        }
    }
}

fn line(count: u64, file_count: u64, bytes: u64, size: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an approximate rate to print"
    )]
    let rate = (bytes as f64 / seconds) as u64;
    let remaining_time = match (size.saturating_sub(bytes), rate) {
        (0, _) | (_, 0) => String::new(),
        (remaining_bytes, rate) => {
            format!(", {} left", HumanDuration(Duration::from_secs(remaining_bytes / rate)))
        }
    };
    format!(
        "{} of {} files, {}, {}/s{remaining_time}",
        HumanCount(count),
        HumanCount(file_count),
        HumanBytes(bytes),
        HumanBytes(rate)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_gets_a_line_a_minute_and_the_others_none() {
        let lines = |output| {
            let progress = Progress::new(output, 10, 1000);
            let instant = |n: u64| progress.start + Duration::from_secs(20 * n);
            (1..=10).filter_map(|n| progress.count(100, instant(n))).collect::<Vec<_>>()
        };
        let log = lines(Output::Log);
        assert_eq!(log.len(), 3, "{log:?}");
        for (line, prefix) in log.iter().zip(["3 of 10 files, 300 B, ", "6 of 10 ", "9 of 10 "]) {
            assert!(line.starts_with(prefix) && line.ends_with(" left"), "{line}");
        }
        assert!(log[0].contains(", 5 B/s, 2 minutes left"), "{log:?}");
        assert_eq!((lines(Output::Quiet), lines(Output::Terminal)), (Vec::new(), Vec::new()));
    }

    #[test]
    fn a_line_has_files_bytes_rate_and_remaining_time() {
        let minute = Duration::from_secs(60);
        let text = line(1000, 2000, 600 << 20, 1200 << 20, minute);
        assert_eq!(text, "1,000 of 2,000 files, 600.00 MiB, 10.00 MiB/s, 60 seconds left");
        assert!(!line(2000, 2000, 1200 << 20, 1200 << 20, minute).contains("left"));
        assert!(line(0, 0, 0, 0, Duration::ZERO).starts_with("0 of 0 files"));
    }
}
