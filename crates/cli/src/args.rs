//! The grammar of `rspm`: commands and flags, named as in Posit Package Manager.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::audit::AuditCommand;
use super::block_rule::{CreateBulk, CreateRule, EditRule, Test};
use super::cluster::ClusterCommand;
use super::curated::{DefinitionFlags, Update};
use super::debug_log::DebugCommand;
use super::metadata::{CreateBulkMetadata, CreateMetadata, DeleteMetadataArgs};
use super::output::Format;
use super::token::{CreateToken, Revoke};
use super::{git_args, name_guard};
use api::{block_rule, choices, control, git, metadata, package, promotion, repo, scrub, source, token};

/// Manage sources, repositories and packages of a running server.
#[derive(Debug, Parser)]
#[command(
    name = "rspm",
    version,
    disable_version_flag = true,
    propagate_version = false,
    after_help = "Run as root or as a member of the server's group (rstudio-pm), or with a token for a server on another machine.\n\
                  Exit codes: 0 done, 1 refused or failed, 2 wrong usage or not in this version, 3 server not reachable, \
                  4 backup incomplete, 5 differences that apply does not expect."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub global: GlobalFlags,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    pub version: Option<bool>,
}

#[derive(Debug, Args)]
pub struct GlobalFlags {
    /// Configuration file (used to locate the administration socket)
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Output format
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Human, value_name = "FORMAT")]
    pub output_format: Format,

    /// Address of the server; a server on another machine requires rspm login or PACKAGEMANAGER_TOKEN
    #[arg(
        short,
        long,
        global = true,
        value_name = "URL",
        env = "PACKAGEMANAGER_ADDRESS",
        hide_env_values = true
    )]
    pub address: Option<String>,

    /// Do not verify the certificate of a server on the network
    #[arg(long, global = true)]
    pub insecure_ssl_skip_verify: bool,

    /// Print each request to the server and its status on standard error
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    Remote(Box<Remote>),
    #[command(flatten)]
    Local(Local),
}

/// The commands that are requests to a server.
#[derive(Debug, Subcommand)]
pub enum Remote {
    /// Create a source, a repository, a token, a builder or block rules
    #[command(subcommand)]
    Create(Create),
    /// Change a source, a repository, a builder, a credential or a block rule
    #[command(subcommand)]
    Edit(Edit),
    /// Delete a source, a repository, a builder, a credential or block rules
    #[command(subcommand)]
    Delete(Delete),
    /// List repositories, sources or packages (default: all repositories and sources)
    List {
        /// Kind of the listed objects.
        #[command(subcommand)]
        list: Option<List>,
    },
    /// Revoke a token
    #[command(subcommand)]
    Revoke(Revoke),
    /// Test block rules
    #[command(subcommand)]
    Test(Test),
    /// List, verify and export the audit trail
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check that the server responds, and show the user and scopes of the token
    Verify,
    /// Show one source or repository
    Info(Info),
    /// Explain which file a client gets for a package, and why
    Explain(super::explain::Explain),
    /// Subscribe a repository to a source
    Subscribe(Subscribe),
    /// Unsubscribe a repository from a source
    Unsubscribe(Unsubscribe),
    /// Set the complete order of a repository's sources; if several have a package, the first one serves it
    Reorder(Reorder),
    /// Create URLs of repositories in fixed states
    #[command(subcommand)]
    Url(UrlCommand),
    /// Give a repository the state of another one: plan, request, approve
    Promote(super::promote::Promote),
    /// Add packages to a local source, or to the definition of a curated source (binaries: `rspm add binary`)
    Add(Add),
    /// Plan an update of a curated source, or publish it with --commit
    Update(Update),
    /// Remove packages from a source; older snapshots still serve them
    #[command(subcommand)]
    Remove(Remove),
    /// Mark files of a Python package as yanked: installers use them only for an exact version
    Yank(Yank),
    /// Remove the mark of yanked files
    Unyank(Unyank),
    /// Synchronize a source with its mirror
    Sync(super::job::Sync),
    /// Store files of PyPI before clients request them
    Prefetch(super::prefetch::PrefetchArgs),
    /// Remove all packages of CRAN from its newest state
    Clear(super::job::ClearArgs),
    /// Import from the mirror the history that precedes a source's first sync
    Backfill(super::job::Backfill),
    /// Manage the storage classes: owner, sweep, removed objects
    #[command(subcommand)]
    Storage(super::storage::StorageCommand),
    /// Remove stored files that are fetched again on request
    Evict(super::job::EvictArgs),
    /// Verify the stored objects against the database, or the consistency of the database
    Scrub(super::scrub::ScrubArgs),
    /// Repair data that the server does not repair automatically
    #[command(subcommand)]
    Repair(Repair),
    /// Import packages of another server, or credentials for git repositories
    #[command(subcommand)]
    Import(git_args::Import),
    /// Poll the repository of a builder now
    #[command(subcommand)]
    Run(git_args::Run),
    /// Build a tag or a commit of a builder again
    #[command(subcommand)]
    Rerun(git_args::Rerun),
    /// Print the log of a build; `logs reopen` reopens the server's log files
    Logs(git_args::Logs),
    /// Show the server's mode, jobs and schedules
    Status,
    /// Drain and stop serving (503) until `rspm online` or a restart
    Offline(control::GoOffline),
    /// Read the whole configuration and start serving
    Online,
    /// Reload the configuration: apply changed reloadable properties and list the others
    Hup(Hup),
    /// Inspect and control the servers that share a database
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Change settings of the running server until its next start
    #[command(subcommand)]
    Config(Config),
    /// Plan or make the changes that give the server the objects of state files
    Apply(super::state::Apply),
}

