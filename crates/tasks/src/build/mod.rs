//! Builders of git repositories: polls, the queue of builds, credentials, logs, webhooks.
//!
//! A poll lists references of a remote repository and puts new commits and tags in the queue, which is a table. The
//! leader claims builds and runs them: one sandbox fetches the commit, another one builds the package, and the result
//! is added to the source like an upload.
//!
//! A server claims a build for half a minute and renews the claim while it fetches, builds and publishes; a build of a
//! server that ended is claimed again. The transaction that publishes ends the claim too (`edit::add::add_built`), so a
//! build whose claim is lost publishes nothing. Of the builders without a running build, the one that built least
//! recently is next.

pub mod builder;
pub mod credential;
mod dependencies;
mod description;
mod detection;
mod failure;
mod fetch;
mod job;
pub mod log;
mod needs;
pub mod poll;
mod python;
pub mod queue;
mod references;
mod run;
pub mod schedule;
mod ssh;
mod toolchain;
pub mod webhook;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use self::log::BuildLog;
use self::references::Remotes;
use crate::edit::Uploads;
use ::builder::sandbox::Sandbox;
use base::model::kind::Language;
use content::serve::Repositories;
use runtime::state::State;
use store::db::git_builder::GitBuilder;

/// The builders and builds of this server; shared in an `Arc`.
pub struct Builds {
    state: Arc<State>,
    uploads: Arc<Uploads>,
    repositories: Arc<Repositories>,
    /// The detected sandbox for each language.
    sandboxes: tokio::sync::Mutex<HashMap<Language, Sandbox>>,
    /// The logs of running builds, by the id of the build.
    running: Mutex<HashMap<i64, Arc<BuildLog>>>,
    /// The ids of builders that are being polled because of a webhook, and whether another poll follows.
    webhook_polls: Mutex<HashMap<i64, bool>>,
    /// Limits concurrent polls caused by webhooks.
    hook_slots: tokio::sync::Semaphore,
    /// Pauses that git servers requested, and the locks of hosts.
    hosts: poll::Hosts,
    /// Caches for polls of remote repositories.
    remotes: Remotes,
    wake: Notify,
    /// The path of the builder program, if it is not the installed one.
    program: Option<PathBuf>,
}

impl Builds {
    /// Creates the handle. Nothing is built before [`schedule::run`].
    pub fn new(uploads: Arc<Uploads>, repositories: Arc<Repositories>, state: Arc<State>) -> Arc<Builds> {
        Arc::new(Builds {
            state,
            uploads,
            repositories,
            sandboxes: tokio::sync::Mutex::default(),
            running: Mutex::default(),
            webhook_polls: Mutex::default(),
            hook_slots: tokio::sync::Semaphore::new(webhook::POLLS),
            hosts: poll::Hosts::default(),
            remotes: Remotes::default(),
            wake: Notify::new(),
            program: detection::program(),
        })
    }

    fn language(&self, builder: &GitBuilder) -> Language {
        self.state.catalog.get().source_language(builder.source)
    }

    /// Returns [`Toolchain::has_description`](toolchain::Toolchain::has_description) of the language of a builder.
    fn has_description(&self, builder: &GitBuilder) -> bool {
        toolchain::of(self.language(builder)).has_description
    }
}
