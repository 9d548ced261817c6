//! The targets of `tracing` events by region of the server log.

use base::config::DebugRegion;

/// Returns the targets whose events belong to a region. A target includes the modules below it.
pub(super) fn targets(region: DebugRegion) -> &'static [&'static str] {
    match region {
        DebugRegion::Auth => &["runtime::auth", "base::access", "rstudio_pm::http::login"],
        DebugRegion::Cluster => &["runtime::cluster", "rstudio_pm::daemon::leader_tasks"],
        DebugRegion::Db => &["store::db", "runtime::catalog"],
        DebugRegion::Fetch => &["content::fetch", "content::pypi", "content::serve"],
        DebugRegion::Git => &["tasks::build"],
        DebugRegion::Jobs => &["runtime::jobs"],
        DebugRegion::Launcher => &["builder"],
        DebugRegion::Router => &["rstudio_pm::http"],
        DebugRegion::Storage => &["store::storage", "tasks::upkeep", "tasks::backup"],
        DebugRegion::Sync => &["sync", "tasks::sync", "runtime::publish"],
        DebugRegion::Upstream => &["upstream"],
        DebugRegion::Usage => &["usage", "tasks::usage"],
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
                let Some((package, module)) = target.split_once("::") else { continue };
                let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
                let package = if package == "rstudio_pm" { root } else { root.join("crates").join(package) };
                let path = package.join("src").join(module.replace("::", "/"));
                assert!(path.is_dir() || path.with_extension("rs").is_file(), "{target}");
            }
        }
    }
}
