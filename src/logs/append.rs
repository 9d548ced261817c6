//! Appends lines to a file whose disk may be full: no line is broken for good, and what got lost is counted and told.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::open::Left;

/// While lines are lost without end, it is told this often.
const AGAIN: Duration = Duration::from_secs(60);

/// The file of a log, on the thread that writes it.
pub(super) struct Appender<'a, F = File> {
    path: &'a Path,
    file: F,
    /// The rest of a line whose beginning is in the file: it goes first.
    rest: Vec<u8>,
    /// The last write failed.
    failing: bool,
    /// How many lost lines were told, and when.
    told: (u64, Option<Instant>),
}

impl Appender<'_> {
    /// Takes another file; returns the old one.
    pub(super) fn change(&mut self, new: File) -> Left {
        let old = std::mem::replace(&mut self.file, new);
        Left::new(old, &self.file)
    }
}

impl<'a, F: Write> Appender<'a, F> {
    pub(super) fn new(path: &'a Path, file: F) -> Appender<'a, F> {
        Appender { path, file, rest: Vec::new(), failing: false, told: (0, None) }
    }

    /// Writes whole lines; returns how many are lost. The first failure of a row of them is told.
    pub(super) fn append(&mut self, lines: &[u8]) -> u64 {
        let mut rest = std::mem::take(&mut self.rest);
        if let Err((written, error)) = self.write(&rest) {
            rest.drain(..written);
            self.rest = rest;
            return self.fail(&error, lines);
        }
        if let Err((written, error)) = self.write(lines) {
            let begun = written > 0 && lines[written - 1] != b'\n';
            let end = written + if begun { end_of_line(&lines[written..]) } else { 0 };
            self.rest = lines[written..end].to_vec();
            return self.fail(&error, &lines[end..]);
        }
        // An empty write proves nothing.
        self.failing &= lines.is_empty() && rest.is_empty();
        0
    }

    fn fail(&mut self, error: &io::Error, lost: &[u8]) -> u64 {
        if !std::mem::replace(&mut self.failing, true) {
            let path = self.path.display();
            tracing::error!(
                target: "logs",
                "cannot write to the log file {path}: {error}; its lines are dropped until it works"
            );
        }
        lost.iter().map(|&byte| u64::from(byte == b'\n')).sum()
    }

    /// Before the file is left: one last attempt for the rest of a line. Returns how many lines are lost.
    pub(super) fn give_up(&mut self) -> u64 {
        let rest = std::mem::take(&mut self.rest);
        u64::from(!rest.is_empty() && self.write(&rest).is_err())
    }

    /// Tells once how many lines were lost, when lines are written again. `total` is since the start, with those that
    /// found no room in the queue; `more` says that it has just grown.
    pub(super) fn tell(&mut self, total: u64, more: bool) {
        let (told, when) = self.told;
        let often = when.is_some_and(|when| when.elapsed() < AGAIN);
        if total == told || self.failing || (more && often) {
            return;
        }
        self.told = (total, Some(Instant::now()));
        let (lines, path) = (total - told, self.path.display());
        tracing::warn!(
            target: "logs",
            "the log file {path} is written again; {lines} lines were dropped, its disk was full or too slow"
        );
    }

    /// On failure also says how much was written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut done = 0;
        while done < bytes.len() {
            match self.file.write(&bytes[done..]) {
                Ok(0) => return Err((done, io::ErrorKind::WriteZero.into())),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((done, error)),
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

    /// A disk with some room, which may grow.
    struct Disk {
        text: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let size = bytes.len().min(self.room);
            if size == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= size;
            self.text.extend_from_slice(&bytes[..size]);
            Ok(size)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn whatever_room_comes_and_goes_lines_are_whole_in_order_and_counted(
            turns in proptest::collection::vec((0_usize..4, 0_usize..30), 1..40),
        ) {
            let mut appender = Appender::new(Path::new("a.log"), Disk { text: Vec::new(), room: 0 });
            let (mut sent, mut lost) = (0_u64, 0);
            for (lines, room) in turns {
                appender.file.room += room;
                let text: String = (0..lines as u64).map(|i| format!("line {:04}\n", sent + i)).collect();
                sent += lines as u64;
                lost += appender.append(text.as_bytes());
            }
            appender.file.room = 100;
            lost += appender.give_up();
            let text = String::from_utf8(appender.file.text).expect("text");
            let numbers: Vec<u64> = text
                .lines()
                .map(|line| line.strip_prefix("line ").expect("whole").parse().expect("a number"))
                .collect();
            prop_assert!(text.is_empty() || text.ends_with('\n'));
            prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
            prop_assert_eq!(numbers.len() as u64 + lost, sent);
        }
    }
}
