//! The generated table of `docs/admin/files.md`: the paths, their rules, and the consequences of violations.

use std::fmt::Write;

use super::table::{Is, Keeper, Otherwise, ROWS, Row, What};

/// The table in Markdown.
#[must_use]
pub fn text() -> String {
    let mut out = "| path | default | type | mode | maximum mode | wrong owner | too open | writable by everybody | \
                   wrong type, dangling link or another user's link |\n|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in ROWS {
        let is = match row.is {
            Is::Directory => "directory",
            Is::File => "file",
            Is::Socket => "socket",
        };
        let word = |otherwise| match otherwise {
            Otherwise::Refuse => "no start",
            Otherwise::Warn => "warning",
        };
        let otherwise = word(row.otherwise);
        let ours = row.keeper == Keeper::Daemon;
        let _ = writeln!(
            out,
            "| {} | {} | {is} | {:04o} | {:04o} | {} | {} | {} | {otherwise} |",
            title(row),
            default(row.what),
            row.mode,
            row.most,
            word(row.of_another_owner()),
            if ours { "fixed" } else { "warning" },
            if ours { "fixed" } else { otherwise },
        );
    }
    out
}

fn title(row: &Row) -> String {
    if row.name.contains('.') { format!("`{}`", row.name) } else { row.name.to_owned() }
}

fn default(what: What) -> &'static str {
    match what {
        What::Gcfg => "`/etc/rstudio-pm/rstudio-pm.gcfg`",
        What::Certificate | What::Key => "none",
        What::DataDir => "`/var/lib/rstudio-pm`",
        What::SqliteDir => "`/var/lib/rstudio-pm/db`",
        What::Database => {
            "`/var/lib/rstudio-pm/db/rstudio-pm.db`, `…-wal`, `…-shm`, `….lock`; `usage.db`, `…-wal`, `…-shm`"
        }
        What::Storage => "`/var/lib/rstudio-pm/<class>`",
        What::TempDir => "`/tmp`",
        What::LogDir => "`/var/log/rstudio/rstudio-pm`",
        What::Log => "`rstudio-pm.log`, `rstudio-pm.access.log` in it",
        What::SockFileDir => "`/var/run/rstudio-pm`",
        What::Socket => "`/var/run/rstudio-pm/rstudio-pm.sock`",
        What::Pid => "`/var/run/rstudio-pm/rstudio-pm.pid`",
    }
}
