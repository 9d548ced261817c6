//! Detects the sandbox for builds. Log messages have the text of Posit Package Manager.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Builds;
use super::failure::BuildFailure;
use super::job::{self, Request};
use super::log::BuildLog;
use super::toolchain;
use base::config::{Config, SandboxChoice};
use base::model::kind::Language;
use builder::message::Report;
use builder::sandbox::{Choice, Paths, Sandbox};

/// Returns the path of a builder program in the directory of this program, such as a build directory of cargo;
/// `None` if the builder is installed, or if that directory contains none.
pub(super) fn program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let beside = program.parent()?.join("rstudio-pm-builder");
    (!Paths::default().builder.is_file() && beside.is_file()).then_some(beside)
}

/// Detects the sandboxes for the languages that `Server.RVersion` or `Server.PythonVersion` names, so that the log has their
/// versions soon after a start. Others are detected when a job needs them: most servers build nothing.
pub(super) async fn detect_configured(builds: &Builds) {
    let config = builds.state.config.load_full();
    for language in Language::ALL {
        if (toolchain::of(language).directory)(&config.git).is_some() {
            // A failure has been logged.
            let _ = sandbox(builds, language).await;
        }
    }
}

/// Returns the sandbox for a language, and caches it. A failure is not cached, because an administrator may remove its
/// cause. Fails with [`BuildFailure::Temporary`] with the reasons if no sandbox can be used.
pub(super) async fn sandbox(builds: &Builds, language: Language) -> Result<Sandbox, BuildFailure> {
    let mut cached_sandboxes = builds.sandboxes.lock().await;
    if let Some(sandbox) = cached_sandboxes.get(&language) {
        return Ok(sandbox.clone());
    }
    let config = builds.state.config.load_full();
    let name = language.label();
    let place = (toolchain::of(language).directory)(&config.git).map(|path| path.display().to_string());
    let program = builds.program.clone();
    tracing::info!("Attempting to detect {name} version in a user namespace sandbox.");
    let detection = tokio::task::spawn_blocking(move || detect_for(&config, language, program)).await;
    let sandbox = match detection {
        Ok(Ok(sandbox)) => sandbox,
        Ok(Err(reason)) => {
            // The reason begins with the sentence of Posit Package Manager.
            tracing::warn!("Warning: {reason}");
            return Err(BuildFailure::Temporary(reason));
        }
        Err(error) => return Err(BuildFailure::Temporary(error.to_string())),
    };
    let place = place.unwrap_or_else(|| sandbox.directory.clone());
    let place = if place.is_empty() { place } else { format!(" at {place}") };
    tracing::info!(sandbox = ?sandbox.kind, "Detected {name} version {}{place}", sandbox.version);
    if sandbox.kind == builder::sandbox::Kind::None {
        tracing::warn!(
            "packages are built from git with the rights of the server: Git.AllowUnsandboxedGitBuilds"
        );
    }
    cached_sandboxes.insert(language, sandbox.clone());
    Ok(sandbox)
}

/// Runs a job in the sandbox of a language, as [`job::run`]. If the sandbox is gone, the next job detects one again.
pub(super) async fn run(
    builds: &Builds,
    language: Language,
    request: Request,
    log: &Arc<BuildLog>,
    interrupted: impl Future<Output = ()>,
) -> Result<(Report, File), BuildFailure> {
    let sandbox = sandbox(builds, language).await?;
    let result = job::run(&sandbox, request, log, interrupted).await;
    if let Err(BuildFailure::NoSandbox(_)) = &result {
        builds.sandboxes.lock().await.retain(|_, cached| cached.kind != sandbox.kind);
    }
    result
}

/// Detects the sandbox for a language. Blocking.
fn detect_for(config: &Config, language: Language, program: Option<PathBuf>) -> Result<Sandbox, String> {
    let choice = match config.git.sandbox {
        SandboxChoice::Auto => Choice::Auto,
        SandboxChoice::Systemd => Choice::Systemd,
        SandboxChoice::Bubblewrap => Choice::Bubblewrap,
        SandboxChoice::None => Choice::None,
    };
    let mut paths = Paths { workspaces: config.server.temp_dir.clone(), ..Paths::default() };
    if let Some(program) = program {
        paths.builder = program;
    }
    let toolchain = toolchain::of(language);
    let directory = (toolchain.directory)(&config.git).and_then(Path::to_str);
    let sandbox = (toolchain.detect)(choice, config.git.allow_unsandboxed, directory, &paths);
    sandbox.map_err(|error| error.to_string())
}
