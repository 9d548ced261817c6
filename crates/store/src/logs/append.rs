//! Appends lines to a file whose disk may be full. No line is incomplete; lost lines are counted and reported.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::open::ReplacedFile;

/// Minimum interval between two reports of lost lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The file of a log, used on its writer thread.
pub(super) struct Appender<'a, F = File> {
    path: &'a Path,
    file: F,
    /// The rest of a partly written line; it is written first.
    rest: Vec<u8>,
    is_failing: bool,
    /// The total number of lost lines at the last report, and the time of that report.
    last_report: (u64, Option<Instant>),
}

impl Appender<'_> {
    /// Switches to another file; returns the old one.
    pub(super) fn replace_file(&mut self, new: File) -> ReplacedFile {
        let old = std::mem::replace(&mut self.file, new);
        ReplacedFile::new(old, &self.file)
    }
}

impl<'a, F: Write> Appender<'a, F> {
    pub(super) fn new(path: &'a Path, file: F) -> Appender<'a, F> {
        Appender { path, file, rest: Vec::new(), is_failing: false, last_report: (0, None) }
    }

    /// Writes whole lines; returns the number of lost lines. Only the first of consecutive failures is logged.
    pub(super) fn append(&mut self, lines: &[u8]) -> u64 {
        let mut rest = std::mem::take(&mut self.rest);
        if let Err((written, error)) = self.write(&rest) {
            rest.drain(..written);
            self.rest = rest;
            return self.record_failure(&error, lines);
        }
        if let Err((written, error)) = self.write(lines) {
            let is_partial = written > 0 && lines[written - 1] != b'\n';
            let end = written + if is_partial { end_of_line(&lines[written..]) } else { 0 };
            self.rest = lines[written..end].to_vec();
            return self.record_failure(&error, &lines[end..]);
        }
        // An empty write does not show that the disk works again.
        self.is_failing &= lines.is_empty() && rest.is_empty();
        0
    }

    fn record_failure(&mut self, error: &io::Error, lost_lines: &[u8]) -> u64 {
        if !std::mem::replace(&mut self.is_failing, true) {
            let path = self.path.display();
            tracing::error!(
                target: "logs",
                "could not write to the log file {path}: {error}; lines are dropped until it works again"
            );
        }
        lost_lines.iter().map(|&byte| u64::from(byte == b'\n')).sum()
    }

    /// Tries to write the rest of a line before the file is closed. Returns the number of lost lines.
    pub(super) fn finish(&mut self) -> u64 {
        let rest = std::mem::take(&mut self.rest);
        u64::from(!rest.is_empty() && self.write(&rest).is_err())
    }

    /// Logs the number of lines lost since the last report, once lines are written again. `total` is the number lost
    /// since the start, also because the queue was full; `has_increased` is true if it grew since the last call.
    pub(super) fn report(&mut self, total: u64, has_increased: bool) {
        let (reported_count, reported_at) = self.last_report;
        let is_recent = reported_at.is_some_and(|reported_at| reported_at.elapsed() < REPORT_INTERVAL);
        if total == reported_count || self.is_failing || (has_increased && is_recent) {
            return;
        }
        self.last_report = (total, Some(Instant::now()));
        let (lines, path) = (total - reported_count, self.path.display());
        tracing::warn!(
            target: "logs",
            "writing to the log file {path} again; {lines} lines were dropped: the file could not be \
             written, or its disk was too slow"
        );
    }

    /// Writes all bytes. The error contains the number of bytes written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(size) => written += size,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }
}

fn end_of_line(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A disk with limited free space, which may grow.
    struct Disk {
        text: Vec<u8>,
        space: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let size = bytes.len().min(self.space);
            if size == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.space -= size;
            self.text.extend_from_slice(&bytes[..size]);
            Ok(size)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn with_changing_disk_space_lines_are_complete_in_order_and_counted(
            turns in proptest::collection::vec((0_usize..4, 0_usize..30), 1..40),
        ) {
            let mut appender = Appender::new(Path::new("a.log"), Disk { text: Vec::new(), space: 0 });
            let (mut sent, mut lost) = (0_u64, 0);
            for (lines, space) in turns {
                appender.file.space += space;
                let text: String = (0..lines as u64).map(|i| format!("line {:04}\n", sent + i)).collect();
                sent += lines as u64;
                lost += appender.append(text.as_bytes());
            }
            appender.file.space = 100;
            lost += appender.finish();
            let text = String::from_utf8(appender.file.text).expect("text");
            let numbers: Vec<u64> = text
                .lines()
                .map(|line| line.strip_prefix("line ").expect("a complete line").parse().expect("a number"))
                .collect();
            prop_assert!(text.is_empty() || text.ends_with('\n'));
            prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
            prop_assert_eq!(numbers.len() as u64 + lost, sent);
        }
    }
}