/// The commands that need no server, or connect to it in another way. `display_order` is the position of the command of
/// [`Remote`] that precedes the command in the documents.
#[derive(Debug, Subcommand)]
pub enum Local {
    /// Check a token of a server, and store it for later commands of this user
    #[command(display_order = 7)]
    Login(super::login::Login),
    /// Remove the stored token of a server
    #[command(display_order = 7)]
    Logout,
    /// Create the first token of a server with its bootstrap key
    #[command(subcommand, display_order = 7)]
    Bootstrap(super::bootstrap::BootstrapCommand),
    /// Make, verify, test and restore backups
    #[command(subcommand, display_order = 25)]
    Backup(super::backup::BackupCommand),
    /// Write the configured objects of the server, or a repository, as files
    #[command(subcommand, display_order = 25)]
    Export(super::export_files::Export),
    /// Prove what the server published and served: the signed log, and its proofs
    #[command(subcommand, display_order = 9)]
    History(super::history::HistoryCommand),
    /// Check the configuration without starting the server
    CheckConfig,
    /// Encrypt a value for the configuration with the server's key; reads the value from the terminal or standard input
    Encrypt(super::encrypt::Encrypt),
    /// Accept the license commands of Posit Package Manager; no license is needed
    License(super::unsupported::License),
    /// Copy the database of a stopped server to the other provider: SQLite to PostgreSQL, or PostgreSQL to SQLite
    Migrate(super::programs::Migrate),
    /// Print shell completions
    Completion {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// `rspm repair …`
#[derive(Debug, Subcommand)]
pub enum Repair {
    /// Correct the times of transactions that were published while the server's clock was wrong
    Clock(scrub::RepairClock),
}

/// `rspm create …`
#[derive(Debug, Subcommand)]
pub enum Create {
    /// Create a source
    Source(source::CreateSource),
    /// Create a repository
    Repo(repo::CreateRepo),
    /// Create an access token, which is shown once
    Token(CreateToken),
    /// Create a rule that blocks packages, an exception, or a warning
    BlocklistRule(Box<CreateRule>),
    /// Create block rules from a JSON file
    BulkBlocklistRules(CreateBulk),
    /// Let only one source provide packages of a name
    NameGuard(api::name_guard::CreateNameGuard),
    /// Create a builder, which builds a package of a source from a git repository
    GitBuilder(git_args::CreateGitBuilder),
    /// Set metadata of a package: a key with a value
    Metadata(CreateMetadata),
    /// Set metadata of many packages from a file
    BulkMetadata(CreateBulkMetadata),
    /// The former name of `import ssh-key`
    #[command(hide = true)]
    SshKey(git_args::ImportSshKey),
}

/// `rspm edit …`
#[derive(Debug, Subcommand)]
pub enum Edit {
    /// Change the name of a source, or the snapshot of CRAN from which it selects
    Source(EditSource),
    /// Change a repository's name, description, visibility, authentication or accepted changes
    Repo(EditRepo),
    /// Change a builder
    GitBuilder(git_args::EditGitBuilder),
    /// Change a credential for git repositories over HTTPS
    HttpsCredential(git_args::EditHttpsCredential),
    /// Change a key for git repositories over SSH
    SshKey(git_args::EditSshKey),
    /// Change a block rule
    BlocklistRule(Box<EditRule>),
    /// Change a name guard
    NameGuard(name_guard::EditGuard),
}

/// `rspm delete …`
#[derive(Debug, Subcommand)]
pub enum Delete {
    /// Delete a source that no repository subscribes to
    Source(DeleteSource),
    /// Delete a repository
    Repo(NameArg),
    /// Delete a builder; its packages and logs remain
    GitBuilder(git_args::BuilderName),
    /// Delete block rules
    BlocklistRule(block_rule::DeleteBlockRules),
    /// Delete a name guard
    NameGuard(name_guard::DeleteGuard),
    /// Delete a credential for git repositories
    GitCredential(git_args::DeleteGitCredential),
    /// Delete metadata of packages
    Metadata(DeleteMetadataArgs),
    /// The former name of `delete git-credential --type=ssh`
    #[command(hide = true)]
    SshKey(NameArg),
}

/// `rspm list …`
#[derive(Debug, Subcommand)]
pub enum List {
    /// List repositories
    Repos(repo::ListRepos),
    /// List sources
    Sources(source::ListSources),
    /// List access tokens
    Tokens(token::ListTokens),
    /// List promotions of repositories, the newest first
    Promotions(promotion::ListPromotions),
    /// List block rules in the order in which they are evaluated
    BlocklistRules,
    /// Count the stored files of each storage class
    Storage,
    /// Count the requests that block rules refused
    Blocked(block_rule::CountBlocked),
    /// List name guards, also those that uploads created
    NameGuards,
    /// List the packages of a source or a repository
    Packages(ListPackages),
    /// List the binaries of a package
    Binaries(ListBinaries),
    /// List the distributions that binaries can be served for
    Distributions,
    /// List metadata of packages
    Metadata(metadata::ListMetadata),
    /// List types of licenses, by identifier of SPDX
    LicenseTypes(choices::ListLicenseTypes),
    /// List git builders
    GitBuilders(git::ListGitBuilders),
    /// List builds from git, newest first
    GitBuilds(git::ListGitBuilds),
    /// List credentials for git repositories
    GitCredentials,
    /// List versions of Bioconductor
    #[command(subcommand)]
    Bioconductor(ListBioconductor),
}

/// `rspm list bioconductor …`
#[derive(Debug, Subcommand)]
pub enum ListBioconductor {
    /// List the versions of Bioconductor and their status on this server
    Versions,
}

/// `rspm remove …`
#[derive(Debug, Subcommand)]
pub enum Remove {
    /// Remove a package, or some of its versions
    Package(RemovePackage),
    /// Remove the binaries of one version for one platform
    Binary(RemoveBinary),
}

#[derive(Debug, Args)]
pub struct Hup {
    /// No effect: the command always waits
    #[arg(long)]
    pub wait: bool,
}

/// The flag `--name`, for commands without other flags.
#[derive(Debug, Args)]
pub struct NameArg {
    /// The name
    #[arg(long)]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct DeleteSource {
    /// The name
    #[arg(long)]
    pub name: String,
    #[command(flatten)]
    pub query: source::DeleteSource,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("source_change").required(true).multiple(true).args(["new_name", "snapshot"]))]
pub struct EditSource {
    /// The source
    #[arg(long)]
    pub name: String,
    #[command(flatten)]
    pub request: source::EditSource,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true)
    .args(["new_name", "description", "clear_description", "hidden", "authenticated", "changes"]))]
