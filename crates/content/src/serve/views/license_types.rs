//! The types of licenses of the listed R packages, with the number of packages of each. Python packages are not
//! counted: their licenses are in the metadata of their files, not in the database.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::serve::{RepoError, Repositories};
use base::model::ids::{PackageId, Seq, SourceId, TreeId};
use base::model::kind::Language;
use base::model::license::Licenses;
use formats::r::description::Description;
use formats::r::license::licenses;
use store::db::life;

/// Returns the number of packages that sources list now, by license type. A package counts once per source.
pub async fn current(repositories: &Repositories) -> Result<BTreeMap<String, u64>, RepoError> {
    let catalog = repositories.state.catalog.get();
    let sources = catalog.sources.iter().filter(|source| source.kind.language() == Language::R);
    let trees: Vec<(SourceId, TreeId, Seq)> = sources
        .flat_map(|source| catalog.source_package_trees(source.id))
        .filter_map(|tree| Some((tree.source, tree.id, tree.newest()?)))
        .collect();
    let mut counted: HashMap<SourceId, HashSet<PackageId>> = HashMap::new();
    let mut types: BTreeMap<String, u64> = BTreeMap::new();
    // CRAN has a few hundred different texts.
    let mut known: HashMap<String, Licenses> = HashMap::new();
    for (source, tree, seq) in trees {
        let read = repositories.state.db.read(move |c| {
            let mut fields: Vec<(PackageId, String)> = Vec::new();
            life::each_listed(c, tree, seq, &mut |record| {
                let description = Description::from_bytes(&record.stanza).ok();
                let field = description.as_ref().and_then(|description| description.non_empty("License"));
                fields.push((record.package, field.unwrap_or_default().to_owned()));
            })?;
            Ok(fields)
        });
        for (package, field) in read.await? {
            if counted.entry(source).or_default().insert(package) {
                let licenses = known.entry(field).or_insert_with_key(|field| licenses(field));
                for id in licenses.types() {
                    *types.entry(id.clone()).or_default() += 1;
                }
            }
        }
    }
    Ok(types)
}
