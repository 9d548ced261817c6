//! Commands to the server process, served in every mode.

use std::time::Duration;

use super::call::{Answer, ControlCall};
use crate::http::app::App;
use crate::http::error::Failure;
use crate::http::problems;
use crate::http::summary;
use crate::http::switch::Switch;
use api::backup::LastBackupResult;
use api::control::{Change, GoOffline, Mode, Node, Reload, Schedule};
use base::config;
use runtime::control::{self, Command, CommandError, CommandResult};
use runtime::jobs::schedule::ScheduleStatus;
use store::db;
use store::db::backup::BackupResult;

const MAX_OFFLINE_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
/// Timeout of database queries, because the status must be served without the database too.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn status(call: ControlCall<'_>) -> Answer<Node> {
    Ok(node(call.switch).await)
}

pub(super) async fn online(call: ControlCall<'_>) -> Answer<Node> {
    change_mode(call, Command::Online).await
}

pub(super) async fn offline(call: ControlCall<'_>, body: GoOffline) -> Answer<Node> {
    let timeout = Duration::from_secs(body.timeout).min(MAX_OFFLINE_TIMEOUT);
    change_mode(call, Command::Offline { timeout }).await
}

async fn change_mode(call: ControlCall<'_>, command: Command) -> Answer<Node> {
    let result = call.control().run(command).await.map_err(conflict)?;
    Ok(with_message(node(call.switch).await, result))
}

pub(super) async fn reload(call: ControlCall<'_>) -> Answer<Reload> {
    Ok(match call.control().run(Command::Reload).await.map_err(conflict)? {
        CommandResult::Reloaded(result) => wire(result),
        CommandResult::ModeChanged(message) => {
            Reload { applied: Vec::new(), ignored: Vec::new(), restart: Vec::new(), warnings: vec![message] }
        }
    })
}

/// Replaces the message of a node by the result of a command that changed its mode.
fn with_message(node: Node, result: CommandResult) -> Node {
    match result {
        CommandResult::ModeChanged(message) => Node { message, ..node },
        CommandResult::Reloaded(_) => node,
    }
}

fn conflict(error: CommandError) -> Failure {
    Failure::new(http::StatusCode::CONFLICT, api::error::Code::Conflict, error.to_string())
}

fn wire(result: control::ReloadResult) -> Reload {
    let changes = |changes: Vec<config::PropertyChange>| {
        changes
            .into_iter()
            .map(|change| Change { property: change.property, from: change.from, to: change.to })
            .collect()
    };
    Reload {
        applied: changes(result.applied),
        ignored: changes(result.ignored),
        restart: changes(result.restart),
        warnings: result.warnings,
    }
}

async fn node(switch: &Switch) -> Node {
    let control = &switch.context().control;
    let mode = control.mode();
    let work = control.work();
    let backups = match switch.app() {
        Some(app) => backup_results(&app).await,
        None => Vec::new(),
    };
    let (jobs, warnings) = match switch.app() {
        Some(app) => {
            (app.state.jobs.running().into_iter().map(|job| job.key).collect(), warnings(&app).await)
        }
        None => (work.jobs, Vec::new()),
    };
    Node {
        name: switch.context().cluster.name().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        message: match &mode {
            control::Mode::Broken(reason) => format!("Cannot serve: {}", reason.detail),
            mode => summary::line(switch, mode).await,
        },
        leader: switch.context().cluster.is_leader(),
        mode: match mode {
            control::Mode::Starting(_) => Mode::Starting,
            control::Mode::Online => Mode::Online,
            control::Mode::Draining => Mode::Draining,
            control::Mode::Offline => Mode::Offline,
            control::Mode::Broken(_) => Mode::Broken,
        },
        requests: work.requests,
        jobs,
        warnings,
        encryption_key: switch.app().and_then(|app| {
            let config = app.state.config.load();
            config.encryption_key.as_ref().map(ToString::to_string)
        }),
        backups: backups.into_iter().map(last_result).collect(),
        schedules: match switch.app() {
            Some(app) => schedules(&app).await,
            None => Vec::new(),
        },
    }
}

/// Returns the last results of backups; empty if the database does not answer.
pub(super) async fn backup_results(app: &App) -> Vec<BackupResult> {
    let read = tokio::time::timeout(DATABASE_TIMEOUT, app.state.db.read(db::backup::results)).await;
    read.ok().and_then(Result::ok).unwrap_or_default()
}

pub(super) fn last_result(result: BackupResult) -> LastBackupResult {
    LastBackupResult {
        place: result.folder,
        command: result.command,
        at: result.at.to_string(),
        error: result.error,
        last_success: result.succeeded_at.map(|at| at.to_string()),
        missing: result.missing,
    }
}

/// Returns the problems with their commands, except those in the first line of the status; without those in the database if
/// it does not answer.
async fn warnings(app: &App) -> Vec<String> {
    let current = tokio::time::timeout(DATABASE_TIMEOUT, problems::current(app, true)).await;
    let problems = current.ok().and_then(Result::ok).unwrap_or_else(|| problems::of_process(app));
    let others = problems
        .into_iter()
        .filter(|problem| !matches!((problem.kind, &*problem.name), ("database", _) | ("clock", "publish")));
    others.map(|problem| format!("{}; run: {}", problem.sentence, problem.command)).collect()
}

pub(super) async fn schedules(app: &App) -> Vec<Schedule> {
    let query = async {
        let mut schedules = app.sync.schedules().await.unwrap_or_default();
        schedules.extend(app.usage.schedule().await);
        schedules
    };
    let schedules = tokio::time::timeout(DATABASE_TIMEOUT, query).await.unwrap_or_default();
    let wire = |status: ScheduleStatus| Schedule {
        name: status.name.to_owned(),
        cron: status.cron,
        last: status.last.map(|at| at.to_string()),
        next: status.next.map(|at| at.to_string()),
    };
    schedules.into_iter().map(wire).collect()
}
