//! The definitions of a curated source of Python packages: the current one, and new ones.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::Digest;

use base::model::digest::Sha256;
use base::model::ids::{Seq, TreeId};
use content::serve::RepoError;
use content::serve::python::curated::parse_rule;
use content::serve::task::run_blocking;
use formats::python::curated::rule::Rule;
use formats::python::curated::{self, CURRENT_DEFINITION, Definition, ReadOptions};
use formats::python::name::NormalName;
use runtime::catalog::Source;
use runtime::state::State;
use store::db::curation::{self, Curation, DEPENDENCIES, DefinitionFile};

/// File name of a definition that this server has generated, after single packages were added or removed.
const GENERATED_FILE: &str = "requirements.txt";
/// File name of its constraints.
const GENERATED_CONSTRAINTS: &str = "constraints.txt";

/// The current definition of a source.
pub(super) struct CurrentDefinition {
    pub(super) tree: TreeId,
    /// Its step; 0 before the first one.
    pub(super) seq: Seq,
    pub(super) curation: Option<Curation>,
    /// The rules of all projects, including dependencies.
    pub(super) rules: BTreeMap<NormalName, Rule>,
}

/// A new definition of a source.
pub(super) struct NewDefinition {
    pub(super) definition: Definition,
    pub(super) files: Vec<DefinitionFile>,
    pub(super) sha256: Sha256,
}

impl CurrentDefinition {
    pub(super) fn includes_dependencies(&self) -> bool {
        let include = self.curation.as_ref().and_then(|curation| curation.include.as_deref());
        include == Some(DEPENDENCIES)
    }

    /// Returns the chain of projects that requires a project; `None` for a project that the definition names.
    pub(super) fn chain(&self, name: &NormalName) -> Option<&[String]> {
        let dependencies = &self.curation.as_ref()?.dependencies;
        let position = dependencies.binary_search_by(|other| other.name.as_str().cmp(name.as_str())).ok()?;
        dependencies.get(position).map(|dependency| dependency.chain.as_slice())
    }

    /// Returns the rules of the projects that it names.
    fn named_rules(&self) -> BTreeMap<NormalName, Rule> {
        let named = self.rules.iter().filter(|(name, _)| self.chain(name).is_none());
        named.map(|(name, rule)| (name.clone(), rule.clone())).collect()
    }

    /// Returns it with the extras and constraints that its files have.
    pub(super) async fn definition(&self) -> Result<Definition, RepoError> {
        let rules = self.named_rules();
        let text = match self.curation.as_ref().filter(|_| !rules.is_empty()) {
            // The rules are stored: whether a lock file was read strictly makes no difference here.
            Some(curation) => read(curation.files.clone(), false).await.map_err(unreadable)?.definition,
            None => Definition::default(),
        };
        let origins = rules.keys().map(|name| (name.clone(), CURRENT_DEFINITION.to_owned())).collect();
        Ok(Definition { rules, origins, notices: Vec::new(), ..text })
    }
}

fn unreadable(error: RepoError) -> RepoError {
    match error {
        RepoError::Invalid(reason) => RepoError::Invalid(format!(
            "this version cannot read the current definition: {reason}\nReplace it: rspm update --source=NAME --file-in=FILE"
        )),
        other => other,
    }
}

/// Reads the definition of the newest step of a source.
pub(super) async fn current(state: &State, source: &Source) -> Result<CurrentDefinition, RepoError> {
    let catalog = state.catalog.get();
    let tree = catalog.source_package_trees(source.id).next().ok_or_else(|| {
        RepoError::NotFound(format!("the source '{}' has no list of packages", source.name))
    })?;
    let (tree, seq) = (tree.id, tree.newest().unwrap_or(Seq(0)));
    let read = state.db.read(move |c| Ok((curation::get(c, tree, seq)?, curation::rules(c, tree, seq)?)));
    let (curation, rows) = read.await?;
    let mut rules = BTreeMap::new();
    for (normalized_name, text) in rows {
        let name =
            normalized_name.parse::<NormalName>().map_err(|error| RepoError::Invalid(error.to_string()))?;
        rules.insert(name, parse_rule(&text)?);
    }
    Ok(CurrentDefinition { tree, seq, curation, rules })
}

/// Reads the files of a definition, which may be 24 MB in size: not on an async thread.
pub(super) async fn read(files: Vec<DefinitionFile>, strict: bool) -> Result<NewDefinition, RepoError> {
    run_blocking(move || {
        let definition = curated::read(&curation::named(&files), ReadOptions { strict });
        let definition = definition.map_err(|error| RepoError::Invalid(error.to_string()))?;
        Ok(NewDefinition { definition, sha256: digest(&files), files })
    })
    .await?
}

/// Returns the current definition with the packages of these files.
pub(super) async fn extended(
    current: &CurrentDefinition,
    files: Vec<DefinitionFile>,
    strict: bool,
) -> Result<NewDefinition, RepoError> {
    let added = read(files, strict).await?.definition;
    let definition = curated::extended(&current.definition().await?, added);
    Ok(generated(definition.map_err(|error| RepoError::Invalid(error.to_string()))?))
}

/// Returns the current definition, whose files stay as they are. The extras and constraints of its files are read only
/// if it includes dependencies.
pub(super) async fn unchanged(
    source: &Source,
    current: &CurrentDefinition,
    includes_dependencies: bool,
) -> Result<NewDefinition, RepoError> {
    let Some(curation) = &current.curation else {
        return Err(RepoError::Invalid(format!(
            "the source '{}' has no definition yet; name a requirements file or a lock file: rspm update --source={} \
             --file-in=requirements.txt",
            source.name, source.name
        )));
    };
    let definition = if includes_dependencies {
        current.definition().await?
    } else {
        let rules = current.named_rules();
        let origins = rules.keys().map(|name| (name.clone(), CURRENT_DEFINITION.to_owned())).collect();
        Definition { rules, origins, ..Definition::default() }
    };
    Ok(NewDefinition { definition, sha256: curation.sha256, files: curation.files.clone() })
}

/// Returns a definition with generated files, because it differs from the files that an administrator wrote.
pub(super) fn generated(definition: Definition) -> NewDefinition {
    let constraints = curated::constraints(&definition);
    let mut requirements = curated::requirements(&definition);
    let mut files = Vec::new();
    if !constraints.is_empty() {
        requirements.insert_str(0, &format!("-c {GENERATED_CONSTRAINTS}\n"));
        let (name, content) = (GENERATED_CONSTRAINTS.to_owned(), constraints.into_bytes());
        files.push(DefinitionFile { name, content });
    }
    let (name, content) = (GENERATED_FILE.to_owned(), requirements.into_bytes());
    files.insert(0, DefinitionFile { name, content });
    NewDefinition { definition, sha256: digest(&files), files }
}

/// Returns the digest of a definition: that of its only file, or that of the lines that `sha256sum` prints for several
/// files.
pub(in crate::edit) fn digest(files: &[DefinitionFile]) -> Sha256 {
    let sha256 = |bytes: &[u8]| Sha256(sha2::Sha256::digest(bytes).into());
    match files {
        [file] => sha256(&file.content),
        files => {
            let mut lines = String::new();
            for file in files {
                // Writing to a `String` cannot fail.
                let _ = writeln!(lines, "{}  {}", sha256(&file.content), file.name);
            }
            sha256(lines.as_bytes())
        }
    }
}
