//! `[HTTP]`, `[HTTPS]` and `[HTTPRedirect]`.

use super::choice::TlsVersion;
use super::problem::ProblemCategory;
use super::reader::Reader;
use super::value::{self, Listen};
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct Http {
    /// `None` if only HTTPS is served.
    pub listen: Option<Listen>,
}

#[derive(Clone, Debug)]
pub struct Https {
    /// The address of the TLS listener.
    pub listen: Option<Listen>,
    /// PEM, the server's certificate first, then its chain.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Whether `Strict-Transport-Security` is sent, with a maximum age of 30 days.
    pub permanent: bool,
    pub minimum_tls: MinimumTls,
}

/// The versions of TLS that clients may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MinimumTls {
    /// TLS 1.2 and 1.3.
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

#[derive(Clone, Debug)]
pub struct HttpRedirect {
    /// A plain-HTTP listener that redirects to HTTPS.
    pub listen: Option<Listen>,
}

/// Reads the three listeners and checks them for conflicts.
pub(super) fn read(reader: &mut Reader<'_>) -> (Http, Https, HttpRedirect) {
    let https = Https {
        listen: reader.optional("HTTPS", "Listen", value::listen),
        certificate: reader.optional("HTTPS", "Certificate", value::path),
        key: reader.optional("HTTPS", "Key", value::path),
        permanent: reader.value("HTTPS", "Permanent", value::boolean),
        minimum_tls: minimum_tls(reader),
    };
    let redirect = HttpRedirect { listen: reader.optional("HTTPRedirect", "Listen", value::listen) };
    let has_tls = reader.is_non_empty("HTTPS", None, "Listen");
    // With HTTPS there is no default listener, because it would serve the same content without encryption.
    let has_http = !has_tls || reader.is_non_empty("HTTP", None, "Listen");
    let http =
        Http { listen: if has_http { reader.optional("HTTP", "Listen", value::listen) } else { None } };

    if has_tls {
        for name in ["Certificate", "Key"] {
            if !reader.is_non_empty("HTTPS", None, name) {
                reader.error(
                    ProblemCategory::Settings,
                    "HTTPS",
                    None,
                    name,
                    "must be set with HTTPS.Listen: the path of a PEM file",
                );
            }
        }
    } else {
        if !reader.is_non_empty("HTTP", None, "Listen") && http.listen.is_none() {
            let message =
                "is empty, and HTTPS.Listen is not set; set at least one of HTTP.Listen and HTTPS.Listen";
            reader.error(ProblemCategory::Settings, "HTTP", None, "Listen", message);
        }
        if reader.is_non_empty("HTTPRedirect", None, "Listen") {
            let message = "needs HTTPS.Listen, the address to redirect to";
            reader.error(ProblemCategory::Settings, "HTTPRedirect", None, "Listen", message);
        }
        for name in ["Certificate", "Key", "Permanent"] {
            if reader.is_non_empty("HTTPS", None, name) {
                reader.warning(
                    ProblemCategory::Effect,
                    "HTTPS",
                    None,
                    name,
                    "has no effect without HTTPS.Listen",
                );
            }
        }
    }
    let addresses = [("HTTP", &http.listen), ("HTTPS", &https.listen), ("HTTPRedirect", &redirect.listen)];
    let mut conflicts = Vec::new();
    for (index, (name, listen)) in addresses.iter().enumerate() {
        for (other_name, other_listen) in &addresses[..index] {
            // Port 0 is a different port each time.
            let port =
                |listen: &Option<Listen>| listen.as_ref().map(|listen| listen.port).filter(|&port| port != 0);
            if port(listen).is_some() && port(listen) == port(other_listen) {
                conflicts.push((*name, format!("{other_name}.Listen and {name}.Listen using same value")));
            }
        }
    }
    for (name, message) in conflicts {
        reader.error(
            ProblemCategory::Settings,
            name,
            None,
            "Listen",
            &format!("{message}; give each its own port"),
        );
    }
    (http, https, redirect)
}

fn minimum_tls(reader: &mut Reader<'_>) -> MinimumTls {
    match reader.value("HTTPS", "MinimumTLS", str::parse::<TlsVersion>) {
        TlsVersion::Tls13 => MinimumTls::Tls13,
        TlsVersion::Tls12 => MinimumTls::Tls12,
        old @ (TlsVersion::Tls10 | TlsVersion::Tls11) => {
            let message = format!("TLS {old} is not supported; the oldest version accepted is 1.2");
            reader.warning(ProblemCategory::Effect, "HTTPS", None, "MinimumTLS", &message);
            MinimumTls::Tls12
        }
    }
}
