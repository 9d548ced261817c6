//! A commit of many objects: its result is that of the single commands, and its statements do not grow with the objects.

use std::fmt::Write as _;

use super::state::{commit, export, start};
use crate::support::db::Engine;
use crate::support::postgres::DedicatedServer;
use crate::support::server::{Builder, Server};

/// A state.
const FIRST: &str = r#"format = 1

[sources.base]
[sources.team]

[repositories.b]
type = "bioconductor"
sources = ["bioconductor"]
[repositories.empty]
[repositories.open]
description = "for all"
sources = ["team"]
[repositories.tested]
authenticated = true
sources = ["base"]

[name_guards."r:acme"]
source = "team"
[name_guards."r:base.*"]
source = "base"
description = "ours"

[[block_rules]]
package_name = "evil"

[[metadata]]
package_name = "one"
key = "owner"
value = "a"
[[metadata]]
package_name = "one"
repo = "open"
key = "owner"
value = "b"
"#;

/// The commands with the changes to the first state, in the order of a commit.
const TO_FIRST: &str = "create source --name=base
create source --name=team
create repo --name=b --type=bioconductor
create repo --name=empty
create repo --name=open --description=for~all
subscribe --repo=open --source=team
create repo --name=tested --authenticated
subscribe --repo=tested --source=base
create name-guard --name=acme --source=team
create name-guard --name=base.* --source=base --description=ours
create metadata --package-name=one --repo=open --key=owner --value=b
create metadata --package-name=one --key=owner --value=a
create blocklist-rule --package-name=evil";

/// Another state.
const SECOND: &str = r#"format = 1
block_rules = []

[sources.team]

[repositories.a]
sources = ["team"]
[repositories.empty]
hidden = true
sources = ["team"]
[repositories.open]
description = "for few"
authenticated = true
sources = ["team"]

[name_guards."r:acme"]
source = "team"
description = "of the team"
[name_guards."r:zeta"]
source = "team"

[[metadata]]
package_name = "one"
key = "owner"
value = "c"
[[metadata]]
package_name = "two"
key = "owner"
value = "d"
"#;

const TO_SECOND: &str = "create repo --name=a
subscribe --repo=a --source=team
edit repo --name=empty --hide
subscribe --repo=empty --source=team
edit repo --name=open --description=for~few --authenticated
delete name-guard --id=2
delete metadata --id=1
delete blocklist-rule --id=1
edit name-guard --id=1 --description=of~the~team
create name-guard --name=zeta --source=team
create metadata --package-name=one --key=owner --value=c --update-existing
create metadata --package-name=two --key=owner --value=d
delete repo --name=tested
delete repo --name=b
delete source --name=base";

/// Returns what the audit trail states of changes, the newest first.
fn trail(server: &Server) -> Vec<[String; 5]> {
    let rows = server.json("audit list --limit=1000");
    let rows = rows.as_array().expect("rows").iter().filter(|row| row["action"] != "apply state");
    let columns = ["actor", "action", "object_kind", "object", "detail"];
    rows.map(|row| columns.map(|column| row[column].as_str().expect("a text").to_owned())).collect()
}

#[test]
fn a_commit_has_the_result_and_the_audit_trail_of_the_single_commands() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let (single, together) = (start(engine), start(engine));
        let flags = "--prune --allow-weaker --confirm-deletes=6";
        for (commands, state, flags) in [(TO_FIRST, FIRST, ""), (TO_SECOND, SECOND, flags)] {
            for command in commands.lines() {
                single.rspm_stdout(command);
            }
            commit(&together, state, flags);
            assert_eq!(export(&together), export(&single), "{engine:?}");
            assert_eq!(trail(&together), trail(&single), "{engine:?}");
            together.rspm_stdout("audit verify");
        }
    }
}

/// Returns a state with many repositories, rules and metadata.
fn large(count: usize) -> String {
    let mut text = "format = 1\n[sources.team]\n".to_owned();
    for number in 0..count {
        write!(
            text,
            "[repositories.r{count}-{number}]\nsources = [\"team\"]\n\
             [[block_rules]]\nrepo = \"r{count}-{number}\"\npackage_name = \"evil\"\n\
             [[metadata]]\npackage_name = \"p{count}.{number}\"\nkey = \"owner\"\nvalue = \"team\"\n"
        )
        .expect("a text");
    }
    text
}

#[test]
fn the_statements_of_a_commit_do_not_grow_with_its_objects() {
    let database = DedicatedServer::start();
    let settings = format!("[Database]\nProvider = postgres\n[Postgres]\nURL = {}\n", database.url());
    let server = Builder::default().gcfg(&settings).start();
    database.log_statements();
    let statements = [1100, 2200].map(|objects| {
        let before = database.logged_statements().len();
        commit(&server, &large(objects), "");
        database.logged_statements().len() - before
    });
    assert_eq!(server.json("list repos").as_array().map(Vec::len), Some(3300));
    // Some are of the heartbeat and of the work after a start.
    assert!(statements.iter().all(|count| (30..1000).contains(count)), "{statements:?}");
}
