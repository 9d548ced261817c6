//! The parts of `--check-config` about `[OpenIDConnect]`, `[IdentityFederation]` and `[Bootstrap]`.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::stores;
use base::config::{Check, Config, DeviceCodes, ValueForm, Verdict, client_secret};
use runtime::auth;
use runtime::auth::provider::Providers;

/// Checks that the provider's document and keys can be loaded and that it supports sign-in. If the provider
/// cannot be reached, the server starts, but sign-in is unavailable meanwhile.
pub(super) fn provider(config: &Config) -> Option<Check> {
    const TITLE: &str = "Sign-in";
    let settings = config.open_id_connect.as_ref()?;
    let mut findings = Vec::new();
    let mut device_codes = "of this server";
    let document = with_providers(config, async |providers| {
        providers.document(&settings.issuer, stores::system_clock()()).await
    });
    let document = match document {
        Ok(document) => document,
        Err(error) => return Some(Check::from_findings(TITLE, vec![error])),
    };
    match document {
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

/// Returns the issuer of the codes of devices. Fails if they must be those of a provider that cannot issue any.
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

/// Checks that the keys of each issuer can be loaded. If an issuer cannot be reached, the server starts, but
/// the issuer's tokens are refused meanwhile.
pub(super) fn issuers(config: &Config) -> Option<Check> {
    const TITLE: &str = "Identity federation";
    if config.federations.is_empty() {
        return None;
    }
    let names: BTreeSet<&str> = config.federations.iter().map(|section| section.issuer.as_str()).collect();
    let now = stores::system_clock()();
    let findings = with_providers(config, async |providers| {
        let mut findings = Vec::new();
        for name in names {
            if let Err(error) = providers.document(name, now).await {
                findings.push(format!("the keys of the issuer {name} cannot be loaded: {error}"));
            }
        }
        findings
    });
    let mut findings = findings.unwrap_or_else(|error| vec![error]);
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

fn with_providers<T>(config: &Config, requests: impl AsyncFnOnce(&Providers) -> T) -> Result<T, String> {
    store::storage::install_tls_provider();
    let providers = Providers::new(&config.proxy).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(|error| error.to_string())?.block_on(requests(&providers)))
}

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
