//! Selects the platform whose binary a client on Linux gets, or why it gets the source, and a release's binary. Pure.

use base::config::platforms::Distribution;
use base::model::time::Timestamp;
use base::words;
use formats::r::platform::{ANY_ARCH, Arch, BinaryTarget, Platform};
use formats::r::user_agent::{self, ClientSystem, RClient, RVersion, UserAgent};
use formats::r::version::RMinor;
use store::db::binary::Binary;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientPlatform<'a> {
    /// By its `User-Agent`, if it sends one.
    Header(Option<&'a [u8]>),
    /// By the address, or by the parameters `r_version` and `arch`.
    Explicit {
        r: RVersion,
        /// The architecture; `None` for an unsupported one.
        arch: Option<Arch>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformChoice {
    pub r: Option<RVersion>,
    /// The platform of the binary to search for, or the reason why there is none.
    pub platform: Result<(Platform, RVersionMatch), MatchFailure>,
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum RVersionMatch {
        /// The client has the distribution's own version of R, including the patch version.
        Exact = "exact",
        /// There are binaries for the client's minor version.
        Best = "best",
        /// The client has the minor version that the distribution is forced to.
        Forced = "forced",
    }
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum MatchFailure {
        NoAgent = "ua_error_none",
        /// The `User-Agent` names no operating system that has binaries.
        UnsupportedOs = "ua_error_unsupported_os",
        /// The `User-Agent` has the form of R's, but names another program or no version.
        NoR = "ua_error_no_r",
        /// The client has a different operating system than the distribution.
        OtherSystem = "ua_error_distro_mismatch",
        /// There are no binaries for this version of R, or for this architecture.
        NoMatch = "match_error_no_best_match",
        /// The distribution is forced to another version of R.
        ForcedOther = "match_error_force_mismatch",
    }
}

impl MatchFailure {
    /// Returns whether the `User-Agent` is the reason, not the version of R or the architecture that it declares.
    pub fn is_agent_error(self) -> bool {
        match self {
            MatchFailure::NoAgent
            | MatchFailure::UnsupportedOs
            | MatchFailure::NoR
            | MatchFailure::OtherSystem => true,
            MatchFailure::NoMatch | MatchFailure::ForcedOther => false,
        }
    }
}

/// Selects the platform. `has_binaries` is true for minor versions of R for which the distribution may have binaries.
pub fn choose(
    distribution: &Distribution,
    platform: &ClientPlatform<'_>,
    has_binaries: impl Fn(RMinor) -> bool,
) -> PlatformChoice {
    let client = match platform {
        ClientPlatform::Explicit { r, arch } => {
            Ok(RClient { r: *r, system: system_of(distribution), arch: *arch })
        }
        ClientPlatform::Header(None) => Err(MatchFailure::NoAgent),
        ClientPlatform::Header(Some(header)) => match user_agent::parse(header) {
            UserAgent::R(client) => Ok(client),
            UserAgent::NotR => Err(MatchFailure::NoR),
            UserAgent::Unsupported => Err(MatchFailure::UnsupportedOs),
        },
    };
    match client {
        Err(failure) => PlatformChoice { r: None, platform: Err(failure) },
        Ok(client) => PlatformChoice {
            r: Some(client.r),
            platform: match_platform(distribution, &client, has_binaries),
        },
    }
}

/// Returns the system of a distribution: Alpine is the only supported distribution with musl as C library.
fn system_of(distribution: &Distribution) -> ClientSystem {
    if distribution.rules_name == "alpine" { ClientSystem::LinuxMusl } else { ClientSystem::Linux }
}

fn match_platform(
    distribution: &Distribution,
    client: &RClient,
    has_binaries: impl Fn(RMinor) -> bool,
) -> Result<(Platform, RVersionMatch), MatchFailure> {
    if client.system != system_of(distribution) {
        return Err(MatchFailure::OtherSystem);
    }
    let own_version = distribution.r_version.as_deref().and_then(|text| RVersion::parse(text.as_bytes()));
    let same_minor =
        |own_version: &RVersion| (own_version.major, own_version.minor) == (client.r.major, client.r.minor);
    if distribution.is_r_version_forced
        && own_version.as_ref().is_some_and(|own_version| !same_minor(own_version))
    {
        return Err(MatchFailure::ForcedOther);
    }
    let minor = RMinor { major: client.r.major, minor: client.r.minor };
    let has_arch = |arch: &Arch| distribution.architectures.iter().any(|name| name == arch.as_str());
    let Some(arch) = client.arch.filter(|arch| has_arch(arch) && has_binaries(minor)) else {
        return Err(MatchFailure::NoMatch);
    };
    let is_exact = own_version.is_some_and(|own_version| {
        same_minor(&own_version) && own_version.patch.unwrap_or(0) == client.r.patch.unwrap_or(0)
    });
    let version_match = match (distribution.is_r_version_forced, is_exact) {
        (true, _) => RVersionMatch::Forced,
        (false, true) => RVersionMatch::Exact,
        (false, false) => RVersionMatch::Best,
    };
    Ok((Platform { r: minor, target: BinaryTarget::Linux(distribution.name.clone()), arch }, version_match))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BinarySelector {
    pub platform: Platform,
    /// The newest binary from before this instant is served, else the first one after it: the versions in a
    /// snapshot never change, and a binary that was added later is better than none.
    pub until: Timestamp,
}

/// Returns whether a binary runs on an architecture; some run on every one.
pub fn runs_on(binary: &Binary, arch: Arch) -> bool {
    let binary_arch = binary.platform.rsplit_once('/').map(|(_, binary_arch)| binary_arch);
    binary_arch == Some(arch.as_str()) || binary_arch == Some(ANY_ARCH)
}

/// Returns whether a binary may be served: a removed one is served only for snapshots in which it was listed.
pub(in crate::serve) fn is_visible(binary: &Binary, until: Timestamp) -> bool {
    binary.removed_at.is_none_or(|at| binary.at < until && until <= at)
}

/// Selects the binary to serve among those of one release, which are sorted oldest first.
pub(in crate::serve) fn pick(binaries: &[Binary], arch: Arch, until: Timestamp) -> Option<&Binary> {
    let mut candidates = binaries.iter().filter(|binary| runs_on(binary, arch) && is_visible(binary, until));
    candidates.clone().rfind(|binary| binary.at < until).or_else(|| candidates.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::{FileId, PackageId, ReleaseId};
    use store::db::file::FileState;

    const R451: &str = "R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)";

    fn decide(lines: &str, client: &ClientPlatform<'_>) -> PlatformChoice {
        let text = format!("[Distribution \"noble\"]\nHidden = false\n{lines}");
        let config = base::config::parse("f", text.as_bytes(), []).expect("valid").config;
        let has_binaries = |minor: RMinor| config.platforms.r_versions.contains(&minor.to_string());
        choose(config.platforms.linux("noble").expect("known"), client, has_binaries)
    }

    /// Returns the tag with the kind of match, or the reason why there is none; and the version of R.
    fn choice_by_header(lines: &str, text: &str) -> (Result<(String, RVersionMatch), MatchFailure>, String) {
        let choice = decide(lines, &ClientPlatform::Header(Some(text.as_bytes())));
        let expected = choice.platform.map(|(platform, version_match)| (platform.to_string(), version_match));
        (expected, choice.r.map(|r| r.to_string()).unwrap_or_default())
    }

    #[test]
    fn decisions_follow_the_table() {
        let tag = |tag: &str, version_match| Ok((tag.to_owned(), version_match));
        let r = |version: &str| format!("R ({version} x86_64-pc-linux-gnu x86_64 linux-gnu)");
        let s = str::to_owned;
        assert_eq!(
            decide("", &ClientPlatform::Header(None)),
            PlatformChoice { r: None, platform: Err(MatchFailure::NoAgent) }
        );
        for (lines, agent, expected, version) in [
            ("", s("python-requests/2.9.1"), Err(MatchFailure::UnsupportedOs), ""),
            ("", s("libcurl/8.5.0"), Err(MatchFailure::UnsupportedOs), ""),
            ("", s("Q (3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)"), Err(MatchFailure::NoR), ""),
            (
                "",
                s("R (4.5.1 aarch64-apple-darwin20 aarch64 darwin20)"),
                Err(MatchFailure::OtherSystem),
                "4.5.1",
            ),
            ("", s("R (4.5.1 x86_64-w64-mingw32 x86_64 mingw32)"), Err(MatchFailure::OtherSystem), "4.5.1"),
            (
                "",
                s("R (4.5.1 x86_64-pc-linux-musl x86_64 linux-musl)"),
                Err(MatchFailure::OtherSystem),
                "4.5.1",
            ),
            ("RVersion = 4.5.1", r("4.5.1"), tag("4.5-noble", RVersionMatch::Exact), "4.5.1"),
            ("RVersion = 4.5", r("4.5.0"), tag("4.5-noble", RVersionMatch::Exact), "4.5.0"),
            ("RVersion = 4.5.2", r("4.5.1"), tag("4.5-noble", RVersionMatch::Best), "4.5.1"),
            ("RVersion = 4.4.1", r("4.5.1"), tag("4.5-noble", RVersionMatch::Best), "4.5.1"),
            ("", r("4.5.1"), tag("4.5-noble", RVersionMatch::Best), "4.5.1"),
            ("", r("4.5"), tag("4.5-noble", RVersionMatch::Best), "4.5"),
            (
                "RVersion = 4.5\nForceRVersion = yes",
                r("4.5.2"),
                tag("4.5-noble", RVersionMatch::Forced),
                "4.5.2",
            ),
            ("RVersion = 4.4\nForceRVersion = yes", r("4.5.2"), Err(MatchFailure::ForcedOther), "4.5.2"),
            ("", r("3.7.3"), Err(MatchFailure::NoMatch), "3.7.3"),
            ("", r("4.7.0"), Err(MatchFailure::NoMatch), "4.7.0"),
        ] {
            assert_eq!(choice_by_header(lines, &agent), (expected, s(version)), "{lines} {agent}");
        }
    }

    #[test]
    fn an_architecture_without_binaries_gets_the_source_and_no_binary_for_another() {
        let arm = R451.replace("x86_64", "aarch64");
        assert_eq!(choice_by_header("", &arm).0.map(|(tag, _)| tag), Ok("4.5-noble-arm64".to_owned()));
        assert_eq!(choice_by_header("Architecture = x86_64\n", &arm).0, Err(MatchFailure::NoMatch));
        assert_eq!(choice_by_header("", &R451.replace("x86_64", "ppc64le")).0, Err(MatchFailure::NoMatch));
    }

    #[test]
    fn an_explicit_platform_needs_no_header() {
        let r = RVersion::parse(b"4.5").expect("a version");
        let client = |arch| {
            decide("", &ClientPlatform::Explicit { r, arch })
                .platform
                .map(|(p, version_match)| (p.to_string(), version_match))
        };
        assert_eq!(client(Some(Arch::Arm64)), Ok(("4.5-noble-arm64".to_owned(), RVersionMatch::Best)));
        assert_eq!(client(None), Err(MatchFailure::NoMatch));
    }

    fn binary(number: i64, arch: &str, at: i64) -> Binary {
        Binary {
            package: PackageId(1),
            release: ReleaseId(1),
            file: FileId(number),
            platform: format!("4.5-noble/{arch}"),
            number,
            name: "x_1.0.tar.gz".to_owned(),
            locator: String::new(),
            size: None,
            md5: None,
            sha256: None,
            state: FileState::Stored,
            class: None,
            at: Timestamp(at),
            removed_at: None,
            stanza: Vec::new(),
        }
    }

    #[test]
    fn the_newest_binary_of_the_snapshot_is_selected_else_the_first_later_one() {
        let binaries = [binary(1, "x86_64", 10), binary(2, "x86_64", 20), binary(3, "x86_64", 30)];
        let file = |until| pick(&binaries, Arch::X86_64, Timestamp(until)).map(|b| b.file.0);
        assert_eq!([5, 10, 11, 20, 21, 99].map(file), [Some(1), Some(1), Some(1), Some(1), Some(2), Some(3)]);
        assert_eq!(pick(&[], Arch::X86_64, Timestamp(99)), None);
    }

    #[test]
    fn a_removed_binary_stays_in_the_snapshots_that_had_it() {
        let removed = |binary: Binary, at| Binary { removed_at: Some(Timestamp(at)), ..binary };
        // The first was replaced at 20 and must not reappear when the second is removed.
        let binaries = [removed(binary(1, "x86_64", 10), 20), removed(binary(2, "x86_64", 20), 30)];
        let file = |until| pick(&binaries, Arch::X86_64, Timestamp(until)).map(|b| b.file.0);
        assert_eq!(
            [5, 11, 20, 21, 30, 31, i64::MAX].map(file),
            [None, Some(1), Some(1), Some(2), Some(2), None, None]
        );
        let relisted_binaries = [removed(binary(1, "x86_64", 10), 30), binary(2, "x86_64", 40)];
        let file = |until| pick(&relisted_binaries, Arch::X86_64, Timestamp(until)).map(|b| b.file.0);
        assert_eq!([20, 31, 41].map(file), [Some(1), Some(2), Some(2)]);
    }

    #[test]
    fn a_binary_for_another_architecture_is_never_served() {
        let binaries = [binary(1, "any", 10), binary(2, "x86_64", 20)];
        let file = |arch| pick(&binaries, arch, Timestamp(99)).map(|b| b.file.0);
        assert_eq!((file(Arch::X86_64), file(Arch::Arm64)), (Some(2), Some(1)));
        assert_eq!(pick(&binaries[1..], Arch::Arm64, Timestamp(99)), None);
    }
}
