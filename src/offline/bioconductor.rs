//! `get bioconductor` and `validate bioconductor`: each version is a separate product.

use std::collections::BTreeSet;

use super::args::{Check as CheckArgs, GetBioconductor};
use super::cran::{Setup, chosen, client, conclude, removable, setup, share, wanted};
use super::declared::Declared;
use super::error::{Ending, OfflineError};
use super::mirror::{FORMS, Span, Tree};
use super::place::{self, Place};
use super::progress::Voice;
use super::run::Run;
use super::told::Reader;
use super::validate::{Check, Report, is_begun};
use super::{copied, subset};
use crate::bundle::shared::{BioconductorConfig, Shared};
use crate::bundle::{Product, layout, seal};
use crate::r::bioconductor::config::Config;
use crate::r::bioconductor::{BadName, Component, Version};
use crate::upstream::bundle::Bundle;

/// The mirror's map of versions.
const CONFIG: &str = "config.yaml";

/// The source of versions: a mirror or a bundle.
struct Source<'a> {
    setup: &'a Setup,
    reader: Reader<'a>,
    /// Set if the source is a bundle.
    bundle: Option<Bundle>,
    config: Config,
    /// The text of `config`.
    text: String,
}

/// `get bioconductor`.
pub(super) async fn get(args: GetBioconductor, output: Voice) -> Result<Ending, OfflineError> {
    let mut setup = setup(args.common, &args.base_url, Some(&args.packages), output)?;
    let named = args.packages.file_in.as_deref().map(wanted).transpose()?;
    let source = Source::open(&setup).await?;
    let versions = source.versions(&args.versions).await?;
    let (text, bundle) = (source.text.clone(), source.bundle.clone());
    let mut ending = Ending::Complete;
    for version in versions {
        match one(&mut setup, bundle.as_ref(), version, named.as_ref()).await {
            Ok(Ending::Complete) => {}
            Ok(other) => ending = other,
            // The other versions are not affected.
            Err(error @ (OfflineError::Upstream(_) | OfflineError::Refused(_))) => {
                output.warn(&format!("Bioconductor {version}: {error}"));
                ending = Ending::Incomplete;
            }
            Err(error) => return Err(error),
        }
    }
    if setup.request.dry {
        return Ok(ending);
    }
    let config = seal::seal(&BioconductorConfig { config_yaml: text });
    {
        let _lock = setup.destination.lock("bioc/v4", true)?;
        setup.destination.keep(layout::BIOCONDUCTOR_CONFIG, &config)?;
    }
    let rules = share(&setup, bundle, args.packages.requirements_url.as_deref()).await?;
    removable(&setup.destination, output)?;
    Ok(conclude(output, ending, rules))
}

async fn one(
    setup: &mut Setup,
    bundle: Option<&Bundle>,
    version: Version,
    named: Option<&BTreeSet<String>>,
) -> Result<Ending, OfflineError> {
    let product = Product::Bioconductor(version.to_string());
    let mirror = setup.mirror.clone();
    let reader = &Reader::new(&mirror);
    let names = match chosen(&setup.own, &product, named.cloned(), setup.request.output).await? {
        None => None,
        Some(names) => {
            let declared = declare(reader, bundle, version, (None, setup.request.now.day())).await?;
            let (found, unknown) = subset::closure(&names, &declared);
            if !unknown.is_empty() {
                setup
                    .request
                    .output
                    .say(&format!("Not in Bioconductor {version} (try get cran): {}", unknown.join(", ")));
            }
            Some(found)
        }
    };
    setup.request.subset = names.as_ref().map(|names| names.iter().cloned().collect());
    let setup = &*setup;
    let run = Run {
        destination: &setup.destination,
        product,
        mirror: &setup.mirror,
        source: bundle.cloned(),
        own: setup.own.clone(),
        request: &setup.request,
    };
    let names = names.as_ref();
    run.run(|span| async move {
        let mut declared = declare(reader, bundle, version, span).await?;
        if let Some(names) = names {
            subset::restrict(&mut declared, names);
        }
        Ok(declared)
    })
    .await
}

