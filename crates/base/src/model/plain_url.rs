//! Addresses that need no parser: those that [`Url`] keeps as they are. A page of an index has thousands of addresses.

use url::{Position, Url};

/// Returns the address that `base.join(text)` has, if neither needs a parser.
pub fn resolve(base: &Url, text: &str) -> Option<String> {
    if is_plain(text) || path_on(base, text).is_some() {
        return Some(text.to_owned());
    }
    if !is_web(base.scheme()) {
        return None;
    }
    if is_path(text) {
        return Some([&base[..Position::BeforePath], text].concat());
    }
    let (mut folder, mut rest) = (parent(base.path()), text);
    while let Some(below) = rest.strip_prefix("../") {
        (folder, rest) = (parent(folder.strip_suffix('/')?), below);
    }
    let is_relative = !rest.is_empty() && !rest.starts_with('/') && has_plain_parts(rest);
    is_relative.then(|| [&base[..Position::BeforePath], folder, rest].concat())
}

/// Returns the path of an address on the server of a URL, if the address needs no parser and has no user.
pub fn path_on<'a>(server: &Url, text: &'a str) -> Option<&'a str> {
    let rest = text.strip_prefix(server.scheme()).filter(|_| is_web(server.scheme()))?;
    let path = rest.strip_prefix("://")?.strip_prefix(&server[Position::BeforeHost..Position::AfterPort])?;
    is_path(path).then_some(path)
}

/// Returns whether an address needs no parser: `http` or `https`, a host without user and port, and a path. Other
/// addresses may be valid too.
pub fn is_plain(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    rest.find('/').is_some_and(|end| is_host(&rest[..end]) && is_path(&rest[end..]))
}

/// Whether a byte is one of the characters of a path that are not encoded.
static PLAIN: [bool; 256] = {
    let (mut plain, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        plain[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'+' | b'/');
        byte += 1;
    }
    plain
};

fn is_web(scheme: &str) -> bool {
    matches!(scheme, "http" | "https")
}

/// Returns whether a text is the name of a host that is neither an IP address nor an internationalized name.
fn is_host(text: &str) -> bool {
    let is_edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        is_edge(bytes.first())
            && is_edge(bytes.last())
            && bytes.iter().all(|b| is_edge(Some(b)) || *b == b'-')
            && !label.starts_with("xn--")
    };
    // The last part of an IPv4 address is a number, possibly in hexadecimal.
    let last = text.rsplit('.').next().unwrap_or_default();
    text.split('.').all(is_label) && last.starts_with(|c: char| c.is_ascii_lowercase())
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.starts_with("//") && has_plain_parts(text)
}

/// Returns whether a path has only characters that are not encoded, and no part that begins with a dot.
fn has_plain_parts(text: &str) -> bool {
    let mut previous = b'/';
    text.bytes().all(|byte| {
        let is_plain = match byte {
            b'.' => previous != b'/',
            _ => PLAIN[usize::from(byte)],
        };
        previous = byte;
        is_plain
    })
}

/// Returns the path up to its last slash.
fn parent(path: &str) -> &str {
    path.rfind('/').map_or("/", |end| &path[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn usual_addresses_need_no_parser() {
        let base: Url = "http://me:word@127.0.0.1:8080/a/simple/odd/".parse().expect("a URL");
        for (text, expected) in [
            ("https://files.pythonhosted.org/packages/ab/odd-1.0+x.whl", None),
            ("http://127.0.0.1:8080/odd-1.0.whl", None),
            ("/packages/odd-1.0.whl", Some("http://me:word@127.0.0.1:8080/packages/odd-1.0.whl")),
            ("../../files/odd-1.0.whl", Some("http://me:word@127.0.0.1:8080/a/files/odd-1.0.whl")),
            ("../../../../odd-1.0.whl", Some("http://me:word@127.0.0.1:8080/odd-1.0.whl")),
            ("odd-1.0.whl", Some("http://me:word@127.0.0.1:8080/a/simple/odd/odd-1.0.whl")),
        ] {
            assert_eq!(resolve(&base, text).as_deref(), Some(expected.unwrap_or(text)));
            assert_eq!(base.join(text).expect(text).as_str(), expected.unwrap_or(text));
        }
        assert_eq!(path_on(&base, "http://127.0.0.1:8080/odd-1.0.whl"), Some("/odd-1.0.whl"));
        for text in ["http://127.0.0.1:80801/a", "http://127.0.0.1/a", "https://127.0.0.1:8080/a", "/a"] {
            assert_eq!(path_on(&base, text), None, "{text}");
        }
    }

    #[test]
    fn other_addresses_are_parsed() {
        let base: Url = "https://h/a/".parse().expect("a URL");
        for text in [
            "",
            ".",
            "..",
            "../",
            "./a",
            "a/../b",
            "a/.%2e/b",
            ".a",
            "//other/a",
            "..//a",
            "a?b",
            "a#b",
            "a b",
            "é",
            "a:b",
            "https:/a",
            "https://u@h/a",
            "https://h:443/a",
            "https://1.2.3.4/a",
            "https://h.0x1/a",
            "https://H.org/a",
            "https://xn--a/a",
            "https://h./a",
            "https://h..b/a",
            "https://-h/a",
            "https://h.org",
            "https://h.org//..",
            "file:///a",
            "ftp://h/a",
            "https://h.org\\a",
            "a%2F..%2Fb",
        ] {
            assert_eq!(resolve(&base, text), None, "{text}");
        }
        let folder: Url = "file:///srv/web/simple/".parse().expect("a URL");
        assert_eq!((resolve(&folder, "../a"), path_on(&folder, "file:///srv/a")), (None, None));
    }

    proptest! {
        #[test]
        fn a_resolved_address_is_that_of_the_parser(
            base in "(https?|file)://(u:p@)?(h|a\\.b|1\\.2\\.3\\.4|\\[::1\\])(:81)?(/|//|[a-z]|%2e|\\.){0,8}",
            text in "(https?://|/|//|\\.\\./|[a-cA-C0-9._~+:@%?#!-]|0x|xn--|\\\\|h|a\\.b|:81|é|\\PC){0,9}",
        ) {
            let Ok(base) = Url::parse(&base) else { return Ok(()) };
            if let Some(address) = resolve(&base, &text) {
                let parsed = base.join(&text).expect("an address");
                prop_assert_eq!(parsed.as_str(), &address);
                prop_assert_eq!((parsed.query(), parsed.fragment()), (None, None));
                let is_same = parsed.origin() == base.origin();
                prop_assert!(path_on(&base, &address).is_none_or(|path| is_same && path == parsed.path()));
                prop_assert!(!is_plain(&address) || parsed.username().is_empty() && parsed.port().is_none());
            }
        }
    }
}
