//! `rspm status|offline|online|hup`, `rspm config log`: control of the server.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::client::Client;
use super::error::CliError;
use super::output::{Output, format_time, table};
use api::backup::LastBackupResult;
use api::control::{Change, GoOffline, LogLevel, Node, Reload, Schedule};
use api::operations::admin as operations;
use base::config::RESTART_COMMAND;
use base::model::recorded_words::RecordedCommand;
use base::model::visible::for_terminal;

pub async fn status(client: &Client, output: &Output) -> Result<(), CliError> {
    let node = client.call::<operations::Status>([], &()).await?;
    output.print(&node, || {
        let jobs: String = node.jobs.iter().map(|job| format!("Running: {job}\n")).collect();
        let warnings: String = node.warnings.iter().map(|warning| format!("Warning: {warning}\n")).collect();
        let key =
            node.encryption_key.iter().map(|key| format!("Encryption key: {key}\n")).collect::<String>();
        let Node { message, version, pid, name, .. } = &node;
        format!(
            "{message}\nVersion: {version} (process {pid} on {name})\n{key}{}{jobs}{}{warnings}",
            backups(&node),
            schedules(&node)
        )
    })
}

/// Formats a line for the last backup, and the last test of a backup, of each folder.
fn backups(node: &Node) -> String {
    let line = |result: &LastBackupResult| {
        let LastBackupResult { place, command, at, error, last_success, missing } = result;
        let name = if *command == RecordedCommand::Test { "Last test of a backup" } else { "Last backup" };
        let suffix = match (error, last_success) {
            (None, _) if *missing > 0 => format!("; missing files: {missing}"),
            (None, _) => String::new(),
            (Some(_), Some(success)) => format!(", failed; the last success was {}", format_time(success)),
            (Some(_), None) => ", failed".to_owned(),
        };
        format!("{name}: {} in {place}{suffix}\n", format_time(at))
    };
    node.backups.iter().map(line).collect()
}

fn schedules(node: &Node) -> String {
    if node.schedules.is_empty() {
        return String::new();
    }
    let format_or =
        |time: &Option<String>, none: &str| time.as_deref().map_or_else(|| none.to_owned(), format_time);
    let row = |schedule: &Schedule| {
        let Schedule { name, cron, last, next } = schedule;
        vec![name.clone(), cron.clone(), format_or(last, "never"), format_or(next, "none")]
    };
    format!(
        "\n{}",
        table(&["Schedule", "When (UTC)", "Last success", "Next run"], node.schedules.iter().map(row))
    )
}

/// `rspm offline`.
///
/// # Errors
/// Requests or jobs are still in progress when the time limit ends; the message lists them and states that the
/// server continues to serve.
pub async fn offline(client: &Client, output: &Output, args: GoOffline) -> Result<(), CliError> {
    let request = client.send::<operations::Offline>([], &args);
    let node: Node = if output.is_human() && std::io::stderr().is_terminal() {
        let bar = ProgressBar::new_spinner();
        let node = tokio::select! {
            node = request => node,
            never = watch(client, &bar) => match never {},
        };
        bar.finish_and_clear();
        node?
    } else {
        request.await?
    };
    output.print(&node, || node.message.clone())
}

/// Polls the server and shows the work that it waits for, until the future is dropped.
async fn watch(client: &Client, bar: &ProgressBar) -> std::convert::Infallible {
    // The template is a constant that indicatif accepts; its default style is the fallback.
    let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_message("Draining");
    loop {
        tokio::time::sleep(Duration::from_millis(150)).await;
        if let Ok(node) = client.call::<operations::Status>([], &()).await {
            bar.set_message(for_terminal(&node.message));
        }
        bar.tick();
    }
}

pub async fn online(client: &Client, output: &Output) -> Result<(), CliError> {
    let node = client.call::<operations::Online>([], &()).await?;
    output.print(&node, || node.message.clone())
}

/// `rspm hup`.
///
/// # Errors
/// The configuration cannot be used; nothing was changed.
pub async fn hup(client: &Client, output: &Output) -> Result<(), CliError> {
    let reload = client.call::<operations::Reload>([], &()).await?;
    output.print(&reload, || describe(&reload))
}

fn describe(reload: &Reload) -> String {
    let mut text = match reload.applied.len() {
        0 => "The configuration was read again; nothing reloadable changed.\n".to_owned(),
        1 => "The configuration was reloaded; 1 property changed:\n".to_owned(),
        n => format!("The configuration was reloaded; {n} properties changed:\n"),
    };
    let list = |changes: &[Change], line: fn(&Change) -> String| -> String {
        changes.iter().map(|change| format!("  {}\n", line(change))).collect()
    };
    let values =
        |c: &Change| format!("{}: {} → {}", c.property, display_value(&c.from), display_value(&c.to));
    text += &list(&reload.applied, values);
    if !reload.ignored.is_empty() {
        text += "No longer set; the value applies until a restart or rspm online:\n";
        text += &list(&reload.ignored, |c| format!("{}: {}", c.property, display_value(&c.from)));
    }
    let (sockets, others): (Vec<_>, Vec<_>) =
        reload.restart.iter().cloned().partition(|change| is_listen_address(&change.property));
    if !others.is_empty() {
        text += "Not reloadable; needs a restart, or rspm offline and rspm online:\n";
        text += &list(&others, values);
    }
    if !sockets.is_empty() {
        text += &format!("Listen addresses; need a restart, under systemd {RESTART_COMMAND}:\n");
        text += &list(&sockets, values);
    }
    for warning in &reload.warnings {
        text += &format!("Warning: {warning}\n");
    }
    text
}

/// Returns true for properties that `rspm offline` followed by `rspm online` does not apply.
fn is_listen_address(property: &str) -> bool {
    property.ends_with(".Listen") || property == "Server.SockFileDir"
}

fn display_value(value: &str) -> &str {
    if value.is_empty() { "(nothing)" } else { value }
}

pub async fn log_level(client: &Client, output: &Output, args: LogLevel) -> Result<(), CliError> {
    let result = client.send::<operations::LogLevel>([], &args).await?;
    output.print(&result, || format!("The level of the server log is {} until the next start.", result.level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_reports_applied_and_other_changes() {
        let change = |property: &str, from: &str, to: &str| Change {
            property: property.to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
        };
        let reload = Reload {
            applied: vec![change("CRAN.URL", "file:///a", "file:///b")],
            ignored: vec![change("Proxy.URL", "http://p", "")],
            restart: vec![change("HTTP.Listen", ":4242", ":80"), change("SQLite.Dir", "/a", "/b")],
            warnings: vec!["[Manifest] URL: is not supported in this version".to_owned()],
        };
        assert_eq!(
            describe(&reload),
            "The configuration was reloaded; 1 property changed:\n  CRAN.URL: file:///a → file:///b\n\
             No longer set; the value applies until a restart or rspm online:\n  Proxy.URL: http://p\n\
             Not reloadable; needs a restart, or rspm offline and rspm online:\n  SQLite.Dir: /a → /b\n\
             Listen addresses; need a restart, under systemd systemctl restart rstudio-pm:\n  \
             HTTP.Listen: :4242 → :80\n\
             Warning: [Manifest] URL: is not supported in this version\n"
        );
        let empty_reload = Reload { applied: vec![], ignored: vec![], restart: vec![], warnings: vec![] };
        assert!(describe(&empty_reload).contains("nothing reloadable changed"));
    }
}
