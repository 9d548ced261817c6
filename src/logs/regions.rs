//! The targets of `tracing` events by region.

use crate::config::DebugRegion;

/// Returns the targets whose events belong to a region. A target includes the modules below it.
pub(super) fn targets(region: DebugRegion) -> &'static [&'static str] {
    match region {
        DebugRegion::Auth => &["rstudio_pm::auth", "rstudio_pm::access", "rstudio_pm::http::login"],
        DebugRegion::Cluster => &["rstudio_pm::cluster", "rstudio_pm::daemon::leader_tasks"],
        DebugRegion::Db => &["rstudio_pm::db", "rstudio_pm::catalog"],
        DebugRegion::Fetch => &["rstudio_pm::fetch", "rstudio_pm::pypi", "rstudio_pm::serve"],
        DebugRegion::Git => &["rstudio_pm::build"],
        DebugRegion::Jobs => &["rstudio_pm::jobs"],
        DebugRegion::Launcher => &["rstudio_pm::builder"],
        DebugRegion::Router => &["rstudio_pm::http"],
        DebugRegion::Storage => &["rstudio_pm::storage", "rstudio_pm::upkeep", "rstudio_pm::backup"],
        DebugRegion::Sync => &["sync", "rstudio_pm::sync", "rstudio_pm::publish"],
        DebugRegion::Upstream => &["upstream", "rstudio_pm::upstream"],
        DebugRegion::Usage => &["usage", "rstudio_pm::usage"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_a_module_or_an_area_and_belongs_to_one_region() {
        let mut known_targets = std::collections::HashSet::new();
        for region in DebugRegion::ALL {
            assert!(!targets(region).is_empty());
            for target in targets(region) {
                assert!(known_targets.insert(*target), "{target}");
                let Some(module) = target.strip_prefix("rstudio_pm::") else { continue };
                let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
                let path = path.join(module.replace("::", "/"));
                assert!(path.is_dir() || path.with_extension("rs").is_file(), "{target}");
            }
        }
    }
}
