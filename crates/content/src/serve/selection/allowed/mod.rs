//! A tree of a point as the clients of its repository see it: name guards hide packages of other sources,
//! block rules hide releases, and the highest allowed version replaces a blocked one. All readers of R
//! packages use [`View`], so that they agree. The blocked releases of a state are computed once.

pub(in crate::serve) mod blocked;
mod decisions;
pub(in crate::serve) mod over_time;
pub(in crate::serve) mod project;

use std::ops::Deref;
use std::sync::Arc;

use decisions::TreePolicy;
pub(in crate::serve) use decisions::{DecidedRelease, RuleDecision, substitute};

use super::policies;
use crate::index::MARGIN;
use base::model::change::LifeState;
use base::model::ids::{PackageId, ReleaseId, Seq, SourceId};
use base::model::kind::Language;
use base::model::point::{Base, Point, PointRules, PointTree, PromotedList};
use base::model::snapshot::Snapshot;
use base::model::time::{Timestamp, microseconds};
use formats::policy::NameGuards;
use runtime::state::State;
use runtime::state::policies::{BlockedReleases, RepoPolicy, Substitute, age_instant};
use store::db::life::{self, CurrentLife, FileInfo, ListedName, ListedRelease, ReleaseFile};
use store::db::{self, Conn, DbError, release_facts};

/// A tree of a point, with the guards and rules of its repository.
#[derive(Clone)]
pub(in crate::serve) struct View {
    point_tree: PointTree,
    policy: Option<Arc<TreePolicy>>,
}

impl Deref for View {
    type Target = PointTree;

    fn deref(&self) -> &PointTree {
        &self.point_tree
    }
}

/// Adds the block rules of its repository to a point. With rules, a point may change at any time.
pub(in crate::serve) async fn with_rules(state: &State, point: Point, snapshot: Snapshot) -> Point {
    let Some(mut policy) = policies::of_repo(state, point.repo) else { return point };
    if policy.set.needs_advisories() && policy.advisories.is_none() {
        state.advisories.wait().await;
        policy = policies::of_repo(state, point.repo).unwrap_or(policy);
    }
    let end = || match snapshot {
        Snapshot::Latest => None,
        Snapshot::Date(day) => Some(day.end()),
        Snapshot::Transaction(id) => state.catalog.get().instant(id),
        Snapshot::Alias(alias) => state.catalog.get().fixed_url_end(alias),
    };
    let aged_at =
        age_time(&policy, (state.clock)(), || end().into_iter().chain(promoted_at(point.promotion)).min());
    let is_dated = policy.set.needs_snapshot()
        && match snapshot {
            Snapshot::Latest => false,
            Snapshot::Date(_) | Snapshot::Transaction(_) | Snapshot::Alias(_) => true,
        };
    let rules = Some(PointRules { number: policy.number, aged_at, is_dated, promotion: point.promotion });
    let trees = point.trees.into_iter().map(|tree| PointTree { rules, ..tree }).collect();
    Point { trees, open: true, frozen: !point.open, ..point }
}

/// Returns the instant at which the age of releases of a promoted state is measured, which does not change any more.
pub(in crate::serve) fn promoted_at(promotion: Option<PromotedList>) -> Option<Timestamp> {
    promotion.map(|promotion| age_instant(promotion.at))
}

/// Returns the time at which the age of releases is measured: the end of a dated snapshot, or the instant of
/// a promotion, at the latest `now`. `None` without rules about the age.
fn age_time(
    policy: &RepoPolicy,
    now: Timestamp,
    end: impl FnOnce() -> Option<Timestamp>,
) -> Option<Timestamp> {
    policy.set.needs_age().then(|| {
        let now = age_instant(now);
        end().map_or(now, |end| end.min(now))
    })
}

/// Returns the value of [`TreePolicy::list_delay`].
fn list_delay(state: &State, tree: &PointTree) -> Option<i64> {
    let config = state.config.load();
    let index = config.index(tree.listing().source).filter(|index| !index.unlisted)?;
    Some(MARGIN.saturating_add(microseconds(index.delay)))
}

