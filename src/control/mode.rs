//! In which mode the server is, and what keeps it from the next one.

/// The mode. None survives the process: a start is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Opening what answering needs; what just now.
    Starting(&'static str),
    /// Answering.
    Online,
    /// Still answering, and finishing what is under way.
    Leaving,
    /// Asked not to serve: the stores are closed, 503 for everything.
    Offline,
    /// Something it needs cannot be used: 503 for everything, and tried again by itself.
    Broken(Fault),
}

impl Mode {
    /// One word, for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Mode::Starting(_) => "starting",
            Mode::Online => "online",
            Mode::Leaving => "leaving",
            Mode::Offline => "offline",
            Mode::Broken(_) => "broken",
        }
    }
}

/// Why a server is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// For everybody: what kind of thing cannot be used and which property names it. No path, host or password.
    pub phrase: String,
    /// For the log and the admin socket: the whole error, with the way out.
    pub detail: String,
    /// Requests arrive and get 503. False without a listener.
    pub reachable: bool,
}

/// What has to end before the server is offline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Requests under way.
    pub requests: usize,
    /// Jobs under way, by their keys: `sync:cran`.
    pub jobs: Vec<String>,
}

impl Work {
    /// True when nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests == 0 && self.jobs.is_empty()
    }
}

/// `2 requests, sync:cran`; `nothing`.
impl std::fmt::Display for Work {
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
    fn work_is_told_in_words() {
        let work = |requests, jobs: &[&str]| Work {
            requests,
            jobs: jobs.iter().map(|job| (*job).to_owned()).collect(),
        };
        assert_eq!(work(0, &[]).to_string(), "nothing");
        assert_eq!(work(1, &["sync:cran"]).to_string(), "1 request, sync:cran");
        assert_eq!(work(3, &[]).to_string(), "3 requests");
        assert!(work(0, &[]).is_empty() && !work(0, &["x"]).is_empty());
    }
}
