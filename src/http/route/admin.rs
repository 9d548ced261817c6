//! The addresses of the admin API, `/__api__/admin/v1/…`; `docs/api/admin.json` (OpenAPI) describes them.

use http::{Method, StatusCode};

use super::table::{self, routes};
use crate::http::error::Failure;

/// The route of a request to the admin API, or its failure, which is disclosed only to clients with a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminRoute {
    /// A route that controls the server process, served in every mode.
    Control(Result<ControlRoute, Failure>),
    /// Any other route, served only while the server is online.
    Data(Result<DataRoute, Failure>),
}

routes! {
    /// Routes that control the server process.
    ControlRoute {
        GET ["status"] => Status,
        GET ["nodes"] => Nodes,
        POST ["nodes", "online"] => NodesOnline,
        POST ["nodes", "offline"] => NodesOffline,
        POST ["online"] => Online,
        POST ["offline"] => Offline,
        POST ["reload"] => Reload,
        PUT ["log", "level"] => LogLevel,
        GET ["log", "regions"] => DebugRegions,
        PUT ["log", "regions"] => SetDebugRegions,
        POST ["log", "reopen"] => ReopenLogs,
    }
}

routes! {
    /// All other routes: sources, repositories, jobs, storage and more.
    DataRoute {
        GET ["sources"] => Sources,
        POST ["sources"] => CreateSource,
        GET ["sources", name] => Source(name),
        PATCH ["sources", name] => EditSource(name),
        DELETE ["sources", name] => DeleteSource(name),
        GET ["sources", name, "packages"] => SourcePackages(name),
        POST ["sources", name, "packages"] => AddPackages(name),
        POST ["sources", name, "packages", "remove"] => RemovePackage(name),
        POST ["sources", name, "packages", "yank"] => YankFiles(name),
        POST ["sources", name, "definition"] => UpdateDefinition(name),
        GET ["sources", name, "binaries"] => SourceBinaries(name),
        POST ["sources", name, "binaries"] => AddBinaries(name),
        POST ["sources", name, "binaries", "remove"] => RemoveBinary(name),
        GET ["repos"] => Repos,
        POST ["repos"] => CreateRepo,
        GET ["repos", name] => Repo(name),
        PATCH ["repos", name] => EditRepo(name),
        DELETE ["repos", name] => DeleteRepo(name),
        GET ["repos", name, "packages"] => RepoPackages(name),
        GET ["repos", name, "explain"] => Explain(name),
        POST ["repos", name, "sources"] => Subscribe(name),
        PUT ["repos", name, "sources"] => ReorderSources(name),
        DELETE ["repos", name, "sources", source] => Unsubscribe(name, source),
        POST ["repos", name, "urls"] => CreateUrl(name),
        POST ["repos", name, "promotions"] => Promote(name),
        GET ["promotions"] => Promotions,
        GET ["promotions", id] => Promotion(id),
        POST ["promotions", id, "approve"] => ApprovePromotion(id),
        POST ["promotions", id, "reject"] => RejectPromotion(id),
        GET ["git-builders"] => GitBuilders,
        POST ["sources", name, "git-builders"] => CreateGitBuilder(name),
        PATCH ["sources", name, "git-builders", builder] => EditGitBuilder(name, builder),
        DELETE ["sources", name, "git-builders", builder] => DeleteGitBuilder(name, builder),
        POST ["sources", name, "git-builders", builder, "poll"] => PollGitBuilder(name, builder),
        POST ["sources", name, "git-builders", builder, "rerun"] => RerunGitBuilder(name, builder),
        GET ["git-builds"] => GitBuilds,
        GET ["git-builds", id] => GitBuild(id),
        GET ["git-builds", id, "log"] => GitBuildLog(id),
        GET ["transactions", id, "git-build"] => TransactionGitBuild(id),
        GET ["git-credentials"] => GitCredentials,
        POST ["git-credentials"] => ImportGitCredential,
        PATCH ["git-credentials", kind, name] => EditGitCredential(kind, name),
        DELETE ["git-credentials", kind, name] => DeleteGitCredential(kind, name),
        POST ["uploads"] => Upload,
        POST ["repair", "clock"] => RepairClock,
        POST ["sync"] => StartSync,
        POST ["clear"] => ClearSource,
        POST ["backups"] => StartBackup,
        POST ["backups", "tests"] => RecordBackupTest,
        POST ["backfill"] => StartBackfill,
        DELETE ["backfill", source] => StopBackfill(source),
        GET ["bioconductor", "versions"] => BioconductorVersions,
        GET ["license-types"] => LicenseTypes,
        GET ["metadata"] => Metadata,
        POST ["metadata"] => SetMetadata,
        POST ["metadata", "delete"] => DeleteMetadata,
        GET ["storage"] => Storage,
        POST ["storage", "adopt"] => AdoptStorage,
        POST ["storage", "sweep"] => SweepStorage,
        POST ["storage", "restore"] => RestoreStorage,
        POST ["evict"] => StartEviction,
        GET ["evict", job] => Eviction(job),
        POST ["prefetch"] => StartPrefetch,
        GET ["prefetch", job] => Prefetch(job),
        POST ["scrub"] => StartScrub,
        GET ["scrub", job] => Scrub(job),
        GET ["jobs"] => Jobs,
        GET ["jobs", id] => Job(id),
        GET ["distributions"] => Distributions,
        GET ["block-rules"] => BlockRules,
        POST ["block-rules"] => CreateBlockRules,
        PATCH ["block-rules", id] => EditBlockRule(id),
        POST ["block-rules", "delete"] => DeleteBlockRules,
        POST ["block-rules", "test"] => TestBlockRules,
        GET ["blocked"] => BlockedRequests,
        GET ["name-guards"] => NameGuards,
        POST ["name-guards"] => CreateNameGuard,
        PATCH ["name-guards", id] => EditNameGuard(id),
        DELETE ["name-guards", id] => DeleteNameGuard(id),
        GET ["tokens"] => Tokens,
        POST ["tokens"] => CreateToken,
        POST ["tokens", "revoke"] => RevokeToken,
        GET ["verify"] => Verify,
        GET ["audit"] => Audit,
        GET ["audit", "verify"] => VerifyAudit,
        GET ["audit", "names"] => AuditNames,
        GET ["openapi.json"] => OpenApi,
    }
}