/// Reads all repositories of a version.
async fn declare(
    reader: &Reader<'_>,
    bundle: Option<&Bundle>,
    version: Version,
    span: Span,
) -> Result<Declared, OfflineError> {
    if let Some(bundle) = bundle {
        return copied::declare(bundle, &Product::Bioconductor(version.to_string()), reader).await;
    }
    let mut all = Declared { dated: true, ..Declared::default() };
    for component in Component::ALL.into_iter().filter(|component| component.is_in(version)) {
        let prefix = format!("packages/{version}/{}/", component.path());
        let tree = Tree { reader, prefix, folder: Some(component.path().to_owned()) };
        match tree.declare(span).await? {
            Some(found) => {
                all.rows.extend(found.rows);
                all.fingerprint.extend(found.fingerprint);
                all.warnings.extend(found.warnings);
                all.dated &= found.dated;
            }
            None if component == Component::Software => {
                return Err(OfflineError::Refused(format!(
                    "{} has no packages/{version}/bioc/src/contrib/PACKAGES: choose another version with --versions, or \
                     another mirror with --base-url",
                    reader.mirror().address()
                )));
            }
            None => {}
        }
    }
    all.told = reader.told();
    Ok(all)
}

impl<'a> Source<'a> {
    async fn open(setup: &'a Setup) -> Result<Source<'a>, OfflineError> {
        let bundle = Bundle::at(setup.mirror.clone());
        let reader = Reader::new(&setup.mirror);
        if let Some(found) = bundle.bioconductor().await? {
            let config = parsed(setup, layout::BIOCONDUCTOR_CONFIG, found.config_yaml.as_bytes())?;
            return Ok(Source { setup, reader, bundle: Some(bundle), config, text: found.config_yaml });
        }
        let Some(bytes) = reader.get(CONFIG).await? else {
            return Err(OfflineError::Refused(format!(
                "{} is neither a Bioconductor mirror (looked for {CONFIG}) nor a bundle (looked for {}); give the address of \
                 one with --base-url",
                setup.mirror.address(),
                layout::BIOCONDUCTOR_CONFIG
            )));
        };
        let config = parsed(setup, CONFIG, &bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Source { setup, reader, bundle: None, config, text })
    }

    async fn has(&self, version: Version) -> Result<bool, OfflineError> {
        if self.bundle.is_some() {
            let product = Product::Bioconductor(version.to_string());
            return Ok(self.reader.get(&product.head()).await?.is_some());
        }
        for form in FORMS {
            let path = format!("packages/{version}/bioc/src/contrib/{form}");
            if self.reader.get(&path).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the requested versions; all versions of the mirror if none is requested.
    async fn versions(&self, filter: &[String]) -> Result<Vec<Version>, OfflineError> {
        let mut versions = Vec::new();
        for text in filter {
            let named = text.parse().map_err(|e: BadName| OfflineError::Usage(format!("--versions: {e}")))?;
            let version = self.config.version(named);
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        let mut there = Vec::new();
        for row in self.config.newest_first() {
            if filter.is_empty() && self.has(row.version).await? {
                there.push(row.version);
            }
        }
        if filter.is_empty() {
            return Ok(there);
        }
        for version in &versions {
            if !self.has(*version).await? {
                let mut known = Vec::new();
                for row in self.config.newest_first() {
                    if self.has(row.version).await? {
                        known.push(row.version.to_string());
                    }
                }
                return Err(OfflineError::Usage(format!(
                    "--versions: {} has no Bioconductor {version}; it has {}",
                    self.setup.mirror.address(),
                    known.join(", ")
                )));
            }
        }
        Ok(versions)
    }
}

fn parsed(setup: &Setup, file: &str, bytes: &[u8]) -> Result<Config, OfflineError> {
    Config::parse(bytes).map_err(|e| {
        OfflineError::Refused(format!(
            "{}/{file} {e}; give another mirror with --base-url",
            setup.mirror.address()
        ))
    })
}

/// `validate bioconductor`.
pub(super) async fn check(args: CheckArgs) -> Result<Report, OfflineError> {
    let destination = Place::at(&args.destination)?;
    let bundle = Bundle::at(client(None)?.mirror(&destination.url()?)?);
    let mut check = Check::new(&destination, bundle, args.packages);
    check.bioconductor().await;
    let mut any = false;
    for version in place::names(&destination.path("bioc/v4"))? {
        let product = Product::Bioconductor(version.clone());
        if layout::is_release(&version) && is_begun(&destination, &product)? {
            any = true;
            check.product(&product).await?;
        }
    }
    if !any {
        return Err(OfflineError::Refused(format!(
            "{} has no version of Bioconductor: get it with rspm-offline-downloader get bioconductor",
            destination.root().display()
        )));
    }
    let mut folders = vec!["bioc/v4".to_owned()];
    for shared in Shared::ALL {
        check.shared(shared).await;
        folders.push(shared.folder().to_owned());
    }
    check.files(&folders)?;
    Ok(check.report)
}
