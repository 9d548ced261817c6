//! `get cran` and `validate cran`.

use std::collections::BTreeSet;
use std::path::Path;

use super::args::{CheckFlags, GetCran};
use super::destination::{self, Destination};
use super::error::{ExitStatus, OfflineError};
use super::index_proof::IndexProof;
use super::inventory::Inventory;
use super::metadata::MetadataReader;
use super::mirror::{HistorySpan, Tree};
use super::progress::Output;
use super::setup::{Setup, defaults, setup};
use super::shared::{self, RulesSource};
use super::validate::{Check, Report, has_files};
use super::{binaries, bundle_inventory, subset};
use base::model::time::Timestamp;
use formats::bundle::{Product, layout};
use upstream::Mirror;
use upstream::origin::bundle::{Bundle, BundleError};
use upstream::origin::index_proof::{DatedSnapshot, read_policy};

pub(super) async fn get(args: GetCran, output: Output) -> Result<ExitStatus, OfflineError> {
    let platforms = binaries::selected_platforms(&args.binaries, &defaults()?.platforms)?;
    let mut setup = setup(args.common, &args.base_url, Some(&args.packages), output)?;
    setup.mirror.directory().map_or(Ok(()), require_directory)?;
    let origin_bundle = setup.mirror.as_bundle();
    let origin_bundle = origin_bundle.has(&Product::Cran).await?.then_some(origin_bundle);
    let usage_error = |e| OfflineError::Usage(format!("--verify-policy: {e}"));
    let index_proof = match args.verify_policy {
        None => None,
        Some(file) => {
            DatedSnapshot::of(&setup.mirror.address()).map_err(|e| usage_error(format!("--base-url {e}")))?;
            Some(IndexProof::new(read_policy(&file).map_err(usage_error)?))
        }
    };
    let requested_packages = args.packages.file_in.as_deref().map(read_package_list).transpose()?;
    let cran_reader = CranReader {
        reader: MetadataReader::new(&setup.mirror),
        bundle: origin_bundle.as_ref(),
        product: Product::Cran,
        index_proof: index_proof.as_ref(),
    };
    let names = match selected_packages(&setup.destination_bundle, &Product::Cran, requested_packages, output)
        .await?
    {
        None => None,
        Some(names) => Some(cran_reader.add_dependencies(&names, setup.request.now, output).await?),
    };
    setup.request.subset = names.as_ref().map(|names| names.iter().cloned().collect());
    let run = setup.run(Product::Cran, origin_bundle.as_ref());
    let packages_status = run.run(|span| cran_reader.read_inventory(span, names.as_ref())).await?;
    let binaries_status = binaries::get(&setup, origin_bundle.as_ref(), platforms).await?;
    let status = if binaries_status == ExitStatus::Complete { packages_status } else { binaries_status };
    if setup.request.is_dry_run {
        return Ok(status);
    }
    if let Some(index_proof) = &index_proof {
        index_proof.copy_log(&setup, &args.base_url).await?;
    }
    let rules = write_shared(&setup, origin_bundle, args.packages.requirements_url.as_deref()).await?;
    report_old_schemas(&setup.destination, output)?;
    Ok(report_result(output, status, rules))
}

/// Prints the last line of a `get` and returns the exit status. Outdated rules for system requirements make the
/// download incomplete only if their URL was given explicitly.
pub(super) fn report_result(output: Output, packages_status: ExitStatus, rules: RulesState) -> ExitStatus {
    match (packages_status, rules) {
        (ExitStatus::Complete, RulesState::Current) => {
            output.info("complete");
            ExitStatus::Complete
        }
        (ExitStatus::Complete, RulesState::Unreachable { is_url_given }) => {
            output.warn("the packages are complete; the rules for system requirements were not updated");
            if is_url_given { ExitStatus::Incomplete } else { ExitStatus::Complete }
        }
        (status @ (ExitStatus::Incomplete | ExitStatus::Damaged), _) => {
            output.warn("not complete: some of the requested packages could not be downloaded");
            status
        }
    }
}

/// Writes the data shared by CRAN and Bioconductor.
pub(super) async fn write_shared(
    setup: &Setup,
    origin_bundle: Option<Bundle>,
    url: Option<&str>,
) -> Result<RulesState, OfflineError> {
    let defaults = defaults()?;
    let (now, output) = (setup.request.now, setup.request.output);
    shared::distributions(&setup.destination, &defaults.platforms, now)?;
    let rules = match (url, origin_bundle) {
        (Some("none"), _) => RulesSource::None,
        (Some(url), _) => RulesSource::Url(url.to_owned()),
        (None, Some(bundle)) => RulesSource::Bundle(bundle),
        (None, None) => RulesSource::Url(defaults.requirements.url.to_string()),
    };
    let is_read = shared::requirements(&setup.destination, &setup.upstream, &rules, now, output).await?;
    Ok(if is_read { RulesState::Current } else { RulesState::Unreachable { is_url_given: url.is_some() } })
}

/// State of the rules for system requirements after a `get`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RulesState {
    /// Current, or not requested.
    Current,
    Unreachable {
        /// Whether `--requirements-url` was given.
        is_url_given: bool,
    },
}

