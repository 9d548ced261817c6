//! Whose objects each storage class has: its marker compared with the identity of the database.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::sweep::is_known;
use super::{Repo, RepoError};
use crate::config::StorageClass;
use crate::db;
use crate::model::identity::Identity;
use crate::storage::{Key, Marker, Standing};

/// Objects of a class without a marker that are compared with the rows. They come in the order of their digests, which
/// is as good as drawn by lot.
const SAMPLE: usize = 1000;

impl Repo {
    /// Compares every class with the database and notes how it stands. A class that is empty gets this database's
    /// marker, and so does one of before there were markers, if rows name at least half of its objects.
    pub async fn claim_storage(&self) {
        let standings = match self.state.db.read(db::identity::get).await {
            Ok(identity) => self.standings(identity).await,
            Err(error) => {
                let why = Standing::Unknown(error.to_string());
                StorageClass::ALL.into_iter().map(|class| (class, why.clone())).collect()
            }
        };
        for (class, standing) in standings {
            let told = standing.clone();
            if self.state.storage.set_standing(class, standing) {
                tell(class, &told);
            }
        }
        if let Err(error) = self.review_damaged().await {
            tracing::warn!(%error, "could not list the damaged objects that were set aside");
        }
    }

    /// Makes this database the owner of classes, whatever their markers say; those that changed.
    ///
    /// # Errors
    /// The stores.
    pub async fn adopt_storage(&self, classes: &[StorageClass]) -> Result<Vec<StorageClass>, RepoError> {
        let _one = self.sweeping.lock().await;
        let identity = self.state.db.read(db::identity::get).await?;
        let mut adopted = Vec::new();
        for class in classes {
            if self.state.storage.marker(*class).await? != Marker::Of(identity) {
                self.state.storage.mark(*class, identity, true).await?;
                tracing::info!(class = class.as_str(), "this database is the owner of the storage class now");
                adopted.push(*class);
            }
            self.state.storage.set_standing(*class, Standing::Own);
        }
        Ok(adopted)
    }

    async fn standings(&self, identity: Identity) -> BTreeMap<StorageClass, Standing> {
        let compared = StorageClass::ALL.map(|class| async move {
            let standing = self.standing(class, identity).await;
            (class, standing.unwrap_or_else(|error| Standing::Unknown(error.to_string())))
        });
        let mut standings: BTreeMap<_, _> = join_all(compared).await.into_iter().collect();
        // The rows of usage data are in a database of their own: this class goes with the others.
        let metrics = StorageClass::Metrics;
        let others =
            || standings.iter().filter(|(class, _)| **class != metrics).map(|(_, standing)| standing);
        if matches!(standings.get(&metrics), Some(Standing::Unclaimed { .. }))
            && others().all(|standing| *standing == Standing::Own)
        {
            let marked = self.state.storage.mark(metrics, identity, false).await;
            standings.insert(
                metrics,
                marked.map_or_else(|e| Standing::Unknown(e.to_string()), |m| of(m, identity)),
            );
        }
        standings
    }

    async fn standing(&self, class: StorageClass, identity: Identity) -> Result<Standing, RepoError> {
        let storage = &self.state.storage;
        match storage.marker(class).await? {
            Marker::None => {}
            marker => return Ok(of(marker, identity)),
        }
        let sample: Vec<Key> =
            storage.list(class, None, SAMPLE).await?.iter().map(|object| object.key).collect();
        let objects = sample.len();
        let named = match class {
            StorageClass::Metrics => 0,
            _ => {
                let known = self.state.db.read(move |c| {
                    let mut named = 0;
                    for key in &sample {
                        named += usize::from(is_known(c, key)?);
                    }
                    Ok(named)
                });
                known.await?
            }
        };
        if named * 2 < objects {
            return Ok(Standing::Unclaimed { objects, named });
        }
        if objects > 0 {
            tracing::info!(
                class = class.as_str(),
                objects,
                named,
                "this database becomes the owner of the storage class: its rows name the objects there"
            );
        }
        Ok(of(storage.mark(class, identity, false).await?, identity))
    }
}

fn of(marker: Marker, identity: Identity) -> Standing {
    match marker {
        Marker::Of(owner) if owner == identity => Standing::Own,
        Marker::Of(owner) => Standing::Foreign(owner),
        Marker::Unreadable => Standing::Unreadable,
        Marker::None => Standing::Unknown("the marker that was written is not there".to_owned()),
    }
}

fn tell(class: StorageClass, standing: &Standing) {
    let class = class.as_str();
    match standing {
        Standing::Own | Standing::Unchecked => {}
        Standing::Foreign(owner) => tracing::warn!(
            class,
            %owner,
            "the storage class belongs to another database; nothing is removed from it; put that database back, or make \
             this one the owner with: rspm storage adopt --class={class}"
        ),
        Standing::Unreadable => tracing::warn!(
            class,
            "the marker of the storage class names no database; nothing is removed from it; if this database is the right \
             one: rspm storage adopt --class={class}"
        ),
        Standing::Unclaimed { objects, named } => tracing::warn!(
            class,
            objects,
            named,
            "the storage class has no owner, and objects that this database does not name; nothing is removed from it; \
             put the database back, or make this one the owner with: rspm storage adopt --class={class}"
        ),
        Standing::Unknown(error) => tracing::warn!(
            class,
            error,
            "could not compare the storage class with the database; nothing is removed from it"
        ),
    }
}
