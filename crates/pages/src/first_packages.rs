//! The commands by which an empty server gets its first repository, and an empty repository its first packages.

use maud::{Markup, html};

use super::setup::Setup;
use base::model::kind::{ChangePolicy, RepoKind, SourceKind, Supply};

/// A repository, and its first source that a client may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstPackages {
    pub repo: String,
    pub kind: RepoKind,
    pub changes: ChangePolicy,
    /// The kind and the name of the source; `None` if no source is subscribed.
    pub source: Option<(SourceKind, String)>,
}

impl FirstPackages {
    /// Returns what an administrator does, and the command.
    fn advice(&self) -> (&'static str, String) {
        if self.changes != ChangePolicy::Any {
            let command = format!("rspm promote --from=NAME --to={}", self.repo);
            return ("promotes the state of another repository", command);
        }
        let Some((kind, name)) = &self.source else {
            // The name of a built-in source is that of its type.
            let command = format!("rspm subscribe --repo={} --source={}", self.repo, self.kind.mirror());
            return ("subscribes it to a source", command);
        };
        match kind.supply() {
            Supply::Mirror => {
                let word = if *kind == SourceKind::Cran { "CRAN" } else { kind.as_str() };
                ("reads the list of its source", format!("rspm sync --type={word}"))
            }
            Supply::Uploads => ("adds packages", format!("rspm add --source={name} --path=FILE")),
            Supply::Builds | Supply::Curated | Supply::Snapshot => {
                ("displays the state of its source", format!("rspm info --source={name}"))
            }
        }
    }

    pub fn render(&self) -> Markup {
        let (purpose, command) = self.advice();
        html! { "An administrator " (purpose) ": " code { (command) } }
    }
}

/// Renders the way from an empty server to the first installed package, for each kind of repository. `server` is the URL of
/// the server.
pub(super) fn first_run(server: &str) -> Markup {
    let first_runs = RepoKind::ALL.into_iter().filter_map(|kind| {
        let repo = kind.mirror().as_str().to_owned();
        let install = Setup::newest(kind, server, &repo).first_install()?;
        let mut first_packages =
            FirstPackages { repo: repo.clone(), kind, changes: ChangePolicy::Any, source: None };
        let subscribe = first_packages.advice().1;
        first_packages.source = Some((kind.mirror(), repo.clone()));
        let create = format!("rspm create repo --name={repo} --type={}", kind.as_str());
        Some((kind.label(), [create, subscribe, first_packages.advice().1, install]))
    });
    html! {
        p.prose {
            "There is no repository yet. An administrator makes one of a public mirror with three commands on this server; the "
            "fourth one installs a package from it, on any machine."
        }
        @for (kind, commands) in first_runs {
            h2 { (kind) }
            ol.commands { @for command in commands { li { code { (command) } } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(changes: ChangePolicy, source: Option<(SourceKind, String)>) -> String {
        let first_packages = FirstPackages { repo: "prod".to_owned(), kind: RepoKind::R, changes, source };
        first_packages.render().into_string()
    }

    #[test]
    fn the_command_is_one_that_the_change_policy_accepts() {
        let team = Some((SourceKind::Local, "team".to_owned()));
        for changes in [ChangePolicy::Promotion, ChangePolicy::TwoPersons] {
            let expected = "An administrator promotes the state of another repository: \
                <code>rspm promote --from=NAME --to=prod</code>";
            assert_eq!(rendered(changes, None), expected, "{changes}");
            assert_eq!(rendered(changes, team.clone()), expected, "{changes}");
        }
        let expected = "An administrator subscribes it to a source: \
            <code>rspm subscribe --repo=prod --source=cran</code>";
        assert_eq!(rendered(ChangePolicy::Any, None), expected);
        let expected = "An administrator adds packages: <code>rspm add --source=team --path=FILE</code>";
        assert_eq!(rendered(ChangePolicy::Any, team), expected);
    }
}