pub struct EditRepo {
    /// The repository
    #[arg(long)]
    pub name: String,
    #[command(flatten)]
    pub request: repo::EditRepo,
    /// Remove the description
    #[arg(long)]
    pub clear_description: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("object").required(true).args(["repo", "source"]))]
pub struct ListPackages {
    /// The repository
    #[arg(long)]
    pub repo: Option<String>,
    /// The source
    #[arg(long)]
    pub source: Option<String>,
    #[command(flatten)]
    pub query: package::ListPackages,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("object").required(true).args(["repo", "source"]))]
pub struct Info {
    /// The repository
    #[arg(long)]
    pub repo: Option<String>,
    /// The source
    #[arg(long)]
    pub source: Option<String>,
}

#[derive(Debug, Args)]
pub struct Subscribe {
    /// The repository
    #[arg(long)]
    pub repo: String,
    #[command(flatten)]
    pub request: repo::Subscribe,
}

#[derive(Debug, Args)]
pub struct Unsubscribe {
    /// The repository
    #[arg(long)]
    pub repo: String,
    /// The source to unsubscribe from
    #[arg(long)]
    pub source: String,
    #[command(flatten)]
    pub query: repo::Unsubscribe,
}

#[derive(Debug, Args)]
pub struct Reorder {
    /// The repository
    #[arg(long)]
    pub repo: String,
    #[command(flatten)]
    pub request: repo::Reorder,
}

