//! The operations of the admin API, `/__api__/admin/v1/…`: one row for each.

use crate::{
    audit, backup, binary, block_rule, choices, cluster, control, definition, explain, fixed_url, git,
    health, history, job, metadata, name_guard, package, prefetch, promotion, repo, scrub, source, state,
    storage, token,
};

/// Passes the operations that control the server process, which are served in every mode, to the macro `$callback`, after
/// the other tokens of the call.
#[macro_export]
macro_rules! control_operations {
    ($callback:ident $($argument:tt)*) => {
        $callback! {
            $($argument)*
            /// Show the state of this server; served in every mode
            Status: GET ["status"] Administer => control::status { response(control::Node) }
            /// List the servers of the cluster; served in every mode
            Nodes: GET ["nodes"] ControlProcess => cluster::nodes { response([cluster::ClusterNode]) }
            /// Request that servers go online; responds at once; served in every mode
            NodesOnline: POST ["nodes", "online"] ControlProcess => cluster::online {
                body(cluster::ChangeNodes), response(cluster::RecordedRequest)
            }
            /// Request that servers go offline; responds at once; served in every mode
            NodesOffline: POST ["nodes", "offline"] ControlProcess => cluster::offline {
                body(cluster::ChangeNodes), response(cluster::RecordedRequest)
            }
            /// Read the whole configuration and serve; served in every mode
            Online: POST ["online"] ControlProcess => control::online { response(control::Node) }
            /// Drain and stop serving (503); responds when done; served in every mode
            Offline: POST ["offline"] ControlProcess => control::offline {
                body(control::GoOffline), response(control::Node)
            }
            /// Apply changed reloadable properties of the configuration; served in every mode
            Reload: POST ["reload"] Administer => control::reload { response(control::Reload) }
            /// Set the level of the server log until the next start; served in every mode
            LogLevel: PUT ["log", "level"] Administer => log::set_level {
                body(control::LogLevel), response(control::LogLevel)
            }
            /// List the regions whose debug events can be written to the server log; served in every mode
            DebugRegions: GET ["log", "regions"] Administer => log::regions { response([control::DebugRegion]) }
            /// Start or stop writing the debug events of regions to the server log, until the next start or reload;
            /// served in every mode
            SetDebugRegions: PUT ["log", "regions"] Administer => log::set_regions {
                body(control::SetDebugRegions), response([control::DebugRegion])
            }
            /// Reopen the log files after a rotation; responds when the old files are no longer written to; served in
            /// every mode
            ReopenLogs: POST ["log", "reopen"] ControlProcess => log::reopen { response(control::ReopenResult) }
        }
    };
}

