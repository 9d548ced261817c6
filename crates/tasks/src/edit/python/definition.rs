//! The definitions of a curated source of Python packages: the current one, and new ones.

use std::collections::BTreeMap;

use crate::edit::curation::{CurrentStep, newest_step};
use base::model::project_name::ProjectName;
use content::serve::RepoError;
use content::serve::python::curated::parse_rule;
use formats::python::curated::rule::ProjectRule;
use formats::python::curated::{self, CURRENT_DEFINITION, PythonDefinition, ReadOptions};
use runtime::catalog::Source;
use runtime::state::State;
use store::db::curation::{self, DEPENDENCIES, DefinitionFile, RuleRow};

/// File name of a definition that this server has generated, after single packages were added or removed.
const GENERATED_FILE: &str = "requirements.txt";
/// File name of its constraints.
const GENERATED_CONSTRAINTS: &str = "constraints.txt";

pub(super) struct CurrentPythonDefinition {
    pub(super) step: CurrentStep,
    /// The rules of all projects, including dependencies.
    pub(super) rules: BTreeMap<ProjectName, ProjectRule>,
}

pub(super) type NewDefinition = crate::edit::curation::NewDefinition<PythonDefinition>;

impl CurrentPythonDefinition {
    pub(super) fn includes_dependencies(&self) -> bool {
        let include = self.step.curation.as_ref().and_then(|curation| curation.include.as_deref());
        include == Some(DEPENDENCIES)
    }

    /// Returns the chain of projects that requires a project; `None` for a project that the definition names.
    pub(super) fn chain(&self, name: &ProjectName) -> Option<&[String]> {
        let dependencies = &self.step.curation.as_ref()?.dependencies;
        let position = dependencies.binary_search_by(|other| other.name.as_str().cmp(name.as_str())).ok()?;
        dependencies.get(position).map(|dependency| dependency.chain.as_slice())
    }

    /// Returns the rules of the projects that it names.
    fn named_rules(&self) -> BTreeMap<ProjectName, ProjectRule> {
        let named = self.rules.iter().filter(|(name, _)| self.chain(name).is_none());
        named.map(|(name, rule)| (name.clone(), rule.clone())).collect()
    }

    /// Returns it with the extras and constraints that its files have.
    pub(super) async fn definition(&self) -> Result<PythonDefinition, RepoError> {
        let rules = self.named_rules();
        let text = match self.step.curation.as_ref().filter(|_| !rules.is_empty()) {
            // The rules are stored: whether a lock file was read strictly makes no difference here.
            Some(curation) => read(curation.files.clone(), false).await.map_err(unreadable)?.definition,
            None => PythonDefinition::default(),
        };
        Ok(PythonDefinition { notices: Vec::new(), ..with_rules(text, rules) })
    }
}

fn with_rules(definition: PythonDefinition, rules: BTreeMap<ProjectName, ProjectRule>) -> PythonDefinition {
    let origins = rules.keys().map(|name| (name.clone(), CURRENT_DEFINITION.to_owned())).collect();
    PythonDefinition { rules, origins, ..definition }
}

fn unreadable(error: RepoError) -> RepoError {
    match error {
        RepoError::Invalid(reason) => RepoError::Invalid(format!(
            "this version cannot read the current definition: {reason}\nReplace it: rspm update --source=NAME --file-in=FILE"
        )),
        other => other,
    }
}

pub(super) fn rule_rows(rules: &BTreeMap<ProjectName, ProjectRule>) -> Vec<RuleRow> {
    rules.iter().map(|(name, rule)| (name.to_string(), rule.to_string())).collect()
}

pub(super) async fn current(state: &State, source: Source) -> Result<CurrentPythonDefinition, RepoError> {
    let (tree, seq) = newest_step(state, &source)?;
    let read = state.db.read(move |c| Ok((curation::get(c, tree, seq)?, curation::rules(c, tree, seq)?)));
    let (curation, rows) = read.await?;
    let mut rules = BTreeMap::new();
    for (normalized_name, text) in rows {
        rules.insert(ProjectName::folded(normalized_name), parse_rule(&text)?);
    }
    let step = CurrentStep { source, tree, seq, curation, rules: rule_rows(&rules) };
    Ok(CurrentPythonDefinition { step, rules })
}

pub(super) async fn read(files: Vec<DefinitionFile>, strict: bool) -> Result<NewDefinition, RepoError> {
    NewDefinition::read(files, move |files| curated::read(files, ReadOptions { strict })).await
}

/// Returns the current definition with the packages of these files.
pub(super) async fn extended(
    current: &CurrentPythonDefinition,
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
    current: &CurrentPythonDefinition,
    includes_dependencies: bool,
) -> Result<NewDefinition, RepoError> {
    let Some(curation) = &current.step.curation else {
        let name = &current.step.source.name;
        return Err(RepoError::Invalid(format!(
            "the source '{name}' has no definition yet; name a requirements file or a lock file: rspm update --source={name} \
             --file-in=requirements.txt"
        )));
    };
    let definition = if includes_dependencies {
        current.definition().await?
    } else {
        with_rules(PythonDefinition::default(), current.named_rules())
    };
    Ok(NewDefinition::unchanged(definition, curation))
}

/// Returns a definition with generated files, because it differs from the files that an administrator wrote.
pub(super) fn generated(definition: PythonDefinition) -> NewDefinition {
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
    NewDefinition::new(definition, files)
}
