//! The source that owns a package name: the rule by which indexes, files and `Archive/` of several subscriptions are
//! merged.
//!
//! The first subscription that *lists* the name at the point owns it, regardless of the versions; if none lists it, the
//! first that has it in its archive. Only the owner provides the name: a shadowed package is neither listed nor
//! served by its path.

use super::allowed::View;
use base::model::change::LifeState;
use store::db::{self, Conn, DbError};

/// Returns the tree of a point that owns `package`; `None` when none has it, or when a name guard hides it. The only
/// tree of a point is returned without a check that it has the package.
pub(in crate::serve) fn owner(
    c: &mut dyn Conn,
    trees: &[View],
    package: &str,
) -> Result<Option<View>, DbError> {
    if let [tree] = trees {
        return Ok((!tree.hides(package)).then(|| tree.clone()));
    }
    // A package id belongs to a name in a language. All sources of a repository have the same language, so the id is
    // the same in all of them.
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
