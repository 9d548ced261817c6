//! Explains which file a client gets and why.

use super::call::{Answer, Call, version};
use crate::http::app::App;
use crate::http::error::Failure;
use api::explain::{Decision, Explain, Explanation, ServedFile, Topic};
use base::model::recorded_words::BuildState;
use base::model::snapshot::{BadSnapshot, Snapshot};
use content::serve;
use content::serve::explain::{self, ExplainRequest};
use tasks::build::{log, poll};

pub(super) async fn explain(call: Call<'_>, name: &str, query: Explain) -> Answer<Explanation> {
    let package = query.package.filter(|package| !package.is_empty());
    let package = package.ok_or_else(|| Failure::bad_request("the parameter package is missing"))?;
    let snapshot = query.date.as_deref().map_or(Ok(Snapshot::Latest), str::parse);
    let request = ExplainRequest {
        repo: name.to_owned(),
        package: package.clone(),
        version: query.version,
        snapshot: snapshot.map_err(|e: BadSnapshot| Failure::bad_request(e.to_string()))?,
        distribution: query.distribution,
        agent: query.user_agent.map(String::into_bytes),
        bioconductor: query.bioc_version.as_deref().map(version).transpose()?,
        unnamed: call.principal.unreadable_sources(&call.app.state.catalog.get()),
        with_details: true,
    };
    let explanation = serve::explain::explain(&call.app.repositories, &request).await?;
    let mut decisions: Vec<Decision> = explanation.decisions.into_iter().map(decision).collect();
    decisions.extend(failed_build(call.app, name, &package).await?);
    Ok(Explanation {
        repo: name.to_owned(),
        package,
        decisions,
        file: explanation.result.file.map(served_file),
        no_binary_reason: explanation.result.no_binary_reason.map(str::to_owned),
        answer: explanation.result.answer,
    })
}

/// Returns the failure of the last build of a package from git, with the end of its log; `None` if it did not fail.
async fn failed_build(app: &App, repo: &str, package: &str) -> Result<Option<Decision>, Failure> {
    let sources = match app.state.catalog.get().repo_by_name_or_id(repo) {
        Some(repo) => repo.sources(),
        None => return Ok(None),
    };
    let last = log::last_build(&app.builds, &sources, package, None).await?;
    let failed = last.filter(|last| last.build.state == BuildState::Failed);
    Ok(failed.map(|last| Decision {
        topic: Topic::Build,
        subject: match last.build.tag.as_str() {
            "" => format!("commit {}", poll::short(&last.build.commit)),
            tag => format!("tag {tag}"),
        },
        state: format!("failed: {}", last.build.reason),
        selected: false,
        rule: last.lines(),
    }))
}

pub(in crate::http) fn decision(decision: explain::Decision) -> Decision {
    let explain::Decision { topic, subject, state, is_selected, rule } = decision;
    let topic = match topic {
        explain::Topic::Snapshot => Topic::Snapshot,
        explain::Topic::Source => Topic::Source,
        explain::Topic::Release => Topic::Release,
        explain::Topic::Distribution => Topic::Distribution,
        explain::Topic::Client => Topic::Client,
        explain::Topic::Match => Topic::Match,
        explain::Topic::Binary => Topic::Binary,
        explain::Topic::File => Topic::File,
    };
    Decision { topic, subject, state, selected: is_selected, rule }
}

fn served_file(file: explain::ServedFile) -> ServedFile {
    let explain::ServedFile { source, located, platform, url } = file;
    ServedFile {
        source,
        name: located.package,
        version: located.version,
        class: if located.archived { "archived" } else { "current" }.to_owned(),
        kind: if platform.is_some() { "binary" } else { "source" }.to_owned(),
        platform: platform.map(|platform| platform.to_string()),
        url,
        stored: located.stored,
        size: located.size,
        sha256: located.sha256.map(|digest| digest.to_string()),
    }
}
