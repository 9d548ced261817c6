//! Vulnerabilities of package versions. Current advisories apply to dated snapshots: old versions do not become safe.

use std::sync::Arc;

use base::model::ids::SourceId;
use base::model::kind::Language;
use base::model::time::Timestamp;
use formats::advisory::{Finding, Index, PackageAdvisories};
use formats::language;
use runtime::catalog::Catalog;
use runtime::state::State;

/// The data to look up vulnerabilities for one response.
#[derive(Clone)]
pub struct Vulnerabilities {
    index: Option<Arc<Index>>,
    catalog: Arc<Catalog>,
    now: Timestamp,
}

/// Returns the current advisories; waits while they are being loaded at the start.
pub async fn current(state: &State) -> Vulnerabilities {
    let index = state.advisories.wait().await;
    Vulnerabilities { index, catalog: state.catalog.get(), now: (state.clock)() }
}

impl Vulnerabilities {
    /// Returns the vulnerabilities of a version of a package from a source, newest first.
    pub fn of(&self, source: SourceId, package: &str, version: &str) -> Vec<Finding<'_>> {
        self.package(source, package)
            .map(|package_advisories| package_advisories.vulnerabilities(version, self.now))
            .unwrap_or_default()
    }

    /// Returns whether any advisory is known; only then can a package without advisories be reported as not affected.
    pub fn is_known(&self) -> bool {
        self.index.as_ref().is_some_and(|index| !index.is_empty())
    }

    /// Returns the time of the last change of an advisory about a language, withdrawn or not; `None` if unknown.
    pub fn last_change(&self, language: Language) -> Option<Timestamp> {
        let index = self.index.as_ref()?;
        language::of(language).ecosystems().iter().filter_map(|ecosystem| index.last_change(*ecosystem)).max()
    }

    /// Returns the index of all advisories, if there is one.
    pub(in crate::serve) fn index(&self) -> Option<&Arc<Index>> {
        self.index.as_ref()
    }

    pub(in crate::serve) fn now(&self) -> Timestamp {
        self.now
    }

    /// Returns whether there are advisories about versions of a package from a source.
    pub fn has_package(&self, source: SourceId, package: &str) -> bool {
        self.package(source, package).is_some()
    }

    fn package(&self, source: SourceId, package: &str) -> Option<PackageAdvisories<'_>> {
        let kind = self.catalog.source_kind(source)?;
        self.index.as_ref()?.package(language::ecosystem(kind)?, package)
    }
}
