//! The listed source packages of a point with their dependencies, from which closures are computed.

use std::collections::HashSet;

use tokio::sync::Semaphore;

use crate::serve::selection::allowed::View;
use crate::serve::{RepoError, Repositories, task};
use base::model::point::Point;
use formats::r::closure::DependencyIndex;
use formats::r::description::Description;

/// Limits the indexes that are read concurrently: the records of all of CRAN take tens of megabytes.
static READ_PERMITS: Semaphore = Semaphore::const_new(1);

/// Reads the packages that a point lists; if several trees list a name, the record of the first tree is used.
pub async fn of_point(repositories: &Repositories, point: &Point) -> Result<DependencyIndex, RepoError> {
    let _permit = READ_PERMITS.acquire().await.ok();
    let (mut index, mut names) = (DependencyIndex::default(), HashSet::new());
    for view in View::of(&repositories.state, point) {
        let rows = repositories.state.db.read(move |c| Ok((view.listed(c)?, view.hidden_names(c)?))).await?;
        let work = task::run_blocking(move || {
            let (records, hidden_names) = rows;
            for record in records.into_iter().filter(|record| record.path.is_empty()) {
                if names.contains(&record.name) {
                    continue;
                }
                if let Ok(description) = Description::from_bytes(&record.stanza)
                    && let Some(version) = description.version()
                {
                    index.insert(&record.name, version, &description);
                }
                names.insert(record.name);
            }
            names.extend(hidden_names);
            (index, names)
        });
        (index, names) = work.await?;
    }
    Ok(index)
}
