//! The last plan of an update of a curated source. A commit must select the same packages as the plan, but if the
//! day of the plan was not over, a later sync can change the selection.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use base::model::digest::Sha256;
use base::model::ids::{TreeId, TxId};
use base::model::time::{SECOND, Timestamp};
use content::serve::RepoError;
use runtime::state::State;
use store::db::curation;

/// Maximum number of differences in an error.
const MAX_DIFFERENCES: usize = 20;

/// First word of the line with the transaction of the state from which a plan selects. It precedes the packages; the
/// line of a package has three words.
const TRANSACTION: &str = "transaction ";

/// Time after a plan during which a commit must select the same packages.
const VALIDITY: Duration = Duration::from_secs(24 * 3600);
/// Time after which a plan is deleted. Until then, a commit states how it differs from the plan.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// A package that an update selects. No field contains a space or a line end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selected {
    pub(super) name: String,
    /// The selected version of an R package, the newest selected version of a Python package.
    pub(super) version: String,
    /// Differs if the selected files differ.
    pub(super) files: String,
}

/// Returns the digest of the parameters of an update that determine the selection, except the state of the base.
/// `flags` are the flags that change the selection.
pub(super) fn request_digest(definition: Sha256, snapshot: &str, flags: &str) -> Sha256 {
    let text = format!("{definition}\n{snapshot}\n{flags}\n");
    Sha256::of(text)
}

/// Stores the selection of a plan. `transaction` is that of the state from which it selects, if one names it.
pub(super) async fn store(
    state: &State,
    tree: TreeId,
    request: Sha256,
    selected: &[Selected],
    transaction: Option<TxId>,
) -> Result<(), RepoError> {
    let mut text = transaction.map(|id| format!("{TRANSACTION}{id}\n")).unwrap_or_default();
    for Selected { name, version, files } in selected {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{name} {version} {files}");
    }
    let now = (state.clock)();
    let expired = now - RETENTION;
    let write = state.db.write(move |c| curation::put_plan(c, tree, request, now, expired, text.as_bytes()));
    Ok(write.await?)
}

/// Compares a selection with that of the last plan for the same request, if there is one. Returns a notice if the
/// selection differs from a plan that is not valid any more. `index` is the name of the index in the error and in the
/// notice. Fails with [`RepoError::Conflict`] with the differences from a valid plan.
pub(super) async fn compare(
    state: &State,
    tree: TreeId,
    index: &str,
    request: Sha256,
    selected: &[Selected],
) -> Result<Option<String>, RepoError> {
    let planned = state.db.read(move |c| curation::plan(c, tree, request)).await?;
    let Some((planned_at, planned)) = planned else { return Ok(None) };
    let planned = String::from_utf8_lossy(&planned).into_owned();
    let differences = differences(&planned, selected);
    if differences.is_empty() {
        return Ok(None);
    }
    let rest = differences.len().saturating_sub(MAX_DIFFERENCES);
    let mut listed_differences: Vec<String> = differences.into_iter().take(MAX_DIFFERENCES).collect();
    if rest > 0 {
        listed_differences.push(format!("and {rest} more"));
    }
    let differences = listed_differences.join("; ");
    if (state.clock)().since(planned_at) > VALIDITY {
        let planned_at = Timestamp(planned_at.seconds().saturating_mul(SECOND));
        return Ok(Some(format!(
            "the commit differs from its plan, which was not binding because it is older than 24 hours (it is of \
             {planned_at}): {differences}"
        )));
    }
    let exact = match planned_transaction(&planned) {
        Some(id) => format!("commit the planned state with --snapshot={id}"),
        None => {
            "plan and commit with a transaction as --snapshot, which always names the same state".to_owned()
        }
    };
    Err(RepoError::Conflict(format!(
        "{index} has changed since the plan: {differences}; plan again, or {exact}"
    )))
}

/// Returns the transaction of the state from which a plan selects, if the stored plan has it.
fn planned_transaction(planned: &str) -> Option<TxId> {
    planned.lines().next()?.strip_prefix(TRANSACTION)?.parse().ok().map(TxId)
}

/// Returns the differences between the planned and the current selection, one sentence for each package.
fn differences(planned: &str, selected: &[Selected]) -> Vec<String> {
    let mut old: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for line in planned.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version), Some(files)) = (words.next(), words.next(), words.next()) {
            old.insert(name, (version, files));
        }
    }
    let mut differences = Vec::new();
    for Selected { name, version, files } in selected {
        match old.remove(name.as_str()) {
            None => differences.push(format!("{name} {version} is new")),
            Some((_, planned)) if planned == files => {}
            Some((planned, _)) if planned == version => {
                differences.push(format!("{name} {version} has different files"));
            }
            Some((planned, _)) => {
                differences.push(format!("{name} is {version}, and was {planned} in the plan"))
            }
        }
    }
    differences.extend(
        old.into_iter().map(|(name, (version, _))| format!("{name} {version} is no longer selected")),
    );
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_each_package_once() {
        let selected = |rows: &[(&str, &str, i64)]| -> Vec<Selected> {
            let row = |(name, version, id): &(&str, &str, i64)| Selected {
                name: (*name).to_owned(),
                version: (*version).to_owned(),
                files: id.to_string(),
            };
            rows.iter().map(row).collect()
        };
        let planned = "a1 1.0 1\nb1 1.0 2\nc1 1.0 3\nd1 1.0 4\n";
        let now = selected(&[("a1", "1.0", 1), ("b1", "1.1", 12), ("c1", "1.0", 13), ("e1", "2.0", 15)]);
        assert_eq!(
            differences(planned, &now),
            [
                "b1 is 1.1, and was 1.0 in the plan",
                "c1 1.0 has different files",
                "e1 2.0 is new",
                "d1 1.0 is no longer selected",
            ]
        );
        assert!(differences("a1 1.0 1\n", &selected(&[("a1", "1.0", 1)])).is_empty());
    }

    #[test]
    fn a_plan_may_have_the_transaction_of_its_state() {
        let lib = Selected { name: "lib".to_owned(), version: "1.0".to_owned(), files: "1".to_owned() };
        let planned = "transaction 17\nlib 1.0 1\n";
        assert_eq!(planned_transaction(planned), Some(TxId(17)));
        assert!(differences(planned, std::slice::from_ref(&lib)).is_empty());
        // A plan of PyPI, and a package of this name.
        for planned in ["lib 1.0 1\n", "transaction 1.0 1\n", ""] {
            assert_eq!(planned_transaction(planned), None, "{planned}");
        }
    }

    #[test]
    fn requests_differ_by_each_of_their_parts() {
        let (a, b) = (Sha256([1; 32]), Sha256([2; 32]));
        let first = request_digest(a, "2024-01-31", "imports false");
        assert_ne!(first, request_digest(b, "2024-01-31", "imports false"));
        assert_ne!(first, request_digest(a, "2024-02-01", "imports false"));
        assert_ne!(first, request_digest(a, "2024-01-31", "imports true"));
    }
}