/// Returns the state from which a curated source selects, under the rules of each subscribed repository, with
/// its name. Repositories without rules are omitted.
pub(in crate::serve) async fn base_views(state: &State, source: SourceId, base: Base) -> Vec<(String, View)> {
    let catalog = state.catalog.get();
    let mut views = Vec::new();
    for repo in catalog.repos.iter().filter(|repo| repo.subscribes_to(source)) {
        let tree = PointTree { source, tree: base.tree, seq: base.seq, base: Some(base), rules: None };
        let point = Point::of_trees(repo.id, repo.kind.language(), vec![tree]);
        let point = with_rules(state, point, Snapshot::Latest).await;
        if point.trees.iter().any(|tree| tree.rules.is_some()) {
            views.extend(View::of(state, &point).into_iter().map(|view| (repo.name.to_string(), view)));
        }
    }
    views
}

impl View {
    /// Returns the trees of a point, in their order.
    pub(in crate::serve) fn of(state: &State, point: &Point) -> Vec<View> {
        let rules = point.trees.first().and_then(|tree| tree.rules);
        // The current rules apply, even if they are newer than those of the point.
        let policy = rules.and_then(|rules| Some((policies::of_repo(state, point.repo)?, rules)));
        let current = |rules: PointRules, policy: &RepoPolicy| PointRules {
            aged_at: rules
                .aged_at
                .or_else(|| age_time(policy, (state.clock)(), || promoted_at(rules.promotion))),
            is_dated: rules.is_dated || (policy.set.needs_snapshot() && point.frozen),
            ..rules
        };
        View::with_policy(
            state,
            point,
            policy.as_ref().map(|(policy, rules)| (policy, current(*rules, policy))),
        )
    }

    /// Returns the trees of the newest or a promoted state of a repository under these rules, in force or not, or none.
    pub(in crate::serve) fn under(
        state: &State,
        point: &Point,
        policy: Option<&Arc<RepoPolicy>>,
    ) -> Vec<View> {
        let rules = |policy: &Arc<RepoPolicy>| PointRules {
            number: policy.number,
            aged_at: age_time(policy, (state.clock)(), || promoted_at(point.promotion)),
            is_dated: false,
            promotion: point.promotion,
        };
        View::with_policy(state, point, policy.map(|policy| (policy, rules(policy))))
    }

    /// Returns the trees of a point under rules other than those of the point; without rules if `policy` is `None`.
    pub(in crate::serve) fn with_policy(
        state: &State,
        point: &Point,
        policy: Option<(&Arc<RepoPolicy>, PointRules)>,
    ) -> Vec<View> {
        let Some((policy, rules)) = policy else {
            return point.trees.iter().copied().map(View::without_rules).collect();
        };
        let catalog = state.catalog.get();
        let view = |tree: &PointTree| {
            let list_delay = list_delay(state, tree);
            let (repo, catalog, tree) = (Arc::clone(policy), Arc::clone(&catalog), *tree);
            let policy = TreePolicy { repo, catalog, tree, rules, list_delay };
            View { point_tree: tree, policy: Some(Arc::new(policy)) }
        };
        point.trees.iter().map(view).collect()
    }

    /// Creates the view of a tree with all its packages: no rules apply.
    pub(in crate::serve) fn without_rules(tree: PointTree) -> View {
        View { point_tree: tree, policy: None }
    }

    pub(in crate::serve) fn tree(&self) -> PointTree {
        self.point_tree
    }

    /// Returns whether the repository has block rules or name guards, which may leave out packages of the tree.
    pub(in crate::serve) fn is_restricted(&self) -> bool {
        self.policy.is_some()
    }

    pub(in crate::serve) fn at_step(&self, seq: Seq) -> View {
        View { point_tree: PointTree { seq, ..self.point_tree }, policy: self.policy.clone() }
    }

    /// Returns whether a name guard hides a package of the tree, because only another source may provide it.
    pub(in crate::serve) fn hides(&self, name: &str) -> bool {
        self.guards().is_some_and(|guards| guards.hides(name))
    }

