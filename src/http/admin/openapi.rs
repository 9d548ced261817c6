//! The OpenAPI document of the admin API, generated from the wire types; `docs/api/admin.json` is a copy.

mod builders;
mod metadata;
mod name_guards;
mod promotions;
mod sources;
mod stored_objects;

use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::{InfoBuilder, OpenApi};

use crate::http::openapi::{self, JSON, Schemas};
use api::{
    ADMIN_PREFIX, audit, backfill, backup, binary, bioconductor, block_rule, cluster, control, definition,
    distribution, error, eviction, explain, fixed_url, git, job, license, log, metadata as metadata_types,
    name_guard, package, prefetch, promotion, repair, repo, scrub, source, storage, token, upload,
};

/// One operation: method, path, summary, schema names of body and response.
type Row = (HttpMethod, &'static str, &'static str, Option<&'static str>, Option<&'static str>);

const TABLE: &[Row] = &[
    (HttpMethod::Get, "/repos", "List repositories; filtered by the parameter source", None, Some("[Repo]")),
    (HttpMethod::Post, "/repos", "Create a repository", Some("CreateRepo"), Some("Repo")),
    (HttpMethod::Get, "/repos/{name}", "Show a repository", None, Some("Repo")),
    (HttpMethod::Patch, "/repos/{name}", "Change a repository", Some("EditRepo"), Some("Repo")),
    (HttpMethod::Delete, "/repos/{name}", "Delete a repository", None, None),
    (
        HttpMethod::Get,
        "/repos/{name}/packages",
        "List the packages of a repository; parameters search, count, page, and version (of Bioconductor)",
        None,
        Some("Packages"),
    ),
    (
        HttpMethod::Get,
        "/repos/{name}/explain",
        "Explain which file a client gets for a package and why; parameters package, version, distribution, user_agent, date, bioconductor",
        None,
        Some("Explanation"),
    ),
    (HttpMethod::Post, "/repos/{name}/sources", "Subscribe to a source", Some("Subscribe"), Some("Repo")),
    (
        HttpMethod::Put,
        "/repos/{name}/sources",
        "Set the order of the sources of a repository",
        Some("Reorder"),
        Some("Repo"),
    ),
    (
        HttpMethod::Delete,
        "/repos/{name}/sources/{source}",
        "Unsubscribe from a source; with the parameter version, for that version of Bioconductor only",
        None,
        Some("Repo"),
    ),
    (
        HttpMethod::Post,
        "/repos/{name}/urls",
        "Return the URL of a repository in a fixed state, and create it if no day and no transaction names the state",
        Some("CreateUrl"),
        Some("FixedUrl"),
    ),
    (
        HttpMethod::Post,
        "/uploads",
        "Upload a package archive as the body; the parameter file is its name, type is source or binary",
        Some("*"),
        Some("Upload"),
    ),
    (
        HttpMethod::Post,
        "/sync",
        "Start the sync of a built-in source, or attach to it",
        Some("StartSync"),
        Some("Job"),
    ),
    (
        HttpMethod::Post,
        "/repair/clock",
        "Repair transaction times that disagree with the server's clock",
        Some("RepairClock"),
        Some("RepairedClock"),
    ),
    (
        HttpMethod::Post,
        "/backups",
        "Make a backup, or attach to the running one",
        Some("StartBackup"),
        Some("Job"),
    ),
    (
        HttpMethod::Post,
        "/backups/tests",
        "Record the result of a test of a backup",
        Some("RecordBackupTest"),
        Some("RecordedBackupTest"),
    ),
    (
        HttpMethod::Post,
        "/backfill",
        "Start the back-fill of a source's history before its first sync, or attach to it",
        Some("StartBackfill"),
        Some("Job"),
    ),
    (
        HttpMethod::Delete,
        "/backfill/{source}",
        "Stop the back-fill of a source; its progress is stored",
        None,
        Some("StoppedBackfill"),
    ),
    (HttpMethod::Get, "/status", "Show the state of this server; served in every mode", None, Some("Node")),
    (
        HttpMethod::Get,
        "/nodes",
        "List the servers of the cluster; served in every mode",
        None,
        Some("[ClusterNode]"),
    ),
    (
        HttpMethod::Post,
        "/nodes/online",
        "Request that servers go online; responds at once; served in every mode",
        Some("ChangeNodes"),
        Some("RecordedRequest"),
    ),
    (
        HttpMethod::Post,
        "/nodes/offline",
        "Request that servers go offline; responds at once; served in every mode",
        Some("ChangeNodes"),
        Some("RecordedRequest"),
    ),
    (
        HttpMethod::Post,
        "/online",
        "Read the whole configuration and serve; served in every mode",
        None,
        Some("Node"),
    ),
    (
        HttpMethod::Post,
        "/offline",
        "Drain and stop serving (503); responds when done; served in every mode",
        Some("GoOffline"),
        Some("Node"),
    ),
    (
        HttpMethod::Post,
        "/reload",
        "Apply changed reloadable properties of the configuration; served in every mode",
        None,
        Some("Reload"),
    ),
    (
        HttpMethod::Put,
        "/log/level",
        "Set the level of the server log until the next start; served in every mode",
        Some("LogLevel"),
        Some("LogLevel"),
    ),
    (
        HttpMethod::Post,
        "/log/reopen",
        "Reopen the log files after a rotation; responds when the old files are no longer written to; served in every mode",
        None,
        Some("ReopenResult"),
    ),
    (
        HttpMethod::Get,
        "/distributions",
        "List distributions that binaries can be served for",
        None,
        Some("[Distribution]"),
    ),
    (
        HttpMethod::Get,
        "/bioconductor/versions",
        "List Bioconductor versions, newest first",
        None,
        Some("[BioconductorVersion]"),
    ),
    (
        HttpMethod::Get,
        "/blocked",
        "Count the requests that block rules refused; the parameter since is the first day",
        None,
        Some("BlockedRequests"),
    ),
    (
        HttpMethod::Get,
        "/block-rules",
        "List block rules in the order in which they are compared",
        None,
        Some("[BlockRule]"),
    ),
    (
        HttpMethod::Post,
        "/block-rules",
        "Create block rules, or show what one would match",
        Some("CreateBlockRules"),
        Some("CreatedBlockRules"),
    ),
    (HttpMethod::Patch, "/block-rules/{id}", "Change a block rule", Some("EditBlockRule"), Some("BlockRule")),
    (
        HttpMethod::Post,
        "/block-rules/delete",
        "Delete block rules",
        Some("DeleteBlockRules"),
        Some("DeletedBlockRules"),
    ),
    (
        HttpMethod::Post,
        "/block-rules/test",
        "Test whether a version is blocked in a repository, and by which rule",
        Some("TestBlockRules"),
        Some("BlockRulesTest"),
    ),
    (
        HttpMethod::Get,
        "/tokens",
        "List access tokens; the parameters expired and revoked select by true or false",
        None,
        Some("[Token]"),
    ),
    (
        HttpMethod::Post,
        "/tokens",
        "Create an access token, which the response shows once",
        Some("CreateToken"),
        Some("CreatedToken"),
    ),
    (HttpMethod::Post, "/tokens/revoke", "Revoke an access token", Some("RevokeToken"), None),
    (
        HttpMethod::Get,
        "/verify",
        "Show the version of the server and the scopes of the client",
        None,
        Some("Verification"),
    ),
    (
        HttpMethod::Get,
        "/audit",
        "List rows of the audit trail, oldest first, or newest first with order=newest; the parameters since and until (RFC \
         3339), actor, action, object and outcome select; after and limit select a page",
        None,
        Some("[AuditRow]"),
    ),
    (
        HttpMethod::Get,
        "/audit/verify",
        "Verify the digests of all rows of the audit trail; the parameters row and sha256 identify a row that was recorded on another system",
        None,
        Some("AuditVerification"),
    ),
    (HttpMethod::Get, "/jobs", "List running jobs", None, Some("[Job]")),
    (HttpMethod::Get, "/jobs/{id}", "Show a job, up to an hour after its end", None, Some("Job")),
];

