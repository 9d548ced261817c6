//! Applies a changed configuration file to the running server: first all steps that can fail, then those that cannot.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::context::ProcessContext;
use super::encryption::compare;
use super::files;
use crate::http::App;
use crate::http::net::tls::{Tls, TlsError};
use crate::http::site::SiteSettings;
use base::config::{self, Config, Loaded, PropertyChange};
use runtime::control::{CommandError, ReloadResult};
use tasks::sync::task::Task;
use upstream::Upstream;

/// Applies the difference between the running configuration and the file, and returns the new running
/// configuration. After an error nothing has changed.
pub(super) async fn apply(
    context: &ProcessContext,
    app: &Arc<App>,
    current: &Loaded,
    file: &Loaded,
) -> Result<(Loaded, ReloadResult), CommandError> {
    let refusal = |reason: &dyn std::fmt::Display| CommandError(format!("{reason}\nNothing was changed."));
    let reload = config::reload(current, file).map_err(|error| refusal(&error))?;
    let config = Arc::clone(&reload.loaded.config);
    let mut warnings = files::prepare(&context.file, &reload.loaded).map_err(|error| refusal(&error))?;
    warnings.extend(file.warnings.iter().map(ToString::to_string));
    let config = compare::reconcile(&app.state.db, config).await.map_err(|error| refusal(&error))?;
    let upstream = Upstream::of_server(&config).map_err(|error| refusal(&error))?;
    let tls = open_tls(&config).map_err(|error| refusal(&error))?;
    let logs = context.logs.prepare(&config);
    if let Some(error) = logs.errors.first() {
        return Err(refusal(error));
    }
    // This cannot fail: `Upstream::of_server` accepted the same proxy.
    app.providers.set_proxy(&config.proxy).map_err(|error| refusal(&error))?;
    context.logs.switch(logs);
    let renewal =
        renewed_certificate(&config, &context.tls, &tls).filter(|_| !reload.applies("HTTPS.Certificate"));
    context.tls.replace(&tls);
    context.switch.context().site.store(Arc::new(SiteSettings::new(&config)));
    app.state.upstream.store(Arc::new(upstream));
    app.state.config.store(config);
    app.state.reloads.fetch_add(1, Ordering::Release);
    if reload.applies("CRAN.URL") || reload.applies("Bioconductor.URL") {
        tokio::spawn(app.sync.report_directories());
    }
    for task in Task::ALL.into_iter().filter(|task| reload.applies(task.property())) {
        app.sync.reschedule(task);
    }
    let applied = reload.applied.into_iter().chain(renewal).collect();
    let result = ReloadResult { applied, ignored: reload.ignored, restart: reload.restart, warnings };
    Ok((reload.loaded, result))
}

/// Describes a certificate whose file has another content than before.
fn renewed_certificate(config: &Config, current: &Tls, next: &Tls) -> Option<PropertyChange> {
    let (from, to) = (current.fingerprint()?, next.fingerprint()?);
    let path = config.https.certificate.as_ref()?.display();
    let describe = |fingerprint| format!("{path}, SHA-256 {fingerprint}");
    (from != to).then(|| PropertyChange {
        property: "HTTPS.Certificate".to_owned(),
        from: describe(from),
        to: describe(to),
    })
}

pub(super) fn log_changes(result: &ReloadResult) {
    let ReloadResult { applied, ignored, restart, warnings } = result;
    for PropertyChange { property, from, to } in applied {
        tracing::info!("{property} is '{to}' now, was '{from}'");
    }
    for PropertyChange { property, from, .. } in ignored {
        tracing::info!("{property} is no longer set and stays '{from}' until a restart");
    }
    for PropertyChange { property, to, .. } in restart {
        tracing::warn!("{property} = '{to}' needs a restart");
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!("configuration reloaded; {} applied", applied.len());
}

pub(super) fn open_tls(config: &Config) -> Result<Tls, TlsError> {
    match (&config.https.listen, &config.https.certificate, &config.https.key) {
        (Some(_), Some(certificate), Some(key)) => Tls::open(certificate, key, config.https.minimum_tls),
        // `config` refuses HTTPS.Listen without a certificate and key.
        (Some(_), _, _) | (None, _, _) => Ok(Tls::default()),
    }
}
