//! The keys that sign bundles, and the addresses that must be bundles (`[Bundle]`): who can write the files of a bundle could
//! otherwise replace it by a mirror, whose files have no signatures.

use std::sync::Arc;

use crate::UpstreamError;
use crate::transport::address::Address;
use base::config::Config;
use formats::tlog::note::VerifierKey;

/// Without keys, bundles need no signature.
#[derive(Default)]
pub(crate) struct BundleTrust {
    pub(super) keys: Arc<[VerifierKey]>,
    addresses: Vec<Address>,
}

impl BundleTrust {
    /// Reads the keys, and the addresses: those that are configured, or else the directories of packages.
    pub(crate) fn of(config: &Config) -> Result<BundleTrust, UpstreamError> {
        let refusal =
            |property: &str, reason: String| UpstreamError::Refused { url: property.to_owned(), reason };
        let key = |text: &String| text.parse().map_err(|e| refusal("Bundle.Key", format!("{e}")));
        let keys: Arc<[VerifierKey]> = config.bundle.keys.iter().map(key).collect::<Result<_, _>>()?;
        let mut urls = config.bundle.urls.clone();
        if keys.is_empty() {
            return match urls.is_empty() {
                true => Ok(BundleTrust::default()),
                false => {
                    Err(refusal("Bundle.URL", "needs Bundle.Key, the key that signs the bundle".to_owned()))
                }
            };
        }
        if urls.is_empty() {
            let indexes = config.indexes.iter().map(|index| &index.url);
            let packages = [&config.cran.url, &config.bioconductor.url].into_iter().chain(indexes);
            urls.extend(packages.filter(|url| url.starts_with("file://")).cloned());
        }
        let addresses = urls.iter().map(|url| Address::parse(url)).collect::<Result<_, _>>()?;
        Ok(BundleTrust { keys, addresses })
    }

    /// Returns the bundle that an address must belong to, and the path below it; `None` for any other address.
    pub(crate) fn required_bundle(&self, address: &Address) -> Option<(Address, String)> {
        self.addresses.iter().find_map(|root| Some((root.clone(), path_below(root, address)?)))
    }
}

fn path_below(root: &Address, address: &Address) -> Option<String> {
    match (root, address) {
        (Address::Dir(root), Address::Dir(path)) => {
            path.strip_prefix(root).ok().map(|path| path.to_string_lossy().into_owned())
        }
        (Address::Http(root), Address::Http(url)) => {
            let path = url.as_str().strip_prefix(root.as_str().trim_end_matches('/'))?;
            (path.is_empty() || path.starts_with('/')).then(|| path.trim_matches('/').to_owned())
        }
        (Address::Dir(_), Address::Http(_)) | (Address::Http(_), Address::Dir(_)) => None,
    }
}
