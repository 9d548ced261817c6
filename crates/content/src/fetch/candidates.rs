//! The possible upstream addresses of a file, the most likely first.

use base::config::{BinaryServerKind, BinaryUrl};
use formats::r::platform::Platform;
use store::db::life::ReleaseFile;
use upstream::{Mirror, Upstream, UpstreamError};

#[derive(Clone)]
pub struct MirrorPath {
    pub mirror: Mirror,
    pub path: String,
}

/// Returns the candidates for a source package: the path in the index, then the archive, then current packages.
pub fn source_candidates(mirror: &Mirror, file: &ReleaseFile, package: &str) -> Vec<MirrorPath> {
    let mut paths = vec![format!("src/contrib/{}", file.locator)];
    for path in [format!("src/contrib/Archive/{package}/{}", file.name), format!("src/contrib/{}", file.name)]
    {
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    paths.into_iter().map(|path| MirrorPath { mirror: mirror.clone(), path }).collect()
}

/// Adds the bundle object of a known digest: the only candidate if the mirror is a bundle, the last if it may be.
pub fn add_object(mut candidates: Vec<MirrorPath>, object: Option<MirrorPath>) -> Vec<MirrorPath> {
    match object {
        Some(object) if object.mirror.is_bundle() => vec![object],
        object => {
            candidates.extend(object);
            candidates
        }
    }
}

/// Returns the candidates for a binary: on each server of `CRAN.BinaryURL` that may have it, or at its own
/// absolute address. Fails if there is none, or for an unusable address.
pub fn binary_candidates(
    urls: &[BinaryUrl],
    upstream: &Upstream,
    platform: &Platform,
    locator: &str,
) -> Result<Vec<MirrorPath>, UpstreamError> {
    if locator.contains("://") {
        let (folder, file) = locator.rsplit_once('/').unwrap_or((locator, ""));
        return Ok(vec![MirrorPath { mirror: upstream.mirror(folder)?, path: file.to_owned() }]);
    }
    let mut candidates = Vec::new();
    for url in urls.iter().filter(|url| may_have(&url.kind, locator)) {
        let mut mirror = upstream.mirror(&url.base)?;
        if matches!(url.kind, BinaryServerKind::Negotiated { .. }) {
            mirror = mirror.as_r_on_linux(platform.r, platform.arch)?;
        }
        candidates.push(MirrorPath { mirror, path: locator.to_owned() });
    }
    if candidates.is_empty() {
        return Err(UpstreamError::Refused {
            url: locator.to_owned(),
            reason: "no address of CRAN.BinaryURL contains this path any more".to_owned(),
        });
    }
    Ok(candidates)
}

fn may_have(kind: &BinaryServerKind, locator: &str) -> bool {
    let linux_path = locator.strip_prefix("bin/linux/");
    let negotiated_path = locator.strip_prefix("__linux__/");
    let matches = |value: &Option<String>, text: &str| value.as_ref().is_none_or(|value| value == text);
    match kind {
        BinaryServerKind::Mirror => linux_path.is_none() && negotiated_path.is_none(),
        BinaryServerKind::Linux { distribution, arch, r } => linux_path.is_some_and(|rest| {
            let mut parts = rest.split('/');
            let (name, r_part) = (parts.next().unwrap_or_default(), parts.next());
            let (distribution_part, arch_part) = name.rsplit_once('-').unwrap_or((name, ""));
            matches(distribution, distribution_part)
                && matches(arch, arch_part)
                && matches(r, r_part.unwrap_or_default())
        }),
        BinaryServerKind::Negotiated { distribution, snapshot } => negotiated_path.is_some_and(|rest| {
            let mut parts = rest.split('/');
            matches(distribution, parts.next().unwrap_or_default()) && parts.next() == Some(snapshot.as_str())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_is_requested_from_servers_that_may_have_it() {
        let lines = [
            "file:///m",
            "file:///l/bin/linux/{distribution}-{arch}/{r}",
            "file:///n/bin/linux/noble-x86_64/4.5",
            "http://p/__linux__/{distribution}/latest",
        ];
        let lines: String = lines.iter().map(|value| format!("BinaryURL = {value}\n")).collect();
        let text = format!("[CRAN]\n{lines}");
        let config = base::config::parse("f", text.as_bytes(), []).expect("valid").config;
        let upstream = Upstream::new(&config.proxy).expect("no proxy");
        let platform = Platform::parse("4.5-noble").expect("a tag");
        let addresses = |locator: &str| {
            let candidates =
                binary_candidates(&config.cran.binaries, &upstream, &platform, locator).expect("candidates");
            candidates.iter().map(|p| format!("{}/{}", p.mirror.address(), p.path)).collect::<Vec<_>>()
        };
        let zip = "bin/windows/contrib/4.5/a_1.0.zip";
        assert_eq!(addresses(zip), [format!("file:///m/{zip}")]);
        let noble = "bin/linux/noble-x86_64/4.5/src/contrib/a_1.0.tar.gz";
        assert_eq!(addresses(noble), [format!("file:///l/{noble}"), format!("file:///n/{noble}")]);
        let arm = "bin/linux/noble-aarch64/4.5/src/contrib/a_1.0.tar.gz";
        assert_eq!(addresses(arm), [format!("file:///l/{arm}")]);
        let locator = "__linux__/noble/latest/src/contrib/a_1.0.tar.gz";
        assert_eq!(addresses(locator), [format!("http://p/{locator}")]);
        assert_eq!(addresses("http://h/x/a.tar.gz"), ["http://h/x/a.tar.gz"]);
        let error =
            binary_candidates(&[], &upstream, &platform, zip).err().map(|e| e.to_string()).expect("an error");
        assert!(error.contains("CRAN.BinaryURL"), "{error}");
    }
}
