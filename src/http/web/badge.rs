//! The badge of a package: its version, day of publication, or number of known vulnerabilities.

use http::Response;

use super::context::Context;
use super::{answer, project};
use crate::http::base_url::RequestHead;
use crate::http::error::Failure;
use crate::http::net::body::Body;
use base::model::kind::Layout;
use content::serve;
use pages::badge::{Tone, badge};
use pages::text;

/// Answers with the badge of the listed version, or of the one in the parameter `version`. The parameter `show` selects
/// the value: `version`, `day` or `vulnerabilities`.
pub(super) async fn answer(
    context: &Context<'_>,
    package: &str,
    head: &RequestHead<'_>,
) -> Result<Response<Body>, Failure> {
    let (name, source, version, published, is_blocked) = match context.repo.kind.layout() {
        Layout::Lists => {
            let detail = project::detail(context, package).await?;
            let release = detail.release;
            (release.package, detail.source, release.version, release.published_at, release.blocked.is_some())
        }
        Layout::Projects => {
            let version = context.query.get("version").filter(|version| !version.is_empty());
            let detail = project::project_detail(context, package, version).await?;
            let published = detail.release.uploaded_at();
            (detail.project.to_string(), detail.source, detail.release.version, published, false)
        }
    };
    let (label, value, tone) = match context.query.get("show") {
        None | Some("" | "version") if is_blocked => (name, "blocked".to_owned(), Tone::Bad),
        None | Some("" | "version") => (name, version, Tone::Plain),
        Some("day") => match published {
            Some(at) => (name, at.day().to_string(), Tone::Plain),
            None => (name, "day unknown".to_owned(), Tone::Unknown),
        },
        Some("vulnerabilities") => {
            let advisories = serve::vulnerabilities::current(&context.app.state).await;
            let (value, tone) = match advisories.of(source, &name, &version).len() {
                _ if !advisories.is_known() => ("unknown".to_owned(), Tone::Unknown),
                0 => ("none known".to_owned(), Tone::Good),
                count => (text::count(count, "known", "known"), Tone::Bad),
            };
            (format!("{name} vulnerabilities"), value, tone)
        }
        Some(_) => {
            return Err(Failure::bad_request("the parameter show must be version, day or vulnerabilities"));
        }
    };
    Ok(answer::image(head, "image/svg+xml", badge(&label, &value, tone).into_bytes()))
}
