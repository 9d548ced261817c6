//! What each route does, and with which object: decides who may use it. The matches are exhaustive, so that a new route
//! does not compile without its row. Pure.

use super::Route;
use super::admin::{AdminRoute, ControlRoute, DataRoute};
use super::public::PublicRoute;
use crate::access::Action;
use crate::model::ids::RepoId;

/// What a request does, and with which object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// What it does.
    pub action: Action,
    /// The object that the address names.
    pub target: Target<'a>,
}

/// What decides who may read a resolved address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepositoryAccess {
    /// The repository.
    pub id: RepoId,
    /// Whether it is for authenticated clients only.
    pub authenticated: bool,
}

/// The object that an address names. An object that the body names is checked by the handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// None, or several.
    Server,
    /// A repository, by name or number; may not exist.
    Repository(&'a str),
    /// A source, by name or number; may not exist.
    Source(&'a str),
}

const fn server(action: Action) -> Access<'static> {
    Access { action, target: Target::Server }
}

/// Reads a repository.
#[must_use]
pub const fn read_repository(name: &str) -> Access<'_> {
    Access { action: Action::Read, target: Target::Repository(name) }
}

/// Shows a repository on the admin API.
#[must_use]
pub const fn inspect_repository(name: &str) -> Access<'_> {
    Access { action: Action::Inspect, target: Target::Repository(name) }
}

/// Shows a source on the admin API.
#[must_use]
pub const fn inspect_source(name: &str) -> Access<'_> {
    source(Action::Inspect, name)
}

const fn source(action: Action, name: &str) -> Access<'_> {
    Access { action, target: Target::Source(name) }
}

/// What the route does, and with which object.
#[must_use]
pub fn of(route: &Route) -> Access<'_> {
    match route {
        Route::Home | Route::Ping => server(Action::ReadPublic),
        Route::Latest { repo, .. }
        | Route::RepositoryPage { repo, .. }
        | Route::Repository { repo, .. }
        | Route::Versions { repo, .. } => read_repository(repo),
        Route::UploadPython { source: name } => source(Action::WriteSource, name),
        Route::Public(route) => of_public(route),
        Route::Admin(route) => of_admin(route),
    }
}

fn of_public(route: &PublicRoute) -> Access<'_> {
    match route {
            // These list what the client may read, or are the same for everyone.
            PublicRoute::Status
            | PublicRoute::Repos
            | PublicRoute::Sources
            | PublicRoute::MetricsPackages
            | PublicRoute::Alerts
            | PublicRoute::VerifyAuth
            | PublicRoute::Swagger
            | PublicRoute::OpenApi
            // The body names the repository.
            | PublicRoute::Filter
            | PublicRoute::Url => server(Action::ReadPublic),
            PublicRoute::GitWebhook(_) => server(Action::Notify),
            PublicRoute::Repo(repo)
            | PublicRoute::RepoSources(repo)
            | PublicRoute::Packages(repo)
            | PublicRoute::Package(repo, _)
            | PublicRoute::PackageBinaries(repo, _)
            | PublicRoute::BuildLog(repo, _)
            | PublicRoute::PackageSysreqs(repo, _)
            | PublicRoute::Sysreqs(repo)
            | PublicRoute::DescriptionSysreqs(repo)
            | PublicRoute::FilterRepo(repo)
            | PublicRoute::TransactionDates(repo)
            | PublicRoute::FirstTransaction(repo) => read_repository(repo),
            PublicRoute::Source(name)
            | PublicRoute::SourceTransactions(name)
            | PublicRoute::SourcePackages(name)
            | PublicRoute::SourceReleases(name, _) => source(Action::Read, name),
    }
}

/// What the route does, and with which object.
#[must_use]
pub fn of_admin(route: &AdminRoute) -> Access<'_> {
    match route {
        AdminRoute::Control(Ok(route)) => of_control(route),
        AdminRoute::Data(Ok(route)) => of_data(route),
        AdminRoute::Control(Err(_)) | AdminRoute::Data(Err(_)) => server(Action::Inspect),
    }
}

fn of_control(route: &ControlRoute) -> Access<'_> {
    match route {
        ControlRoute::Status | ControlRoute::Reload | ControlRoute::LogLevel => server(Action::Administer),
        ControlRoute::Nodes
        | ControlRoute::NodesOnline
        | ControlRoute::NodesOffline
        | ControlRoute::Online
        | ControlRoute::Offline
        | ControlRoute::ReopenLogs => server(Action::ControlProcess),
    }
}

fn of_data(route: &DataRoute) -> Access<'_> {
    match route {
        // These list what the client may read, or are the same for everyone.
        DataRoute::Sources
        | DataRoute::Repos
        | DataRoute::BioconductorVersions
        | DataRoute::Distributions
        | DataRoute::Verify
        | DataRoute::OpenApi => server(Action::Inspect),
        DataRoute::CreateSource => server(Action::CreateSource),
        DataRoute::Upload => server(Action::Upload),
        DataRoute::Source(name) | DataRoute::SourcePackages(name) | DataRoute::SourceBinaries(name) => {
            inspect_source(name)
        }
        DataRoute::EditSource(name)
        | DataRoute::DeleteSource(name)
        | DataRoute::AddPackages(name)
        | DataRoute::RemovePackage(name)
        | DataRoute::YankFiles(name)
        | DataRoute::AddBinaries(name)
        | DataRoute::RemoveBinary(name)
        | DataRoute::PollGitBuilder(name, _)
        | DataRoute::RerunGitBuilder(name, _) => source(Action::WriteSource, name),
        DataRoute::Repo(name) | DataRoute::RepoPackages(name) | DataRoute::Explain(name) => {
            inspect_repository(name)
        }
        DataRoute::CreateRepo
        | DataRoute::EditRepo(_)
        | DataRoute::DeleteRepo(_)
        | DataRoute::Subscribe(_)
        | DataRoute::ReorderSources(_)
        | DataRoute::Unsubscribe(_, _)
        | DataRoute::CreateToken
        | DataRoute::Tokens
        | DataRoute::RevokeToken
        | DataRoute::Audit
        | DataRoute::VerifyAudit
        | DataRoute::RepairClock
        | DataRoute::StartSync
        | DataRoute::StartBackup
        | DataRoute::RecordBackupTest
        | DataRoute::GitBuilders
        | DataRoute::CreateGitBuilder(_)
        | DataRoute::EditGitBuilder(_, _)
        | DataRoute::DeleteGitBuilder(_, _)
        | DataRoute::GitBuilds
        | DataRoute::GitBuild(_)
        | DataRoute::GitBuildLog(_)
        | DataRoute::TransactionGitBuild(_)
        | DataRoute::GitCredentials
        | DataRoute::ImportGitCredential
        | DataRoute::EditGitCredential(_, _)
        | DataRoute::DeleteGitCredential(_, _)
        | DataRoute::StartBackfill
        | DataRoute::StopBackfill(_)
        | DataRoute::Storage
        | DataRoute::AdoptStorage
        | DataRoute::SweepStorage
        | DataRoute::RestoreStorage
        | DataRoute::StartScrub
        | DataRoute::Scrub(_)
        | DataRoute::Jobs
        | DataRoute::Job(_) => server(Action::Administer),
    }
}
