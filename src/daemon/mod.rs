//! Starts, supervises and stops the server.
//!
//! Exit codes: 0 after a requested stop, 1 if the server cannot start or a check failed, 2 for wrong usage.
//!
//! `start` does what must precede threads; `process` boots, accepts connections, reports readiness, serves
//! and shuts down. On SIGTERM the server continues to accept connections, answers with `Connection: close`,
//! waits for running requests and another half a second for idle clients, and closes.

pub mod args;
mod audit;
mod audit_file;
mod backup;
pub mod bind;
pub mod check;
mod clock;
mod configuration;
mod context;
mod encryption;
pub mod error;
pub mod files;
pub mod handover;
mod leader_tasks;
mod listeners;
mod local_command;
mod logging;
pub mod migrate;
mod modes;
mod node;
mod notify;
mod owners;
mod privileges;
mod process;
mod reload;
mod removal;
mod running;
mod sandbox;
mod service_unit;
mod service_user;
mod services;
mod sign_in_check;
mod signals;
pub mod sockets;
pub mod start;
mod status;
mod stores;
mod supervisor;
mod watchdog;

use std::process::ExitCode;

use clap::Parser;

use crate::http;

use handover::TakeOver;

pub fn main() -> ExitCode {
    let args = args::ServerArgs::parse();
    if args.convert_markdown {
        return http::convert_markdown();
    }
    configuration::take_key();
    if args.removal_commands {
        removal::print(&args.config);
        return ExitCode::SUCCESS;
    }
    let mut received = None;
    match args.take_over {
        None => {}
        Some(TakeOver::Detach) => match handover::detach() {
            Ok(()) => return ExitCode::SUCCESS,
            Err(error) => return fail(&format!("could not start the new program: {error}")),
        },
        Some(TakeOver::Serve) => match handover::incoming::receive() {
            Ok(received_sockets) => received = Some(received_sockets),
            Err(error) => return fail(&error),
        },
    }
    if let Some(result) = encryption::run(&args) {
        return result.map_or_else(|error| fail(&error.to_string()), |()| ExitCode::SUCCESS);
    }
    if let Some(request) = &args.backup {
        return backup::run(&args.config, request);
    }
    let loaded = configuration::load(&args.config);
    if args.check_config {
        return check::run(&args.config, &loaded, args.output_format);
    }
    signals::block();
    let mut logs = logging::Logs::install();
    let reply = received.as_ref().and_then(handover::incoming::ReceivedSockets::reply);
    let result = start::run(&args, loaded, received, &mut logs);
    if let Err(error) = &result {
        reply.iter().for_each(|reply| reply.refuse(&error.to_string()));
        logs.log_to_files(&error.to_string());
    }
    logs.flush();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

/// Prints an error to standard error, which the journal and the container's log collect regardless of the log settings.
fn fail(reason: &str) -> ExitCode {
    local_command::note(format!("Error: {reason}"));
    ExitCode::FAILURE
}
