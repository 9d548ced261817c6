//! The generated table of `docs/admin/files.md`: the paths, their rules, and the consequences of violations.

use std::fmt::Write;

use super::table::{FileType, FixedBy, OnViolation, PathKind, PathRule, RULES};

pub fn text() -> String {
    let mut out = "| path | default | type | mode | maximum mode | wrong owner | too open | writable by all users | \
                   wrong type, dangling link or another user's link |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for rule in RULES {
        let file_type = match rule.file_type {
            FileType::Directory => "directory",
            FileType::File => "file",
            FileType::Socket => "socket",
        };
        let consequence = |on_violation| match on_violation {
            OnViolation::Refuse => "no start",
            OnViolation::Warn => "warning",
        };
        let on_violation = consequence(rule.on_violation);
        let is_fixed = rule.fixed_by == FixedBy::Daemon;
        let _ = writeln!(
            out,
            "| {} | {} | {file_type} | {:04o} | {:04o} | {} | {} | {} | {on_violation} |",
            title(rule),
            default(rule.kind),
            rule.mode,
            rule.max_mode,
            consequence(rule.on_foreign_owner()),
            if is_fixed { "fixed" } else { "warning" },
            if is_fixed { "fixed" } else { on_violation },
        );
    }
    out
}

fn title(rule: &PathRule) -> String {
    if rule.name.contains('.') { format!("`{}`", rule.name) } else { rule.name.to_owned() }
}

fn default(kind: PathKind) -> &'static str {
    match kind {
        PathKind::Gcfg => "`/etc/rstudio-pm/rstudio-pm.gcfg`",
        PathKind::Certificate | PathKind::Key => "none",
        PathKind::EncryptionKey => {
            "`/var/lib/rstudio-pm/rstudio-pm.key`, and `rstudio-pm.key.old` after a rotation"
        }
        PathKind::DataDir => "`/var/lib/rstudio-pm`",
        PathKind::SqliteDir => "`/var/lib/rstudio-pm/db`",
        PathKind::Database => {
            "`/var/lib/rstudio-pm/db/rstudio-pm.db`, `…-wal`, `…-shm`, `….lock`; `usage.db`, `…-wal`, `…-shm`"
        }
        PathKind::Storage => "`/var/lib/rstudio-pm/<class>`",
        PathKind::TempDir => "`/tmp`",
        PathKind::LogDir => "`/var/log/rstudio/rstudio-pm`",
        PathKind::Log => "`rstudio-pm.log`, `rstudio-pm.access.log` in it",
        PathKind::SockFileDir => "`/var/run/rstudio-pm`",
        PathKind::Socket => "`/var/run/rstudio-pm/rstudio-pm.sock`",
        PathKind::Pid => "`/var/run/rstudio-pm/rstudio-pm.pid`; `rstudio-pm.node`",
    }
}
