//! Validation of the host of a request: RFC 9112, 3.2 and RFC 9113, 8.3.1.

use http::header::{HOST, HeaderValue};
use http::{Request, Version};

use crate::http::error::Failure;

/// Checks `Host` and the authority of the target, to which `Host` is set. Fails with 400 if the host is
/// missing (allowed in HTTP/1.0), repeated or invalid, or if an HTTP/2 request has two different ones.
pub(super) fn normalize_host<B>(request: &mut Request<B>) -> Result<(), Failure> {
    let mut fields = request.headers().get_all(HOST).iter();
    let (field, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(Failure::bad_request("the request has more than one Host header"));
    }
    if field.is_some_and(|field| !field.to_str().is_ok_and(is_authority)) {
        return Err(Failure::bad_request("the Host header of the request is not a valid host"));
    }
    let Some(authority) = request.uri().authority() else {
        return match (field, request.version()) {
            (None, Version::HTTP_11 | Version::HTTP_2) => {
                Err(Failure::bad_request("the request has no Host header"))
            }
            _ => Ok(()),
        };
    };
    // An authority with user information is invalid: RFC 9110, 4.2.4.
    if !is_authority(authority.as_str()) {
        return Err(Failure::bad_request("the target of the request has no valid host"));
    }
    let differs =
        field.is_some_and(|field| !field.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()));
    if differs && request.version() == Version::HTTP_2 {
        return Err(Failure::bad_request("the Host header of the request differs from its :authority"));
    }
    if field.is_none() || differs {
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| Failure::bad_request("the target of the request has no valid host"))?;
        request.headers_mut().insert(HOST, host);
    }
    Ok(())
}

fn is_authority(text: &str) -> bool {
    host_name(text).is_some()
}

/// Returns the host of a `Host` field without its port: a name, an IPv4 or a bracketed IPv6 address.
pub(super) fn host_name(field: &str) -> Option<&str> {
    if let Some(rest) = field.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let is_valid = address.parse::<std::net::Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
        return is_valid.then(|| &field[..address.len() + 2]);
    }
    let (host, port) = field.find(':').map_or((field, ""), |at| field.split_at(at));
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let is_valid =
        (1..=253).contains(&host.len()) && host.bytes().all(is_plain) && (port.is_empty() || is_port(port));
    is_valid.then_some(host)
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| digits.is_empty() || digits.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_hosts_are_rejected() {
        assert_eq!(host_name("pm.example.org:80"), Some("pm.example.org"));
        assert_eq!(host_name("pm.example.org:"), Some("pm.example.org"));
        assert_eq!(host_name("192.0.2.1"), Some("192.0.2.1"));
        assert_eq!(host_name("[2001:db8::1]:80"), Some("[2001:db8::1]"));
        for bad in
            ["", "a b", "a/b", "a@b", "a:b", "a:1:2", "[::1", "[x]", "[::1]x", "a\r\nb", "a:99999", "ä"]
        {
            assert_eq!(host_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_authority_of_the_target_replaces_the_host_header() {
        let normalized = |version, target: &str, hosts: &[&str]| {
            let mut request = Request::builder().version(version).uri(target);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let mut request = request.body(()).unwrap();
            normalize_host(&mut request).map_err(|failure| failure.status.as_u16())?;
            Ok(request.headers().get(HOST).map(|host| host.to_str().unwrap().to_owned()))
        };
        let host_is = |host: &str| Ok(Some(host.to_owned()));
        assert_eq!(normalized(Version::HTTP_11, "/", &["a:80"]), host_is("a:80"));
        assert_eq!(normalized(Version::HTTP_10, "/", &[]), Ok(None));
        assert_eq!(normalized(Version::HTTP_11, "http://a.example/x", &["b"]), host_is("a.example"));
        assert_eq!(normalized(Version::HTTP_2, "https://a.example/x", &[]), host_is("a.example"));
        assert_eq!(normalized(Version::HTTP_2, "https://a.example/x", &["A.EXAMPLE"]), host_is("A.EXAMPLE"));
        for (version, target, hosts) in [
            (Version::HTTP_11, "/", &[][..]),
            (Version::HTTP_2, "/", &[]),
            (Version::HTTP_11, "/", &["a", "a"]),
            (Version::HTTP_11, "/", &["a/b"]),
            (Version::HTTP_11, "/", &[""]),
            (Version::HTTP_10, "/", &["<script>"]),
            (Version::HTTP_11, "http://u@a/x", &["a"]),
            (Version::HTTP_2, "https://a/x", &["b"]),
        ] {
            assert_eq!(normalized(version, target, hosts), Err(400), "{version:?} {target} {hosts:?}");
        }
    }
}
