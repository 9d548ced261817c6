//! The operations on builders of git repositories, builds and credentials.

use utoipa::openapi::path::HttpMethod;

use super::Row;

/// The operations.
pub(super) const TABLE: &[Row] = &[
    (
        HttpMethod::Get,
        "/git-builders",
        "List git builders; filtered by the parameter source",
        None,
        Some("[GitBuilder]"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/git-builders",
        "Create a builder, and put its first builds in the queue",
        Some("CreateGitBuilder"),
        Some("GitPoll"),
    ),
    (
        HttpMethod::Patch,
        "/sources/{name}/git-builders/{builder}",
        "Change a builder",
        Some("EditGitBuilder"),
        Some("GitBuilder"),
    ),
    (
        HttpMethod::Delete,
        "/sources/{name}/git-builders/{builder}",
        "Delete a builder; its packages and logs remain",
        None,
        None,
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/git-builders/{builder}/poll",
        "Poll the repository of a builder now",
        None,
        Some("GitPoll"),
    ),
    (
        HttpMethod::Post,
        "/sources/{name}/git-builders/{builder}/rerun",
        "Put a tag or a commit in the queue again",
        Some("RerunGitBuilder"),
        Some("GitBuild"),
    ),
    (
        HttpMethod::Get,
        "/git-builds",
        "List builds, newest first; parameters source, name, count, page",
        None,
        Some("[GitBuild]"),
    ),
    (HttpMethod::Get, "/git-builds/{id}", "Show a build", None, Some("GitBuild")),
    (
        HttpMethod::Get,
        "/git-builds/{id}/log",
        "Show a part of the log of a build; parameter offset",
        None,
        Some("GitBuildLog"),
    ),
    (
        HttpMethod::Get,
        "/transactions/{id}/git-build",
        "Show the build that published a transaction",
        None,
        Some("GitBuild"),
    ),
    (HttpMethod::Get, "/git-credentials", "List credentials for git servers", None, Some("[GitCredential]")),
    (
        HttpMethod::Post,
        "/git-credentials",
        "Import a credential",
        Some("ImportGitCredential"),
        Some("GitCredential"),
    ),
    (
        HttpMethod::Patch,
        "/git-credentials/{kind}/{name}",
        "Change a credential",
        Some("ImportGitCredential"),
        Some("GitCredential"),
    ),
    (
        HttpMethod::Delete,
        "/git-credentials/{kind}/{name}",
        "Delete a credential that no builder uses",
        None,
        None,
    ),
];
