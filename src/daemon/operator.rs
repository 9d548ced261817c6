//! The one who carries out commands, one after the other, and runs what runs by itself.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::control::{Command, Done, Order, Refused, Reloaded};
use crate::http::{App, Switch};

/// Owns what answers.
pub(super) struct Operator {
    switch: Switch,
    life: Option<Life>,
}

/// An app that answers, and what runs beside it.
struct Life {
    app: Arc<App>,
    tasks: Vec<JoinHandle<()>>,
}

impl Life {
    fn begin(app: Arc<App>) -> Life {
        let (sync, repo) = (app.sync.clone(), app.repo.clone());
        let tasks = vec![
            tokio::spawn(async move { sync.run_schedules().await }),
            tokio::spawn(async move { repo.run_nightly().await }),
        ];
        Life { app, tasks }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Operator {
    /// With an app that answers already.
    pub(super) fn new(switch: Switch, app: Arc<App>) -> Operator {
        Operator { switch, life: Some(Life::begin(app)) }
    }

    /// Carries out orders until nobody can give any. Dropped at any moment, it leaves everything open.
    pub(super) async fn work(&mut self, orders: &mut mpsc::Receiver<Order>) {
        while let Some(order) = orders.recv().await {
            let outcome = match &order.command {
                Command::Reload => Ok(Done::Reloaded(Reloaded::default())),
                Command::Offline { .. } | Command::Online => {
                    Err(Refused(format!("the server is {}", self.switch.porch().control.mode().word())))
                }
            };
            order.answer(outcome);
        }
    }

    /// Ends what runs by itself. Returns what answered.
    pub(super) fn end(mut self) -> Option<Arc<App>> {
        self.life.take().map(|life| Arc::clone(&life.app))
    }
}
