//! The action and the object of each route, which determine who may use it. The matches are exhaustive, so that a new
//! route does not compile without an entry here. No I/O. `tests/access/matrix.rs` requests each address as each kind of
//! client.

use super::Route;
use super::admin::{AdminRoute, ControlRoute, DataRoute};
use super::public::PublicRoute;
use base::access::Action;
use base::model::ids::RepoId;

/// The action of a request, and its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    /// The action.
    pub action: Action,
    /// The object that the address names.
    pub target: Target<'a>,
}

/// The data that decides who may read a resolved address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepositoryAccess {
    /// The repository.
    pub id: RepoId,
    /// Whether it is only for authenticated clients.
    pub authenticated: bool,
}

/// The object that an address names. Handlers check the objects that a body names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The whole server: the address names no object.
    Server,
    /// The repository with this name or number, if there is one.
    Repository(&'a str),
    /// The source with this name or number, if there is one.
    Source(&'a str),
}

const fn server(action: Action) -> Access<'static> {
    Access { action, target: Target::Server }
}

/// Access that reads a repository.
#[must_use]
pub const fn read_repository(name: &str) -> Access<'_> {
    Access { action: Action::Read, target: Target::Repository(name) }
}

/// Access that shows a repository on the admin API.
#[must_use]
pub const fn inspect_repository(name: &str) -> Access<'_> {
    Access { action: Action::Inspect, target: Target::Repository(name) }
}

/// Access that shows a source on the admin API.
#[must_use]
pub const fn inspect_source(name: &str) -> Access<'_> {
    source(Action::Inspect, name)
}

/// Access that changes a source.
#[must_use]
pub const fn write_source(name: &str) -> Access<'_> {
    source(Action::WriteSource, name)
}

/// Access that plans, requests or decides a promotion to a repository.
#[must_use]
pub const fn promote_repository(name: &str) -> Access<'_> {
    Access { action: Action::Promote, target: Target::Repository(name) }
}

/// Access that changes block rules.
#[must_use]
pub const fn change_blocklist() -> Access<'static> {
    server(Action::ChangeBlocklist)
}

/// Access that only administrators have.
#[must_use]
pub const fn administer() -> Access<'static> {
    server(Action::Administer)
}

const fn source(action: Action, name: &str) -> Access<'_> {
    Access { action, target: Target::Source(name) }
}

/// Returns the action and the object of a route.
#[must_use]
pub fn route_access(route: &Route) -> Access<'_> {
    match route {
        // Sign-in checks its own secrets.
        Route::Home
        | Route::Manual(_)
        | Route::Asset(_)
        | Route::Favicon
        | Route::Robots
        | Route::Ping
        | Route::Login(_)
        | Route::PublishingAudience => server(Action::ReadPublic),
        // The handler verifies the identity token in the body.
        Route::MintToken => server(Action::Notify),
        Route::Latest { repo, .. }
        | Route::PackageLink { repo, .. }
        | Route::RepositoryPage { repo, .. }
        | Route::Web { repo, .. }
        | Route::Repository { repo, .. }
        | Route::Versions { repo, .. } => read_repository(repo),
        Route::UploadPython { source: name } => source(Action::WriteSource, name),
        Route::Public(route) => public_access(route),
        Route::Admin(route) => admin_access(route),
        // The form names the action, for which the admin API checks the permission again.
        Route::Administration(_) => server(Action::Administer),
    }
}

fn public_access(route: &PublicRoute) -> Access<'_> {
    match route {
            // These list only objects that the client may read, or are the same for all clients.
            PublicRoute::Status
            | PublicRoute::Repos
            | PublicRoute::Sources
            | PublicRoute::MetricsPackages
            | PublicRoute::Alerts
            | PublicRoute::VerifyAuth
            | PublicRoute::Swagger
            | PublicRoute::OpenApi
            // The body names the repository, which the handler checks.
            | PublicRoute::Filter
            | PublicRoute::Url => server(Action::ReadPublic),
            // The handler verifies the signature.
            PublicRoute::GitWebhook(_) | PublicRoute::Bootstrap => server(Action::Notify),
            PublicRoute::Download => server(Action::Inspect),
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
            | PublicRoute::RepoVulnerabilities(repo)
            | PublicRoute::RepoDifference(repo)
            | PublicRoute::TransactionDates(repo)
            | PublicRoute::FirstTransaction(repo) => read_repository(repo),
            PublicRoute::Source(name)
            | PublicRoute::SourceTransactions(name)
            | PublicRoute::SourcePackages(name)
            | PublicRoute::SourceReleases(name, _) => source(Action::Read, name),
    }
}

