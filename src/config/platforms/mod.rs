//! The platforms binaries are served for: the embedded table, and what `rstudio-pm.gcfg` adds to it.

mod read;

/// Every platform the server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platforms {
    /// In the order of the embedded table, the administrator's own after it.
    pub distributions: Vec<Distribution>,
    /// R versions clients are told of, `4.5`, in the order given: newest first.
    pub r_versions: Vec<String>,
    /// Folders of macOS binaries, one entry for an R version or for `default`.
    pub macos: Vec<MacFolders>,
}

/// A distribution, or another name of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Unique: ASCII letters, digits, `_`. For Linux what follows `__linux__/` in URLs.
    pub name: String,
    /// The operating system.
    pub os: Os,
    /// The distribution this is another name of; its architectures and R version are those of that one.
    pub alias: Option<String>,
    /// For people.
    pub display: String,
    /// As system requirements name it: `ubuntu`.
    pub system: String,
    /// Its release: `24.04`.
    pub release: String,
    /// `x86_64`, `arm64`; at least one.
    pub architectures: Vec<String>,
    /// System requirements are known for it.
    pub system_requirements: bool,
    /// Not offered to people; served all the same.
    pub hidden: bool,
    /// The R version it is meant for, `4.4` or `4.4.2`.
    pub r_version: Option<String>,
    /// Binaries are served to clients with that R version only.
    pub forced: bool,
    /// A row of the status answer; false for a name alone.
    pub row: bool,
}

/// Operating systems of R packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Os {
    /// Any Linux.
    Linux,
    /// Windows.
    Windows,
    /// macOS.
    MacOs,
}

impl Os {
    /// As the status answer writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Os::Linux => "linux",
            Os::Windows => "windows",
            Os::MacOs => "macOS",
        }
    }
}

/// Folders of macOS binaries below `bin/macosx`; empty is `bin/macosx/contrib` itself, `None` that there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacFolders {
    /// `4.5`, or `default`.
    pub r_version: String,
    /// For Apple's processors.
    pub arm64: Option<String>,
    /// For Intel's.
    pub x86_64: Option<String>,
}

impl Platforms {
    /// The Linux distribution of a name in a URL, other names resolved; hidden ones too.
    #[must_use]
    pub fn linux(&self, name: &str) -> Option<&Distribution> {
        let named = |name: &str| self.distributions.iter().find(|d| d.os == Os::Linux && d.name == name);
        let found = named(name)?;
        match &found.alias {
            None => Some(found),
            Some(target) => named(target),
        }
    }

    /// The folders of macOS binaries for an R version.
    #[must_use]
    pub fn macos_folders(&self, r_version: &str) -> Option<&MacFolders> {
        let of = |version: &str| self.macos.iter().find(|known| known.r_version == version);
        of(r_version).or_else(|| of("default"))
    }

    /// Other names of a distribution.
    pub fn aliases<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let of = move |d: &&Distribution| d.alias.as_deref() == Some(name);
        self.distributions.iter().filter(of).map(|d| d.name.as_str())
    }
}

impl Distribution {
    /// The segment of URLs its binaries are found under; empty for Windows and macOS.
    #[must_use]
    pub fn url(&self) -> &str {
        match self.os {
            Os::Linux => self.alias.as_deref().unwrap_or(&self.name),
            Os::Windows | Os::MacOs => "",
        }
    }
}
