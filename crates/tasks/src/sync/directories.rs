//! Checks directories that serve as mirrors: existence, permissions, mirror or bundle, and age. Logged at the start of
//! the server and after a reload, and part of `check-config`.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::time::SystemTime;

use base::config::{Config, without_userinfo};
use base::model::time::Timestamp;
use formats::bundle::{Head, Product};
use runtime::state::State;
use upstream::origin::bundle::Bundle;
use upstream::origin::index_proof::{DatedSnapshot, read_policy};
use upstream::{Mirror, Upstream, UpstreamError};

/// The findings for one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The section whose `URL` names the directory: `CRAN`, `Bioconductor`.
    pub section: &'static str,
    /// A sentence for each readable product, or the error.
    pub findings: Vec<Result<String, String>>,
}

/// Returns the directories that a configuration names, without duplicates.
pub(super) fn paths(config: &Config) -> Vec<&str> {
    let mut paths: Vec<&str> = [&config.cran.url, &config.bioconductor.url]
        .iter()
        .filter_map(|url| url.strip_prefix("file://"))
        .collect();
    paths.dedup();
    paths
}

/// Checks the configured directories. A directory that cannot be used is a finding, not an error.
pub async fn examine(upstream: &Upstream, config: &Config, now: Timestamp) -> Vec<Report> {
    let mut reports = Vec::new();
    for (section, url) in [("CRAN", &config.cran.url), ("Bioconductor", &config.bioconductor.url)] {
        let Some(path) = url.strip_prefix("file://") else { continue };
        let findings = match upstream.mirror(url) {
            Ok(mirror) if mirror.is_bundle() => bundle_findings(section, path, &mirror, config, now).await,
            Ok(mirror) => vec![directory_finding(section, path, &mirror, now).await],
            Err(error) => vec![Err(error.to_string())],
        };
        reports.push(Report { section, findings });
    }
    if let Some(file) = &config.cran.verify_policy {
        let snapshot = read_policy(file).map_err(|e| format!("CRAN.VerifyPolicy: {e}")).and_then(|policy| {
            let DatedSnapshot { repository, day } = DatedSnapshot::of(&without_userinfo(&config.cran.url))
                .map_err(|e| format!("CRAN.VerifyPolicy is set, and the address {e}"))?;
            let witnesses = if policy.needs_no_witness() { "; the policy requires no witness" } else { "" };
            Ok(format!("a sync verifies {repository} of {day} by the log of the server{witnesses}"))
        });
        reports.push(Report { section: "CRAN", findings: vec![snapshot] });
    }
    for index in config.indexes.iter().filter(|index| index.url.starts_with("file://")) {
        let Ok(bundle) = upstream.bundle(&index.url) else { continue };
        let findings = unknown_keys(&bundle, &[Product::Projects(index.language)], config).await;
        if !findings.is_empty() {
            reports.push(Report { section: index.language.mirror().label(), findings });
        }
    }
    reports
}

/// Names the keys that signed products of a bundle and are not configured.
async fn unknown_keys(bundle: &Bundle, products: &[Product], config: &Config) -> Vec<Result<String, String>> {
    let mut keys = BTreeSet::new();
    for product in products {
        keys.extend(bundle.signer_of(product).await.map(|key| key.to_string()));
    }
    let unknown = keys.into_iter().filter(|key| !config.bundle.keys.contains(key));
    let line = |key| {
        Ok(format!(
            "The bundle is signed by a key that is not configured. If it is the key of those who made the bundle, add to \
             [Bundle]: Key = {key}"
        ))
    };
    unknown.map(line).collect()
}

/// Logs the findings. With an unusable directory the server continues with its stored data.
pub(super) async fn report(state: &State) {
    let (config, upstream) = (state.config.load_full(), state.upstream.load_full());
    for Report { section, findings } in examine(&upstream, &config, (state.clock)()).await {
        for finding in findings {
            match finding {
                Ok(text) => tracing::info!(target: "sync", "{text}"),
                Err(error) => tracing::warn!(
                    target: "sync", error,
                    "{section}.URL cannot be used; serving stored data"
                ),
            }
        }
    }
}

async fn bundle_findings(
    section: &'static str,
    path: &str,
    mirror: &Mirror,
    config: &Config,
    now: Timestamp,
) -> Vec<Result<String, String>> {
    let is_configured = |product: &Product| match product {
        Product::Cran => section == "CRAN",
        Product::Bioconductor(_) => section == "Bioconductor",
        Product::Binaries(_) | Product::Projects(_) => false,
    };
    let mut heads = mirror.heads().await;
    heads.retain(|(product, _)| is_configured(product));
    let products: Vec<Product> = heads.iter().map(|(product, _)| product.clone()).collect();
    let mut findings: Vec<_> = heads
        .into_iter()
        .map(|(product, head)| match head {
            Ok(head) => Ok(sentence(&product, &head, now)),
            Err(error) => Err(format!("{product} of the bundle cannot be read: {error}")),
        })
        .collect();
    if findings.is_empty() {
        return vec![Err(format!(
            "{path} is a bundle without {section}; get it with: rspm-offline-downloader get {}",
            section.to_lowercase()
        ))];
    }
    findings.extend(unknown_keys(&mirror.as_bundle(), &products, config).await);
    findings
}

async fn directory_finding(
    section: &'static str,
    path: &str,
    mirror: &Mirror,
    now: Timestamp,
) -> Result<String, String> {
    let files: &[&str] = if section == "CRAN" {
        mirror.check().await.map_err(|error| error.to_string())?;
        &["src/contrib/PACKAGES.gz", "src/contrib/PACKAGES.rds", "src/contrib/PACKAGES"]
    } else {
        if let Err(error) = tokio::fs::metadata(path).await
            && error.kind() == ErrorKind::NotFound
        {
            return Err(format!("{path}: there is no such directory"));
        }
        &["config.yaml"]
    };
    for file in files {
        match mirror.open_in_place(file).await {
            Ok(open_file) => {
                let age = age(to_timestamp(open_file.metadata.modified()), now);
                return Ok(format!("{path} is a mirror of {section}; its {file} is {age} old"));
            }
            Err(UpstreamError::Missing(_)) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(format!(
        "{path} is neither a mirror of {section} (looked for {}) nor a bundle (looked for v3/version.txt and \
         bioc/v4/version.txt)",
        files.join(", ")
    ))
}

fn sentence(product: &Product, head: &Head, now: Timestamp) -> String {
    format!(
        "The bundle has {product} of {}, {} old: {} packages (serial {})",
        head.snapshot,
        age(head.snapshot.start(), now),
        head.packages,
        head.serial
    )
}

fn to_timestamp(time: std::io::Result<SystemTime>) -> Timestamp {
    let elapsed =
        time.ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
    Timestamp(0) + elapsed
}

/// Returns the time between two instants in days: `3 days`.
fn age(start: Timestamp, now: Timestamp) -> String {
    match now.since(start).as_secs() / 86_400 {
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}