    /// Returns the guards that apply to the tree; `None` if there are none.
    fn guards(&self) -> Option<TreeGuards<'_>> {
        let policy = self.policy.as_ref().filter(|policy| !policy.repo.guards.is_empty())?;
        let source = self.point_tree.source;
        let is_own = policy.catalog.is_own(source);
        let language = policy.repo.language;
        Some(TreeGuards { guards: &policy.repo.guards, language, source, is_own })
    }

    fn retain_unguarded<T>(&self, rows: &mut Vec<T>, name: impl Fn(&T) -> &str) {
        if let Some(guards) = self.guards() {
            rows.retain(|row| !guards.hides(name(row)));
        }
    }

    fn blocked(&self, c: &mut dyn Conn) -> Result<Option<Arc<BlockedReleases>>, DbError> {
        self.policy.as_ref().map(|policy| policy.of_tree(c)).transpose()
    }

    /// Returns the names that the tree owns although all their listed releases are blocked; no other tree has them.
    pub(in crate::serve) fn hidden_names(&self, c: &mut dyn Conn) -> Result<Vec<String>, DbError> {
        let blocked = self.blocked(c)?;
        let mut names: Vec<String> =
            blocked.map(|blocked| blocked.names.iter().cloned().collect()).unwrap_or_default();
        self.retain_unguarded(&mut names, String::as_str);
        Ok(names)
    }

    /// Returns the releases of a package with the decisions about them; empty if no rule can match the package.
    pub(in crate::serve) fn decided(
        &self,
        c: &mut dyn Conn,
        package: &str,
    ) -> Result<Vec<DecidedRelease>, DbError> {
        self.policy.as_ref().map_or(Ok(Vec::new()), |policy| policy.of_package(c, package))
    }

    /// Returns the releases of one package or of all, grouped by package, with the decisions of rules that can match.
    pub(in crate::serve) fn decisions(
        &self,
        c: &mut dyn Conn,
        package: Option<&str>,
    ) -> Result<Vec<Vec<DecidedRelease>>, DbError> {
        match (&self.policy, package) {
            (None, _) => Ok(Vec::new()),
            (Some(policy), Some(name)) => Ok(vec![policy.of_package(c, name)?]),
            (Some(policy), None) => policy.decide(c, None),
        }
    }

    pub(in crate::serve) fn blocked_releases(
        &self,
        c: &mut dyn Conn,
        package: Option<&str>,
    ) -> Result<Arc<BlockedReleases>, DbError> {
        match package {
            Some(name) => Ok(Arc::new(decisions::blocked_releases(&self.decided(c, name)?))),
            None => Ok(self.blocked(c)?.unwrap_or_default()),
        }
    }

    /// Returns the version of a package that the index has; `None` if it has none. A name guard is not considered.
    pub(in crate::serve) fn listed_version(
        &self,
        c: &mut dyn Conn,
        package: &str,
    ) -> Result<Option<String>, DbError> {
        let blocked = self.blocked_releases(c, Some(package))?;
        let files = life::package_detail(c, self.tree, self.seq, package)?;
        let listed = files.into_iter().filter(|file| file.state == LifeState::Listed);
        let Some(listed) = listed.min_by_key(|file| !file.path.is_empty()) else { return Ok(None) };
        Ok(match blocked.releases.contains(&listed.release) {
            true => blocked.substitutes.get(&listed.package).map(|substitute| substitute.version.clone()),
            false => Some(listed.version),
        })
    }

    pub(in crate::serve) fn listed(&self, c: &mut dyn Conn) -> Result<Vec<ListedRelease>, DbError> {
        let rows = life::listed(c, self.tree, self.seq)?;
        let Some(blocked) = self.blocked(c)? else { return Ok(rows) };
        self.replace_blocked(c, &blocked, blocked.substitutes.iter().collect(), rows)
    }

    /// Like [`View::listed`], limited to these packages.
    pub(in crate::serve) fn listed_of(
        &self,
        c: &mut dyn Conn,
        packages: &[PackageId],
    ) -> Result<Vec<ListedRelease>, DbError> {
        let rows = life::listed_of(c, self.tree, self.seq, packages)?;
        let Some(blocked) = self.blocked(c)? else { return Ok(rows) };
        let substitutes = packages.iter().filter_map(|package| blocked.substitutes.get_key_value(package));
        self.replace_blocked(c, &blocked, substitutes.collect(), rows)
    }

    fn replace_blocked(
        &self,
        c: &mut dyn Conn,
        blocked: &BlockedReleases,
        substitutes: Vec<(&PackageId, &Substitute)>,
        mut rows: Vec<ListedRelease>,
    ) -> Result<Vec<ListedRelease>, DbError> {
        rows.retain(|row| !blocked.releases.contains(&row.release));
        add_records(c, &substitutes, &mut rows)?;
        self.retain_unguarded(&mut rows, |row| &row.name);
        Ok(rows)
    }

    /// Returns the number of listed names; `None` if rules or guards hide some of them.
    pub(in crate::serve) fn name_count(&self, c: &mut dyn Conn) -> Result<Option<usize>, DbError> {
        match self.blocked(c)? {
            Some(_) => Ok(None),
            None => life::name_count(c, self.tree, self.seq).map(Some),
        }
    }

    /// Returns the listed names, by lower-case name and name.
    pub(in crate::serve) fn names(&self, c: &mut dyn Conn) -> Result<Vec<ListedName>, DbError> {
        let mut names = life::names(c, self.tree, self.seq)?;
        let Some(blocked) = self.blocked(c)? else { return Ok(names) };
        names.retain(|name| !blocked.releases.contains(&name.release));
        names.extend(blocked.substitutes.iter().map(|(package, substitute)| ListedName {
            name: substitute.name.clone(),
            normalized_name: substitute.normalized_name.clone(),
            package: *package,
            version: substitute.version.clone(),
            published_at: substitute.published_at,
            release: substitute.release,
        }));
        self.retain_unguarded(&mut names, |name| &name.name);
        names.sort_unstable_by(|a, b| (&a.normalized_name, &a.name).cmp(&(&b.normalized_name, &b.name)));
        Ok(names)
    }

    /// Returns the listed files, in the order of [`FileInfo::order`].
    pub(in crate::serve) fn listed_files(&self, c: &mut dyn Conn) -> Result<Vec<FileInfo>, DbError> {
        let mut files = life::listed_files(c, self.tree, self.seq)?;
        let Some(blocked) = self.blocked(c)? else { return Ok(files) };
        files.retain(|file| !blocked.stems.contains(stem(&file.file)));
        if !blocked.substitutes.is_empty() {
            let stems: Vec<String> = blocked.substitutes.values().map(Substitute::stem).collect();
            let stems: std::collections::HashSet<&str> = stems.iter().map(String::as_str).collect();
            let archived = life::archived_files(c, self.tree, self.seq)?.into_iter();
            files.extend(archived.filter(|file| stems.contains(stem(&file.file))));
            files.sort_unstable_by(FileInfo::order);
        }
        self.retain_unguarded(&mut files, |file| &file.name);
        Ok(files)
    }

    /// Returns the archived files, in the order of [`FileInfo::order`].
    pub(in crate::serve) fn archived_files(&self, c: &mut dyn Conn) -> Result<Vec<FileInfo>, DbError> {
        let mut files = life::archived_files(c, self.tree, self.seq)?;
        let Some(blocked) = self.blocked(c)? else { return Ok(files) };
        let substitute_stems: std::collections::HashSet<String> =
            blocked.substitutes.values().map(Substitute::stem).collect();
        files.retain(|file| {
            let stem = stem(&file.file);
            !blocked.stems.contains(stem) && !substitute_stems.contains(stem)
        });
        self.retain_unguarded(&mut files, |file| &file.name);
        Ok(files)
    }

    /// Calls [`life::find_file`], which also finds blocked files. Returns `None` if a name guard hides the package.
    pub(in crate::serve) fn find_file(
        &self,
        c: &mut dyn Conn,
        state: Option<LifeState>,
        package: &str,
        file: &str,
    ) -> Result<Option<ReleaseFile>, DbError> {
        if self.hides(package) {
            return Ok(None);
        }
        life::find_file(c, self.tree, self.seq, state, package, file)
    }

    /// Returns every listed or archived release of a package, including blocked ones: listed first, then
    /// newest first. The release that replaces a blocked one counts as listed.
    pub(in crate::serve) fn package_detail(
        &self,
        c: &mut dyn Conn,
        package: &str,
    ) -> Result<Vec<ReleaseFile>, DbError> {
        if self.hides(package) {
            return Ok(Vec::new());
        }
        let mut files = life::package_detail(c, self.tree, self.seq, package)?;
        let decided = self.decided(c, package)?;
        if let Some(substitute) = decisions::substitute(&decided) {
            for file in &mut files {
                if file.release == substitute.release {
                    file.state = LifeState::Listed;
                } else if file.state == LifeState::Listed {
                    file.state = LifeState::Archived;
                }
            }
            files.sort_by_key(|file| file.state);
        }
        Ok(files)
    }

    /// Calls [`life::presence`]: a source keeps a package whose releases are blocked, unless a guard hides it.
    pub(in crate::serve) fn presence(
        &self,
        c: &mut dyn Conn,
        package: PackageId,
        name: &str,
    ) -> Result<Option<LifeState>, DbError> {
        if self.hides(name) {
            return Ok(None);
        }
        life::presence(c, self.tree, self.seq, package)
    }

    /// Calls [`life::current_of`], whose result includes blocked releases.
    pub(in crate::serve) fn current_of(
        &self,
        c: &mut dyn Conn,
        package: PackageId,
    ) -> Result<Vec<CurrentLife>, DbError> {
        life::current_of(c, self.tree, self.seq, package)
    }

    /// Returns whether a release is blocked. Reads the decisions about the whole tree.
    pub(in crate::serve) fn is_blocked(&self, c: &mut dyn Conn, release: ReleaseId) -> Result<bool, DbError> {
        Ok(self.blocked(c)?.is_some_and(|blocked| blocked.releases.contains(&release)))
    }
}

