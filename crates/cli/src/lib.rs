//! The `rspm` command line, a thin client of the admin API, with one file per noun, and the commands and flags of Posit
//! Package Manager.

pub mod args;
pub mod audit;
pub mod backup;
pub mod block_rule;
pub mod bootstrap;
pub mod client;
pub mod cluster;
pub mod control;
pub mod csv_records;
mod curated;
mod curated_r;
pub mod debug_log;
pub mod encrypt;
pub mod error;
pub mod explain;
pub mod export_files;
pub mod git;
pub mod git_args;
pub mod git_credential;
pub mod help;
pub mod history;
pub mod import;
pub mod import_origin;
mod input;
mod job;
pub mod list;
pub mod login;
pub mod metadata;
pub mod name_guard;
pub mod output;
pub mod package;
pub mod prefetch;
mod programs;
pub mod promote;
pub mod reference;
mod remote;
pub mod repo;
pub mod scrub;
mod sso;
pub mod state;
mod state_files;
pub mod storage;
pub mod token;
mod tokens_file;
mod unsupported;

use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::Path;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use api::source::YankFiles;
use args::{
    Cli, Command, Config, Create, Delete, Edit, GlobalFlags, List, ListBioconductor, Local, Remote, Remove,
    Repair,
};
use backup::BackupCommand;
use base::model::visible::for_terminal;
use block_rule::Test;
use bootstrap::BootstrapCommand;
use client::{Client, ParseMode, server_config};
use cluster::ClusterCommand;
use error::CliError;
use export_files::Export;
use git_args::{Import, Rerun, Run};
use history::HistoryCommand;
use output::{Output, note, warn};
use remote::is_local;
use token::Revoke;
use zeroize::Zeroizing;

/// Runs one command and returns its exit code: 0 done, 1 refused or failed, 2 wrong usage, 3 server not reachable, 4
/// backup incomplete, 5 differences that `rspm apply` does not expect.
pub fn main() -> ExitCode {
    // License commands are handled before the flags are parsed, because they accept any flags.
    if std::env::args_os().nth(1).is_some_and(|word| word == "license") {
        return finish(unsupported::license());
    }
    let cli = match help::parse() {
        Ok(cli) => cli,
        Err(error) => return print_clap_error(&error),
    };
    finish(run(cli))
}

