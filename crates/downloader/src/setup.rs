//! Opens the HTTP client, the mirror and the destination for a command of the downloader.

use std::sync::Arc;

use super::args::{CommonFlags, PackageFlags};
use super::destination::Destination;
use super::error::OfflineError;
use super::progress::Output;
use super::run::{Run, RunRequest};
use super::sign;
use ::upstream::origin::bundle::Bundle;
use ::upstream::{self, Limits, Mirror, Upstream};
use base::config::{Config, Proxy, Secret};
use base::model::time::Timestamp;
use formats::bundle::Product;
use formats::tlog::note::KeyType;

/// The name of the program in the header `User-Agent`.
const PROGRAM: &str = "rspm-offline-downloader";

pub(super) fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}

/// Creates the HTTP client of a command; `contact` is part of the header `User-Agent`.
pub(super) fn client(
    outbound_proxy: Option<String>,
    contact: Option<&str>,
) -> Result<Upstream, OfflineError> {
    let proxy = Proxy { url: outbound_proxy.map(Secret), user: None, password: None };
    Upstream::with_agent(&proxy, Limits::default(), upstream::user_agent(PROGRAM, contact))
        .map_err(|e| OfflineError::Usage(e.to_string().replace("Proxy.URL", "--outbound-proxy")))
}

/// Returns the default configuration, for the table of platforms and the URL of the rules.
pub(super) fn defaults() -> Result<Arc<Config>, OfflineError> {
    let result = base::config::parse("", b"", []).map_err(|e| OfflineError::Refused(format!("{e:?}")))?;
    Ok(result.config)
}

/// Mirror, destination and options of a command.
pub(super) struct Setup {
    pub(super) upstream: Upstream,
    pub(super) mirror: Mirror,
    pub(super) destination: Destination,
    pub(super) destination_bundle: Bundle,
    pub(super) request: RunRequest,
}

impl Setup {
    /// Returns the download of a product; `origin_bundle` is the upstream as a bundle, if it is one.
    pub(super) fn run(&self, product: Product, origin_bundle: Option<&Bundle>) -> Run<'_> {
        Run {
            destination: &self.destination,
            product,
            mirror: &self.mirror,
            origin_bundle: origin_bundle.cloned(),
            destination_bundle: self.destination_bundle.clone(),
            request: &self.request,
        }
    }
}

/// Opens mirror and destination, and converts the flags to a request.
pub(super) fn setup(
    common: CommonFlags,
    base_url: &str,
    packages: Option<&PackageFlags>,
    output: Output,
) -> Result<Setup, OfflineError> {
    let upstream = client(common.outbound_proxy, common.contact.as_deref())?;
    let mirror = upstream.mirror(base_url).map_err(|e| OfflineError::Usage(format!("--base-url: {e}")))?;
    let mut destination = if common.dryrun {
        Destination::open_read_only(&common.destination)?
    } else {
        Destination::create(&common.destination)?
    };
    if mirror.directory().is_some_and(|root| root.canonicalize().is_ok_and(|root| root == destination.root()))
    {
        return Err(OfflineError::Usage("--base-url and --destination are the same directory".to_owned()));
    }
    let mut destination_bundle = upstream.bundle(&destination.url()?)?;
    if let Some(file) = common.sign_key {
        let signer = sign::read_key(&file)?;
        // What the directory has becomes a part of what is signed.
        destination_bundle = destination_bundle.requiring([signer.key(KeyType::Note).clone()].into());
        destination = destination.signed_by(signer);
    }
    let request = RunRequest {
        concurrency: common.concurrency.get(),
        is_dry_run: common.dryrun,
        first_day: packages.and_then(|packages| packages.starting_snapshot),
        accept_loss: packages.is_some_and(|packages| packages.accept_loss),
        subset: None,
        now: now(),
        output,
    };
    Ok(Setup { upstream, mirror, destination, destination_bundle, request })
}
