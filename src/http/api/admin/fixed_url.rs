//! Fixed URLs of repositories.

use super::call::{Answer, Call, version};
use crate::http::app::App;
use crate::http::error::Failure;
use api::fixed_url::{CreateUrl, FixedUrl, SourceSnapshot};
use base::model::snapshot::{BadSnapshot, Snapshot};
use content::serve::find;
use tasks::edit::fixed_url::{self, FixedUrlRequest};

/// Maximum number of sources in a request.
const MAX_SOURCES: usize = 1_000;

pub(super) async fn create(call: Call<'_>, name: &str, body: CreateUrl) -> Answer<FixedUrl> {
    let app = call.app;
    let base = call.base.clone();
    let actor = call.actor;
    let date = body.date.as_deref().map(|date| {
        let text = format!("'{}' is not a day (YYYY-MM-DD)", date.chars().take(60).collect::<String>());
        date.parse().map_err(|_| Failure::bad_request(text))
    });
    if body.snapshots.len() > MAX_SOURCES {
        return Err(Failure::bad_request(format!("name at most {MAX_SOURCES} sources")));
    }
    let request = FixedUrlRequest {
        repo: name.to_owned(),
        version: body.version.as_deref().map(version).transpose()?,
        date: date.transpose()?,
        sources: body.snapshots.into_iter().map(source).collect::<Result<_, Failure>>()?,
        lock: body.lock,
        no_alias: body.no_alias,
    };
    let snapshot = fixed_url::create(&app.repositories, &app.state, &request, &actor).await?;
    let repo = find::repo(&app.state.catalog.get(), name)?.name.clone();
    let has_address = base.is_some();
    let base = base.unwrap_or_else(|| local_base(app));
    Ok(FixedUrl { url: format!("{base}/{repo}/{snapshot}"), snapshot: snapshot.to_string(), has_address })
}

fn source(entry: SourceSnapshot) -> Result<(String, Snapshot), Failure> {
    let snapshot =
        entry.snapshot.parse().map_err(|error: BadSnapshot| Failure::bad_request(error.to_string()));
    match snapshot? {
        Snapshot::Alias(_) => {
            Err(Failure::bad_request(format!("{}: choose a day or a transaction", entry.snapshot)))
        }
        snapshot => Ok((entry.source, snapshot)),
    }
}

/// Returns the URL of this server for programs on the same machine.
fn local_base(app: &App) -> String {
    let config = app.state.config.load();
    match (&config.http.listen, &config.https.listen) {
        (Some(listen), _) => format!("http://localhost:{}", listen.port),
        (None, Some(listen)) => format!("https://localhost:{}", listen.port),
        (None, None) => "http://localhost".to_owned(),
    }
}
