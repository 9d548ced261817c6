//! All versions that rules withhold in a tree.

use std::collections::BTreeMap;

use super::{DecidedRelease, View, python};
use base::model::ids::PackageId;
use base::model::language::Language;
use store::db::{Conn, DbError};

/// Returns the packages and ids of the releases, or of the files of Python packages, that rules withhold; none of an
/// index.
pub(in crate::serve) fn withheld(view: &View, c: &mut dyn Conn) -> Result<Vec<(PackageId, i64)>, DbError> {
    let Some(policy) = &view.policy else { return Ok(Vec::new()) };
    match policy.repo.language {
        Language::R => {
            let decided = view.decisions(c, None)?.into_iter().flatten();
            let blocked = decided.filter(DecidedRelease::is_blocked).map(|decided| decided.release);
            Ok(blocked.map(|release| (release.package, release.release.0)).collect())
        }
        Language::Python => python::withheld(c, view),
    }
}

/// Returns the versions that rules withhold, by package and version, with the reasons; none of an index.
pub(in crate::serve) fn withheld_versions(
    view: &View,
    c: &mut dyn Conn,
) -> Result<BTreeMap<(String, String), String>, DbError> {
    let Some(policy) = &view.policy else { return Ok(BTreeMap::new()) };
    match policy.repo.language {
        // The reasons are read by package, because reasons about all of CRAN take seconds.
        Language::R => {
            let blocked = view.blocked_releases(c, None)?;
            let versions = blocked.stems.iter().filter_map(|stem| stem.split_once('_'));
            Ok(versions
                .map(|(name, version)| ((name.to_owned(), version.to_owned()), String::new()))
                .collect())
        }
        Language::Python => python::withheld_versions(c, view),
    }
}