fn rows() -> impl Iterator<Item = openapi::Row> {
    sources::TABLE
        .iter()
        .chain(TABLE)
        .chain(promotions::TABLE)
        .chain(builders::TABLE)
        .chain(metadata::TABLE)
        .chain(name_guards::TABLE)
        .chain(stored_objects::TABLE)
        .map(|(method, path, summary, body, response)| openapi::Row {
            method: method.clone(),
            path,
            summary,
            query: &[],
            body: body.map(|name| match name {
                "*" => ("application/octet-stream", ""),
                name => (JSON, name),
            }),
            response: response.map(|name| (JSON, name)),
        })
}

/// Returns the OpenAPI 3.1 document of the admin API.
#[must_use]
pub fn document() -> OpenApi {
    let info = InfoBuilder::new()
        .title("rstudio-pm admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Served on the unix socket <Server.SockFileDir>/rstudio-pm.sock, which is accessible to its group, and on the \
             network to clients with a token.",
        ))
        .build();
    let schemas = Schemas::default()
        .with::<error::Error>()
        .with::<backfill::StartBackfill>()
        .with::<backfill::StoppedBackfill>()
        .with::<backup::StartBackup>()
        .with::<backup::RecordBackupTest>()
        .with::<backup::RecordedBackupTest>()
        .with::<backup::LastBackupResult>()
        .with::<repair::RepairClock>()
        .with::<repair::RepairedClock>()
        .with::<binary::AddBinaries>()
        .with::<binary::AddedBinaries>()
        .with::<binary::Binary>()
        .with::<binary::RemoveBinary>()
        .with::<binary::RemovedBinary>()
        .with::<bioconductor::BioconductorVersion>()
        .with::<cluster::ClusterNode>()
        .with::<cluster::ChangeNodes>()
        .with::<cluster::RecordedRequest>()
        .with::<control::Node>()
        .with::<control::Schedule>()
        .with::<control::GoOffline>()
        .with::<control::Reload>()
        .with::<control::LogLevel>()
        .with::<control::DebugRegion>()
        .with::<control::SetDebugRegions>()
        .with::<log::ReopenResult>()
        .with::<distribution::Distribution>()
        .with::<explain::Explanation>()
        .with::<git::CreateGitBuilder>()
        .with::<git::EditGitBuilder>()
        .with::<git::GitBuilder>()
        .with::<git::GitPoll>()
        .with::<git::RerunGitBuilder>()
        .with::<git::GitBuild>()
        .with::<git::GitBuildLog>()
        .with::<git::ImportGitCredential>()
        .with::<git::GitCredential>()
        .with::<job::StartSync>()
        .with::<job::Job>()
        .with::<license::LicenseType>()
        .with::<metadata_types::Metadata>()
        .with::<metadata_types::SetMetadata>()
        .with::<metadata_types::MetadataResult>()
        .with::<metadata_types::DeleteMetadata>()
        .with::<package::Packages>()
        .with::<promotion::RequestPromotion>()
        .with::<promotion::RequestedPromotion>()
        .with::<promotion::DecidePromotion>()
        .with::<promotion::Promotion>()
        .with::<repo::Repo>()
        .with::<repo::CreateRepo>()
        .with::<repo::EditRepo>()
        .with::<repo::Subscribe>()
        .with::<repo::Reorder>()
        .with::<fixed_url::CreateUrl>()
        .with::<fixed_url::FixedUrl>()
        .with::<block_rule::BlockedRequests>()
        .with::<job::ClearSource>()
        .with::<eviction::StartEviction>()
        .with::<eviction::Eviction>()
        .with::<prefetch::StartPrefetch>()
        .with::<prefetch::Prefetch>()
        .with::<scrub::StartScrub>()
        .with::<scrub::Scrub>()
        .with::<storage::AdoptedStorage>()
        .with::<storage::Storage>()
        .with::<storage::StorageSelection>()
        .with::<storage::SweepStorage>()
        .with::<definition::UpdateDefinition>()
        .with::<definition::DefinitionPlan>()
        .with::<source::Source>()
        .with::<source::CreateSource>()
        .with::<source::EditSource>()
        .with::<source::AddPackages>()
        .with::<source::AddedPackages>()
        .with::<source::RemovePackage>()
        .with::<source::YankFiles>()
        .with::<source::YankedFiles>()
        .with::<source::RemovedPackage>()
        .with::<block_rule::BlockRule>()
        .with::<block_rule::CreateBlockRules>()
        .with::<block_rule::CreatedBlockRules>()
        .with::<block_rule::RefusedBlockRule>()
        .with::<block_rule::BlockRuleMatches>()
        .with::<block_rule::ListedVersionChange>()
        .with::<block_rule::EditBlockRule>()
        .with::<block_rule::DeleteBlockRules>()
        .with::<block_rule::DeletedBlockRules>()
        .with::<block_rule::TestBlockRules>()
        .with::<block_rule::BlockRulesTest>()
        .with::<name_guard::NameGuard>()
        .with::<name_guard::CreateNameGuard>()
        .with::<name_guard::CreatedNameGuard>()
        .with::<name_guard::HiddenName>()
        .with::<name_guard::ChangedNameGuard>()
        .with::<name_guard::NameChange>()
        .with::<name_guard::EditNameGuard>()
        .with::<name_guard::AuditedName>()
        .with::<token::Scope>()
        .with::<token::CreateToken>()
        .with::<token::CreatedToken>()
        .with::<token::Token>()
        .with::<token::RevokeToken>()
        .with::<token::Verification>()
        .with::<audit::AuditRow>()
        .with::<audit::AuditVerification>()
        .with::<upload::Upload>();
    openapi::document(info, ADMIN_PREFIX, rows(), schemas.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::route::admin::{ControlRoute, DataRoute};

    #[test]
    fn every_referenced_schema_exists() {
        assert_eq!(openapi::undefined_schemas(&document()), [""; 0]);
    }

    #[test]
    fn every_address_is_documented() {
        let mut documented: Vec<_> = rows().map(|row| openapi::method_and_path(&row)).collect();
        let mut rows = [ControlRoute::ROWS, DataRoute::ROWS].concat();
        rows.retain(|(_, path)| *path != "/openapi.json");
        documented.sort_unstable();
        rows.sort_unstable();
        assert_eq!(documented, rows);
    }
}
