//! `get bioconductor` and `validate bioconductor`: each version is a separate product.

use std::collections::BTreeSet;

use super::args::{CheckFlags, GetBioconductor};
use super::cran::{read_package_list, report_old_schemas, report_result, selected_packages, write_shared};
use super::destination;
use super::error::{ExitStatus, OfflineError};
use super::inventory::Inventory;
use super::metadata::MetadataReader;
use super::mirror::{HistorySpan, INDEX_FILES, Tree};
use super::progress::Output;
use super::setup::{Setup, setup};
use super::validate::{Check, Report, has_files};
use super::{bundle_inventory, subset};
use formats::bundle::shared::BioconductorConfig;
use formats::bundle::{Product, layout, self_digest};
use formats::r::bioconductor::config::Config;
use formats::r::bioconductor::{BadVersionName, BioconductorVersion, Component};
use upstream::origin::bundle::Bundle;

/// The mirror's file with the versions of Bioconductor.
const CONFIG: &str = "config.yaml";

/// The origin of versions: a mirror or a bundle.
struct VersionOrigin<'a> {
    setup: &'a Setup,
    reader: MetadataReader<'a>,
    /// The bundle; `None` for a mirror.
    bundle: Option<Bundle>,
    config: Config,
    config_text: String,
}

pub(super) async fn get(args: GetBioconductor, output: Output) -> Result<ExitStatus, OfflineError> {
    let mut setup = setup(args.common, &args.base_url, Some(&args.packages), output)?;
    let requested_packages = args.packages.file_in.as_deref().map(read_package_list).transpose()?;
    let origin = VersionOrigin::open(&setup).await?;
    let versions = origin.versions(&args.versions).await?;
    let (config_text, bundle) = (origin.config_text.clone(), origin.bundle.clone());
    let mut status = ExitStatus::Complete;
    for version in versions {
        let result = get_version(&mut setup, bundle.as_ref(), version, requested_packages.as_ref()).await;
        status = status.after(result, output, &format!("Bioconductor {version}"))?;
    }
    if setup.request.is_dry_run {
        return Ok(status);
    }
    let config = self_digest::serialize(&BioconductorConfig { config_yaml: config_text });
    {
        let _lock = setup.destination.lock("bioc/v4", true)?;
        setup.destination.put_note(layout::BIOCONDUCTOR_CONFIG, &config)?;
        setup.destination.put_if_changed(layout::BIOCONDUCTOR_CONFIG, &config)?;
    }
    let rules = write_shared(&setup, bundle, args.packages.requirements_url.as_deref()).await?;
    report_old_schemas(&setup.destination, output)?;
    Ok(report_result(output, status, rules))
}

async fn get_version(
    setup: &mut Setup,
    bundle: Option<&Bundle>,
    version: BioconductorVersion,
    requested_packages: Option<&BTreeSet<String>>,
) -> Result<ExitStatus, OfflineError> {
    let product = Product::Bioconductor(version.to_string());
    let mirror = setup.mirror.clone();
    let reader = &MetadataReader::new(&mirror);
    let names = match selected_packages(
        &setup.destination_bundle,
        &product,
        requested_packages.cloned(),
        setup.request.output,
    )
    .await?
    {
        None => None,
        Some(names) => {
            let inventory = read_inventory(reader, bundle, version, (None, setup.request.now.day())).await?;
            let (names, unknown_names) = subset::add_dependencies(&names, &inventory);
            if !unknown_names.is_empty() {
                setup.request.output.info(&format!(
                    "Not in Bioconductor {version} (try get cran): {}",
                    unknown_names.join(", ")
                ));
            }
            Some(names)
        }
    };
    setup.request.subset = names.as_ref().map(|names| names.iter().cloned().collect());
    let setup = &*setup;
    let names = names.as_ref();
    let read_inventory = |span| async move {
        let mut inventory = read_inventory(reader, bundle, version, span).await?;
        if let Some(names) = names {
            subset::restrict(&mut inventory, names);
        }
        Ok(inventory)
    };
    setup.run(product, bundle).run(read_inventory).await
}

