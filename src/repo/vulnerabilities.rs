//! Which versions of packages are known to be vulnerable. What is known is of now, also for dated snapshots: a version
//! does not become safe by being asked for as of last year.

use std::sync::Arc;

use super::Repo;
use crate::advisory::{Ecosystem, Finding, Index};
use crate::catalog::Catalog;
use crate::model::ids::SourceId;
use crate::model::source::SourceKind;
use crate::model::time::Timestamp;

/// Everything that is asked for vulnerabilities in one answer.
pub struct Vulnerabilities {
    index: Option<Arc<Index>>,
    catalog: Arc<Catalog>,
    now: Timestamp,
}

impl Repo {
    /// Makes ready to tell of vulnerabilities; waits while the advisories are on their way at the start.
    pub async fn vulnerabilities(&self) -> Vulnerabilities {
        let index = self.state.advisories.settled().await;
        Vulnerabilities { index, catalog: self.state.catalog.get(), now: (self.state.clock)() }
    }
}

impl Vulnerabilities {
    /// Those of a version of a package from a source; newest first.
    #[must_use]
    pub fn of(&self, source: SourceId, package: &str, version: &str) -> Vec<Finding<'_>> {
        let kind = self.catalog.source_by_id(source).map(|source| source.kind);
        let known = kind.and_then(ecosystem).zip(self.index.as_ref());
        let known = known.and_then(|(ecosystem, index)| index.of(ecosystem, package));
        known.map(|known| known.affecting(version, self.now)).unwrap_or_default()
    }
}

/// The ecosystem whose packages a source has. Packages of an administrator's own, or out of a repository of sources,
/// are of none: one that has the name of another's is not that package.
fn ecosystem(kind: SourceKind) -> Option<Ecosystem> {
    match kind {
        SourceKind::Cran | SourceKind::CranSnapshot | SourceKind::CuratedCran => Some(Ecosystem::Cran),
        SourceKind::Bioconductor => Some(Ecosystem::Bioconductor),
        SourceKind::Pypi | SourceKind::CuratedPypi => Some(Ecosystem::Pypi),
        SourceKind::Local | SourceKind::Git | SourceKind::LocalPython | SourceKind::GitPython => None,
    }
}