/// Reader of CRAN's packages, from a mirror or a bundle.
struct CranReader<'a> {
    reader: MetadataReader<'a>,
    bundle: Option<&'a Bundle>,
    product: Product,
    index_proof: Option<&'a IndexProof>,
}

impl CranReader<'_> {
    async fn read_inventory(
        &self,
        span: HistorySpan,
        names: Option<&BTreeSet<String>>,
    ) -> Result<Inventory, OfflineError> {
        let mut inventory = match self.bundle {
            Some(bundle) => bundle_inventory::read_inventory(bundle, &self.product, &self.reader).await?,
            None => {
                let tree =
                    Tree { reader: &self.reader, prefix: String::new(), folder: None, may_be_empty: false };
                tree.read_inventory(span).await?.ok_or_else(|| not_a_mirror(self.reader.mirror()))?
            }
        };
        if let Some(index_proof) = self.index_proof {
            index_proof.verify(&self.reader, &inventory).await?;
        }
        if let Some(names) = names {
            subset::restrict(&mut inventory, names);
        }
        Ok(inventory)
    }

    /// Returns the packages and their dependencies.
    async fn add_dependencies(
        &self,
        names: &BTreeSet<String>,
        now: Timestamp,
        output: Output,
    ) -> Result<BTreeSet<String>, OfflineError> {
        let inventory = self.read_inventory((None, now.day()), None).await?;
        let (packages, unknown_names) = subset::add_dependencies(names, &inventory);
        if !unknown_names.is_empty() {
            let address = self.reader.mirror().address();
            output.warn(&format!("{address} does not have: {}", unknown_names.join(", ")));
        }
        if packages.is_empty() {
            return Err(OfflineError::Usage(format!(
                "{} has none of the requested packages",
                self.reader.mirror().address()
            )));
        }
        Ok(packages)
    }
}

/// Returns the packages requested now and by earlier runs for this bundle; `None` for all packages.
pub(super) async fn selected_packages(
    destination_bundle: &Bundle,
    product: &Product,
    requested_packages: Option<BTreeSet<String>>,
    output: Output,
) -> Result<Option<BTreeSet<String>>, OfflineError> {
    let head = match destination_bundle.head_or_incremental(product).await {
        Ok(verified_head) => verified_head.head,
        Err(BundleError::Absent { .. }) => return Ok(requested_packages),
        Err(error) => return Err(error.into()),
    };
    let address = destination_bundle.address();
    match (requested_packages, head.subset) {
        (None, None) => Ok(None),
        (Some(_), None) => Err(OfflineError::Usage(format!(
            "{address} already has all packages; a subset (--file-in) needs its own --destination"
        ))),
        (None, Some(earlier_packages)) => {
            output.info(&format!(
                "Continuing with the subset of {} packages in {address}; all packages need another --destination",
                earlier_packages.len()
            ));
            Ok(Some(earlier_packages.into_iter().collect()))
        }
        (Some(mut requested_packages), Some(earlier_packages)) => {
            requested_packages.extend(earlier_packages);
            Ok(Some(requested_packages))
        }
    }
}

fn not_a_mirror(mirror: &Mirror) -> OfflineError {
    OfflineError::Refused(format!(
        "{} is neither a CRAN mirror (looked for src/contrib/PACKAGES.gz, PACKAGES.rds and PACKAGES) nor a bundle (looked for \
         v3/version.txt); give the address of one with --base-url",
        mirror.address()
    ))
}

fn require_directory(root: &Path) -> Result<(), OfflineError> {
    if root.is_dir() {
        return Ok(());
    }
    Err(OfflineError::Usage(format!("--base-url: there is no directory {}", root.display())))
}

/// Reads the package names in the file of `--file-in`.
pub(super) fn read_package_list(file: &Path) -> Result<BTreeSet<String>, OfflineError> {
    let usage_error = |reason: String| OfflineError::Usage(format!("--file-in {}: {reason}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|e| usage_error(e.to_string()))?;
    subset::names(&text).map_err(usage_error)
}

/// Reports directories of older schemas, which are never removed automatically.
pub(super) fn report_old_schemas(destination: &Destination, output: Output) -> Result<(), OfflineError> {
    for (parent, schema) in [("", layout::CRAN_SCHEMA), ("bioc", layout::BIOCONDUCTOR_SCHEMA)] {
        for name in destination::names(&destination.path(parent))? {
            let is_old =
                name.strip_prefix('v').and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n < schema);
            if is_old {
                let path = destination.path(parent).join(&name);
                output.info(&format!("{} is of an older schema and can be removed", path.display()));
            }
        }
    }
    Ok(())
}

pub(super) async fn check(args: CheckFlags) -> Result<Report, OfflineError> {
    let mut check = Check::open(&args.destination, args.packages, args.key)?;
    check.check_product(&Product::Cran).await?;
    let mut folders = vec!["v3".to_owned()];
    for tag in destination::names(&check.destination.path("bindex"))? {
        let product = Product::Binaries(tag);
        if Product::parse(&product.to_string()).is_some() && has_files(&check.destination, &product)? {
            check.check_product(&product).await?;
        }
    }
    folders.extend(["bindex", "bin"].map(str::to_owned));
    folders.extend(check.check_all_shared().await);
    check.check_files(&folders)?;
    Ok(check.report)
}