/// Reads all repositories of a version.
async fn read_inventory(
    reader: &MetadataReader<'_>,
    bundle: Option<&Bundle>,
    version: BioconductorVersion,
    span: HistorySpan,
) -> Result<Inventory, OfflineError> {
    if let Some(bundle) = bundle {
        return bundle_inventory::read_inventory(bundle, &Product::Bioconductor(version.to_string()), reader)
            .await;
    }
    let mut inventory = Inventory { has_dates: true, ..Inventory::default() };
    for component in Component::ALL.into_iter().filter(|component| component.is_in(version)) {
        let prefix = format!("packages/{version}/{}/", component.path());
        let folder = Some(component.path().to_owned());
        let tree = Tree { reader, prefix, folder, may_be_empty: component != Component::Software };
        match tree.read_inventory(span).await? {
            Some(tree_inventory) => {
                inventory.files.extend(tree_inventory.files);
                inventory.fingerprint.extend(tree_inventory.fingerprint);
                inventory.warnings.extend(tree_inventory.warnings);
                inventory.has_dates &= tree_inventory.has_dates;
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
    inventory.validators = reader.validators();
    Ok(inventory)
}

impl<'a> VersionOrigin<'a> {
    async fn open(setup: &'a Setup) -> Result<VersionOrigin<'a>, OfflineError> {
        let bundle = setup.mirror.as_bundle();
        let reader = MetadataReader::new(&setup.mirror);
        if let Some(bundle_config) = bundle.bioconductor().await? {
            let config =
                parse_config(setup, layout::BIOCONDUCTOR_CONFIG, bundle_config.config_yaml.as_bytes())?;
            return Ok(VersionOrigin {
                setup,
                reader,
                bundle: Some(bundle),
                config,
                config_text: bundle_config.config_yaml,
            });
        }
        let Some(bytes) = reader.get(CONFIG).await? else {
            return Err(OfflineError::Refused(format!(
                "{} is neither a Bioconductor mirror (looked for {CONFIG}) nor a bundle (looked for {}); give the address of \
                 one with --base-url",
                setup.mirror.address(),
                layout::BIOCONDUCTOR_CONFIG
            )));
        };
        let config = parse_config(setup, CONFIG, &bytes)?;
        let config_text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(VersionOrigin { setup, reader, bundle: None, config, config_text })
    }

    async fn has_version(&self, version: BioconductorVersion) -> Result<bool, OfflineError> {
        if self.bundle.is_some() {
            let product = Product::Bioconductor(version.to_string());
            return Ok(self.reader.get(&product.head_path()).await?.is_some());
        }
        for index_file in INDEX_FILES {
            let path = format!("packages/{version}/bioc/src/contrib/{index_file}");
            if self.reader.get(&path).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the versions that the origin has, newest first.
    async fn available_versions(&self) -> Result<Vec<BioconductorVersion>, OfflineError> {
        let mut versions = Vec::new();
        for row in self.config.newest_first() {
            if self.has_version(row.version).await? {
                versions.push(row.version);
            }
        }
        Ok(versions)
    }

    /// Returns the requested versions; all versions of the origin if none is requested.
    async fn versions(&self, requested: &[String]) -> Result<Vec<BioconductorVersion>, OfflineError> {
        let mut versions = Vec::new();
        for text in requested {
            let name =
                text.parse().map_err(|e: BadVersionName| OfflineError::Usage(format!("--versions: {e}")))?;
            let version = self.config.version(name);
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        let address = self.setup.mirror.address();
        if requested.is_empty() {
            let available_versions = self.available_versions().await?;
            return match available_versions.is_empty() {
                false => Ok(available_versions),
                true => Err(OfflineError::Refused(format!(
                    "{address} has none of the Bioconductor versions in its config.yaml; give another mirror with --base-url"
                ))),
            };
        }
        for version in &versions {
            if !self.has_version(*version).await? {
                let available_versions: Vec<String> =
                    self.available_versions().await?.iter().map(ToString::to_string).collect();
                return Err(OfflineError::Usage(format!(
                    "--versions: {address} has no Bioconductor {version}; it has {}",
                    available_versions.join(", ")
                )));
            }
        }
        Ok(versions)
    }
}

fn parse_config(setup: &Setup, file: &str, bytes: &[u8]) -> Result<Config, OfflineError> {
    Config::parse(bytes).map_err(|e| {
        OfflineError::Refused(format!(
            "{}/{file} {e}; give another mirror with --base-url",
            setup.mirror.address()
        ))
    })
}

pub(super) async fn check(args: CheckFlags) -> Result<Report, OfflineError> {
    let mut check = Check::open(&args.destination, args.packages, args.key)?;
    check.check_bioconductor().await;
    let mut has_version = false;
    for version in destination::names(&check.destination.path("bioc/v4"))? {
        let product = Product::Bioconductor(version.clone());
        if layout::is_bioconductor_version(&version) && has_files(&check.destination, &product)? {
            has_version = true;
            check.check_product(&product).await?;
        }
    }
    if !has_version {
        return Err(OfflineError::Refused(format!(
            "{} has no version of Bioconductor: get it with rspm-offline-downloader get bioconductor",
            check.destination.root().display()
        )));
    }
    let mut folders = vec!["bioc/v4".to_owned()];
    folders.extend(check.check_all_shared().await);
    check.check_files(&folders)?;
    Ok(check.report)
}