struct TreeGuards<'a> {
    guards: &'a NameGuards,
    language: Language,
    source: SourceId,
    is_own: bool,
}

impl TreeGuards<'_> {
    fn hides(&self, name: &str) -> bool {
        self.guards.find(self.language, name).is_some_and(|guard| guard.hides(self.source, self.is_own))
    }
}

fn add_records(
    c: &mut dyn Conn,
    substitutes: &[(&PackageId, &Substitute)],
    rows: &mut Vec<ListedRelease>,
) -> Result<(), DbError> {
    if substitutes.is_empty() {
        return Ok(());
    }
    let releases: Vec<ReleaseId> = substitutes.iter().map(|(_, substitute)| substitute.release).collect();
    let records = release_facts::records(c, &releases)?;
    for ((package, substitute), record) in substitutes.iter().zip(records) {
        rows.extend(record.map(|stanza| ListedRelease {
            name: substitute.name.clone(),
            normalized_name: substitute.normalized_name.clone(),
            path: String::new(),
            package: **package,
            release: substitute.release,
            stanza,
        }));
    }
    rows.sort_unstable_by(ListedRelease::order);
    Ok(())
}

/// Returns `{name}_{version}` of the file of a source package.
fn stem(file: &str) -> &str {
    file.strip_suffix(".tar.gz").unwrap_or(file)
}

/// Returns the tree of a point that owns `package`, by the rule that merges indexes, files and `Archive/` of
/// several subscriptions: the first one that *lists* the name at the point, regardless of the versions, else
/// the first with it in its archive. A shadowed package is neither listed nor served. `None` when none has
/// it, or when a name guard hides it. The only tree of a point is returned without a check.
pub(in crate::serve) fn owner(
    c: &mut dyn Conn,
    trees: &[View],
    package: &str,
) -> Result<Option<View>, DbError> {
    if let [tree] = trees {
        return Ok((!tree.hides(package)).then(|| tree.clone()));
    }
    // All sources of a repository have the same language, so they have the same id for a name.
    let Some(first) = trees.first() else { return Ok(None) };
    let Some(id) = db::package::by_name(c, first.source, package)? else { return Ok(None) };
    let mut archive_owner = None;
    for tree in trees {
        match tree.presence(c, id, package)? {
            Some(LifeState::Listed) => return Ok(Some(tree.clone())),
            Some(LifeState::Archived) => archive_owner = archive_owner.or_else(|| Some(tree.clone())),
            None => {}
        }
    }
    Ok(archive_owner)
}
