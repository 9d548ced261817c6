//! The page that explains which file a client gets for a package.

use super::choice;
use super::context::Context;
use crate::http::api::admin::explain::decision;
use crate::http::error::Failure;
use base::model::kind::Layout;
use base::model::snapshot::Snapshot;
use content::serve::explain::{self, ExplainRequest};
use formats::r::bioconductor::Part;
use pages::explanation::{Explanation, ServedFile};

/// Maximum length of a parameter, in bytes.
const MAX_PARAMETER: usize = 300;

/// Explains which file is served for `platform`, `agent` and `version`, with the functions that serve it.
pub(super) async fn page(
    context: Context<'_>,
    package: &str,
    snapshot: Snapshot,
    part: Option<Part>,
) -> Result<String, Failure> {
    let parameter = |name: &str| {
        let text = context.query.get(name).map(str::trim).filter(|text| !text.is_empty());
        match text {
            Some(text) if text.len() > MAX_PARAMETER => Err(Failure::bad_request(format!(
                "the parameter {name} is longer than {MAX_PARAMETER} bytes"
            ))),
            text => Ok(text.map(str::to_owned)),
        }
    };
    let (version, distribution, agent) = (parameter("version")?, parameter("platform")?, parameter("agent")?);
    let request = ExplainRequest {
        repo: context.location.repo.clone(),
        package: package.to_owned(),
        version: version.clone(),
        snapshot,
        distribution: distribution.clone(),
        agent: agent.clone().map(String::into_bytes),
        bioconductor: part.map(|part| part.version),
        unnamed: context.principal.unreadable_sources(context.catalog),
        // SECURITY: everyone who may read the repository can read the page.
        with_details: false,
    };
    let explanation = explain::explain(&context.app.repositories, &request).await?;
    let config = context.app.state.config.load();
    let distributions = match context.repo.kind.layout() {
        Layout::Projects => Vec::new(),
        Layout::Lists => choice::distributions(&config.platforms),
    };
    let page = Explanation {
        package: package.to_owned(),
        version: version.unwrap_or_default(),
        distributions,
        distribution: distribution.unwrap_or_default(),
        agent: agent.unwrap_or_default(),
        decisions: explanation.decisions.into_iter().map(decision).collect(),
        answer: explanation.result.answer,
        file: explanation.result.file.map(|file| ServedFile {
            path: file.url.trim_start_matches('/').to_owned(),
            size: file.located.size,
            sha256: file.located.sha256.map(|digest| digest.to_string()),
        }),
        location: context.location,
    };
    Ok(page.render(context.root))
}