/// Parses the decoded segments after `/__api__/admin/v1/`.
pub(super) fn parse(method: &Method, segments: &[&str]) -> AdminRoute {
    let segments = segments.strip_suffix(&[""]).unwrap_or(segments);
    match table::route(method, |method| ControlRoute::find(method, segments), unknown) {
        Err(failure) if failure.status == StatusCode::NOT_FOUND => {
            AdminRoute::Data(table::route(method, |method| DataRoute::find(method, segments), unknown))
        }
        control => AdminRoute::Control(control),
    }
}

fn unknown() -> Failure {
    Failure::not_found("the admin API has nothing at this address; rspm and server may differ in version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_one_route() {
        let s = || "x".to_owned();
        let control = [
            ("GET", "status", ControlRoute::Status),
            ("GET", "nodes", ControlRoute::Nodes),
            ("POST", "nodes/online", ControlRoute::NodesOnline),
            ("POST", "nodes/offline", ControlRoute::NodesOffline),
            ("POST", "online", ControlRoute::Online),
            ("POST", "offline", ControlRoute::Offline),
            ("POST", "reload", ControlRoute::Reload),
            ("PUT", "log/level", ControlRoute::LogLevel),
            ("GET", "log/regions", ControlRoute::DebugRegions),
            ("PUT", "log/regions", ControlRoute::SetDebugRegions),
            ("POST", "log/reopen", ControlRoute::ReopenLogs),
        ];
        let data = [
            ("GET", "sources", DataRoute::Sources),
            ("GET", "sources/", DataRoute::Sources),
            ("POST", "sources", DataRoute::CreateSource),
            ("GET", "sources/x", DataRoute::Source(s())),
            ("PATCH", "sources/x", DataRoute::EditSource(s())),
            ("DELETE", "sources/x", DataRoute::DeleteSource(s())),
            ("GET", "sources/x/packages", DataRoute::SourcePackages(s())),
            ("POST", "sources/x/packages", DataRoute::AddPackages(s())),
            ("POST", "sources/x/packages/remove", DataRoute::RemovePackage(s())),
            ("POST", "sources/x/packages/yank", DataRoute::YankFiles(s())),
            ("POST", "sources/x/definition", DataRoute::UpdateDefinition(s())),
            ("GET", "sources/x/binaries", DataRoute::SourceBinaries(s())),
            ("POST", "sources/x/binaries", DataRoute::AddBinaries(s())),
            ("POST", "sources/x/binaries/remove", DataRoute::RemoveBinary(s())),
            ("GET", "repos", DataRoute::Repos),
            ("POST", "repos", DataRoute::CreateRepo),
            ("GET", "repos/x", DataRoute::Repo(s())),
            ("PATCH", "repos/x", DataRoute::EditRepo(s())),
            ("DELETE", "repos/x", DataRoute::DeleteRepo(s())),
            ("GET", "repos/x/packages", DataRoute::RepoPackages(s())),
            ("GET", "repos/x/explain", DataRoute::Explain(s())),
            ("POST", "repos/x/sources", DataRoute::Subscribe(s())),
            ("PUT", "repos/x/sources", DataRoute::ReorderSources(s())),
            ("DELETE", "repos/x/sources/y", DataRoute::Unsubscribe(s(), "y".to_owned())),
            ("POST", "repos/x/urls", DataRoute::CreateUrl(s())),
            ("POST", "repos/x/promotions", DataRoute::Promote(s())),
            ("GET", "promotions", DataRoute::Promotions),
            ("GET", "promotions/x", DataRoute::Promotion(s())),
            ("POST", "promotions/x/approve", DataRoute::ApprovePromotion(s())),
            ("POST", "promotions/x/reject", DataRoute::RejectPromotion(s())),
            ("GET", "git-builders", DataRoute::GitBuilders),
            ("POST", "sources/x/git-builders", DataRoute::CreateGitBuilder(s())),
            ("PATCH", "sources/x/git-builders/x", DataRoute::EditGitBuilder(s(), s())),
            ("DELETE", "sources/x/git-builders/x", DataRoute::DeleteGitBuilder(s(), s())),
            ("POST", "sources/x/git-builders/x/poll", DataRoute::PollGitBuilder(s(), s())),
            ("POST", "sources/x/git-builders/x/rerun", DataRoute::RerunGitBuilder(s(), s())),
            ("GET", "git-builds", DataRoute::GitBuilds),
            ("GET", "git-builds/x", DataRoute::GitBuild(s())),
            ("GET", "git-builds/x/log", DataRoute::GitBuildLog(s())),
            ("GET", "transactions/x/git-build", DataRoute::TransactionGitBuild(s())),
            ("GET", "git-credentials", DataRoute::GitCredentials),
            ("POST", "git-credentials", DataRoute::ImportGitCredential),
            ("PATCH", "git-credentials/x/x", DataRoute::EditGitCredential(s(), s())),
            ("DELETE", "git-credentials/x/x", DataRoute::DeleteGitCredential(s(), s())),
            ("POST", "uploads", DataRoute::Upload),
            ("POST", "repair/clock", DataRoute::RepairClock),
            ("POST", "sync", DataRoute::StartSync),
            ("POST", "clear", DataRoute::ClearSource),
            ("POST", "backups", DataRoute::StartBackup),
            ("POST", "backups/tests", DataRoute::RecordBackupTest),
            ("POST", "backfill", DataRoute::StartBackfill),
            ("DELETE", "backfill/x", DataRoute::StopBackfill(s())),
            ("GET", "bioconductor/versions", DataRoute::BioconductorVersions),
            ("GET", "license-types", DataRoute::LicenseTypes),
            ("GET", "metadata", DataRoute::Metadata),
            ("POST", "metadata", DataRoute::SetMetadata),
            ("POST", "metadata/delete", DataRoute::DeleteMetadata),
            ("GET", "storage", DataRoute::Storage),
            ("POST", "storage/adopt", DataRoute::AdoptStorage),
            ("POST", "storage/sweep", DataRoute::SweepStorage),
            ("POST", "storage/restore", DataRoute::RestoreStorage),
            ("POST", "evict", DataRoute::StartEviction),
            ("GET", "evict/x", DataRoute::Eviction(s())),
            ("POST", "prefetch", DataRoute::StartPrefetch),
            ("GET", "prefetch/x", DataRoute::Prefetch(s())),
            ("POST", "scrub", DataRoute::StartScrub),
            ("GET", "scrub/x", DataRoute::Scrub(s())),
            ("GET", "jobs", DataRoute::Jobs),
            ("GET", "jobs/x", DataRoute::Job(s())),
            ("GET", "distributions", DataRoute::Distributions),
            ("GET", "block-rules", DataRoute::BlockRules),
            ("POST", "block-rules", DataRoute::CreateBlockRules),
            ("PATCH", "block-rules/x", DataRoute::EditBlockRule(s())),
            ("POST", "block-rules/delete", DataRoute::DeleteBlockRules),
            ("POST", "block-rules/test", DataRoute::TestBlockRules),
            ("GET", "blocked", DataRoute::BlockedRequests),
            ("GET", "name-guards", DataRoute::NameGuards),
            ("POST", "name-guards", DataRoute::CreateNameGuard),
            ("PATCH", "name-guards/x", DataRoute::EditNameGuard(s())),
            ("DELETE", "name-guards/x", DataRoute::DeleteNameGuard(s())),
            ("GET", "audit/names", DataRoute::AuditNames),
            ("GET", "tokens", DataRoute::Tokens),
            ("POST", "tokens", DataRoute::CreateToken),
            ("POST", "tokens/revoke", DataRoute::RevokeToken),
            ("GET", "verify", DataRoute::Verify),
            ("GET", "audit", DataRoute::Audit),
            ("GET", "audit/verify", DataRoute::VerifyAudit),
            ("GET", "openapi.json", DataRoute::OpenApi),
        ];
        for (method, path, expected) in control {
            assert_eq!(parsed(method, path), AdminRoute::Control(Ok(expected)), "{method} {path}");
        }
        for (method, path, expected) in data {
            assert_eq!(parsed(method, path), AdminRoute::Data(Ok(expected)), "{method} {path}");
        }
    }

    #[test]
    fn other_methods_get_the_list_of_allowed_ones() {
        for (path, allowed) in [
            ("status", "GET"),
            ("online", "POST"),
            ("log/level", "PUT"),
            ("sources", "GET, POST"),
            ("sources/x", "GET, PATCH, DELETE"),
            ("sources/x/packages", "GET, POST"),
            ("sources/x/binaries/remove", "POST"),
            ("repos/x/sources", "POST, PUT"),
            ("repos/x/sources/y", "DELETE"),
            ("backfill/x", "DELETE"),
            ("jobs/x", "GET"),
        ] {
            for method in ["HEAD", "TRACE"] {
                let (AdminRoute::Control(Err(failure)) | AdminRoute::Data(Err(failure))) =
                    parsed(method, path)
                else {
                    panic!("{method} {path} has a route");
                };
                assert_eq!(failure.allow.as_deref(), Some(allowed), "{method} {path}");
            }
        }
        for path in ["", "nothing", "sources/x/y", "repos/x/explain/y", "log"] {
            let AdminRoute::Data(Err(failure)) = parsed("GET", path) else { panic!("{path} has a route") };
            assert_eq!((failure.status, failure.allow), (StatusCode::NOT_FOUND, None), "{path}");
        }
    }

    fn parsed(method: &str, path: &str) -> AdminRoute {
        let segments: Vec<&str> = path.split('/').collect();
        parse(&method.parse().expect("a method"), &segments)
    }
}
