//! Binaries of servers that publish no index and negotiate by `User-Agent`: each is looked up with a HEAD request.

use std::time::{Duration, Instant};

use http::HeaderMap;

use super::located::LocatedFile;
use crate::serve::{RepoError, Repositories};
use base::config::platforms::Platforms;
use base::config::{BinaryServerKind, BinaryUrl};
use base::model::ids::{ReleaseId, SourceId};
use formats::r::platform::{BinaryTarget, Platform};
use runtime::state::State;
use store::db::discovered_binary::{self, DiscoveredBinary};
use upstream::{Mirror, UpstreamError};

/// Cached results of the servers; a binary that exists is recorded in the database as well.
pub(in crate::serve) type ProbeCache = quick_cache::sync::Cache<(ReleaseId, Platform), CachedProbe>;

/// Maximum number of entries of [`ProbeCache`], about 200 bytes each.
pub(in crate::serve) const CACHE_ENTRIES: usize = 50_000;

/// Time before a missing binary is requested again.
const NOT_FOUND_TTL: Duration = Duration::from_secs(3600);
/// Time before a server that failed gets requests again.
const FAILURE_TTL: Duration = Duration::from_secs(60);

/// The result of the servers for one binary, and when it was received.
#[derive(Clone)]
pub(in crate::serve) struct CachedProbe {
    received_at: Instant,
    result: ProbeResult,
}

#[derive(Clone)]
enum ProbeResult {
    /// One of the servers has the binary at this path.
    Available(String),
    NotFound,
    Failed(UpstreamError),
}

impl CachedProbe {
    fn is_expired(&self) -> bool {
        let ttl = match self.result {
            // The row of an available binary exists by now, and is read before the cache.
            ProbeResult::Available(_) | ProbeResult::Failed(_) => FAILURE_TTL,
            ProbeResult::NotFound => NOT_FOUND_TTL,
        };
        self.received_at.elapsed() > ttl
    }
}

struct Server {
    mirror: Mirror,
    /// `__linux__/noble/latest`.
    folder: String,
}

/// Returns whether a server is queried for each binary, so that a missing binary may appear later.
pub fn probes_servers(state: &State) -> bool {
    let config = state.config.load();
    config.cran.binaries.iter().any(|url| matches!(url.kind, BinaryServerKind::Negotiated { .. }))
}

/// Returns a binary that is in no list: discovered before, or now on a server. Fails if no server answers.
pub(in crate::serve) async fn find(
    repositories: &Repositories,
    source: &LocatedFile,
    platform: &Platform,
) -> Result<Option<LocatedFile>, RepoError> {
    if source.source() != SourceId::CRAN || !probes_servers(&repositories.state) {
        return Ok(None);
    }
    let config = repositories.state.config.load_full();
    let (_, release) = source.release();
    if let Some(binary) = discovered_binary_of(&repositories.state, release, platform).await? {
        return Ok(Some(source.with_discovered_binary(binary, platform)));
    }
    let key = (release, platform.clone());
    if repositories.files.binary_probes.get(&key).is_some_and(|probe| probe.is_expired()) {
        repositories.files.binary_probes.remove(&key);
    }
    // Concurrent callers wait for the same probe.
    let probe_result = repositories.files.binary_probes.get_or_insert_async(&key, async {
        let servers = servers(&repositories.state, &config.cran.binaries, &config.platforms, platform)?;
        let result = probe(&servers, source, platform).await;
        if let ProbeResult::Available(locator) = &result {
            record_discovered(&repositories.state, release, platform, source, locator.clone()).await?;
        }
        Ok::<CachedProbe, RepoError>(CachedProbe { received_at: Instant::now(), result })
    });
    match probe_result.await?.result {
        ProbeResult::Available(_) => {
            let discovered_binary = discovered_binary_of(&repositories.state, release, platform).await?;
            Ok(discovered_binary
                .map(|discovered_binary| source.with_discovered_binary(discovered_binary, platform)))
        }
        ProbeResult::NotFound => Ok(None),
        ProbeResult::Failed(error) => {
            Err(RepoError::Upstream { source: error, retry_after: FAILURE_TTL.as_secs() })
        }
    }
}