/// `rspm url …`
#[derive(Debug, Subcommand)]
pub enum UrlCommand {
    /// Print the URL of a repository in a fixed state
    Create(CreateUrlArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Without --snapshot and --lock, the URL has the day, or latest.\n\
                        Example: rspm url create --repo=prod --snapshot=cran:2026-11-20 --lock")]
pub struct CreateUrlArgs {
    /// The repository; for Bioconductor optionally with a version: bioc@3.20
    #[arg(long, value_name = "NAME[@VERSION]")]
    pub repo: String,
    #[command(flatten)]
    pub request: api::fixed_url::CreateUrl,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Add {
    /// Kind of the packages, if not source packages.
    #[command(subcommand)]
    pub kind: Option<AddKind>,
    /// The source
    #[arg(long, required = true)]
    pub source: Option<String>,
    /// Package files, comma separated or repeated
    #[arg(long, value_delimiter = ',', required_unless_present_any = ["file_in", "packages"], value_name = "FILE")]
    pub path: Vec<PathBuf>,
    /// Instead of --path: a file that names package files, one on each line; for a curated source its packages, or a
    /// lock file
    #[arg(long, conflicts_with = "path", value_name = "LIST")]
    pub file_in: Option<PathBuf>,
    /// For a curated source: packages to add to its definition, comma separated or repeated
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["path", "file_in"], value_name = "NAME")]
    pub packages: Vec<String>,
    /// For a curated source of R packages: also add packages that the named ones suggest
    #[arg(long)]
    pub include_suggests: bool,
    #[command(flatten)]
    pub definition: DefinitionFlags,
    #[command(flatten)]
    pub request: source::AddPackages,
}

#[derive(Debug, Args)]
pub struct RemovePackage {
    /// The package and its versions: name@all, name@current or name@1.2.3; for a Python package also a file:
    /// name@name-1.2.3.tar.gz
    #[arg(long, value_name = "NAME@SCOPE")]
    pub name: String,
    /// The source
    #[arg(long)]
    pub source: String,
    #[command(flatten)]
    pub request: source::RemovePackage,
}

#[derive(Debug, Args)]
pub struct Yank {
    /// The package and its files: name@1.2.3, name@all, name@current or the name of a file: name@name-1.2.3.tar.gz
    #[arg(long, value_name = "NAME@SCOPE")]
    pub name: String,
    /// The local source of Python packages
    #[arg(long)]
    pub source: String,
    #[command(flatten)]
    pub request: source::YankFiles,
}

#[derive(Debug, Args)]
pub struct Unyank {
    /// The package and its files, as for yank
    #[arg(long, value_name = "NAME@SCOPE")]
    pub name: String,
    /// The local source of Python packages
    #[arg(long)]
    pub source: String,
}

/// `rspm add …`
#[derive(Debug, Subcommand)]
pub enum AddKind {
    /// Add binaries of source packages that the local source has
    Binary(AddBinary),
}

/// Flags of `add binary`. R version and architecture are read from the files.
#[derive(Debug, Args)]
pub struct AddBinary {
    /// The local source
    #[arg(long)]
    pub source: String,
    /// Binary package files, comma separated or repeated
    #[arg(long, value_delimiter = ',', required_unless_present = "file_in", value_name = "FILE")]
    pub path: Vec<PathBuf>,
    /// Instead of --path: a file that names binary package files, one on each line
    #[arg(long, conflicts_with = "path", value_name = "LIST")]
    pub file_in: Option<PathBuf>,
    #[command(flatten)]
    pub request: api::binary::AddBinaries,
}

#[derive(Debug, Args)]
pub struct ListBinaries {
    /// The source
    #[arg(long)]
    pub source: String,
    #[command(flatten)]
    pub query: api::binary::ListBinaries,
}

#[derive(Debug, Args)]
pub struct RemoveBinary {
    /// The local source
    #[arg(long)]
    pub source: String,
    #[command(flatten)]
    pub request: api::binary::RemoveBinary,
}

/// `rspm config …`
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Set the level of the server log
    Log(control::LogLevel),
    /// Write debug events of single regions to the server log
    #[command(subcommand)]
    Debug(DebugCommand),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_have_the_names_and_forms_of_posit_package_manager() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command);
        for line in [
            "rspm create source --name=team --type=local",
            "rspm create repo --name=prod --description=x",
            "rspm edit repo --name=prod --hide",
            "rspm edit repo --name=prod --hide=false",
            "rspm list",
            "rspm list repos -o json",
            "rspm list distributions",
            "rspm list license-types --current",
            "rspm create metadata --package-name=x --version=1.0 --repo=prod --key=a --value=b --update-existing",
            "rspm create bulk-metadata --csv-in=x.csv --fail-all --succeed-on-existing",
            "rspm list metadata --package-name=x",
            "rspm delete metadata --id=3,4,9",
            "rspm delete metadata --id all",
            "rspm explain prod tally",
            "rspm explain prod tally --version=0.2.1 --distribution=noble --user-agent=x --date=2026-11-20",
            "rspm list packages --repo=prod --count=5 --page=2",
            "rspm subscribe --repo=prod --source=team",
            "rspm reorder --repo=prod --sources=a,b,c",
            "rspm create repo --name=prod --changes=two-persons",
            "rspm edit repo --name=prod --changes=any",
            "rspm promote --from=dev --to=prod --plan",
            "rspm promote --from=dev --to=prod --snapshot=2026-11-20 --comment=x",
            "rspm promote --approve=7 --comment=x",
            "rspm promote --reject=7",
            "rspm promote --show=7",
            "rspm list promotions --repo=prod --state=requested",
            "rspm reorder --repo=prod --sources=a --sources=b",
            "rspm add --source=team --path=a.tar.gz,b.tar.gz --replace",
            "rspm add binary --source=team --path=a.tgz --distribution=macos --succeed-on-existing",
            "rspm add --source=team --file-in=list.txt",
            "rspm add binary --source=team --file-in=list.txt --distribution=noble",
            "rspm list binaries --source=team --name=x",
            "rspm remove package --name=x@all --source=team",
            "rspm remove binary --source=team --name=x --version=1.0 --platform=4.5-noble",
            "rspm sync --type=cran --no-wait",
            "rspm sync --type=Bioconductor --version=3.20",
            "rspm create repo --name=bioc --type=bioconductor",
            "rspm subscribe --repo=bioc --source=team --version=3.20",
            "rspm unsubscribe --repo=bioc --source=team --version=3.20",
            "rspm list packages --source=bioconductor --version=3.20",
            "rspm list bioconductor versions",
            "rspm explain bioc Biobase --bioc-version=3.16",
            "rspm offline",
            "rspm offline --timeout=60",
            "rspm offline --timeout 5m",
            "rspm online",
            "rspm hup --wait",
            "rspm status -o json",
            "rspm cluster nodes",
            "rspm cluster nodes --strict",
            "rspm cluster offline --timeout=60 --nodes=nodeA,nodeB",
            "rspm cluster online --nodes=*",
            "rspm config log --level=debug",
            "rspm config debug logger activate git sync",
            "rspm config debug logger deactivate git",
            "rspm config debug logger show",
            "rspm config debug logger show git --show-disabled",
            "rspm --config /etc/x.gcfg check-config",
            "rspm storage list",
            "rspm storage adopt --class=cran,packages",
            "rspm storage sweep --confirm=cran --no-wait",
            "rspm storage restore",
            "rspm backup create --to=/srv/backups --with-cache --no-wait",
            "rspm backup verify --from=/srv/backups --at=2026-11-20 --subset=8/8",
            "rspm backup restore --force",
            "rspm backup prune --keep-daily=7 --keep-weekly=5 --dry-run",
            "rspm url create --repo=prod",
            "rspm url create --repo=bioc@3.20 --date=2026-11-20 --lock",
            "rspm url create --repo=prod --snapshot=cran:2026-11-20 --snapshot=team:7 --no-alias",
            "rspm list blocked --since=2026-11-20",
            "rspm list storage",
            "rspm clear --type=cran --confirm",
            "rspm prefetch --source=pypi --file-in=requirements.txt",
            "rspm prefetch --source=pypi --file-in=uv.lock --strict --pythons=3.11,3.12 --platforms=win_amd64 --dry-run",
            "rspm prefetch --source=pypi --file-in=uv.lock --pages-only --no-wait --quiet -o json",
            "rspm evict",
            "rspm evict --type=sweep --dry-run",
            "rspm evict --type clear --no-wait --quiet",
            "rspm scrub",
            "rspm scrub --class=cran,packages --subset=3/8 --rate=100MB --repair",
            "rspm scrub --max-duration=2h -o json",
            "rspm scrub --quick --class=cran",
            "rspm scrub --database",
            "rspm completion bash",
            "rspm -v list",
            "rspm list repos --verbose --insecure-ssl-skip-verify",
            "rspm list --address=https://packages.example.org",
            "rspm create repo --name=prod --authenticated",
            "rspm edit repo --name=prod --authenticated=false",
            "rspm create token --scope=repos:read --repos=prod,team --description=x --expires=90d -q",
            "rspm create token --scope=sources:write --sources=* --description=x --user=ci@example.org",
            "rspm create token --scope=global:admin --description=x --expires=never --quiet",
            "rspm list tokens --expired=no --revoked=yes",
            "rspm revoke token --guid=x",
            "rspm revoke token --token=-",
            "rspm verify",
            "rspm delete source --name=team --with-packages",
            "rspm export state --only=sources,repositories --names=team-* --to=site.toml",
            "rspm apply site.toml teams --commit --prune --names=team-* --base=x --allow-weaker --comment=y",
            "rspm apply - --expect-no-changes --delete-packages-of=a,b --confirm-deletes=3 --plan",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err().map(|e| e.to_string()));
        }
        for line in [
            "rspm info",
            "rspm info --repo=a --source=b",
            "rspm explain prod",
            "rspm add --source=team",
            "rspm add binary --source=team --path=a.tgz",
            "rspm add --source=team --path=a.tar.gz --file-in=list.txt",
            "rspm add binary --source=team --distribution=noble",
            "rspm remove binary --source=team --name=x --platform=4.5-noble",
            "rspm remove --name=x",
            "rspm edit repo --name=prod",
            "rspm promote",
            "rspm promote --from=dev",
            "rspm promote --approve=7 --from=dev --to=prod",
            "rspm promote --approve=7 --reject=7",
            "rspm promote --approve=7 --plan",
            "rspm storage adopt --class=crun",
            "rspm storage sweep --confirm",
            "rspm backup verify --subset=9/8",
            "rspm backup verify --subset=0/8",
            "rspm backup verify --subset=1/8 --full",
            "rspm backup prune",
            "rspm config debug logger activate",
            "rspm url create",
            "rspm url create --repo=prod --snapshot=cran",
            "rspm prefetch --source=pypi",
            "rspm prefetch --file-in=uv.lock",
            "rspm prefetch --source=pypi --file-in=uv.lock --pages-only --dry-run",
            "rspm evict --type=all",
            "rspm scrub --database --repair",
            "rspm scrub --quick --rate=1MB",
            "rspm scrub --subset=9/8",
            "rspm scrub --subset=1/8 --max-duration=1h",
            "rspm scrub --rate=fast",
            "rspm scrub --class=metrics",
            "rspm create token --scope=global:admin",
            "rspm create token --description=x",
            "rspm create token --scope=global:admin --description=x --expires=soon",
            "rspm list tokens --expired=maybe",
            "rspm revoke token",
            "rspm revoke token --guid=x --token=y",
            "rspm offline --timeout=soon",
            "rspm cluster offline",
            "rspm cluster online --timeout=60",
            "rspm apply",
            "rspm apply site.toml --commit --expect-no-changes",
            "rspm offline --timeout=25h",
            "rspm offline --timeout=99999999999999999999h",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
