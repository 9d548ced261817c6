//! System requirements of the packages of a point: from the distributions, `SystemRequirements`, and the rules.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dependency_graph;
use super::dependency_graph::DependencyGraph;
use crate::serve::files::archive_details;
use crate::serve::files::archive_details::UnreadArchive;
use crate::serve::{RepoError, Repositories};
use base::config::Platforms;
use base::model::kind::StorageClass;
use base::model::point::{Point, PointTree};
use formats::r::sysreqs::{MatchedRule, OsRelease, Rules};
use store::db::detail;
use store::storage::Key;

/// Maximum time for which one request reads stored archives; the next request continues.
const READ_TIME: Duration = Duration::from_secs(5);

pub struct Requirements {
    rules: Arc<Rules>,
    system: OsRelease,
    graph: Arc<DependencyGraph>,
}

/// Loads the data for the system requirements on a system. `distribution` and `release` are the names that clients use.
/// Where requirements are unknown, stored archives are read: of `roots` and their dependencies, or of all packages.
pub async fn of_point(
    repositories: &Arc<Repositories>,
    point: &Point,
    distribution: &str,
    release: &str,
    roots: Option<&[String]>,
) -> Result<Requirements, RepoError> {
    let system = find_system(&repositories.state.config.load().platforms, distribution, release)?;
    let rules = repositories.state.sysreqs.wait().await.ok_or(RepoError::NoRules)?;
    let system = rules.resolve_system(&system);
    let mut graph = dependency_graph::of_point(repositories, point).await?;
    let has_new_details = {
        let unknown: HashSet<&str> = match roots {
            None => graph.without_description().collect(),
            Some(roots) => graph.without_description_of(roots.iter().map(String::as_str)).collect(),
        };
        !unknown.is_empty() && read_stored_archives(repositories, point, &unknown).await?
    };
    if has_new_details {
        graph = dependency_graph::of_point(repositories, point).await?;
    }
    Ok(Requirements { rules, system, graph })
}

/// Reads the stored archives of these packages; returns true if details were stored.
async fn read_stored_archives(
    repositories: &Arc<Repositories>,
    point: &Point,
    names: &HashSet<&str>,
) -> Result<bool, RepoError> {
    let (deadline, mut has_new_details) = (Instant::now() + READ_TIME, false);
    for PointTree { tree, seq, .. } in point.trees.iter().copied() {
        let stored = repositories.state.db.read(move |c| detail::stored_without_detail(c, tree, seq)).await?;
        for archive in stored.iter().filter(|archive| names.contains(archive.name.as_str())) {
            if Instant::now() > deadline {
                break;
            }
            has_new_details |= match unread_archive(archive) {
                Some(unread) => archive_details::read_once(repositories, unread).await,
                None => false,
            };
        }
    }
    Ok(has_new_details)
}

fn unread_archive(stored: &detail::StoredArchive) -> Option<UnreadArchive> {
    let class = StorageClass::parse(&stored.class)?;
    let size = u64::try_from(stored.size).ok()?;
    Some(UnreadArchive { release: stored.release, key: Key::Package(class, stored.sha256), size })
}

impl Requirements {
    pub fn system(&self) -> &OsRelease {
        &self.system
    }

    pub fn of_text(&self, text: &str) -> Vec<MatchedRule<'_>> {
        self.rules.requirements(text, &self.system)
    }

    /// Returns the packages that have requirements, by name. Uses several milliseconds of CPU time for all of CRAN.
    pub fn of_all(&self) -> impl Iterator<Item = (&str, Vec<MatchedRule<'_>>)> {
        self.with_needs(self.graph.requirements())
    }

    /// Like [`Requirements::of_all`], for `roots` and all packages that their installation requires.
    pub fn of<'a>(
        &self,
        roots: impl IntoIterator<Item = &'a str>,
    ) -> impl Iterator<Item = (&str, Vec<MatchedRule<'_>>)> {
        self.with_needs(self.graph.requirements_of(roots))
    }

    /// Returns the packages with unknown requirements, sorted: of all packages, or of [`Requirements::of`] these roots.
    pub fn unknown(&self, roots: Option<&[String]>) -> Vec<String> {
        match roots {
            None => self.graph.without_description().map(str::to_owned).collect(),
            Some(roots) => self
                .graph
                .without_description_of(roots.iter().map(String::as_str))
                .map(str::to_owned)
                .collect(),
        }
    }

    pub fn lists(&self, name: &str) -> bool {
        self.graph.lists(name)
    }

    fn with_needs<'a>(
        &'a self,
        texts: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> impl Iterator<Item = (&'a str, Vec<MatchedRule<'a>>)> {
        texts.map(|(name, text)| (name, self.of_text(text))).filter(|(_, needs)| !needs.is_empty())
    }
}

/// Finds a system with known requirements; the name of a distribution (`jammy`) may be given instead of its release.
fn find_system(platforms: &Platforms, distribution: &str, release: &str) -> Result<OsRelease, RepoError> {
    let rows = || platforms.distributions.iter().filter(|d| d.has_status_row && d.has_system_requirements);
    for candidate in OsRelease::candidates(distribution, release) {
        let entry = &candidate.table_entry;
        let is_release = |release: &str, name: &str| release == entry.release || name == entry.release;
        if let Some(row) =
            rows().find(|d| d.rules_name == entry.distribution && is_release(&d.rules_release, &d.name))
        {
            let is_by_name = row.rules_release != entry.release;
            return Ok(if is_by_name {
                OsRelease::new(&row.rules_name, &row.rules_release)
            } else {
                candidate.rules_entry
            });
        }
    }
    let excerpt = |text: &str| text.chars().take(60).collect();
    let systems = rows().map(|d| format!("{} {}", d.rules_name, d.rules_release)).collect();
    Err(RepoError::Unsupported {
        distribution: excerpt(distribution),
        release: excerpt(release),
        supported: systems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system_text(text: &str, distribution: &str, release: &str) -> Option<String> {
        let config = base::config::parse("f", text.as_bytes(), []).expect("valid").config;
        let system = find_system(&config.platforms, distribution, release).ok()?;
        Some(format!("{} {}", system.distribution, system.release))
    }

    #[test]
    fn systems_are_found_by_the_names_that_clients_use() {
        let assert_system = |distribution, release, expected: &str| {
            assert_eq!(
                system_text("", distribution, release).as_deref(),
                Some(expected),
                "{distribution} {release}"
            );
        };
        assert_system("ubuntu", "22.04", "ubuntu 22.04");
        assert_system("ubuntu", "jammy", "ubuntu 22.04");
        assert_system("debian", "12.5", "debian 12");
        assert_system("rockylinux", "8", "centos 8");
        assert_system("almalinux", "9.4", "rockylinux 9");
        assert_system("centos", "9", "rockylinux 9");
        assert_system("redhat", "8", "redhat 8");
        assert_system("rhel", "9.3", "redhat 9");
        assert_system("opensuse", "15.3", "opensuse 15.3");
        assert_system("sle", "15.6", "sle 15.6");
        for (distribution, release) in
            [("fedora", "41"), ("alpine", "3.20"), ("windows", "all"), ("ubuntu", "7.10"), ("", "")]
        {
            assert_eq!(system_text("", distribution, release), None, "{distribution} {release}");
        }
    }

    #[test]
    fn an_administrator_can_add_a_system() {
        let own = "[Distribution \"fedora41\"]\nSystem = fedora\nRelease = 41\nSystemRequirements = true\n";
        assert_eq!(system_text(own, "fedora", "41").as_deref(), Some("fedora 41"));
    }
}
