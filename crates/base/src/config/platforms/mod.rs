//! The platforms for which binaries are served: the embedded table, extended by `rstudio-pm.gcfg`.

mod read;

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::words;

/// The platforms of a configuration; clones share them. Those of the embedded table alone are read at the first use: the
/// command line never uses them, and needs as long to read them as for a request.
#[derive(Clone, Debug, Default)]
pub struct SharedPlatforms(Arc<OnceLock<Platforms>>);

impl Deref for SharedPlatforms {
    type Target = Platforms;

    fn deref(&self) -> &Platforms {
        self.0.get_or_init(Platforms::embedded)
    }
}

impl From<Platforms> for SharedPlatforms {
    fn from(platforms: Platforms) -> SharedPlatforms {
        SharedPlatforms(Arc::new(OnceLock::from(platforms)))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platforms {
    /// The distributions of the embedded table, in its order, followed by those of the configuration.
    pub distributions: Vec<Distribution>,
    /// R versions that the API lists, `4.5`, newest first.
    pub r_versions: Vec<String>,
    /// Folders of macOS binaries, one entry per R version and one for `default`.
    pub macos: Vec<MacFolders>,
}

/// A distribution, or an alias of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Unique name of ASCII letters, digits and `_`. For Linux the segment after `__linux__/` in URLs.
    pub name: String,
    pub os: Os,
    /// The distribution to which an alias refers. It determines the architectures and the R version of the alias.
    pub alias: Option<String>,
    pub display: String,
    /// Name of the distribution in the rules for system requirements: `ubuntu`.
    pub rules_name: String,
    /// Release of the distribution in these rules: `24.04`.
    pub rules_release: String,
    /// `x86_64`, `arm64`; at least one.
    pub architectures: Vec<String>,
    /// Whether there are rules for system requirements.
    pub has_system_requirements: bool,
    /// Whether listings omit the distribution; its binaries are served nevertheless.
    pub is_hidden: bool,
    /// The R version of its binaries, `4.4` or `4.4.2`.
    pub r_version: Option<String>,
    /// Whether binaries are served only to clients with the minor version of `r_version`.
    pub is_r_version_forced: bool,
    /// Whether the status response lists it; false for aliases without a name in the rules.
    pub has_status_row: bool,
}

words! {
    /// Operating systems of R packages.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub enum Os {
        Linux = "linux",
        Windows = "windows",
        MacOs = "macOS",
    }
    else "system" in any case
}

/// Folders of macOS binaries below `bin/macosx`; empty for `bin/macosx/contrib` itself, `None` for no binaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacFolders {
    /// `4.5`, or `default`.
    pub r_version: String,
    pub arm64: Option<String>,
    pub x86_64: Option<String>,
}

impl Platforms {
    /// Returns the Linux distribution, also a hidden one, of a name in a URL, which may be an alias.
    pub fn linux(&self, name: &str) -> Option<&Distribution> {
        let find = |name: &str| self.distributions.iter().find(|d| d.os == Os::Linux && d.name == name);
        let distribution = find(name)?;
        match &distribution.alias {
            None => Some(distribution),
            Some(target) => find(target),
        }
    }

    pub fn macos_folders(&self, r_version: &str) -> Option<&MacFolders> {
        let find = |version: &str| self.macos.iter().find(|folders| folders.r_version == version);
        find(r_version).or_else(|| find("default"))
    }

    /// Iterates over the aliases of a distribution.
    pub fn aliases<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let is_alias = move |d: &&Distribution| d.alias.as_deref() == Some(name);
        self.distributions.iter().filter(is_alias).map(|d| d.name.as_str())
    }
}

impl Distribution {
    /// Returns the URL segment of its binaries; empty for Windows and macOS.
    pub fn url_segment(&self) -> &str {
        match self.os {
            Os::Linux => self.alias.as_deref().unwrap_or(&self.name),
            Os::Windows | Os::MacOs => "",
        }
    }
}
