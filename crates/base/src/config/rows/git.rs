//! The rows of `[Git]`.

use super::{COUNT, property};
use crate::config::table::Kind::*;
use crate::config::table::Property;

/// The properties, in the order of the reference page.
#[rustfmt::skip]
pub(super) const PROPERTIES: &[Property] = &[
    property("PollInterval", Duration, "5m",
      "Interval between polls of each remote repository; at least one second."),
    property("BuildRetries", COUNT, "3",
      "Maximum number of attempts for a build with a temporary failure: the remote repository cannot be reached, memory is exhausted, the time limit is reached while other processes use the processors, or the server stops. A build that fails because of its commit is not repeated."),
    property("BuilderDir", Path, "",
      "Formerly the directory of the build workspaces, which are now in the memory of the sandbox.").obsolete(),
    property("AllowUnsandboxedGitBuilds", Boolean, "false",
      "Permits builds with the rights of the server if no sandbox works."),
    property("Sandbox", Choice(&["auto", "systemd", "bubblewrap", "none"]), "auto",
      "Sandbox of git and R: the units `rstudio-pm-fetch` and `rstudio-pm-build` (`systemd`), `bubblewrap`, or the first that works (`auto`). `none` needs `AllowUnsandboxedGitBuilds`."),
    property("BuildConcurrency", Integer(1, 64), "2",
      "Maximum number of simultaneous builds of the server; at most one of each builder."),
    property("BuildTimeout", Duration, "30m",
      "Maximum duration of each part of a build: the fetch, which ends after 14 minutes at the latest, the collection of the packages that the build needs, and the build itself."),
    property("FirstTags", COUNT, "10",
      "Number of existing tags that a new builder for tags builds, highest first; the others are skipped."),
    property("LocalPaths", Path, "",
      "Directory below which `file://` repositories are allowed; if unset, none are.").multi(),
    property("SubmoduleHosts", Text, "",
      "Host, other than that of the repository, from which submodules may be fetched over HTTPS or HTTP.").multi(),
    property("HostKeyPolicy", Choice(&["accept-new", "strict"]), "accept-new",
      "What happens when a builder is created for an SSH host whose key is not known: it is accepted, recorded with the credential and shown (`accept-new`), or refused (`strict`). A key that differs from the recorded one is always refused."),
    property("RLibrary", Path, "",
      "Library of R packages that builds can use."),
    property("InstallDependencies", Boolean, "true",
      "Whether builds of R packages install the packages that they need from a repository of the server."),
    property("RRepository", Text, "",
      "Repository from which these packages are installed; if unset, the only one that subscribes to the source of the build."),
];
