//! The audit trail: list rows, verify their digests.

use std::net::IpAddr;
use std::time::Duration;

use super::call::{Answer, Call};
use crate::http::app::App;
use crate::http::error::Failure;
use api::audit::{AuditRow, AuditSalt, AuditVerification, ListAudit, ListSalts, VerifyAudit};
use base::model::digest::Sha256;
use content::serve::RepoError;
use runtime::auth::Token;
use store::db::DbError;
use store::db::audit::{self, Filter};
use store::db::author::Author;
use store::db::tlog::{self, Salted};

/// Maximum number of rows in a response.
const MAX_ROWS: usize = 10_000;
/// Timeout for writing the row of an operation on the process, which must succeed even if the database does not answer.
const ROW_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn list(call: Call<'_>, query: ListAudit) -> Answer<Vec<AuditRow>> {
    let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let filter = Filter {
        after: number(query.after.unwrap_or(0)),
        since: time(query.since.as_deref(), "since")?.unwrap_or(i64::MIN),
        until: time(query.until.as_deref(), "until")?.unwrap_or(i64::MAX),
        actor: query.actor.unwrap_or_default(),
        action: query.action.unwrap_or_default(),
        object: query.object.unwrap_or_default(),
        outcome: query.outcome.unwrap_or_default(),
        limit: number(query.limit.unwrap_or(100).min(MAX_ROWS)),
        newest_first: match query.order.as_deref() {
            None | Some("oldest") => false,
            Some("newest") => true,
            Some(_) => return Err(Failure::bad_request("the parameter order must be oldest or newest")),
        },
    };
    let rows = call.app.state.db.read(move |c| audit::list(c, &filter)).await.map_err(RepoError::from)?;
    Ok(rows.into_iter().map(wire).collect())
}

/// Converts a row to its form in the API and in the file of the audit trail.
pub(crate) fn wire(row: audit::AuditRow) -> AuditRow {
    AuditRow {
        id: row.id,
        time: row.at.to_string(),
        actor_kind: row.actor_kind,
        actor: row.actor,
        address: row.address,
        action: row.action,
        object_kind: row.object_kind,
        object: row.object,
        outcome: row.outcome,
        detail: row.detail,
        previous: row.previous,
        sha256: row.sha256,
    }
}

pub(super) async fn salts(call: Call<'_>, query: ListSalts) -> Answer<Vec<AuditSalt>> {
    let first = query.first.unwrap_or(0) as u64;
    let salted = call.app.state.db.read(move |c| {
        let log = match query.log {
            Some(log) => i64::try_from(log).unwrap_or(i64::MAX),
            None => tlog::head(c)?.map_or(0, |head| head.id),
        };
        Ok::<_, DbError>((log, tlog::salted(c, log, first, MAX_ROWS as i64)?))
    });
    let (log, entries) = salted.await.map_err(RepoError::from)?;
    let salt = |Salted { id, entry, salt }: Salted| {
        let (row, _) = entry.lines().find_map(|line| line.strip_prefix("audit "))?.split_once(' ')?;
        Some(AuditSalt { log, entry: id, row: row.parse().ok()?, salt: hex::encode(salt) })
    };
    Ok(entries.into_iter().filter_map(salt).collect())
}

/// Parses a time; returns microseconds since the epoch.
fn time(text: Option<&str>, name: &str) -> Result<Option<i64>, Failure> {
    let parse = |text: &str| {
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            Failure::bad_request(format!("the parameter {name} must be a time such as 2026-11-22T12:00:00Z"))
        })?;
        Ok(time.as_microsecond())
    };
    text.map(parse).transpose()
}

/// Records a request for a change that a token does not permit, up to a limit of such rows for each token.
pub(crate) async fn record_refusal(
    app: &App,
    token: &Token,
    address: Option<IpAddr>,
    request: &str,
    failure: &Failure,
) {
    let now = (app.state.clock)();
    if !app.tokens.records_refusal(token, now) {
        return;
    }
    let author = Author {
        kind: token.author_kind(),
        name: token.name(),
        address: address.map(|address| address.to_string()).unwrap_or_default(),
        at: now,
    };
    let (request, reason) = (request.to_owned(), failure.phrase.clone());
    let write = app.state.db.write(move |c| {
        audit::record_by(c, &author, "request", "address", &request, audit::REFUSED, &reason)
    });
    if let Err(error) = write.await {
        tracing::warn!("could not record a refused request in the audit trail: {error}");
    }
}

/// Records a completed operation that does not write to the database itself, with the author of this task. If the row
/// cannot be written, logs it instead of failing, because the operation cannot be undone.
pub(super) async fn record_operation(
    app: &App,
    action: &'static str,
    object_kind: &'static str,
    object: String,
    detail: String,
) {
    let write = app.state.db.write(move |c| audit::record(c, action, object_kind, &object, &detail));
    match tokio::time::timeout(ROW_TIMEOUT, write).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "could not record in the audit trail: {action}"),
        Err(_) => {
            tracing::warn!("could not record in the audit trail: {action}: the database does not answer");
        }
    }
}

pub(super) async fn verify(call: Call<'_>, query: VerifyAudit) -> Answer<AuditVerification> {
    let known = match (query.row, query.sha256) {
        (None, None) => None,
        (Some(row), Some(digest)) => {
            let digest: Sha256 =
                digest.parse().map_err(|_| Failure::bad_request("the parameter sha256 must be 64 digits"))?;
            Some((i64::try_from(row).unwrap_or(i64::MAX), digest.to_string()))
        }
        (Some(_), None) | (None, Some(_)) => {
            return Err(Failure::bad_request("the parameters row and sha256 must be given together"));
        }
    };
    let result =
        call.app.state.db.read(move |c| audit::verify(c, known.as_ref())).await.map_err(RepoError::from)?;
    Ok(AuditVerification {
        rows: result.rows,
        last: result.last,
        sha256: result.sha256,
        problems: result.problems,
    })
}
