//! What follows from planned changes for packages, as the dry runs of the single commands state it.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::plan::Plan;
use crate::http::api::admin::{block_rule, name_guard as guard};
use crate::http::app::App;
use crate::http::error::Failure;
use api::block_rule::MAX_COUNTED_RULES;
use api::name_guard::describe_hidden;
use base::model::ids::{RepoId, SourceId};
use base::model::text::count_of;
use content::serve;
use store::db::name_guard;
use tasks::edit::state::{Object, ObjectChange};

/// Maximum time for the effects of a plan.
const MAX_TIME: Duration = Duration::from_secs(5);

/// Adds the effects of changes that are not made later: the number of packages of deleted sources, and what new rules and
/// guards match or hide in addition to those in force, if there are at most [`MAX_COUNTED_RULES`].
pub(super) async fn add(app: &App, plan: &mut Plan) {
    let is_new = |change: &&ObjectChange| {
        change.old.is_none() && matches!(change.new, Some(Object::Rule(_) | Object::Guard(_)))
    };
    let is_counted = plan.objects.changes.iter().filter(is_new).count() <= MAX_COUNTED_RULES;
    let deadline = Instant::now() + MAX_TIME;
    let wire = plan.wire.changes.iter_mut().filter(|change| !change.later);
    for (wire, change) in wire.zip(&plan.objects.changes) {
        if is_new(&change) && !is_counted {
            continue;
        }
        match timeout_at(deadline, of_change(app, change)).await {
            Ok(Ok(effects)) => wire.effects.extend(effects),
            // The commit states what prevents the change.
            Ok(Err(_)) => {}
            Err(_) => {
                let text = format!("counting packages takes more than {} seconds", MAX_TIME.as_secs());
                return wire.effects.push(text);
            }
        }
    }
}

async fn of_change(app: &App, change: &ObjectChange) -> Result<Vec<String>, Failure> {
    let catalog = app.state.catalog.get();
    let has_source = |id: SourceId| catalog.source_by_id(id).is_some();
    let has_repo = |id: RepoId| catalog.repo_by_id(id).is_some();
    Ok(match (&change.old, &change.new) {
        (Some(Object::Source(source)), None) => {
            let packages = serve::info::source(&app.repositories, source.name.as_str()).await?.packages;
            let packages_stay = count_of(packages, "package stays", "packages stay");
            let text =
                format!("its {packages_stay} in snapshots of days on which a repository subscribed to it");
            if packages > 0 { vec![text] } else { Vec::new() }
        }
        (None, Some(Object::Rule(rule)))
            if rule.criteria.source.is_none_or(has_source) && rule.criteria.repo.is_none_or(has_repo) =>
        {
            let matches = block_rule::matches(app, rule).await?;
            matches.iter().map(|found| found.describe(rule.effect)).collect()
        }
        (None, Some(Object::Guard(row))) if has_source(row.source) => {
            let row = row.clone();
            let hidden = app.state.db.read(move |c| name_guard::hidden(c, &row)).await?;
            let hidden = describe_hidden(&guard::hidden_names(&catalog, hidden));
            hidden.map(|names| format!("hides {names}")).into_iter().collect()
        }
        _ => Vec::new(),
    })
}
