//! Fixed URLs: the snapshots that `rspm url create` names. A row never changes.

use std::collections::HashMap;

use super::{Conn, DbError, ids};
use base::model::ids::{RepoId, Seq, TreeId};
use base::model::snapshot::Alias;
use base::model::time::Timestamp;

/// The state of a repository that a fixed URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedUrl {
    pub repo: RepoId,
    /// The number of the fixed list of subscriptions; `None` if the list is not fixed. With a fixed list, trees
    /// that are not in `trees` are empty.
    pub repo_seq: Option<Seq>,
    /// The instant that selects the list and the states that are not fixed; `None` for the newest ones.
    pub at: Option<Timestamp>,
    pub trees: Vec<(TreeId, Seq)>,
}

/// Returns a number that changes when a fixed URL is created.
pub fn revision(c: &mut dyn Conn) -> Result<i64, DbError> {
    Ok(c.first("SELECT next FROM sequence WHERE name = 'fixed_url'", &[])?.unwrap_or_default())
}

/// Returns all fixed URLs. Those that this version of the server cannot read are omitted.
pub fn list(c: &mut dyn Conn) -> Result<Vec<(Alias, FixedUrl)>, DbError> {
    const ALIASES: &str = "SELECT token, repo_id, repo_seq, at FROM fixed_url ORDER BY token";
    const TREES: &str = "SELECT token, tree_id, seq FROM fixed_url_tree ORDER BY token, tree_id";
    let mut trees: HashMap<String, Vec<(TreeId, Seq)>> = HashMap::new();
    for (token, tree) in c.all::<(String, (TreeId, Seq))>(TREES, &[])? {
        trees.entry(token).or_default().push(tree);
    }
    let mut aliases = Vec::new();
    for (token, repo, repo_seq, at) in c.all::<(String, _, _, _)>(ALIASES, &[])? {
        let trees = trees.remove(&token).unwrap_or_default();
        let Ok(alias) = token.parse() else { continue };
        aliases.push((alias, FixedUrl { repo, repo_seq, at, trees }));
    }
    Ok(aliases)
}

/// Creates a fixed URL and returns its name, which begins with the day of `now`. Call `clock::bump_catalog` afterwards.
pub fn create(c: &mut dyn Conn, alias: &FixedUrl, actor: &str, now: Timestamp) -> Result<Alias, DbError> {
    const CREATE: &str = "INSERT INTO fixed_url (token, repo_id, repo_seq, at, actor, created_at) \
        VALUES ($1, $2, $3, $4, $5, $6)";
    const TREE: &str = "INSERT INTO fixed_url_tree (token, tree_id, seq) VALUES ($1, $2, $3)";
    let number = ids::reserve(c, ids::Sequence::FixedUrl, 1)?;
    let name = Alias::new(now.day(), number).ok_or(DbError::Shape {
        column: 0,
        found: "a larger number",
        expected: "at most nine digits",
    })?;
    let token = name.to_string();
    let params = [
        token.as_str().into(),
        alias.repo.into(),
        alias.repo_seq.map(|seq| seq.0).into(),
        alias.at.map(|at| at.0).into(),
        actor.into(),
        now.into(),
    ];
    c.execute(CREATE, &params)?;
    let row = |(tree, seq): &(TreeId, Seq)| vec![token.as_str().into(), (*tree).into(), (*seq).into()];
    let rows: Vec<Vec<super::Value>> = alias.trees.iter().map(row).collect();
    c.execute_many(TREE, &rows)?;
    Ok(name)
}
