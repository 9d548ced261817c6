//! The end of a flight: verified, let go, stored; the blob first, the row second.

use std::io::{BufReader, Read, Seek};

use super::pilot::{Pilot, blocking};
use super::spool::Complete;
use super::{FlightError, Landed, Outcome};
use crate::config::StorageClass;
use crate::db;
use crate::db::file::FileState;
use crate::storage::{Key, StorageError};

impl Pilot {
    /// True when the file came into storage between the moment a client looked for it and this flight, and the
    /// readers know it.
    pub(super) async fn landed_already(&self) -> bool {
        if self.ticket.gone {
            return false;
        }
        let file = self.ticket.file;
        let stored = self.ticket.crew.state.db.read(move |c| db::file::stored(c, file)).await;
        // A database that does not answer will say so when the row is to be written.
        let Some((class, digest)) = stored.ok().flatten() else { return false };
        let Some(class) = class_of(&class) else { return false };
        self.landed(Landed::Stored(Key::Package(class, digest)));
        true
    }

    /// Verifies, lets go of the end, stores, and has the row written.
    pub(super) async fn land(&self, complete: Complete) -> Result<(), FlightError> {
        let Complete { brought, spool, file, spooled } = complete;
        if !self.ticket.promise.accepts(&brought)? {
            let (promise, tail) = (self.ticket.promise.clone(), self.flight.tail.reader());
            let name = promise.name.clone();
            blocking(move || {
                let unreadable =
                    |e| FlightError::Storage(format!("reading the spool of {name} once more: {e}"));
                match &file {
                    None => promise.accepts_archive(tail),
                    Some(file) => {
                        let mut file = file.as_ref();
                        file.rewind().map_err(unreadable)?;
                        let file = BufReader::with_capacity(256 << 10, file);
                        promise.accepts_archive(file.take(spooled).chain(tail))
                    }
                }
            })
            .await?;
        }
        self.progress.send_modify(|p| {
            p.verified = true;
            p.size = Some(brought.size);
        });
        let Some(spool) = spool else {
            self.landed(Landed::Passed);
            return Ok(());
        };
        let crew = &self.ticket.crew;
        let digest = brought.sha256;
        let _landing = crew.landing.read().await;
        let known = match crew.state.db.read(move |c| db::blob::get(c, digest)).await {
            // One digest is one blob, whichever source brought it first.
            Ok(known) => known.and_then(|blob| class_of(&blob.class)),
            Err(error) => {
                tracing::error!(%error, "a fetched package is not stored: the database does not answer");
                self.landed(Landed::Passed);
                return Ok(());
            }
        };
        let key = Key::Package(known.unwrap_or(self.ticket.class), digest);
        let there = known.is_some()
            && matches!(crew.state.storage.size(&key).await, Ok(Some(size)) if size == brought.size);
        if !there && let Err(error) = crew.state.storage.commit(spool, &key).await {
            match error {
                StorageError::Full(_) => self.flight.memory.disk_is_full(&error.to_string()),
                error => {
                    let file = &self.ticket.promise.name;
                    tracing::error!(%file, %error, "a fetched package is passed on but not stored");
                }
            }
            self.landed(Landed::Passed);
            return Ok(());
        }
        self.flight.memory.disk_has_room();
        self.landed(Landed::Stored(key));
        let size = i64::try_from(brought.size).unwrap_or(i64::MAX);
        let blob = db::blob::Blob {
            sha256: digest,
            class: key.class().as_str().to_owned(),
            size,
            created_at: (crew.state.clock)(),
        };
        let learnt = db::file::Learnt {
            file: self.ticket.file,
            sha256: Some(digest),
            size: Some(size),
            state: FileState::Stored,
        };
        // Until the row says so, those who come find the flight and through it the blob.
        crew.learner.stored(learnt, blob).await;
        Ok(())
    }

    fn landed(&self, landed: Landed) {
        self.progress.send_modify(|p| p.outcome = Some(Outcome::Landed(landed)));
    }
}

fn class_of(name: &str) -> Option<StorageClass> {
    StorageClass::ALL.into_iter().find(|class| class.as_str() == name)
}
