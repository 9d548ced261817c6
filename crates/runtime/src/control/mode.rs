//! The mode of the server, and the work that must end before it can go offline.

/// The mode of the server. It is not stored: after a restart the server goes online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Starting, with the current step.
    Starting(&'static str),
    Online,
    /// Still serving, and finishing running requests and jobs.
    Draining,
    /// Taken offline: the stores are closed, 503 for everything.
    Offline,
    /// A resource that the server needs is unusable: 503 for everything. The start is retried automatically if the
    /// configuration is valid.
    Broken(BrokenReason),
}

impl Mode {
    /// The mode as one word, for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Mode::Starting(_) => "starting",
            Mode::Online => "online",
            Mode::Draining => "draining",
            Mode::Offline => "offline",
            Mode::Broken(_) => "broken",
        }
    }
}

/// The reason why a server is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenReason {
    /// For the network: names the kind of the unusable resource and its property, without path, host or password.
    pub phrase: String,
    /// For the log and the admin socket: the full error, with the remedy.
    pub detail: String,
    /// Whether a listener answers requests with 503.
    pub has_listener: bool,
}

/// The work that must end before the server is offline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveWork {
    pub requests: usize,
    /// Keys of running jobs: `sync:cran`.
    pub jobs: Vec<String>,
}

impl ActiveWork {
    /// Returns true if no work must end first.
    pub fn is_empty(&self) -> bool {
        self.requests == 0 && self.jobs.is_empty()
    }
}

/// `2 requests, sync:cran`, or `nothing`.
impl std::fmt::Display for ActiveWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        match self.requests {
            0 => {}
            1 => parts.push("1 request".to_owned()),
            n => parts.push(format!("{n} requests")),
        }
        parts.extend(self.jobs.iter().cloned());
        if parts.is_empty() { f.write_str("nothing") } else { f.write_str(&parts.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remaining_work_is_described_in_words() {
        let work = |requests, jobs: &[&str]| ActiveWork {
            requests,
            jobs: jobs.iter().map(|job| (*job).to_owned()).collect(),
        };
        assert_eq!(work(0, &[]).to_string(), "nothing");
        assert_eq!(work(1, &["sync:cran"]).to_string(), "1 request, sync:cran");
        assert_eq!(work(3, &[]).to_string(), "3 requests");
        assert!(work(0, &[]).is_empty() && !work(0, &["x"]).is_empty());
    }
}
