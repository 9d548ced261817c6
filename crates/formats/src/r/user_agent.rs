//! Reads the version, architecture and operating system of R from a `User-Agent` header.
//!
//! R's form is `R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)`; clients write other products before and after it.

use super::platform::Arch;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAgent {
    /// R, with the properties that select a binary.
    R(RClient),
    /// A header in R's form that another product sent, or that has no valid version of R.
    NotR,
    /// A header in an unknown form, or with an unsupported operating system.
    Unsupported,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RClient {
    pub r: RVersion,
    pub system: ClientSystem,
    /// Architecture of the client; `None` if it is unsupported or not given.
    pub arch: Option<Arch>,
}

/// A version of R as reported by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RVersion {
    /// 4 in `4.5.1`.
    pub major: u16,
    /// 5 in `4.5.1`.
    pub minor: u16,
    /// 1 in `4.5.1`; some clients report only two numbers.
    pub patch: Option<u16>,
}

/// Operating systems with binary packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientSystem {
    /// Linux with the GNU C library.
    Linux,
    /// Linux with musl, which cannot run binaries for the GNU C library.
    LinuxMusl,
    MacOs,
    Windows,
}

impl RVersion {
    /// Parses `4.5.1` or `4.5`; anything after the third number is ignored (`4.5.1-patched`).
    pub fn parse(text: &[u8]) -> Option<RVersion> {
        let mut parts = text.splitn(4, |b| matches!(b, b'.' | b'-'));
        let mut next = || parts.next().map(parse_number);
        let (major, minor) = (next()??, next()??);
        let patch = match next() {
            None => None,
            Some(patch) => Some(patch?),
        };
        Some(RVersion { major, minor, patch })
    }
}

impl std::fmt::Display for RVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        self.patch.map_or(Ok(()), |patch| write!(f, ".{patch}"))
    }
}

fn parse_number(digits: &[u8]) -> Option<u16> {
    if !(1..=3).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |n, digit| n * 10 + u16::from(digit - b'0')))
}

/// Parses a header of arbitrary bytes in one pass.
pub fn parse(header: &[u8]) -> UserAgent {
    let unescaped_header = unescape(header);
    let header = unescaped_header.as_deref().unwrap_or(header);
    let mut result = UserAgent::Unsupported;
    // A piece between two opening parentheses is the content of the first group, and also precedes the second group.
    let mut pieces = header.split_inclusive(|b| matches!(b, b'(' | b')')).peekable();
    while let Some(prefix) = pieces.next() {
        let (Some(prefix), Some(group)) = (prefix.strip_suffix(b"("), pieces.peek()) else { continue };
        let group = group.strip_suffix(b"(").or_else(|| group.strip_suffix(b")")).unwrap_or(group);
        match parse_group(last_word(prefix).unwrap_or_default(), group) {
            Some(UserAgent::R(client)) => return UserAgent::R(client),
            Some(other) if result == UserAgent::Unsupported => result = other,
            Some(_) | None => {}
        }
    }
    result
}

/// Decodes a header that a client or proxy percent-encoded: `R%20(4.6.1%20x86_64-…`.
fn unescape(header: &[u8]) -> Option<Vec<u8>> {
    header
        .windows(3)
        .any(|window| window == b"%20")
        .then(|| percent_encoding::percent_decode(header).collect())
}

