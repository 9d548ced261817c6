//! The part of `--check-config` about `[OpenIDConnect]`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::stores;
use base::config::{Check, Config, DeviceCodes, ValueForm, Verdict, client_secret};
use runtime::auth::provider::Providers;

/// Checks that the provider's document and keys can be loaded and that it supports sign-in; `None` if no provider is
/// configured. A provider that cannot be reached does not prevent a start, but sign-in is unavailable until it can be
/// reached.
pub(super) fn provider(config: &Config) -> Option<Check> {
    const TITLE: &str = "Sign-in";
    let settings = config.open_id_connect.as_ref()?;
    store::storage::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (runtime, providers) = match (runtime, Providers::new(&config.proxy)) {
        (Ok(runtime), Ok(providers)) => (runtime, providers),
        (Err(error), _) => return Some(Check::from_findings(TITLE, vec![error.to_string()])),
        (_, Err(error)) => return Some(Check::from_findings(TITLE, vec![error.to_string()])),
    };
    let mut findings = Vec::new();
    let mut device_codes = "of this server";
    match runtime.block_on(providers.document(&settings.issuer, stores::system_clock()())) {
        Err(error) => findings.push(format!(
            "the provider {} cannot be used: {error}; check OpenIDConnect.Issuer and the network",
            settings.issuer
        )),
        Ok(document) => {
            let endpoints = [
                ("authorization_endpoint", &document.authorization_endpoint),
                ("token_endpoint", &document.token_endpoint),
            ];
            for (name, endpoint) in endpoints {
                if endpoint.is_none() {
                    findings.push(format!("the provider {} has no {name}", settings.issuer));
                }
            }
            match issuer_of_codes(
                config.authentication.device_codes,
                document.device_authorization_endpoint.is_some(),
            ) {
                Ok(issuer) => device_codes = issuer,
                Err(problem) => findings.push(format!("the provider {} {problem}", settings.issuer)),
            }
        }
    }
    if let Some(path) = settings.client_secret_file.as_ref().filter(|_| settings.client_secret.is_none()) {
        findings.extend(secret_file(path, config));
    }
    if config.encryption_key.is_none() {
        findings.push(
            "there is no encryption key, with which tokens of devices are signed; create one: rspm encrypt"
                .to_owned(),
        );
    }
    if !findings.is_empty() {
        return Some(Check::from_findings(TITLE, findings));
    }
    let mut findings =
        vec![format!("the provider {} responds; devices use codes {device_codes}", settings.issuer)];
    for mapping in &settings.groups {
        let scopes: Vec<String> = mapping.scopes.iter().map(ToString::to_string).collect();
        let scopes = if scopes.is_empty() { "nothing".to_owned() } else { scopes.join(" ") };
        findings.push(format!("the group '{}' gets {scopes}", mapping.group));
    }
    Some(Check { title: TITLE, verdict: Verdict::Pass, findings })
}

/// Returns the issuer of the codes of devices. `is_supported` states whether the provider can issue them.
///
/// # Errors
/// The configuration requires codes of the provider, but the provider cannot issue them.
fn issuer_of_codes(codes: DeviceCodes, is_supported: bool) -> Result<&'static str, &'static str> {
    match (codes, is_supported) {
        (DeviceCodes::Server, _) | (DeviceCodes::Any, false) => Ok("of this server"),
        (DeviceCodes::Provider | DeviceCodes::Any, true) => Ok("of the provider"),
        (DeviceCodes::Provider, false) => {
            Err("has no device_authorization_endpoint, so that pak and other programs cannot sign in; set \
             Authentication.DeviceAuthType = local")
        }
    }
}

/// The problem of a file with the client secret; `None` if there is none.
fn secret_file(path: &Path, config: &Config) -> Option<String> {
    let name = format!("OpenIDConnect.ClientSecretFile {}", path.display());
    let form = match client_secret::read(path, config) {
        Ok(secret) => secret.form,
        Err(error) => return Some(format!("{name} {error}")),
    };
    let is_open = path.metadata().is_ok_and(|metadata| metadata.mode() & 0o007 != 0);
    (is_open && form == ValueForm::Plain).then(|| {
        format!(
            "{name} can be read by every user of the machine; fix it with: chmod o-rwx '{}', or write the output of \
             rspm encrypt into it",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_of_device_codes_is_that_of_the_sign_in() {
        let issuers = [DeviceCodes::Any, DeviceCodes::Provider, DeviceCodes::Server]
            .map(|codes| [true, false].map(|is_supported| issuer_of_codes(codes, is_supported).ok()));
        let (provider, server) = (Some("of the provider"), Some("of this server"));
        assert_eq!(issuers, [[provider, server], [provider, None], [server, server]]);
    }
}
