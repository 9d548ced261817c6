//! `validate pypi`, and of other languages with projects.

use crate::args::CheckFlags;
use crate::error::OfflineError;
use crate::validate::{Check, Report};
use crate::verify_files::{ExpectedFile, Problem};
use base::model::kind::Language;
use formats::bundle::layout::{METADATA_EXTENSION, PROVENANCE_EXTENSION};
use formats::bundle::project_record::{FileRecord, MetadataObject};
use formats::bundle::{BundledProjects, Product, ProjectRecord};
use upstream::origin::bundle::VerifiedHead;
use upstream::origin::project_bundle;

/// Checks the packages of a language in a bundle.
pub(crate) async fn check(language: Language, args: CheckFlags) -> Result<Report, OfflineError> {
    let mut check = Check::open(&args.destination, args.packages, args.key)?;
    let product = Product::Projects(language);
    if let Some(head) = check.check_head(&product).await? {
        check_contents(&mut check, language, &head).await;
    }
    check.check_files(&[product.to_string()])?;
    Ok(check.report)
}

/// Checks the segments, and collects the objects of the listed files.
async fn check_contents(check: &mut Check, language: Language, head: &VerifiedHead) {
    let product = Product::Projects(language);
    let (mut state, mut is_intact) = (BundledProjects::new(language), true);
    for segment in head.since(0) {
        let path = product.path(&segment.file.path);
        check.add_reference(path.clone());
        let records = match project_bundle::records(&check.bundle, language, segment).await {
            Ok(records) => records,
            Err(error) => {
                is_intact = false;
                check.report_error(&path, &error);
                continue;
            }
        };
        for record in records {
            if let ProjectRecord::File(file) = &record {
                // Objects of replaced and removed files are not removed, and are not reported.
                objects(language, file).for_each(|(object, _)| check.add_reference(object));
            }
            // After a missing segment, which is reported, records no longer apply.
            if let Err(reason) = state.apply(&record, segment.serial)
                && is_intact
                && head.missing_base.is_none()
            {
                check.report.add(&path, Problem::Damaged, reason);
                is_intact = false;
            }
        }
    }
    for (object, expected_file) in state.files().flat_map(|file| objects(language, file)) {
        check.add_object(object, expected_file);
    }
    if head.missing_base.is_none() && is_intact {
        for line in state.missing_files() {
            let text = format!("{line} is listed, but no segment has it: the base is the wrong one");
            check.report.add(product.head_path(), Problem::Missing, text);
        }
    }
    let projects = state.projects().values().filter(|project| !project.files.is_empty()).count();
    let skipped: usize = state.projects().values().map(|project| project.skipped.len()).sum();
    let summary = format!(
        "{product}: snapshot {}, {projects} projects, {} files; {skipped} files of the same versions were not requested",
        head.head.snapshot,
        // The head of a delta has the number of the bundle for which it was made.
        state.files().count()
    );
    check.add_summary(&product, summary);
}

/// Returns the paths of the objects of a file.
fn objects(language: Language, file: &FileRecord) -> impl Iterator<Item = (String, ExpectedFile)> + use<> {
    let product = Product::Projects(language);
    let label = file.name.clone();
    let object = file.extension(language).ok().map(|extension| {
        let (size, sha256) = (file.obj.size, file.obj.sha256);
        let path = product.object_path(sha256, &extension);
        (path, ExpectedFile { label: label.clone(), size, sha256 })
    });
    let beside = [(file.meta, METADATA_EXTENSION), (file.prov, PROVENANCE_EXTENSION)];
    let sha256 = file.obj.sha256;
    let beside = beside.into_iter().filter_map(move |(object, extension)| {
        let MetadataObject { sha256: digest, size } = object?;
        let label = format!("{label}.{extension}");
        Some((product.object_path(sha256, extension), ExpectedFile { label, size, sha256: digest }))
    });
    object.into_iter().chain(beside)
}