/// Returns the action and the object of a route of the admin API.
#[must_use]
pub fn admin_access(route: &AdminRoute) -> Access<'_> {
    match route {
        AdminRoute::Control(Ok(route)) => control_access(route),
        AdminRoute::Data(Ok(route)) => data_access(route),
        AdminRoute::Control(Err(_)) | AdminRoute::Data(Err(_)) => server(Action::Inspect),
    }
}

fn control_access(route: &ControlRoute) -> Access<'_> {
    match route {
        ControlRoute::Status
        | ControlRoute::Reload
        | ControlRoute::LogLevel
        | ControlRoute::DebugRegions
        | ControlRoute::SetDebugRegions => server(Action::Administer),
        ControlRoute::Nodes
        | ControlRoute::NodesOnline
        | ControlRoute::NodesOffline
        | ControlRoute::Online
        | ControlRoute::Offline
        | ControlRoute::ReopenLogs => server(Action::ControlProcess),
    }
}

/// Returns the action and the object of a request for data on the admin API.
#[must_use]
pub fn data_access(route: &DataRoute) -> Access<'_> {
    match route {
        // These list only objects that the client may read, or are the same for all clients.
        DataRoute::Sources
        | DataRoute::Repos
        | DataRoute::BioconductorVersions
        | DataRoute::Distributions
        | DataRoute::Verify
        | DataRoute::OpenApi => server(Action::Inspect),
        DataRoute::CreateSource => server(Action::CreateSource),
        // The handler determines the source, and checks the permission for it.
        DataRoute::Upload
        | DataRoute::GitBuilders
        | DataRoute::GitBuilds
        | DataRoute::GitBuild(_)
        | DataRoute::GitBuildLog(_)
        | DataRoute::TransactionGitBuild(_) => server(Action::Upload),
        DataRoute::Source(name) | DataRoute::SourcePackages(name) | DataRoute::SourceBinaries(name) => {
            inspect_source(name)
        }
        DataRoute::EditSource(name)
        | DataRoute::DeleteSource(name)
        | DataRoute::AddPackages(name)
        | DataRoute::RemovePackage(name)
        | DataRoute::YankFiles(name)
        | DataRoute::UpdateDefinition(name)
        | DataRoute::AddBinaries(name)
        | DataRoute::RemoveBinary(name)
        // Credentials and git repositories on this machine require an administrator, which the handler checks.
        | DataRoute::CreateGitBuilder(name)
        | DataRoute::EditGitBuilder(name, _)
        | DataRoute::DeleteGitBuilder(name, _)
        | DataRoute::PollGitBuilder(name, _)
        | DataRoute::RerunGitBuilder(name, _) => source(Action::WriteSource, name),
        DataRoute::Repo(name) | DataRoute::RepoPackages(name) | DataRoute::Explain(name) => {
            inspect_repository(name)
        }
        DataRoute::Promote(name) => promote_repository(name),
        // The handler determines the repository, and checks the permission for it.
        DataRoute::Promotions
        | DataRoute::Promotion(_)
        | DataRoute::ApprovePromotion(_)
        | DataRoute::RejectPromotion(_) => server(Action::Promote),
        // A test also reads the repository, which the handler checks.
        DataRoute::BlockRules | DataRoute::TestBlockRules | DataRoute::BlockedRequests => {
            server(Action::ReadBlocklist)
        }
        // Authors of rules need the types of licenses; their counts are those of a dry run of a rule.
        DataRoute::CreateBlockRules
        | DataRoute::EditBlockRule(_)
        | DataRoute::DeleteBlockRules
        | DataRoute::LicenseTypes => server(Action::ChangeBlocklist),
        DataRoute::Metadata | DataRoute::SetMetadata | DataRoute::DeleteMetadata => {
            server(Action::ManageMetadata)
        }
        DataRoute::CreateRepo
        | DataRoute::EditRepo(_)
        | DataRoute::DeleteRepo(_)
        | DataRoute::Subscribe(_)
        | DataRoute::ReorderSources(_)
        | DataRoute::Unsubscribe(_, _)
        | DataRoute::CreateUrl(_)
        | DataRoute::NameGuards
        | DataRoute::CreateNameGuard
        | DataRoute::EditNameGuard(_)
        | DataRoute::DeleteNameGuard(_)
        | DataRoute::AuditNames
        | DataRoute::CreateToken
        | DataRoute::Tokens
        | DataRoute::RevokeToken
        | DataRoute::Audit
        | DataRoute::VerifyAudit
        | DataRoute::RepairClock
        | DataRoute::StartSync
        | DataRoute::ClearSource
        | DataRoute::StartBackup
        | DataRoute::RecordBackupTest
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
        | DataRoute::StartEviction
        | DataRoute::Eviction(_)
        | DataRoute::StartPrefetch
        | DataRoute::Prefetch(_)
        | DataRoute::StartScrub
        | DataRoute::Scrub(_)
        | DataRoute::Jobs
        | DataRoute::Job(_) => server(Action::Administer),
    }
}
