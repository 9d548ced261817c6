//! A sweep and an eviction remove nothing while a backup holds the storage.

use std::time::Duration;

use rstudio_pm::db::backup;
use rstudio_pm::model::ids::Identity;
use rstudio_pm::upkeep::evict::{self, EvictionKind};
use rstudio_pm::upkeep::sweep::{SweepOptions, sweep};

use crate::support::backend::Backend;

#[tokio::test]
async fn a_sweep_waits_for_the_end_of_a_hold() {
    let backend = Backend::new().await;
    let (state, id) = (&backend.state, Identity([7; 16]));
    let now = (state.clock)();
    state.db.write(move |c| backup::take_hold(c, id, now)).await.expect("taken");
    let options = SweepOptions { age: Duration::ZERO, ..SweepOptions::default() };
    let error = sweep(&backend.upkeep, &options).await.expect_err("held").to_string();
    assert!(error.contains("while a backup is made"), "{error}");
    state.db.write(move |c| backup::release_hold(c, id)).await.expect("released");
    sweep(&backend.upkeep, &options).await.expect("swept");
}

#[tokio::test]
async fn an_eviction_waits_for_the_end_of_a_hold() {
    let backend = Backend::new().await;
    let (state, id) = (&backend.state, Identity([7; 16]));
    let now = (state.clock)();
    state.db.write(move |c| backup::take_hold(c, id, now)).await.expect("taken");
    let started = evict::start(&backend.upkeep, EvictionKind::Clear, false);
    let error = started.job().wait_end().await.expect_err("held");
    assert!(error.contains("while a backup is made"), "{error}");
    state.db.write(move |c| backup::release_hold(c, id)).await.expect("released");
    let started = evict::start(&backend.upkeep, EvictionKind::Clear, false);
    started.job().wait_end().await.expect("evicted");
}