pub(in crate::serve) async fn discovered_binary_of(
    state: &State,
    release: ReleaseId,
    platform: &Platform,
) -> Result<Option<DiscoveredBinary>, RepoError> {
    let database_platform = platform.database_form(Some(platform.arch));
    Ok(state.db.read(move |c| discovered_binary::get(c, release, &database_platform)).await?)
}

async fn record_discovered(
    state: &State,
    release: ReleaseId,
    platform: &Platform,
    source: &LocatedFile,
    locator: String,
) -> Result<(), RepoError> {
    let database_platform = platform.database_form(Some(platform.arch));
    let name = format!("{}_{}.{}", source.package, source.version, platform.extension());
    let now = (state.clock)();
    let write = state.db.write(move |c| {
        discovered_binary::insert(c, SourceId::CRAN, release, &database_platform, &name, &locator, now)
    });
    Ok(write.await?)
}

fn servers(
    state: &State,
    urls: &[BinaryUrl],
    platforms: &Platforms,
    platform: &Platform,
) -> Result<Vec<Server>, RepoError> {
    let BinaryTarget::Linux(name) = &platform.target else { return Ok(Vec::new()) };
    let unavailable = |source| RepoError::Upstream { source, retry_after: FAILURE_TTL.as_secs() };
    let upstream = state.upstream.load();
    let mut servers = Vec::new();
    for BinaryUrl { base, kind } in urls {
        let BinaryServerKind::Negotiated { distribution, snapshot } = kind else { continue };
        // The other server may use another name for the distribution.
        let server_name = distribution.as_deref().unwrap_or(name);
        if platforms.linux(server_name).is_none_or(|distribution| distribution.name != *name) {
            continue;
        }
        let mirror = upstream.mirror(base).map_err(unavailable)?;
        let mirror = mirror.as_r_on_linux(platform.r, platform.arch).map_err(unavailable)?;
        servers.push(Server { mirror, folder: format!("__linux__/{server_name}/{snapshot}") });
    }
    Ok(servers)
}

/// Queries each server in turn, at the address of the source package and at its alternative (current or archived).
async fn probe(servers: &[Server], source: &LocatedFile, platform: &Platform) -> ProbeResult {
    let mut first_error = None;
    for Server { mirror, folder } in servers {
        let listed_path = format!("{folder}/src/contrib/{}", source.name);
        let archived_path = format!("{folder}/src/contrib/Archive/{}/{}", source.package, source.name);
        let paths = if source.archived { [archived_path, listed_path] } else { [listed_path, archived_path] };
        for path in paths {
            match mirror.request_headers(&path).await {
                Ok(headers) if is_binary(&headers, platform) => return ProbeResult::Available(path),
                // The response is the source package: the other address has no binary either.
                Ok(_) => break,
                Err(UpstreamError::Missing(_)) => {}
                Err(error) => {
                    first_error = first_error.or(Some(error));
                    break;
                }
            }
        }
    }
    first_error.map_or(ProbeResult::NotFound, ProbeResult::Failed)
}

fn is_binary(headers: &HeaderMap, platform: &Platform) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_for_platform =
        |tag: &str| Platform::parse(tag).is_some_and(|tag| (tag.r, tag.arch) == (platform.r, platform.arch));
    text("x-package-type") == Some("binary") && text("x-package-binary-tag").is_none_or(is_for_platform)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_declared_binary_for_the_platform_is_accepted() {
        let platform = Platform::parse("4.5-noble-arm64").expect("a tag");
        let accepts = |pairs: &[(&'static str, &'static str)]| {
            let header = |(name, value): &(&'static str, &'static str)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            };
            is_binary(&pairs.iter().map(header).collect(), &platform)
        };
        let binary = ("x-package-type", "binary");
        assert!(accepts(&[binary]) && accepts(&[binary, ("x-package-binary-tag", "4.5-noble-arm64")]));
        assert!(!accepts(&[]) && !accepts(&[("x-package-type", "source")]));
        for tag in ["4.5-noble", "4.4-noble-arm64", "junk"] {
            assert!(!accepts(&[binary, ("x-package-binary-tag", tag)]), "{tag}");
        }
    }
}
