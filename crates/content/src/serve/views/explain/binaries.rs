//! Explains which file a client gets for a release: the binary for its `User-Agent`, or why the source package.

use super::sentences::{self, format_time};
use super::sources::ExplainedRelease;
use super::{Decision, ExplainRequest, ExplainResult, ServedFile, Topic};
use crate::serve::documents::negotiate::{self, BinarySelector, runs_on};
use crate::serve::files::located::LocatedFile;
use crate::serve::files::{binaries, file, upstream};
use crate::serve::{RepoError, Repositories, find};
use base::config::platforms::{Distribution, Os, Platforms};
use base::model::ids::FileId;
use base::model::text::count_of;
use formats::r::layout::{RPath, RepoFileName, Tree};
use formats::r::platform::{Arch, BinaryTarget, Platform};
use formats::r::user_agent::{self, ClientSystem, UserAgent};
use formats::r::version::RMinor;
use runtime::state::State;
use store::db::{self, DbError};

enum FileSelection {
    Source,
    Binary(Platform),
    /// No binary fits: the error name of the service log, and a sentence.
    NoBinary(Option<&'static str>, String),
}

/// The error name in the service log for a file that could not be fetched.
const FETCH: &str = "service_error_fetch";
/// The error name in the service log for a file whose bytes do not match its record.
const DAMAGED: &str = "service_error_ash";

/// The reason why there is no binary: the error name of the service log, if it has one, and a sentence.
type NoBinaryReason = (Option<&'static str>, String);

/// Determines the file that a client gets for a release.
pub(super) async fn explain_file(
    repositories: &Repositories,
    request: &ExplainRequest,
    release: &ExplainedRelease,
    decisions: &mut Vec<Decision>,
) -> Result<ExplainResult, RepoError> {
    let platforms = repositories.state.config.load().platforms.clone();
    let distribution =
        request.distribution.as_deref().map(|name| find::distribution(&platforms, name)).transpose()?;
    let (no_binary_reason, reason) = match select_file(&repositories.state, request, distribution, decisions)
    {
        FileSelection::Source => (None, String::new()),
        FileSelection::NoBinary(no_binary_reason, reason) => {
            explain_binaries(repositories, &release.located, None, decisions).await?;
            (no_binary_reason, reason)
        }
        FileSelection::Binary(platform) => {
            let selector = binaries::selector(&repositories.state, platform, request.snapshot);
            match explain_binary(repositories, request, distribution, release, selector, decisions).await? {
                Err(reason) => reason,
                Ok(file) => {
                    let answer = answer_text(&file, None, "");
                    return Ok(ExplainResult { file: Some(file), no_binary_reason: None, answer });
                }
            }
        }
    };
    if distribution.is_some_and(|distribution| distribution.os != Os::Linux) {
        let answer = format!(
            "404 at the address of the binary, because {reason}; its tree lists the newest version that has a binary, and R \
             finds the source package in src/contrib"
        );
        return Ok(ExplainResult { file: None, no_binary_reason, answer });
    }
    let (file, error) = explain_source(repositories, request, release, distribution, decisions).await;
    let no_binary_reason = no_binary_reason.or(error.is_some().then_some(FETCH));
    let answer = answer_text(&file, error.as_deref(), &reason);
    Ok(ExplainResult { file: Some(file), no_binary_reason, answer })
}

/// Returns the binary, or the reason why it cannot be served.
async fn explain_binary(
    repositories: &Repositories,
    request: &ExplainRequest,
    distribution: Option<&Distribution>,
    release: &ExplainedRelease,
    selector: BinarySelector,
    decisions: &mut Vec<Decision>,
) -> Result<Result<ServedFile, NoBinaryReason>, RepoError> {
    let located = match binaries::find(repositories, &release.located, &selector).await {
        Ok(located) => located,
        // A request of a client fails in the same way: the error is logged, and the source package is served.
        Err(error @ RepoError::Upstream { .. }) => {
            explain_binaries(repositories, &release.located, Some((&selector, None)), decisions).await?;
            return Ok(Err((Some(FETCH), request.describe(&error))));
        }
        Err(error) => return Err(error),
    };
    explain_binaries(repositories, &release.located, Some((&selector, located.as_ref())), decisions).await?;
    let platform = selector.platform;
    let Some(located) = located else {
        let (package, version) = (&release.located.package, &release.located.version);
        let error = format!("there is no binary of {package} {version} for {platform}");
        return Ok(Err((Some(FETCH), error)));
    };
    let url = binary_url(&repositories.state, request, distribution, &platform, &located, release);
    Ok(match explain_stored(repositories, request, &located, &url, decisions).await {
        None => Ok(ServedFile { source: release.source.clone(), located, platform: Some(platform), url }),
        Some(error @ RepoError::Damaged { .. }) => Err((Some(DAMAGED), request.describe(&error))),
        Some(error) => Err((Some(FETCH), request.describe(&error))),
    })
}

/// Selects the file by the distribution and the client's `User-Agent`.
fn select_file(
    state: &State,
    request: &ExplainRequest,
    distribution: Option<&Distribution>,
    decisions: &mut Vec<Decision>,
) -> FileSelection {
    let (Some(distribution), Some(requested_name)) = (distribution, request.distribution.as_deref()) else {
        decisions.push(sentences::no_distribution());
        return FileSelection::Source;
    };
    let agent = request.agent.as_deref();
    decisions.push(sentences::distribution(requested_name, distribution));
    decisions.push(sentences::client(agent));
    let decision = |subject: String, state: &str, is_selected, rule: &str| Decision {
        topic: Topic::Match,
        subject,
        state: state.to_owned(),
        is_selected,
        rule: rule.to_owned(),
    };
    if distribution.os == Os::Linux {
        return match binaries::choose_platform(state, distribution, &negotiate::ClientPlatform::Header(agent))
            .platform
        {
            Ok((platform, version_match)) => {
                decisions.push(decision(
                    platform.to_string(),
                    version_match.as_str(),
                    true,
                    sentences::match_rule(version_match),
                ));
                FileSelection::Binary(platform)
            }
            Err(failure) => {
                decisions.push(decision(
                    "no binary fits".to_owned(),
                    sentences::failure_state(failure),
                    false,
                    sentences::failure_reason(failure),
                ));
                FileSelection::NoBinary(Some(failure.as_str()), sentences::failure_reason(failure).to_owned())
            }
        };
    }
    match agent_platform(distribution, agent) {
        Some(platform) => {
            let rule = "R requests the tree of its own version, whose address contains the version";
            decisions.push(decision(platform.to_string(), "the tree of that version", true, rule));
            FileSelection::Binary(platform)
        }
        None => {
            let reason = format!("this is not the User-Agent of R on {}", distribution.display);
            decisions.push(decision("no binary fits".to_owned(), "no version of R", false, &reason));
            FileSelection::NoBinary(None, reason)
        }
    }
}

/// Adds one decision for each binary of a release, with the reason why it is selected or not.
async fn explain_binaries(
    repositories: &Repositories,
    release: &LocatedFile,
    selection: Option<(&BinarySelector, Option<&LocatedFile>)>,
    decisions: &mut Vec<Decision>,
) -> Result<(), RepoError> {
    let catalog = repositories.state.catalog.get();
    let heads: Vec<_> =
        binaries::heads(&catalog, release.source()).map(|(_, tree, seq)| (tree, seq)).collect();
    let (package, id) = release.release();
    let release_binaries = repositories.state.db.read(move |c| {
        let mut release_binaries = Vec::new();
        for (tree, seq) in &heads {
            release_binaries.extend(db::binary::of_release(c, *tree, *seq, package, id)?);
        }
        Ok::<_, DbError>(release_binaries)
    });
    let release_binaries = release_binaries.await?;
    if release_binaries.is_empty() && selection.is_none_or(|(_, binary)| binary.is_none()) {
        decisions.push(Decision {
            topic: Topic::Binary,
            subject: "none".to_owned(),
            state: "no binary of this version was added".to_owned(),
            is_selected: false,
            rule: "rspm add binary adds one".to_owned(),
        });
    }
    let selected_file = selection.and_then(|(_, binary)| binary.map(LocatedFile::file));
    if let Some((selector, Some(binary))) =
        selection.filter(|_| release_binaries.iter().all(|b| selected_file != Some(b.file)))
    {
        decisions.push(Decision {
            topic: Topic::Binary,
            subject: selector.platform.to_string(),
            state: format!("{} of another server", binary.name),
            is_selected: true,
            rule: "provided by a binary server on request; no binary list contains it".to_owned(),
        });
    }
    for binary in &release_binaries {
        let size =
            binary.size.map(|size| format!(", {}", count_of(size, "byte", "bytes"))).unwrap_or_default();
        decisions.push(Decision {
            topic: Topic::Binary,
            subject: binary.platform.clone(),
            state: format!("of {}{size}", format_time(binary.at)),
            is_selected: selected_file == Some(binary.file),
            rule: selection_reason(binary, selection.map(|(selector, _)| selector), selected_file).to_owned(),
        });
    }
    Ok(())
}

/// Adds the decision on a file, and opens it as for a client; returns the error that a client would get.
async fn explain_stored(
    repositories: &Repositories,
    request: &ExplainRequest,
    located: &LocatedFile,
    url: &str,
    decisions: &mut Vec<Decision>,
) -> Option<RepoError> {
    let (state, rule, error) = match located.key() {
        None => ("not fetched yet".to_owned(), "fetched from upstream on the first request".to_owned(), None),
        Some(key) => match file::open_stored(repositories, located, &key, None).await {
            Ok(_) => {
                let size = located
                    .size
                    .map(|size| format!(", {}", count_of(size, "byte", "bytes")))
                    .unwrap_or_default();
                (format!("stored{size}"), format!("SHA-256 {}", key.digest()), None)
            }
            Err(error) if upstream::may_be_fetched(&repositories.state, located) => {
                let rule = match request.with_details {
                    true => error.to_string(),
                    false => "the stored file cannot be served".to_owned(),
                };
                ("will be fetched again".to_owned(), rule, None)
            }
            Err(error) => ("stored, but cannot be served".to_owned(), request.describe(&error), Some(error)),
        },
    };
    decisions.push(Decision {
        topic: Topic::File,
        subject: url.to_owned(),
        state,
        is_selected: error.is_none(),
        rule,
    });
    error
}

/// Describes the source package at its address, with the error that prevents serving it.
async fn explain_source(
    repositories: &Repositories,
    request: &ExplainRequest,
    release: &ExplainedRelease,
    distribution: Option<&Distribution>,
    decisions: &mut Vec<Decision>,
) -> (ServedFile, Option<String>) {
    let linux_distribution = distribution.and(request.distribution.as_deref());
    let url = address(request, linux_distribution, release, &release.path);
    // A lost source package is fetched again if its source has a mirror.
    let error = explain_stored(repositories, request, &release.located, &url, decisions).await;
    let error = error.map(|error| request.describe(&error));
    let (source, located) = (release.source.clone(), release.located.clone());
    (ServedFile { source, located, platform: None, url }, error)
}

fn binary_url(
    state: &State,
    request: &ExplainRequest,
    distribution: Option<&Distribution>,
    platform: &Platform,
    binary: &LocatedFile,
    release: &ExplainedRelease,
) -> String {
    let platforms = state.config.load().platforms.clone();
    match (distribution.map(|distribution| distribution.os), RepoFileName::parse(&binary.name)) {
        (Some(Os::Windows | Os::MacOs), Some(file)) => {
            let tree = contrib_tree(&platforms, platform);
            address(request, None, release, &RPath::File { tree, file })
        }
        _ => address(request, request.distribution.as_deref(), release, &release.path),
    }
}

/// Returns the platform of R on Windows or macOS, from its `User-Agent`.
fn agent_platform(distribution: &Distribution, agent: Option<&[u8]>) -> Option<Platform> {
    let UserAgent::R(client) = user_agent::parse(agent?) else { return None };
    let (target, system) = match distribution.os {
        Os::Windows => (BinaryTarget::Windows, ClientSystem::Windows),
        Os::MacOs => (BinaryTarget::MacOs, ClientSystem::MacOs),
        Os::Linux => return None,
    };
    let r = RMinor { major: client.r.major, minor: client.r.minor };
    (client.system == system).then_some(Platform { r, target, arch: client.arch? })
}

/// Returns the contrib directory with the binaries for a platform.
fn contrib_tree(platforms: &Platforms, platform: &Platform) -> Tree {
    let Platform { r, target, arch } = platform;
    let folders = platforms.macos_folders(&r.to_string());
    let folder = folders.and_then(|folders| match arch {
        Arch::Arm64 => folders.arm64.as_deref(),
        Arch::X86_64 => folders.x86_64.as_deref(),
    });
    let folder = folder.and_then(|folder| Tree::macos(folder, *r));
    match target {
        BinaryTarget::Windows => Tree::Windows { r: *r },
        BinaryTarget::MacOs => folder.unwrap_or(Tree::MacOs { flavor: None, r: *r }),
        BinaryTarget::Linux(_) => Tree::Source,
    }
}

fn address(
    request: &ExplainRequest,
    linux_distribution: Option<&str>,
    release: &ExplainedRelease,
    path: &RPath,
) -> String {
    let linux_distribution = linux_distribution.map(|name| format!("/__linux__/{name}")).unwrap_or_default();
    let part = release.part.map(|part| format!("packages/{part}/")).unwrap_or_default();
    format!("/{}{linux_distribution}/{}/{part}{}", request.repo, request.snapshot, path.path())
}

fn selection_reason(
    binary: &db::binary::Binary,
    selection: Option<&BinarySelector>,
    selected_file: Option<FileId>,
) -> &'static str {
    let Some(selection) = selection else { return "no binary fits the client" };
    let label = binary.platform.rsplit_once('/').map_or(binary.platform.as_str(), |(label, _)| label);
    let is_before_end = binary.at < selection.until;
    match (selected_file == Some(binary.file), is_before_end) {
        _ if label != selection.platform.label() => "for another version of R, or another system",
        _ if !runs_on(binary, selection.platform.arch) => "for another architecture",
        (true, true) => "the newest from before the snapshot's end",
        (true, false) => "there is none from before the snapshot's end; this is the first after it",
        (false, _) if binary.removed_at.is_some() => "it was removed",
        (false, true) => "replaced by a newer one",
        (false, false) => "newer than the snapshot",
    }
}

fn answer_text(file: &ServedFile, error: Option<&str>, reason: &str) -> String {
    let LocatedFile { package, version, .. } = &file.located;
    let (url, source) = (&file.url, &file.source);
    let because = if reason.is_empty() { String::new() } else { format!(", because {reason}") };
    match (error, &file.platform) {
        (Some(error), _) => format!("no file of {package} {version} can be served{because}; and {error}"),
        (None, Some(platform)) => {
            format!("the binary {platform} of {package} {version} from {source}: GET {url}")
        }
        (None, None) => format!("the source package {package} {version} from {source}{because}: GET {url}"),
    }
}
