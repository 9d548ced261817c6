//! The part of `--check-config` about `[IdentityFederation]` and `[Bootstrap]`.

use std::collections::BTreeSet;

use super::stores;
use base::config::{Check, Config, Verdict};
use runtime::auth;
use runtime::auth::provider::Providers;

/// Checks that the keys of each issuer can be loaded; `None` if no section names one. An issuer that cannot be reached
/// does not prevent a start, but its tokens are refused until it can be reached.
pub(super) fn issuers(config: &Config) -> Option<Check> {
    const TITLE: &str = "Identity federation";
    if config.federations.is_empty() {
        return None;
    }
    store::storage::install_tls_provider();
    let names: BTreeSet<&str> = config.federations.iter().map(|section| section.issuer.as_str()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (runtime, providers) = match (runtime, Providers::new(&config.proxy)) {
        (Ok(runtime), Ok(providers)) => (runtime, providers),
        (Err(error), _) => return Some(Check::from_findings(TITLE, vec![error.to_string()])),
        (_, Err(error)) => return Some(Check::from_findings(TITLE, vec![error.to_string()])),
    };
    let now = stores::system_clock()();
    let mut findings = Vec::new();
    for name in names {
        if let Err(error) = runtime.block_on(providers.document(name, now)) {
            findings.push(format!("the keys of the issuer {name} cannot be loaded: {error}"));
        }
    }
    if config.encryption_key.is_none() {
        findings.push(
            "there is no encryption key, with which issued tokens are signed; create one: rspm encrypt"
                .to_owned(),
        );
    }
    if findings.is_empty() {
        let count = config.federations.len();
        let finding = format!("{count} sections; the keys of all issuers can be loaded");
        return Some(Check { title: TITLE, verdict: Verdict::Pass, findings: vec![finding] });
    }
    Some(Check::from_findings(TITLE, findings))
}

/// Checks `Bootstrap.PublicKey`; `None` if it is not set.
pub(super) fn bootstrap_key(config: &Config) -> Option<Check> {
    let key = config.bootstrap.public_key.as_deref()?;
    Some(match auth::public_key(key) {
        Ok(_) => Check {
            title: "Bootstrap key",
            verdict: Verdict::Info,
            findings: vec![
                "the owner of the private key can create tokens for every change; remove the property when it is no \
                 longer needed"
                    .to_owned(),
            ],
        },
        Err(error) => {
            Check::from_findings("Bootstrap key", vec![format!("[Bootstrap] PublicKey: {error}")])
        }
    })
}
