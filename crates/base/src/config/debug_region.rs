//! `[Debug]`: regions of the server log, which are parts of the server whose debug events are written to the server
//! log.

use super::value;

/// A part of the server whose debug events can be written while the level of the log is higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "`sentence` describes them")]
pub enum DebugRegion {
    Auth,
    Cluster,
    Db,
    Fetch,
    Git,
    Jobs,
    Launcher,
    Router,
    Storage,
    Sync,
    Upstream,
    Usage,
}

impl DebugRegion {
    /// All regions, in the order of their names.
    pub const ALL: [DebugRegion; 12] = [
        DebugRegion::Auth,
        DebugRegion::Cluster,
        DebugRegion::Db,
        DebugRegion::Fetch,
        DebugRegion::Git,
        DebugRegion::Jobs,
        DebugRegion::Launcher,
        DebugRegion::Router,
        DebugRegion::Storage,
        DebugRegion::Sync,
        DebugRegion::Upstream,
        DebugRegion::Usage,
    ];
    /// The names of all regions, in the order of [`DebugRegion::ALL`].
    pub const NAMES: [&str; 12] = [
        "auth", "cluster", "db", "fetch", "git", "jobs", "launcher", "router", "storage", "sync", "upstream",
        "usage",
    ];

    pub fn as_str(self) -> &'static str {
        DebugRegion::NAMES[self as usize]
    }

    pub fn sentence(self) -> &'static str {
        match self {
            DebugRegion::Auth => "tokens, sign-in and permissions",
            DebugRegion::Cluster => "other servers of the database, and the leader",
            DebugRegion::Db => "the database and the catalog",
            DebugRegion::Fetch => "files fetched from mirrors on request",
            DebugRegion::Git => "builders of git repositories, and builds",
            DebugRegion::Jobs => "start, progress and end of jobs",
            DebugRegion::Launcher => "sandboxes of builds",
            DebugRegion::Router => "requests and connections",
            DebugRegion::Storage => "stored objects, the sweep, eviction and the scrub",
            DebugRegion::Sync => "syncs and their publishing",
            DebugRegion::Upstream => "requests to mirrors",
            DebugRegion::Usage => "download counts",
        }
    }

    /// Returns the region of a name, ignoring case.
    pub fn parse(text: &str) -> Result<DebugRegion, String> {
        let name = value::choice(text, &DebugRegion::NAMES)?;
        let region = DebugRegion::ALL.into_iter().find(|region| region.as_str() == name);
        region.ok_or_else(|| format!("unknown region {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_has_its_name() {
        for region in DebugRegion::ALL {
            assert_eq!(DebugRegion::parse(&region.as_str().to_uppercase()), Ok(region));
            assert!(!region.sentence().is_empty());
        }
        assert!(DebugRegion::NAMES.is_sorted());
        let error = DebugRegion::parse("rooter").expect_err("unknown");
        assert!(error.ends_with("did you mean router?") && error.contains("launcher"), "{error}");
    }
}