/// Prints the error of a command, if there is one, and returns the exit code.
fn finish(outcome: Result<ExitCode, CliError>) -> ExitCode {
    match outcome {
        Ok(code) => code,
        // The reader of the output has closed the pipe (`rspm list | head`), which is not an error.
        Err(CliError::Output(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            note(format!("{red}Error:{red:#} {}", for_terminal(&error.to_string())));
            error.exit_code()
        }
    }
}

/// Prints the error of a command line, or the requested help or version.
fn print_clap_error(error: &clap::Error) -> ExitCode {
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let row = match error.kind() {
        ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument => unsupported::find(&args),
        _ => None,
    };
    match row {
        Some(row) => note(format!("{row}: {}\nSee {}", row.sentence, row.page)),
        None if error.use_stderr() => note(error.render().ansi().to_string().trim_end()),
        // A failed write of the help cannot be reported.
        None => drop(error.print()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let Cli { command, global, .. } = cli;
    let output = Output::new(global.output_format);
    match command {
        Command::Local(command) => run_locally(global, &output, command),
        Command::Remote(command) => match *command {
            Remote::Create(Create::BulkMetadata(args)) if args.show_example => {
                metadata::show_example(&output).map(|()| ExitCode::SUCCESS)
            }
            command => with_client(global, parse_mode(&command), async |client| {
                dispatch(client, &output, command).await
            }),
        },
    }
}

fn run_locally(global: GlobalFlags, output: &Output, command: Local) -> Result<ExitCode, CliError> {
    let config = global.config.as_deref();
    match command {
        Local::CheckConfig => return programs::check_config(config, global.output_format),
        Local::Encrypt(args) => return encrypt::run(config, output, args),
        Local::License(_) => return unsupported::license(),
        Local::Migrate(args) => return programs::migrate(config, global.output_format, &args),
        Local::Export(Export::State(args)) => {
            return with_client(global, ParseMode::Strict, async |client| {
                state::export(client, output, args).await
            });
        }
        Local::History(HistoryCommand::Verify(args)) => history::verify(output, &args)?,
        Local::History(HistoryCommand::Audit(args)) => match args.from.clone() {
            Some(from) => {
                let log = history::log::Log::of(&from, !global.insecure_ssl_skip_verify)?;
                runtime()?.block_on(history::audit::run(log, output, args))?;
            }
            None => {
                return with_client(global, ParseMode::Strict, async |client| {
                    history::audit::run(history::log::Log::of_server(client, args.log), output, args).await
                });
            }
        },
        Local::History(HistoryCommand::Prove(args)) => {
            return with_client(global, ParseMode::Strict, async |client| {
                history::prove::run(client, output, args).await
            });
        }
        Local::History(HistoryCommand::Server(command)) => {
            return with_client(global, ParseMode::Strict, async |client| {
                history::run(client, output, command).await
            });
        }
        Local::Export(Export::Files(args)) => {
            return export_files::run(config, global.address.as_deref(), args);
        }
        Local::Backup(BackupCommand::Local(command)) => {
            return backup::run_locally(config, global.output_format, command);
        }
        Local::Backup(BackupCommand::Create(args)) => {
            return with_client(global, ParseMode::Strict, async |client| {
                backup::create(client, output, args).await
            });
        }
        Local::Login(args) => {
            let server = server_of_login(global.address, global.insecure_ssl_skip_verify)?;
            warn_about_connection(&server.address, global.insecure_ssl_skip_verify);
            runtime()?.block_on(login::login(&server, output, args))?;
        }
        Local::Logout => login::logout(&server_of_login(global.address, false)?, output)?,
        Local::Bootstrap(BootstrapCommand::Keys(args)) => bootstrap::keys(output, &args)?,
        Local::Bootstrap(BootstrapCommand::Signature(args)) => bootstrap::signature(output, &args)?,
        Local::Bootstrap(BootstrapCommand::Token(args)) => {
            let server = server_of_login(global.address, global.insecure_ssl_skip_verify)?;
            warn_about_connection(&server.address, global.insecure_ssl_skip_verify);
            let (address, verifies_tls) = (&server.address, server.verifies_tls);
            runtime()?.block_on(bootstrap::token(address, verifies_tls, output, &args))?;
        }
        Local::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "rspm", &mut script);
            let mut stdout = stdout().lock();
            stdout.write_all(&script).and_then(|()| stdout.flush()).map_err(CliError::Output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command with a client of the server.
fn with_client(
    global: GlobalFlags,
    parse_mode: ParseMode,
    command: impl AsyncFnOnce(&Client) -> Result<(), CliError>,
) -> Result<ExitCode, CliError> {
    let config = global.config.as_deref();
    let remote = match global.address.filter(|address| !address.trim().is_empty()) {
        None => None,
        Some(address) => remote_client(&address, config, global.insecure_ssl_skip_verify)?,
    };
    if global.verbose {
        let filter = Targets::new().with_target("cli", LevelFilter::DEBUG);
        let log = tracing_subscriber::fmt::layer().without_time().with_target(false);
        let log = log.with_ansi(stderr().is_terminal()).with_writer(stderr);
        tracing_subscriber::registry().with(log.with_filter(filter)).init();
    }
    runtime()?.block_on(async {
        let client = match remote {
            Some(client) => client,
            None => Client::connect(config, parse_mode).await?,
        };
        command(&client).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| CliError::Local { operation: "start the runtime".to_owned(), source: e })
}

/// Returns the server that `login` and `logout` refer to.
fn server_of_login(address: Option<String>, skips_verification: bool) -> Result<login::Server, CliError> {
    let address = address.map(|address| address.trim().to_owned()).filter(|address| !address.is_empty());
    let address = address.ok_or_else(|| {
        CliError::refused(
            "name the server: --address=https://packages.example.org, or PACKAGEMANAGER_ADDRESS",
        )
    })?;
    Ok(login::Server { address, verifies_tls: !skips_verification })
}

/// Warns about a connection on which other users of the network can read the token.
fn warn_about_connection(address: &str, skips_verification: bool) {
    if skips_verification {
        warn("the certificate of the server is not verified; anyone on the network path can read the token.");
    }
    if remote::is_unencrypted(address) {
        warn("the connection is not encrypted; anyone on the network path can read the token: use https.");
    }
}

/// Returns a client of a server on the network, with the token in `PACKAGEMANAGER_TOKEN`, otherwise the token that
/// `rspm login` stored. `None` if there is no token and the address refers to the server of this machine, which is
/// reached over its socket. Fails if there is no token for a server on another machine, or the address is not that of a
/// server.
fn remote_client(
    address: &str,
    config: Option<&Path>,
    skips_verification: bool,
) -> Result<Option<Client>, CliError> {
    let token = std::env::var("PACKAGEMANAGER_TOKEN").unwrap_or_default();
    let mut token = Zeroizing::new(token.trim().to_owned());
    if token.is_empty()
        && let Some(path) = tokens_file::path()
        && let Some(stored) = tokens_file::find(&path, address.trim())?
    {
        token = stored;
    }
    if token.is_empty() {
        let config = server_config(config, ParseMode::Lenient)?;
        let host_name = nix::unistd::gethostname().unwrap_or_default();
        return match is_local(address, &config, &host_name.to_string_lossy()) {
            true => Ok(None),
            false => Err(CliError::NoToken(address.to_owned())),
        };
    }
    warn_about_connection(address, skips_verification);
    Client::of_address(address, token, !skips_verification).map(Some)
}

/// Returns the strictness with which a command reads the configuration. Commands that control the server must also
/// work with an invalid configuration: the server reports its errors.
fn parse_mode(command: &Remote) -> ParseMode {
    match command {
        Remote::Status
        | Remote::Verify
        | Remote::Offline(_)
        | Remote::Online
        | Remote::Hup(_)
        | Remote::Cluster(_)
        | Remote::Logs(_)
        | Remote::Config(_) => ParseMode::Lenient,
        _ => ParseMode::Strict,
    }
}

async fn dispatch(client: &Client, output: &Output, command: Remote) -> Result<(), CliError> {
    match command {
        Remote::Create(Create::Source(args)) => repo::create_source(client, output, args).await,
        Remote::Create(Create::Repo(args)) => repo::create(client, output, args).await,
        Remote::Create(Create::GitBuilder(args)) => git::create(client, output, args).await,
        Remote::Create(Create::Metadata(args)) => metadata::create(client, output, args).await,
        Remote::Create(Create::BulkMetadata(args)) => metadata::create_bulk(client, output, args).await,
        Remote::List { list: Some(List::Metadata(args)) } => metadata::list(client, output, args).await,
        Remote::Delete(Delete::Metadata(args)) => metadata::delete(client, output, args).await,
        Remote::Edit(Edit::GitBuilder(args)) => git::edit(client, output, args).await,
        Remote::Edit(Edit::HttpsCredential(args)) => git_credential::edit(client, output, args).await,
        Remote::Edit(Edit::SshKey(args)) => git_credential::edit_ssh_key(client, output, args).await,
        Remote::Import(Import::SshKey(args)) | Remote::Create(Create::SshKey(args)) => {
            git_credential::import_ssh_key(client, output, args).await
        }
        Remote::Delete(Delete::SshKey(args)) => {
            let args = git_args::DeleteGitCredential { name: args.name, kind: "ssh".to_owned() };
            git_credential::delete(client, output, args).await
        }
        Remote::Delete(Delete::GitBuilder(args)) => git::delete(client, output, args).await,
        Remote::Delete(Delete::GitCredential(args)) => git_credential::delete(client, output, args).await,
        Remote::List { list: Some(List::GitBuilders(args)) } => {
            git::list_builders(client, output, args).await
        }
        Remote::List { list: Some(List::GitBuilds(args)) } => git::list_builds(client, output, args).await,
        Remote::List { list: Some(List::GitCredentials) } => git_credential::list(client, output).await,
        Remote::Import(Import::HttpsCredential(args)) => git_credential::import(client, output, args).await,
        Remote::Import(Import::List(args)) => {
            import::run(client, output, &args.list, args.origin.as_deref(), &args.flags).await
        }
        Remote::Import(Import::From(origin)) => import_origin::run(client, output, origin).await,
        Remote::Run(Run::GitBuilder(args)) => git::run(client, output, args).await,
        Remote::Rerun(Rerun::GitBuilder(args)) => git::rerun(client, output, args).await,
        Remote::Edit(Edit::Source(args)) => repo::edit_source(client, output, args).await,
        Remote::Edit(Edit::Repo(args)) => repo::edit(client, output, args).await,
        Remote::Delete(Delete::Source(args)) => repo::delete_source(client, output, args).await,
        Remote::Delete(Delete::Repo(args)) => repo::delete(client, output, args).await,
        Remote::Create(Create::Token(args)) => token::create(client, output, args).await,
        Remote::List { list: Some(List::Tokens(args)) } => token::list(client, output, args).await,
        Remote::Revoke(Revoke::Token(args)) => token::revoke(client, output, args).await,
        Remote::Create(Create::BlocklistRule(args)) => block_rule::create(client, output, *args).await,
        Remote::Create(Create::BulkBlocklistRules(args)) if args.show_example => {
            block_rule::show_example(output)
        }
        Remote::Create(Create::BulkBlocklistRules(args)) => {
            block_rule::create_bulk(client, output, args).await
        }
        Remote::Create(Create::NameGuard(args)) => name_guard::create(client, output, args).await,
        Remote::Edit(Edit::NameGuard(args)) => name_guard::edit(client, output, args).await,
        Remote::Delete(Delete::NameGuard(args)) => name_guard::delete(client, output, args).await,
        Remote::List { list: Some(List::NameGuards) } => name_guard::list(client, output).await,
        Remote::Edit(Edit::BlocklistRule(args)) => block_rule::edit(client, output, *args).await,
        Remote::Delete(Delete::BlocklistRule(args)) => block_rule::delete(client, output, args).await,
        Remote::List { list: Some(List::BlocklistRules) } => block_rule::list(client, output).await,
        Remote::List { list: Some(List::Storage) } => storage::report(client, output).await,
        Remote::List { list: Some(List::Blocked(args)) } => {
            block_rule::list_blocked(client, output, args).await
        }
        Remote::Test(Test::BlocklistRules(args)) => block_rule::test(client, output, args).await,
        Remote::Verify => token::verify(client, output).await,
        Remote::Audit(command) => audit::run(client, output, command).await,
        Remote::List { list: None } => list::overview(client, output).await,
        Remote::List { list: Some(List::Repos(args)) } => list::repos(client, output, args).await,
        Remote::List { list: Some(List::Sources(args)) } => list::sources(client, output, args).await,
        Remote::List { list: Some(List::Packages(args)) } => list::packages(client, output, args).await,
        Remote::List { list: Some(List::Binaries(args)) } => list::binaries(client, output, args).await,
        Remote::List { list: Some(List::LicenseTypes(args)) } => {
            list::license_types(client, output, args).await
        }
        Remote::List { list: Some(List::Distributions) } => list::distributions(client, output).await,
        Remote::List { list: Some(List::Bioconductor(ListBioconductor::Versions)) } => {
            list::bioconductor_versions(client, output).await
        }
        Remote::Info(args) => list::info(client, output, args).await,
        Remote::Explain(args) => explain::explain(client, output, args).await,
        Remote::Subscribe(args) => repo::subscribe(client, output, args).await,
        Remote::Unsubscribe(args) => repo::unsubscribe(client, output, args).await,
        Remote::Reorder(args) => repo::reorder(client, output, args).await,
        Remote::Promote(args) => promote::promote(client, output, args).await,
        Remote::List { list: Some(List::Promotions(args)) } => promote::list(client, output, args).await,
        Remote::Add(args) => package::add(client, output, args).await,
        Remote::Update(args) => curated::update(client, output, args).await,
        Remote::Remove(Remove::Package(args)) => package::remove(client, output, args).await,
        Remote::Yank(args) => package::yank(client, output, &args.name, &args.source, args.request).await,
        Remote::Unyank(args) => {
            package::yank(client, output, &args.name, &args.source, YankFiles::default()).await
        }
        Remote::Remove(Remove::Binary(args)) => package::remove_binary(client, output, args).await,
        Remote::Sync(args) => job::sync(client, output, args).await,
        Remote::Backfill(args) => job::backfill(client, output, args).await,
        Remote::Repair(Repair::Clock(args)) => scrub::repair_clock(client, output, &args).await,
        Remote::Logs(command) => git::logs(client, output, command).await,
        Remote::Url(command) => repo::create_url(client, output, command).await,
        Remote::Clear(args) => job::clear(client, output, args).await,
        Remote::Evict(args) => job::evict(client, output, args).await,
        Remote::Prefetch(args) => prefetch::run(client, output, args).await,
        Remote::Scrub(args) => scrub::run(client, output, args).await,
        Remote::Storage(command) => storage::run(client, output, command).await,
        Remote::Status => control::status(client, output).await,
        Remote::Offline(args) => control::offline(client, output, args).await,
        Remote::Online => control::online(client, output).await,
        Remote::Hup(_) => control::hup(client, output).await,
        Remote::Cluster(ClusterCommand::Nodes(args)) => cluster::nodes(client, output, args).await,
        Remote::Cluster(ClusterCommand::Offline(args)) => {
            cluster::change_mode(client, output, args, "offline").await
        }
        Remote::Cluster(ClusterCommand::Online(args)) => {
            cluster::change_mode(client, output, args, "online").await
        }
        Remote::Config(Config::Log(args)) => control::log_level(client, output, args).await,
        Remote::Config(Config::Debug(command)) => debug_log::run(client, output, command).await,
        Remote::Apply(args) => state::apply(client, output, args).await,
    }
}
