//! `rspm-offline-downloader`: fills a bundle from a mirror, another server or another bundle, and checks bundles; lists
//! what an import reads of other servers, and writes a repository as files.

pub mod args;
mod binaries;
mod bioconductor;
mod buffer;
mod bundle_inventory;
mod commit;
mod cran;
mod destination;
mod error;
mod export;
mod file;
mod files;
mod incomplete_files;
mod index_proof;
mod inventory;
mod journal;
mod last_run;
mod list;
mod metadata;
mod mirror;
mod page;
mod plan;
mod progress;
mod projects;
mod run;
mod setup;
mod shared;
mod sign;
mod subset;
mod unreferenced_files;
mod up_to_date;
mod validate;
mod verify_files;
mod vulns;
mod workers;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use args::{Cli, Command, Get, PYPI_LANGUAGE, Validate};
use base::model::visible::for_terminal;
use error::{ExitStatus, OfflineError};
use progress::{Output, print_line};
use validate::Report;

/// Runs one command and returns its exit code: 0 complete, 1 failed or not complete, 2 wrong usage, 3 damaged.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // The server that reads the files runs as another user.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    // Fails only if a provider is already installed, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if cli.verbose {
        let filter =
            Targets::new().with_default(LevelFilter::INFO).with_target("upstream", LevelFilter::DEBUG);
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        tracing_subscriber::registry().with(log.with_filter(filter)).init();
    }
    match run(cli) {
        Ok(ExitStatus::Complete) => ExitCode::SUCCESS,
        Ok(ExitStatus::Incomplete) => ExitCode::from(1),
        Ok(ExitStatus::Damaged) => ExitCode::from(3),
        Err(error) => {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            print_line(&format!("{red}Error:{red:#} {error}"));
            ExitCode::from(if matches!(error, OfflineError::Usage(_)) { 2 } else { 1 })
        }
    }
}

fn run(cli: Cli) -> Result<ExitStatus, OfflineError> {
    let output = Output::new(cli.quiet);
    if let Command::Completion { shell } = cli.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "rspm-offline-downloader", &mut script);
        let mut stdout = std::io::stdout().lock();
        return match stdout.write_all(&script).and_then(|()| stdout.flush()) {
            // A reader that has closed the pipe (`| head`) is not an error.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(OfflineError::Refused(format!("could not write the output: {error}")))
            }
            Ok(()) | Err(_) => Ok(ExitStatus::Complete),
        };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| OfflineError::Refused(format!("could not start the runtime: {e}")))?;
    // The command runs on the threads that read the connections: a separate thread would be woken for each piece of
    // each file.
    let command = runtime.spawn(async move {
        match cli.command {
            Command::Get(get) => match *get {
                Get::Cran(args) => cran::get(args, output).await,
                Get::Bioconductor(args) => bioconductor::get(args, output).await,
                Get::Pypi(args) => projects::python::get(args, output).await,
                Get::Projects(command) => projects::get(command.language, command.flags, None, output).await,
                Get::Vulns(args) => vulns::get(args, output).await,
            },
            Command::Validate(Validate::Bioconductor(args)) => {
                bioconductor::check(args).await.and_then(|report| print(&report, output))
            }
            Command::Validate(Validate::Cran(args)) => {
                cran::check(args).await.and_then(|report| print(&report, output))
            }
            Command::Validate(Validate::Pypi(args)) => {
                projects::check(PYPI_LANGUAGE, args).await.and_then(|report| print(&report, output))
            }
            Command::Validate(Validate::Projects(command)) => {
                let report = projects::check(command.language, command.flags).await;
                report.and_then(|report| print(&report, output))
            }
            Command::Validate(Validate::Vulns(args)) => {
                vulns::check(args).await.and_then(|report| print(&report, output))
            }
            Command::List(origin) => list::run(origin, output).await,
            Command::ExportFiles(args) => export::run(args, output).await,
            Command::Keygen(args) => sign::keygen(&args),
            Command::Sign(args) => sign::sign(&args, output),
            Command::Completion { .. } => Ok(ExitStatus::Complete),
        }
    });
    let status =
        runtime.block_on(command).unwrap_or_else(|error| Err(OfflineError::Refused(error.to_string())));
    // Does not wait for requests that are pending when an error ends the command.
    runtime.shutdown_background();
    status
}

/// Prints findings on standard output, one per line, so that scripts can read them; the summary on standard error.
fn print(report: &Report, output: Output) -> Result<ExitStatus, OfflineError> {
    let mut out = anstream::stdout().lock();
    for finding in &report.findings {
        let [file, text] = [&finding.file, &finding.text].map(|text| for_terminal(text));
        let result = writeln!(out, "{}\t{file}\t{text}", finding.problem.as_str());
        result.map_err(|e| OfflineError::Refused(format!("could not write the output: {e}")))?;
    }
    report.summary.iter().for_each(|line| output.info(line));
    output.info(match report.exit_status() {
        ExitStatus::Complete => "complete",
        ExitStatus::Incomplete => "not complete",
        ExitStatus::Damaged => "damaged files were found",
    });
    Ok(report.exit_status())
}
