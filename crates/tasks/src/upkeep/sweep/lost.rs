//! Finds lost objects: rows refer to them, but they are not in storage.

use std::collections::BTreeSet;
use std::time::Duration;

use super::objects::ClassScan;
use super::{PAGE, SweepRun};
use crate::upkeep::Upkeep;
use crate::upkeep::missing::{self, MissingObject};
use crate::upkeep::references::object_key;
use base::config::Provider;
use base::model::digest::Sha256;
use base::model::kind::StorageClass;
use base::model::time::Timestamp;
use content::serve::RepoError;
use runtime::state::State;
use store::db;
use store::storage::Key;
use store::storage::condition::ConditionScan;

/// The maximum number of lost objects counted per class.
const MAX_COUNT: usize = 10_000;
/// The maximum number of lost objects that are logged by name.
const MAX_NAMES: usize = 100;
/// Age from which an object of another server must be visible here, even if the two clocks differ a little.
const VISIBILITY_DELAY: Duration = Duration::from_secs(600);

/// Compares a class's rows with `scan`, begun after `conditions`; restores objects in the trash, records lost ones.
pub(super) async fn find(
    upkeep: &Upkeep,
    class: StorageClass,
    scan: &ClassScan,
    conditions: ConditionScan<'_>,
    run: &SweepRun<'_>,
) -> Result<(), RepoError> {
    let (end, mut lost, mut refetchable_count) = (compare_end(&upkeep.state, run), BTreeSet::new(), 0_u64);
    'directories: for directory in Key::directories(class).iter().map(Key::directory) {
        let mut last_digest: Option<Sha256> = None;
        loop {
            run.lease.check().await?;
            let rows = upkeep
                .state
                .db
                .read(move |c| db::blob::in_directory(c, directory, end, last_digest, PAGE as i64));
            let rows = rows.await?;
            let Some(last) = rows.last() else { break };
            last_digest = Some(*last);
            let keys = rows.iter().filter_map(|digest| object_key(directory, *digest));
            for key in keys.filter(|key| !scan.contains(key)) {
                match missing::examine(upkeep, &key).await? {
                    MissingObject::Lost => drop(lost.insert(key)),
                    MissingObject::OnMirror => refetchable_count += 1,
                    MissingObject::NotMissing | MissingObject::Undamaged | MissingObject::Damaged => {}
                }
                if lost.len() == MAX_COUNT {
                    break 'directories;
                }
            }
        }
    }
    let count = lost.len();
    let names = file_names(&upkeep.state, lost.iter().copied().take(MAX_NAMES).collect()).await?;
    let class_name = class.as_str();
    if conditions.set_lost(class, lost) && count > 0 {
        tracing::error!(class = class_name, count, %names, "objects that rows refer to are not in storage");
    }
    if refetchable_count > 0 {
        tracing::warn!(
            class = class_name,
            count = refetchable_count,
            "objects are not in storage; they are fetched from their mirror again on request"
        );
    }
    Ok(())
}

/// Returns the end of the compared rows. A row is written after its object is durable, so on a single server every row
/// can be compared. Another server's object may not be visible yet on a network file system that caches directories.
fn compare_end(state: &State, run: &SweepRun<'_>) -> Timestamp {
    let age = match state.config.load().database.provider {
        Provider::Sqlite => return Timestamp(i64::MAX),
        Provider::Postgres => run.options.age.min(VISIBILITY_DELAY),
    };
    (state.clock)() - age
}

/// Returns the file names of objects, or their object paths if they have none.
async fn file_names(state: &State, keys: Vec<Key>) -> Result<String, RepoError> {
    let names = state.db.read(move |c| {
        let name = |key: &Key| Ok(db::file::name_of(c, *key.digest())?.unwrap_or_else(|| key.path()));
        keys.iter().map(name).collect::<Result<Vec<String>, _>>()
    });
    Ok(names.await?.join(", "))
}