/// Passes all other operations of the admin API to the macro `$callback`, like [`control_operations`].
#[macro_export]
macro_rules! data_operations {
    ($callback:ident $($argument:tt)*) => {
        $callback! {
            $($argument)*
            /// Show the health of this server: problems, requests of 24 hours, storage, jobs, tokens and backups
            Health: GET ["health"] Administer => health::show { response(health::Health) }
            // An operation with `Inspect` and without an object lists only objects that the client may read, or the
            // same ones for all clients. The handler of one with `Upload` or `Promote` and without an object determines
            // the source or the repository, and checks the permission for it.
            /// List sources; filtered by the parameters repo and type
            Sources: GET ["sources"] Inspect => source::list {
                query(source::ListSources), response([source::Source])
            }
            /// Create a source
            CreateSource: POST ["sources"] CreateSource => source::create {
                body(source::CreateSource), response(source::Source)
            }
            /// Show a source
            Source(name): GET ["sources", name] Inspect(source name) => source::info { response(source::Source) }
            /// Rename a source, or set the snapshot of CRAN from which it selects
            EditSource(name): PATCH ["sources", name] WriteSource(source name) => source::edit {
                body(source::EditSource), response(source::Source)
            }
            /// Delete a source that no repository subscribes to; one with packages or builders with the parameter
            /// with_packages
            DeleteSource(name): DELETE ["sources", name] WriteSource(source name) => source::delete {
                query(source::DeleteSource)
            }
            /// List the packages of a source; parameters search, count, page, and version (of Bioconductor)
            SourcePackages(name): GET ["sources", name, "packages"] Inspect(source name) => package::list_of_source {
                query(package::ListPackages), response(package::Packages)
            }
            /// Add uploads to a local source, in one transaction, or the changes of an import, each at its time
            AddPackages(name): POST ["sources", name, "packages"] WriteSource(source name) => package::add {
                body(source::AddPackages), limit(4 << 20), response(source::AddedPackages)
            }
            /// Remove a package or some of its versions; older snapshots still serve them
            RemovePackage(name): POST ["sources", name, "packages", "remove"] WriteSource(source name) => package::remove {
                body(source::RemovePackage), response(source::RemovedPackage)
            }
            /// Mark files of a Python package as yanked, or remove the mark
            YankFiles(name): POST ["sources", name, "packages", "yank"] WriteSource(source name) => package::yank {
                body(source::YankFiles), response(source::YankedFiles)
            }
            // The lock files of large projects are 5 MB.
            /// Plan an update of the definition of a curated source, or publish it
            UpdateDefinition(name): POST ["sources", name, "definition"] WriteSource(source name) => definition::update {
                body(definition::UpdateDefinition), limit(24 << 20), response(definition::DefinitionPlan)
            }
            /// List the binaries of a package, which the parameter package names
            SourceBinaries(name): GET ["sources", name, "binaries"] Inspect(source name) => binary::list {
                query(binary::ListBinaries), response([binary::Binary])
            }
            /// Add uploads as binaries of releases of a local source, in one transaction
            AddBinaries(name): POST ["sources", name, "binaries"] WriteSource(source name) => binary::add {
                body(binary::AddBinaries), response(binary::AddedBinaries)
            }
            /// Remove the binaries of one version for one platform; older snapshots still serve them
            RemoveBinary(name): POST ["sources", name, "binaries", "remove"] WriteSource(source name) => binary::remove {
                body(binary::RemoveBinary), response(binary::RemovedBinary)
            }
            /// List repositories; filtered by the parameter source
            Repos: GET ["repos"] Inspect => repo::list { query(repo::ListRepos), response([repo::Repo]) }
            /// Create a repository
            CreateRepo: POST ["repos"] Administer => repo::create { body(repo::CreateRepo), response(repo::Repo) }
            /// Show a repository
            Repo(name): GET ["repos", name] Inspect(repository name) => repo::info { response(repo::Repo) }
            /// Change a repository
            EditRepo(name): PATCH ["repos", name] Administer => repo::edit {
                body(repo::EditRepo), response(repo::Repo)
            }
            /// Delete a repository
            DeleteRepo(name): DELETE ["repos", name] Administer => repo::delete {}
            /// List the packages of a repository; parameters search, count, page, and version (of Bioconductor)
            RepoPackages(name): GET ["repos", name, "packages"] Inspect(repository name) => package::list_of_repo {
                query(package::ListPackages), response(package::Packages)
            }
            /// Explain which file a client gets for a package and why; parameters package, version, distribution,
            /// user_agent, date, bioconductor
            Explain(name): GET ["repos", name, "explain"] Inspect(repository name) => explain::explain {
                query(explain::Explain), response(explain::Explanation)
            }
            /// Subscribe to a source
            Subscribe(name): POST ["repos", name, "sources"] Administer => repo::subscribe {
                body(repo::Subscribe), response(repo::Repo)
            }
            /// Set the order of the sources of a repository
            ReorderSources(name): PUT ["repos", name, "sources"] Administer => repo::reorder {
                body(repo::Reorder), response(repo::Repo)
            }
            /// Unsubscribe from a source; with the parameter version, for that version of Bioconductor only
            Unsubscribe(name, source): DELETE ["repos", name, "sources", source] Administer => repo::unsubscribe {
                query(repo::Unsubscribe), response(repo::Repo)
            }
            /// Return the URL of a repository in a fixed state, and create it if no day and no transaction names the
            /// state
            CreateUrl(name): POST ["repos", name, "urls"] Administer => fixed_url::create {
                body(fixed_url::CreateUrl), response(fixed_url::FixedUrl)
            }
            /// Plan or request a promotion to a repository; applied at once unless another person must approve it
            Promote(name): POST ["repos", name, "promotions"] Promote(repository name) => promotion::request {
                body(promotion::RequestPromotion), response(promotion::RequestedPromotion)
            }
            /// List promotions, the newest first; parameters repo and state
            Promotions: GET ["promotions"] Promote => promotion::list {
                query(promotion::ListPromotions), response([promotion::Promotion])
            }
            /// Show a promotion and what it changed or would change
            Promotion(id): GET ["promotions", id] Promote => promotion::info { response(promotion::Promotion) }
            /// Approve and apply a requested promotion
            ApprovePromotion(id): POST ["promotions", id, "approve"] Promote => promotion::approve {
                check(promotion::require_permitted), body(promotion::DecidePromotion), response(promotion::Promotion)
            }
            /// Reject a requested promotion
            RejectPromotion(id): POST ["promotions", id, "reject"] Promote => promotion::reject {
                check(promotion::require_permitted), body(promotion::DecidePromotion), response(promotion::Promotion)
            }
            /// List git builders; filtered by the parameter source
            GitBuilders: GET ["git-builders"] Upload => git::builders {
                query(git::ListGitBuilders), response([git::GitBuilder])
            }
            // Credentials and git repositories on this machine require an administrator, which the handler checks.
            /// Create a builder, and put its first builds in the queue
            CreateGitBuilder(name): POST ["sources", name, "git-builders"] WriteSource(source name) => git::create {
                body(git::CreateGitBuilder), response(git::GitPoll)
            }
            // As for CreateGitBuilder.
            /// Change a builder
            EditGitBuilder(name, builder): PATCH ["sources", name, "git-builders", builder] WriteSource(source name) => git::edit {
                body(git::EditGitBuilder), response(git::GitBuilder)
            }
            /// Delete a builder; its packages and logs remain
            DeleteGitBuilder(name, builder): DELETE ["sources", name, "git-builders", builder] WriteSource(source name) => git::delete {}
            /// Poll the repository of a builder now
            PollGitBuilder(name, builder): POST ["sources", name, "git-builders", builder, "poll"] WriteSource(source name) => git::poll {
                response(git::GitPoll)
            }
            /// Put a tag or a commit in the queue again
            RerunGitBuilder(name, builder): POST ["sources", name, "git-builders", builder, "rerun"] WriteSource(source name) => git::rerun {
                body(git::RerunGitBuilder), response(git::GitBuild)
            }
            /// List builds, newest first; parameters source, name, count, page
            GitBuilds: GET ["git-builds"] Upload => git::builds {
                query(git::ListGitBuilds), response([git::GitBuild])
            }
            /// Show a build
            GitBuild(id): GET ["git-builds", id] Upload => git::build { response(git::GitBuild) }
            /// Show a part of the log of a build; parameter offset
            GitBuildLog(id): GET ["git-builds", id, "log"] Upload => git::build_log {
                query(git::ReadGitBuildLog), response(git::GitBuildLog)
            }
            /// Show the build that published a transaction
            TransactionGitBuild(id): GET ["transactions", id, "git-build"] Upload => git::build_of_transaction {
                response(git::GitBuild)
            }
            /// List credentials for git servers
            GitCredentials: GET ["git-credentials"] Administer => git::credentials {
                response([git::GitCredential])
            }
            /// Import a credential
            ImportGitCredential: POST ["git-credentials"] Administer => git::import_credential {
                body(git::ImportGitCredential), response(git::GitCredential)
            }
            /// Change a credential
            EditGitCredential(kind, name): PATCH ["git-credentials", kind, name] Administer => git::edit_credential {
                check(git::require_kind), body(git::ImportGitCredential), response(git::GitCredential)
            }
            /// Delete a credential that no builder uses
            DeleteGitCredential(kind, name): DELETE ["git-credentials", kind, name] Administer => git::delete_credential {}
            /// Upload a package archive as the body; the parameter file is its name, type is source or binary
            Upload: POST ["uploads"] Upload => package::receive {
                query(package::UploadFile), accepts("application/octet-stream"), response(package::Upload)
            }
            /// Repair transaction times that disagree with the server's clock
            RepairClock: POST ["repair", "clock"] Administer => scrub::clock {
                body(scrub::RepairClock), response(scrub::RepairedClock)
            }
            /// Start the sync of a built-in source, or attach to it
            StartSync: POST ["sync"] Administer => job::sync { body(job::StartSync), response(job::Job) }
            /// Remove all packages of CRAN from its newest state; earlier snapshots still serve them
            ClearSource: POST ["clear"] Administer => job::clear { body(job::ClearSource), response(job::Job) }
            /// Make a backup, or attach to the running one
            StartBackup: POST ["backups"] Administer => backup::create {
                body(backup::StartBackup), response(job::Job)
            }
            /// Record the result of a test of a backup
            RecordBackupTest: POST ["backups", "tests"] Administer => backup::record_test {
                body(backup::RecordBackupTest), response(backup::RecordedBackupTest)
            }
            /// Start the back-fill of a source's history before its first sync, or attach to it
            StartBackfill: POST ["backfill"] Administer => job::backfill {
                body(job::StartBackfill), response(job::Job)
            }
            /// Stop the back-fill of a source; its progress is stored
            StopBackfill(source): DELETE ["backfill", source] Administer => job::stop_backfill {
                response(job::StoppedBackfill)
            }
            /// List Bioconductor versions, newest first
            BioconductorVersions: GET ["bioconductor", "versions"] Inspect => choices::bioconductor_versions {
                response([choices::BioconductorVersion])
            }
            // Authors of rules need the types of licenses; their counts are those of a dry run of a rule.
            /// List types of licenses; with the parameter current, those of R packages that sources list now, with the
            /// number of packages
            LicenseTypes: GET ["license-types"] ChangeBlocklist => choices::license_types {
                query(choices::ListLicenseTypes), response([choices::LicenseType])
            }
            /// List metadata of packages; the parameters package, key, source and repo select
            Metadata: GET ["metadata"] ManageMetadata => metadata::list {
                query(metadata::ListMetadata), response([metadata::Metadata])
            }
            /// Set metadata of packages
            SetMetadata: POST ["metadata"] ManageMetadata => metadata::set {
                body(metadata::SetMetadata), limit(16 << 20), response(metadata::MetadataResult)
            }
            /// Delete metadata of packages
            DeleteMetadata: POST ["metadata", "delete"] ManageMetadata => metadata::delete {
                body(metadata::DeleteMetadata), response([metadata::Metadata])
            }
            /// Show storage classes: owner, trash, damaged objects, and pending sweep
            Storage: GET ["storage"] Administer => storage::list { response(storage::Storage) }
            /// Make this database the owner of storage classes
            AdoptStorage: POST ["storage", "adopt"] Administer => storage::adopt {
                body(storage::StorageSelection), response(storage::AdoptedStorage)
            }
            /// Sweep storage now; with confirmation also classes whose sweep is pending
            SweepStorage: POST ["storage", "sweep"] Administer => storage::sweep {
                body(storage::SweepStorage), response(job::Job)
            }
            /// Restore removed objects from the trash
            RestoreStorage: POST ["storage", "restore"] Administer => storage::restore {
                body(storage::StorageSelection), response(job::Job)
            }
            /// Remove stored files that are fetched again on request; attaches to a running eviction of the same files
            StartEviction: POST ["evict"] Administer => storage::evict {
                body(storage::StartEviction), response(job::Job)
            }
            /// Show the result of the eviction that ran as this job; the last eight results are kept
            Eviction(job): GET ["evict", job] Administer => storage::eviction { response(storage::Eviction) }
            /// Store the files of PyPI that a requirements file or a lock file names; attaches to a running job with the
            /// same request
            StartPrefetch: POST ["prefetch"] Administer => prefetch::start {
                body(prefetch::StartPrefetch), limit(24 << 20), response(job::Job)
            }
            /// Show the result of the job that stored files of PyPI; the last eight results are kept
            Prefetch(job): GET ["prefetch", job] Administer => prefetch::result { response(prefetch::Prefetch) }
            /// Verify stored objects against the database, or the consistency of the database; attaches to a running
            /// scrub
            StartScrub: POST ["scrub"] Administer => scrub::start { body(scrub::StartScrub), response(job::Job) }
            /// Show the result of the scrub that ran as this job; the last eight results are kept
            Scrub(job): GET ["scrub", job] Administer => scrub::result { response(scrub::Scrub) }
            /// List running jobs
            Jobs: GET ["jobs"] Administer => job::running { response([job::Job]) }
            /// Show a job, up to an hour after its end
            Job(id): GET ["jobs", id] Administer => job::get { response(job::Job) }
            /// List distributions that binaries can be served for
            Distributions: GET ["distributions"] Inspect => choices::distributions {
                response([choices::Distribution])
            }
            /// List block rules in the order in which they are compared
            BlockRules: GET ["block-rules"] ReadBlocklist => block_rule::list {
                response([block_rule::BlockRule])
            }
            /// Create block rules, or show what one would match
            CreateBlockRules: POST ["block-rules"] ChangeBlocklist => block_rule::create {
                body(block_rule::CreateBlockRules), limit(64 << 20), response(block_rule::CreatedBlockRules)
            }
            /// Change a block rule
            EditBlockRule(id): PATCH ["block-rules", id] ChangeBlocklist => block_rule::edit {
                body(block_rule::EditBlockRule), response(block_rule::BlockRule)
            }
            /// Delete block rules
            DeleteBlockRules: POST ["block-rules", "delete"] ChangeBlocklist => block_rule::delete {
                body(block_rule::DeleteBlockRules), response(block_rule::DeletedBlockRules)
            }
            // A test also reads the repository, which the handler checks.
            /// Test whether a version is blocked in a repository, and by which rule
            TestBlockRules: POST ["block-rules", "test"] ReadBlocklist => block_rule::test {
                body(block_rule::TestBlockRules), response(block_rule::BlockRulesTest)
            }
            /// Count the requests that block rules refused; the parameter since is the first day
            BlockedRequests: GET ["blocked"] ReadBlocklist => block_rule::blocked {
                query(block_rule::CountBlocked), response(block_rule::BlockedRequests)
            }
            /// List name guards, also those that uploads created
            NameGuards: GET ["name-guards"] Administer => name_guard::list { response([name_guard::NameGuard]) }
            /// Create a name guard, or show what it would hide
            CreateNameGuard: POST ["name-guards"] Administer => name_guard::create {
                body(name_guard::CreateNameGuard), response(name_guard::CreatedNameGuard)
            }
            /// Change a name guard, or only return what that would change
            EditNameGuard(id): PATCH ["name-guards", id] Administer => name_guard::edit {
                check(name_guard::require_number), body(name_guard::EditNameGuard), response(name_guard::ChangedNameGuard)
            }
            /// Delete a name guard; with the parameter dry_run=true, only return what that would change
            DeleteNameGuard(id): DELETE ["name-guards", id] Administer => name_guard::delete {
                query(name_guard::DeleteNameGuard), response(name_guard::ChangedNameGuard)
            }
            /// List access tokens; the parameters expired and revoked select by true or false
            Tokens: GET ["tokens"] Administer => token::list {
                query(token::ListTokens), response([token::Token])
            }
            /// Create an access token, which the response shows once
            CreateToken: POST ["tokens"] Administer => token::create {
                check(token::require_confidential), body(token::CreateToken), response(token::CreatedToken)
            }
            /// Revoke an access token
            RevokeToken: POST ["tokens", "revoke"] Administer => token::revoke { body(token::RevokeToken) }
            /// Show the version of the server and the scopes of the client
            Verify: GET ["verify"] Inspect => token::verify { response(token::Verification) }
            /// List rows of the audit trail, oldest first, or newest first with order=newest; the parameters since and
            /// until (RFC 3339), actor, action, object and outcome select; after and limit select a page
            Audit: GET ["audit"] Administer => audit::list {
                query(audit::ListAudit), response([audit::AuditRow])
            }
            /// Verify the digests of all rows of the audit trail; the parameters row and sha256 identify a row that was
            /// recorded on another system
            VerifyAudit: GET ["audit", "verify"] Administer => audit::verify {
                query(audit::VerifyAudit), response(audit::AuditVerification)
            }
            /// List the salts with which a log of history, by default the newest one, names rows, at most 10000, from the entry first on
            AuditSalts: GET ["audit", "salts"] Administer => audit::salts {
                query(audit::ListSalts), response([audit::AuditSalt])
            }
            /// Begin the signed log of what the server publishes and serves
            InitHistory: POST ["history"] Administer => history::init {
                body(history::InitHistory), response(history::HistoryStatus)
            }
            /// Show the state of the log
            ShowHistory: GET ["history"] Inspect => history::status { response(history::HistoryStatus) }
            /// Show the newest checkpoint, or a request to cosign it
            ShowCheckpoint: GET ["history", "checkpoint"] Inspect => history::checkpoint {
                query(history::ShowCheckpoint), response(history::HistoryText)
            }
            /// Add the state that a repository has now of a day that is over
            AddState: POST ["history", "states"] Administer => history::add_state {
                body(history::AddState), response(history::HistoryStatus)
            }
            /// Copy the log to a directory or a bucket
            ExportHistory: POST ["history", "export"] Administer => history::export {
                body(history::ExportHistory), response(history::ExportedHistory)
            }
            /// Complete a paused log from a copy, and end the pause
            RecoverHistory: POST ["history", "recovery"] Administer => history::recover {
                body(history::RecoverHistory), response(history::RecoveredHistory)
            }
            /// Replace the key of the log; the previous one signs too for 90 days
            RotateHistoryKey: POST ["history", "key"] Administer => history::rotate_key {
                response(history::HistoryStatus)
            }
            /// Cosign a checkpoint of another log, as a witness
            CosignHistory: POST ["history", "cosignatures"] Administer => history::cosign {
                body(history::HistoryText), response(history::HistoryText)
            }
            /// List guarded names, overlaps with mirrors, similar names and suspicious versions
            AuditNames: GET ["audit", "names"] Administer => name_guard::audit {
                response([name_guard::AuditedName])
            }
            // The handlers require the permissions of all sections of a state, and of each change.
            /// Export the configured objects as one value; the parameters only and names select
            ExportState: GET ["state"] Inspect => state::export {
                query(state::ExportState), response(state::ExportedState)
            }
            /// Compare a state with the objects of the server, or make the changes in one transaction
            ApplyState: POST ["state"] Inspect => state::apply {
                check(state::require_permitted), body(state::ApplyState), limit(64 << 20), response(state::StatePlan)
            }
            OpenApi: GET ["openapi.json"] Inspect => openapi::show {}
        }
    };
}

control_operations!(declare control);
data_operations!(declare data);
