//! Requests with GET change nothing in the database.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::types::ValueRef;

use super::administration;
use super::links::crawl_with;
use crate::support::fixtures::until;
use crate::support::python::package::{Package, add};
use crate::support::server::Server;

/// Tables whose rows may change during requests with GET: they record the last day of use of a token and of a file, the
/// indexes of closed snapshots that were generated for a request, and the heartbeats and leases of servers.
const CHANGED_BY_REQUESTS: [&str; 5] = ["token_use", "blob_access", "rendered", "node", "lease"];

/// All rows of all other tables of the main database, as text.
fn rows(server: &Server) -> BTreeMap<String, Vec<String>> {
    let file = server.dir().join("data/db/rstudio-pm.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(file, flags).expect("the database");
    let select = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut tables = database.prepare(select).expect("a statement");
    let tables = tables.query_map([], |row| row.get::<_, String>(0)).expect("tables");
    let tables: Vec<String> = tables.map(|name| name.expect("a name")).collect();
    let of_table = |table: &String| {
        let mut select = database.prepare(&format!("SELECT * FROM {table}")).expect("a statement");
        let columns = select.column_count();
        let row = |row: &rusqlite::Row| {
            let cells = (0..columns).map(|at| match row.get_ref(at).expect("a cell") {
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            });
            Ok(cells.collect::<Vec<_>>().join(" "))
        };
        let mut rows: Vec<String> =
            select.query_map([], row).expect("rows").map(|row| row.expect("a row")).collect();
        rows.sort();
        rows
    };
    let tables = tables.iter().filter(|table| !CHANGED_BY_REQUESTS.contains(&table.as_str()));
    tables.map(|table| (table.clone(), of_table(table))).collect()
}

#[test]
fn an_administrator_who_follows_every_link_gets_no_error_and_changes_nothing() {
    let server = super::server();
    server.rspm_stdout("create source --name=python --type=local-python");
    server.rspm_stdout("create repo --name=py --type=python");
    server.rspm_stdout("subscribe --repo=py --source=python");
    add(&server, "python", &Package::new("Odd.Lib", "1.0"));
    server.rspm_stdout("create repo --name=secret --authenticated=true");
    server.rspm_stdout("create repo --name=veiled");
    server.rspm_stdout("edit repo --name=veiled --hide=true");
    server.rspm_stdout("create blocklist-rule --package-name=none --repo=team");
    let token = administration::token(&server);
    // The audit trail has the first use of a token, which is written after the response.
    assert_eq!(administration::get(&server, &token, "/").status, 200);
    let is_recorded = || rows(&server)["audit"].iter().any(|row| row.contains("first use of token"));
    until("the first use of the token is recorded", is_recorded);
    let before = rows(&server);
    assert!(before["token"].len() == 1 && before["audit"].len() > 5 && before["block_rule"].len() == 1);
    let pages = crawl_with("", |path| administration::get(&server, &token, path));
    for page in
        administration::PAGES.into_iter().chain(["/secret/latest/", "/py/latest/web/packages/odd-lib/"])
    {
        assert!(pages.contains(page), "{page} is not linked: {pages:?}");
    }
    let after = rows(&server);
    for (table, rows) in &before {
        let (old, new): (BTreeSet<_>, BTreeSet<_>) = (rows.iter().collect(), after[table].iter().collect());
        let changed: Vec<_> = old.symmetric_difference(&new).collect();
        assert!(changed.is_empty() && rows.len() == after[table].len(), "{table}: {changed:#?}");
    }
    // The comparison finds a change.
    server.rspm_stdout("edit repo --name=veiled --description=changed");
    assert_ne!(rows(&server), after);
}
