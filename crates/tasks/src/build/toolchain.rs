//! What differs between the builds of languages, except the build itself.

use std::path::Path;

use base::config::Git;
use base::model::kind::Language;
use builder::sandbox::{Choice, NoSandbox, Paths, Sandbox, detect, detect_python};

/// The tools that build packages of a language.
pub(super) struct Toolchain {
    /// Returns the directory of their installation; `None` if it is detected.
    pub(super) directory: fn(&Git) -> Option<&Path>,
    /// Returns the first sandbox in which they run.
    pub(super) detect: fn(Choice, bool, Option<&str>, &Paths) -> Result<Sandbox, NoSandbox>,
    /// Whether the name and the version of a package are in its file DESCRIPTION. Otherwise they are known only after a
    /// build, and the version may come from a tag, in any form that the build understands.
    pub(super) has_description: bool,
    pub(super) has_vignettes: bool,
}

static R: Toolchain =
    Toolchain { directory: |git| git.r.as_deref(), detect, has_description: true, has_vignettes: true };

static PYTHON: Toolchain = Toolchain {
    directory: |git| git.python.as_deref(),
    detect: detect_python,
    has_description: false,
    has_vignettes: false,
};

/// Of a language without builds.
static NONE: Toolchain = Toolchain { directory: |_| None, ..PYTHON };

static TOOLCHAINS: [(Language, &Toolchain); 2] = [(Language::R, &R), (Language::Python, &PYTHON)];

/// Returns the tools for a language.
pub(super) fn of(language: Language) -> &'static Toolchain {
    TOOLCHAINS.iter().find(|(other, _)| *other == language).map_or(&NONE, |(_, toolchain)| *toolchain)
}