fn words(text: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

fn last_word(text: &[u8]) -> Option<&[u8]> {
    words(text).next_back()
}

/// Parses the content of parentheses; `None` if it does not have R's form.
fn parse_group(product: &[u8], group: &[u8]) -> Option<UserAgent> {
    // R's form has four words, or a few more; a longer comment belongs to another product.
    let words: Vec<&[u8]> = words(group).take(9).collect();
    let is_r = product == b"R" || product.starts_with(b"R/");
    let system = words.iter().rev().find_map(|word| parse_system(word));
    let version = words.first().and_then(|word| RVersion::parse(word));
    if !(is_r || (words.len() == 4 && version.is_some())) || words.len() > 8 {
        return None;
    }
    Some(match (is_r, version, system) {
        (false, ..) | (true, None, _) => UserAgent::NotR,
        (true, Some(_), None) => UserAgent::Unsupported,
        (true, Some(r), Some(system)) => {
            // The architecture is a separate word; if that is missing, it is the beginning of the triplet.
            let rest = words.get(1..).unwrap_or_default();
            let arch_word = rest.iter().rev().find_map(|word| parse_arch(word));
            let arch = arch_word
                .or_else(|| rest.iter().find_map(|word| parse_arch(word.split(|b| *b == b'-').next()?)));
            UserAgent::R(RClient { r, system, arch })
        }
    })
}

fn parse_arch(word: &[u8]) -> Option<Arch> {
    std::str::from_utf8(word).ok().and_then(Arch::of_spelling)
}

/// Parses the system from a word, such as `linux-gnu`, `darwin20`, `mingw32`, or a triplet.
fn parse_system(word: &[u8]) -> Option<ClientSystem> {
    let parts: Vec<&[u8]> = word.split(|b| *b == b'-').take(5).collect();
    let has_part = |name: &[u8]| parts.iter().any(|part| part.starts_with(name));
    if has_part(b"linux") {
        return Some(if has_part(b"musl") { ClientSystem::LinuxMusl } else { ClientSystem::Linux });
    }
    if has_part(b"darwin") {
        return Some(ClientSystem::MacOs);
    }
    (has_part(b"mingw") || has_part(b"ucrt")).then_some(ClientSystem::Windows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn r(version: &str, system: ClientSystem, arch: Option<Arch>) -> UserAgent {
        let r = RVersion::parse(version.as_bytes()).expect("a version");
        UserAgent::R(RClient { r, system, arch })
    }

    #[test]
    fn every_form_of_a_client_is_read() {
        let (x86, arm) = (Some(Arch::X86_64), Some(Arch::Arm64));
        for (header, expected) in [
            ("R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)", r("4.5.1", ClientSystem::Linux, x86)),
            ("R/4.5.1 R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)", r("4.5.1", ClientSystem::Linux, x86)),
            (
                "R/4.5.1 R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu) on GitHub Actions",
                r("4.5.1", ClientSystem::Linux, x86),
            ),
            (
                "RStudio Desktop (2022.7.1.554); R (4.1.1 x86_64-w64-mingw32 x86_64 mingw32)",
                r("4.1.1", ClientSystem::Windows, x86),
            ),
            (
                "RStudio Server (2026.1); R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)",
                r("4.5.1", ClientSystem::Linux, x86),
            ),
            (
                "posit.cloud R (4.6.1 x86_64-pc-linux-gnu x86_64 linux-gnu)",
                r("4.6.1", ClientSystem::Linux, x86),
            ),
            (
                "renv (1.1.5); R/4.5.1 R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)",
                r("4.5.1", ClientSystem::Linux, x86),
            ),
            ("R (4.6.0 aarch64-pc-linux-gnu aarch64 linux-gnu)", r("4.6.0", ClientSystem::Linux, arm)),
            ("R (4.5.1 aarch64-unknown-linux-gnu aarch64 linux-gnu)", r("4.5.1", ClientSystem::Linux, arm)),
            ("R%20(4.6.1%20x86_64-w64-mingw32%20x86_64%20mingw32)", r("4.6.1", ClientSystem::Windows, x86)),
            ("R (4.5.0 x86_64-pc-linux-musl x86_64 linux-musl)", r("4.5.0", ClientSystem::LinuxMusl, x86)),
            ("R (4.5.1 aarch64-apple-darwin20 aarch64 darwin20)", r("4.5.1", ClientSystem::MacOs, arm)),
            ("R (4.7.0 x86_64-pc-linux-gnu x86_64 linux-gnu)", r("4.7.0", ClientSystem::Linux, x86)),
            ("R (4.4 x86_64-pc-linux-gnu x86_64 linux-gnu)", r("4.4", ClientSystem::Linux, x86)),
            ("R (4.5.1 arm64 linux-gnu)", r("4.5.1", ClientSystem::Linux, arm)),
            ("R (4.5.1 i686-pc-linux-gnu i686 linux-gnu)", r("4.5.1", ClientSystem::Linux, None)),
            ("R (4.5.1 x86_64-pc-linux-gnu)", r("4.5.1", ClientSystem::Linux, x86)),
            ("R/4.5.1 (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)", r("4.5.1", ClientSystem::Linux, x86)),
            ("x ((R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu", r("4.5.1", ClientSystem::Linux, x86)),
        ] {
            assert_eq!(parse(header.as_bytes()), expected, "{header}");
        }
    }

    #[test]
    fn other_clients_and_unknown_forms_are_distinguished() {
        for header in [
            "Q (3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)",
            "(3.5.3 x86_64-pc-linux-gnu x86_64 linux-gnu)",
            "R (devel x86_64-pc-linux-gnu x86_64 linux-gnu)",
            "R (4 x86_64-pc-linux-gnu x86_64 linux-gnu)",
            "r (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)",
            "XR (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)",
            "R (99999.1.0 x86_64-pc-linux-gnu x86_64 linux-gnu)",
        ] {
            assert_eq!(parse(header.as_bytes()), UserAgent::NotR, "{header}");
        }
        for header in [
            "",
            "libcurl/8.5.0",
            "curl/8",
            "python-requests/2.9.1",
            "httr2/1.3.0 r-curl/8.0.0 libcurl/8.5.0",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "R (4.5.1 sparc-sun-solaris2.10 sparc solaris2.10)",
            "R (4.5.1)",
            "R/4.5.1",
        ] {
            assert_eq!(parse(header.as_bytes()), UserAgent::Unsupported, "{header}");
        }
    }

    #[test]
    fn hostile_headers_are_read_in_linear_time() {
        let form = "R (4.5.1 x86_64-pc-linux-gnu x86_64 linux-gnu)";
        let long_header = format!("{}{form}", "x (1 2 3 4) ".repeat(5000));
        assert!(matches!(parse(long_header.as_bytes()), UserAgent::R(_)), "at the end of 64 kB");
        for part in ["(", "R (", "%20(", "R%20(4.5.1 ", "-", "R (a-a-a-a ", "\u{fffd}("] {
            let header = part.repeat((64 << 10) / part.len());
            let _ = parse(header.as_bytes());
        }
        assert_eq!(parse(&[0xff; 65536]), UserAgent::Unsupported);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(header in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&header);
        }

        #[test]
        fn any_words_of_the_form_are_parsed_without_a_panic(header in "(R|Q|[()/; ]|%20|4\\.5\\.1|x86_64|-|linux|gnu|é){0,60}") {
            let _ = parse(header.as_bytes());
        }

        #[test]
        fn the_form_is_found_in_any_position(prefix in "[a-zA-Z0-9./; )]{0,40}", suffix in "[^%]{0,40}") {
            let header = format!("{prefix} R (4.5.1 aarch64-pc-linux-gnu aarch64 linux-gnu){suffix}");
            prop_assert_eq!(parse(header.as_bytes()), r("4.5.1", ClientSystem::Linux, Some(Arch::Arm64)));
        }
    }
}
