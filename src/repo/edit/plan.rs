//! What adding to or removing from one package of a local source changes: pure.
//!
//! The rule: of the versions a local source has of a package, the highest (as R orders versions; of equals the one
//! added later) is listed, all others are in `Archive/`. So an older version goes straight to the archive, and when
//! the listed one is removed the next lower is listed again. A package never stands in the archive alone.

use crate::db::life::Current;
use crate::model::change::{Change, Counts, LifeState, NewRelease};
use crate::model::ids::{PackageId, ReleaseId};
use crate::r::version;

/// A release that comes to a package.
#[derive(Clone, Debug)]
pub(super) enum Incoming {
    /// Never seen with these bytes.
    New(NewRelease),
    /// Removed once, and back with the same bytes.
    Known {
        /// The package.
        package: PackageId,
        /// The release.
        release: ReleaseId,
        /// Its version.
        version: String,
    },
}

impl Incoming {
    fn version(&self) -> &str {
        match self {
            Incoming::New(release) => &release.version,
            Incoming::Known { version, .. } => version,
        }
    }

    fn change(self, state: LifeState) -> Change {
        let path = String::new();
        match self {
            Incoming::New(release) => Change::Introduce { release, state, path },
            Incoming::Known { package, release, .. } => {
                Change::Open { state, package, release, variant: 0, path }
            }
        }
    }
}

/// The changes that give a package the releases `kept` of `alive` and those `incoming`, in the order they came.
pub(super) fn settle(
    alive: &[Current],
    kept: impl Fn(&Current) -> bool,
    incoming: Vec<Incoming>,
) -> (Vec<Change>, Counts) {
    let mut versions: Vec<&str> =
        alive.iter().filter(|life| kept(life)).map(|life| life.version.as_str()).collect();
    versions.extend(incoming.iter().map(Incoming::version));
    // Of equals the last wins: `max_by` returns it.
    let listed = (0..versions.len()).max_by(|a, b| version::compare(versions[*a], versions[*b]));
    let was = alive.iter().find(|life| life.key.state == LifeState::Listed);
    let now = listed.map(|place| versions[place].to_owned());

    let (mut changes, mut archived) = (Vec::new(), 0);
    let mut place = 0;
    let mut state = || {
        place += 1;
        if Some(place - 1) == listed { LifeState::Listed } else { LifeState::Archived }
    };
    for life in alive {
        if !kept(life) {
            changes.push(Change::Close(life.key.clone()));
            continue;
        }
        let state = state();
        if state != life.key.state {
            changes.push(Change::Close(life.key.clone()));
            let (package, release) = (life.key.package, life.key.release);
            changes.push(Change::Open {
                state,
                package,
                release,
                variant: life.variant,
                path: String::new(),
            });
            archived += i64::from(state == LifeState::Archived);
        }
    }
    let replaced = incoming.iter().any(|new| now.as_deref() == Some(new.version()));
    for new in incoming {
        let state = state();
        archived += i64::from(state == LifeState::Archived);
        changes.push(new.change(state));
    }
    let counts = match (was, &now) {
        (None, Some(_)) => Counts { added: 1, ..Counts::default() },
        (Some(_), None) => Counts { removed: 1, ..Counts::default() },
        (Some(was), Some(now)) if was.version != *now || replaced => {
            Counts { updated: 1, ..Counts::default() }
        }
        (Some(_), Some(_)) | (None, None) => Counts::default(),
    };
    (changes, Counts { archived, ..counts })
}
