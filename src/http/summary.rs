//! The state of the server in one line, and the warning about tokens that cross the network unencrypted.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::http::app::App;
use crate::http::switch::Switch;
use base::config::Config;
use base::model::loopback::is_loopback_host;
use base::model::text::{count_of, joined_lines, one_line};
use base::model::time::Timestamp;
use content::serve;
use runtime::catalog::Catalog;
use runtime::control::Mode;
use store::db::DbError;

/// Maximum length in characters; the log has the full error.
const MAX_CHARS: usize = 400;
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseProblem {
    Unavailable(String),
    /// It answers reads but accepts no publish.
    RejectsWrites(String),
}

pub async fn database_problem(app: &App) -> Option<DatabaseProblem> {
    match tokio::time::timeout(DATABASE_TIMEOUT, app.state.db.check_usable((app.state.clock)())).await {
        Ok(Ok(())) => None,
        Ok(Err(error @ (DbError::ReadOnly { .. } | DbError::ClockAhead { .. }))) => {
            Some(DatabaseProblem::RejectsWrites(error.to_string()))
        }
        Ok(Err(error)) => Some(DatabaseProblem::Unavailable(error.to_string())),
        Err(_) => {
            Some(DatabaseProblem::Unavailable(format!("no answer in {} s", DATABASE_TIMEOUT.as_secs())))
        }
    }
}

/// Returns the summary with counts: `Online: 3 repositories, 23,144 packages, cran synced 2026-11-20 00:00 UTC`.
pub async fn line(switch: &Switch, mode: &Mode) -> String {
    let content = match (mode, switch.app()) {
        (Mode::Online, Some(app)) => Some(content(&app).await),
        _ => None,
    };
    render(switch, mode, content.as_deref())
}

/// Returns the summary without counts, because a start must not wait for the database.
pub fn line_without_counts(switch: &Switch, mode: &Mode) -> String {
    render(switch, mode, None)
}

fn render(switch: &Switch, mode: &Mode, content: Option<&str>) -> String {
    let context = switch.context();
    let line = match mode {
        Mode::Starting(_) => starting(mode),
        Mode::Online => content.map_or_else(|| "Online".to_owned(), |content| format!("Online: {content}")),
        Mode::Draining => format!("Draining, waiting for {}", context.control.work()),
        Mode::Offline => "Offline: every request gets 503; to serve again, run: rspm online".to_owned(),
        Mode::Broken(reason) if !reason.has_listener => format!("Cannot serve: {}", reason.detail),
        Mode::Broken(reason) => format!("Cannot serve, every request gets 503: {}", reason.detail),
    };
    let line = match &*context.remark.load() {
        Some(remark) => format!("{line}; {remark}"),
        None => line,
    };
    one_line(&joined_lines(&line), MAX_CHARS)
}

pub fn starting(mode: &Mode) -> String {
    match mode {
        Mode::Starting(operation) => format!("Starting: {operation}"),
        other => other.word().to_owned(),
    }
}

async fn content(app: &App) -> String {
    let catalog = app.state.catalog.get();
    let repositories = count_of(catalog.repos.len(), "repository", "repositories");
    let write_problem = match database_problem(app).await {
        None => String::new(),
        Some(DatabaseProblem::RejectsWrites(reason)) => format!("; {reason}"),
        Some(DatabaseProblem::Unavailable(reason)) => {
            return format!("{repositories}; the database is unavailable: {reason}");
        }
    };
    let entries = catalog.repos.iter().flat_map(|repo| repo.subscriptions());
    let subscribed_sources: BTreeSet<_> = entries.map(|entry| entry.source).collect();
    let mut packages = 0;
    for source in catalog.sources.iter().filter(|source| subscribed_sources.contains(&source.id)) {
        packages += serve::info::source(&app.repositories, source.name.as_str())
            .await
            .map_or(0, |info| info.packages);
    }
    let last_sync = match app.sync.last_success().await {
        Ok(Some(at)) => format!("cran synced {}", minute(at)),
        Ok(None) => "cran never synced".to_owned(),
        Err(_) => "last sync unknown".to_owned(),
    };
    let skew = catalog.skew((app.state.clock)()).map(|skew| format!("; {skew}")).unwrap_or_default();
    let storage =
        app.state.storage.condition().refusals().map(|text| format!("; {text}")).unwrap_or_default();
    let packages = count_of(packages, "package", "packages");
    format!("{repositories}, {packages}, {last_sync}{skew}{write_problem}{storage}")
}

/// Formats a time as `2026-11-20 00:00 UTC`.
fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => text,
    }
}

/// Warns if a repository is authenticated, a listener has no TLS, and `Server.Address` states no encrypting proxy.
pub fn unencrypted_warning(config: &Config, catalog: &Catalog) -> Option<String> {
    let listen = config.http.listen.as_ref().filter(|listen| !is_loopback_host(&listen.host))?;
    let is_https = config.server.address.as_deref().is_some_and(|address| {
        address.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
    });
    let repo = catalog.repos.iter().find(|repo| repo.authenticated).filter(|_| !is_https)?;
    Some(format!(
        "authenticated repositories, such as '{}', are served without encryption on {listen}: anyone on the network path can \
         read their tokens. Configure [HTTPS], or name the https address of a proxy in Server.Address and listen on a \
         loopback address",
        repo.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_human_readable() {
        assert_eq!(minute(Timestamp(1_795_132_800_000_000)), "2026-11-20 00:00 UTC");
    }
}
