//! The system and the Bioconductor version of a page: as in the address, else of the browser and the default.

use http::HeaderMap;

use crate::http::error::Failure;
use crate::http::target::Query;
use base::config::platforms::{self, Os, Platforms};
use formats::r::bioconductor::{BioconductorVersion, Part};
use pages::setup::{LinuxDistribution, System};
use runtime::catalog::Repository;

/// Returns the system, and whether it is that of the browser. A parameter for an unknown system is ignored,
/// because links of other servers may name such systems.
pub(super) fn system(
    platforms: &Platforms,
    linux: Option<&str>,
    query: &Query,
    headers: &HeaderMap,
) -> (System, bool) {
    let by_parameter = query.get("platform").and_then(|text| parse_system(platforms, text));
    let by_address = || linux.and_then(|name| parse_system(platforms, name));
    match by_parameter.or_else(by_address) {
        Some(system) => (system, false),
        None => (of_browser(headers), true),
    }
}

/// Parses the name of a system: `linux`, `source`, `windows`, `macos`, or a distribution: `jammy`, `ubuntu-22.04`.
fn parse_system(platforms: &Platforms, text: &str) -> Option<System> {
    match text {
        "linux" => return Some(System::AnyLinux),
        "source" => return Some(System::Source),
        "windows" => return Some(System::Windows),
        "macos" => return Some(System::MacOs),
        _ => {}
    }
    let mut distributions = platforms.distributions.iter();
    let distribution = distributions.find(|d| d.os == Os::Linux && is_named(d, text))?;
    Some(System::Linux(distribution.name.clone()))
}

/// Returns whether a text is a name of a distribution in the addresses of pages: `jammy` or `ubuntu-22.04`.
pub(super) fn is_named(distribution: &platforms::Distribution, text: &str) -> bool {
    let platforms::Distribution { name, rules_name, rules_release, .. } = distribution;
    name == text || text == format!("{rules_name}-{rules_release}")
}

/// Returns the system that the browser names. No browser names the release of a Linux distribution.
fn of_browser(headers: &HeaderMap) -> System {
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let text = field("sec-ch-ua-platform").or_else(|| field("user-agent")).unwrap_or_default();
    let is = |name: &str| text.contains(name);
    if is("Windows") {
        System::Windows
    } else if is("macOS") || is("Macintosh") {
        System::MacOs
    } else if is("Linux") && !is("Android") {
        System::AnyLinux
    } else {
        System::Source
    }
}

pub(super) fn distributions(platforms: &Platforms) -> Vec<LinuxDistribution> {
    let is_offered = |d: &&platforms::Distribution| d.os == Os::Linux && d.has_status_row && !d.is_hidden;
    let offered = platforms.distributions.iter().filter(is_offered);
    offered
        .map(|d| LinuxDistribution {
            name: d.name.clone(),
            display: d.display.clone(),
            id: os_release_id(&d.rules_name).to_owned(),
            release: d.rules_release.clone(),
        })
        .collect()
}

/// Returns the `ID` in `/etc/os-release` of a system that the rules for system requirements name.
fn os_release_id(rules_name: &str) -> &str {
    match rules_name {
        "redhat" => "rhel",
        "rockylinux" => "rocky",
        "opensuse" => "opensuse-leap",
        "sle" => "sles",
        other => other,
    }
}

/// Parses the parameter `bioc` for a Bioconductor repository: a Bioconductor version. `None` means the default version.
pub(super) fn part(repo: &Repository, query: &Query) -> Result<Option<Part>, Failure> {
    let requested = query.get("bioc").filter(|text| !text.is_empty() && repo.kind.has_parts());
    let version = requested.map(str::parse::<BioconductorVersion>).transpose();
    let version = version.map_err(|error| Failure::bad_request(format!("the parameter bioc: {error}")))?;
    Ok(version.map(Part::whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config;
    use http::header::HeaderValue;

    fn chosen(linux: Option<&str>, query: &str, agent: &'static str) -> (String, bool) {
        let config = config::parse("f", b"", []).expect("valid").config;
        let query = Query::parse(Some(query), 4096).expect("a query");
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_static(agent));
        let (system, is_detected) = system(&config.platforms, linux, &query, &headers);
        (system.key().to_owned(), is_detected)
    }

    #[test]
    fn the_address_precedes_the_browser() {
        let windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64)";
        assert_eq!(chosen(None, "", windows), ("windows".to_owned(), true));
        assert_eq!(chosen(Some("noble"), "", windows), ("noble".to_owned(), false));
        assert_eq!(chosen(Some("noble"), "platform=jammy", windows), ("jammy".to_owned(), false));
        assert_eq!(chosen(None, "platform=ubuntu-22.04", windows), ("jammy".to_owned(), false));
        assert_eq!(chosen(None, "platform=nothing", windows), ("windows".to_owned(), true));
    }

    #[test]
    fn browsers_name_their_system() {
        for (agent, key) in [
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", "macos"),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0", "linux"),
            ("Mozilla/5.0 (Linux; Android 16)", "source"),
            ("curl/8.5.0", "source"),
        ] {
            assert_eq!(chosen(None, "", agent), (key.to_owned(), true), "{agent}");
        }
    }

    #[test]
    fn offered_distributions_are_named_as_the_systems_name_themselves() {
        let config = config::parse("f", b"", []).expect("valid").config;
        let offered = distributions(&config.platforms);
        let name = |id: &str, release: &str| {
            offered.iter().find(|d| d.id == id && d.release == release).map(|d| d.name.as_str())
        };
        assert_eq!((name("ubuntu", "24.04"), name("debian", "12")), (Some("noble"), Some("bookworm")));
        assert_eq!((name("rhel", "9"), name("rocky", "9")), (Some("redhat9"), Some("rhel9")));
    }
}
