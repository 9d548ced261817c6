//! The tables of both schemas, which a dump contains, ordered so that foreign keys refer only to earlier tables. A test
//! compares this description with the migrated schemas. Each table states the migration that created it, because a dump
//! of an older schema is restored with that schema and migrated afterwards.

use crate::db::schema::Schema;

#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub schema: Schema,
    pub name: &'static str,
    /// Its columns; those of the primary key come first.
    pub columns: &'static [Column],
    /// Number of columns of the primary key.
    pub key: usize,
    /// The migration that created it.
    pub since: i64,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// The type of its values; each may also be NULL.
    pub kind: ColumnKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    Int,
    /// TEXT: UTF-8.
    Text,
    /// BLOB or BYTEA.
    Bytes,
}

impl ColumnKind {
    /// Returns the type byte of its values in a dump.
    pub fn code(self) -> u8 {
        match self {
            ColumnKind::Int => 1,
            ColumnKind::Text => 2,
            ColumnKind::Bytes => 3,
        }
    }
}

/// Describes a table of [`Schema::Core`] with `key` columns in its primary key.
const fn core(name: &'static str, key: usize, columns: &'static [Column]) -> Table {
    Table { schema: Schema::Core, name, columns, key, since: 1 }
}

/// Describes a table of [`Schema::Usage`] with `key` columns in its primary key.
const fn usage(name: &'static str, key: usize, columns: &'static [Column]) -> Table {
    Table { schema: Schema::Usage, name, columns, key, since: 1 }
}

const fn int(name: &'static str) -> Column {
    Column { name, kind: ColumnKind::Int }
}

const fn text(name: &'static str) -> Column {
    Column { name, kind: ColumnKind::Text }
}

const fn bytes(name: &'static str) -> Column {
    Column { name, kind: ColumnKind::Bytes }
}

/// Every table, those of [`Schema::Core`] first.
#[rustfmt::skip]
pub const TABLES: &[Table] = &[
    core("migration", 1, &[int("number"), text("name"), int("at"), int("expand_only"), text("version")]),
    core("identity", 1, &[int("id"), text("value")]),
    core("sequence", 1, &[text("name"), int("next")]),
    core("clock", 1, &[int("id"), int("tx"), int("at"), int("catalog"), text("history")]),
    core("source", 1, &[int("id"), text("name"), text("kind"), text("language"), int("created_at"), int("deleted_at")]),
    core("tree", 1, &[
        int("id"), int("source_id"), text("label"), text("role"), text("axis"), int("first"), int("head"), int("pending"),
        int("pending_job"),
    ]),
    core("tx", 1, &[
        int("id"), int("at"), int("source_id"), int("repo_id"), text("kind"), int("started_at"), int("published_from"),
        int("published_to"), int("added"), int("updated"), int("archived"), int("removed"), text("actor"), text("comment"),
    ]),
    core("step", 2, &[int("tree_id"), int("seq"), int("at"), int("tx_id")]),
    core("package", 1, &[int("id"), text("language"), text("name"), text("normalized_name")]),
    core("release", 1, &[
        int("id"), int("origin_id"), int("package_id"), text("version"), int("revision"), int("published_at"),
    ]),
    core("record", 2, &[int("release_id"), int("variant"), bytes("stanza")]),
    core("detail", 1, &[int("release_id"), bytes("description"), text("readme_sha256"), text("system_requirements")]),
    core("blob", 1, &[text("sha256"), text("class"), int("size"), int("state"), int("created_at")]),
    core("file", 1, &[
        int("id"), int("release_id"), text("role"), text("platform"), int("build"), text("name"), text("locator"), int("size"),
        text("md5"), text("sha256"), bytes("facts"), int("state"),
    ]),
    core("life", 7, &[
        int("tree_id"), int("state"), int("package_id"), text("path"), int("from_seq"), int("release_id"), int("file_id"),
        int("to_seq"), int("variant"), int("mark"), text("note"),
    ]),
    core("repo", 1, &[
        int("id"), text("name"), text("kind"), text("description"), int("hidden"), int("authenticated"), text("changes"),
        int("created_at"),
    ]),
    core("repo_step", 2, &[
        int("repo_id"), int("seq"), int("at"), int("tx_id"), int("pinned_at"), bytes("withheld"),
    ]),
    core("subscription", 3, &[int("repo_id"), int("seq"), int("position"), int("source_id"), text("label")]),
    core("rendered", 1, &[
        text("key"), text("content"), text("encoder"), text("sha256"), int("size"), int("created_at"),
    ]),
    core("upstream", 1, &[text("url"), text("etag"), text("modified"), text("sha256"), int("fetched_at")]),
    core("lease", 1, &[text("name"), text("holder"), int("fence"), int("until")]),
    core("backfill", 1, &[int("source_id"), int("since"), int("rate"), text("actor"), int("asked_at")]),
    core("backfill_record", 4, &[
        int("source_id"), text("file"), int("size"), int("published_at"), bytes("stanza"), text("error"),
    ]),
    core("bioconductor", 1, &[int("id"), text("config")]),
    core("storage_class", 1, &[
        text("class"), text("place"), int("marked"), text("adoption"), text("generations"), int("removed"),
        int("removed_since"),
    ]),
    core("sweep_day", 1, &[int("day")]),
    core("encryption_key", 1, &[int("id"), text("fingerprint")]),
    core("node", 1, &[
        text("id"), text("name"), text("address"), text("version"), int("schema"), int("started_at"), int("beat_at"),
        int("clock_ahead"), text("mode"), int("mode_at"), text("message"), text("config"), text("classes"),
        text("requested_mode"), text("requested_by"), int("requested_at"), int("requested_timeout"), int("answered_at"),
    ]),
    core("hold", 1, &[text("id"), int("until")]),
    core("scrub", 2, &[
        text("directory"), int("prefix"), text("position"), int("read_at"), int("objects"), int("bad"),
    ]),
    core("backup_result", 2, &[
        text("place"), text("command"), int("at"), text("error"), int("succeeded_at"), int("missing"),
    ]),
    core("token", 1, &[
        int("id"), text("guid"), text("digest"), text("excerpt"), text("user_name"), text("description"), text("created_by"),
        int("created_at"), int("expires_at"), int("revoked_at"), int("revision"),
    ]),
    core("token_scope", 3, &[int("token_id"), text("scope"), int("object")]),
    core("git_credential", 1, &[
        int("id"), text("kind"), text("name"), text("host"), text("username"), text("secret"), text("fingerprint"),
        text("known_hosts"), int("created_at"),
    ]),
    core("git_builder", 1, &[
        int("id"), int("source_id"), text("name"), text("url"), text("branch"), text("build_trigger"), text("sub_dir"),
        int("clone_depth"), int("submodules"), int("vignettes"), int("credential_id"), text("webhook_secret"),
        int("created_at"), int("deleted_at"), int("polled_at"), int("due_at"), int("failures"), text("head"), text("error"),
    ]),
    core("git_build", 1, &[
        int("id"), int("builder_id"), text("tag"), text("commit_sha"), text("state"), int("attempt"), int("replaces"),
        text("actor"), int("queued_at"), int("due_at"), int("started_at"), int("ended_at"), text("claim"),
        int("claim_until"), int("tx_id"), text("version"), text("reason"), text("log_sha256"), int("log_size"),
    ]),
    core("audit", 1, &[
        int("id"), int("at"), text("actor_kind"), text("actor"), text("address"), text("action"), text("object_kind"),
        text("object"), text("outcome"), text("detail"), text("previous"), text("sha256"),
    ]),
    core("audit_head", 1, &[int("id"), int("last"), text("sha256")]),
    core("token_use", 1, &[int("token_id"), int("day")]),
    core("session", 1, &[
        text("digest"), text("guid"), text("user_name"), text("unique_id"), text("scopes"), int("revision"),
        int("created_at"), int("seen_at"), int("expires_at"),
    ]),
    core("login", 1, &[text("digest"), text("return_to"), int("expires_at")]),
    core("device_login", 1, &[
        text("digest"), text("user_code"), text("challenge"), text("address"), text("state"), text("user_name"),
        text("unique_id"), text("scopes"), int("pause"), int("polled_at"), int("expires_at"),
    ]),
    core("revoked_user", 1, &[text("user_name"), int("revoked_at"), int("revision")]),
    core("used_proof", 1, &[text("sha256"), int("expires_at")]),
    core("upload", 1, &[
        int("id"), text("owner"), text("kind"), text("sha256"), text("other_sha256"), int("size"), bytes("facts"),
        int("created_at"), int("expires_at"),
    ]),
    core("project", 3, &[
        int("source_id"), text("normalized_name"), int("from_at"), int("to_at"), text("name"), int("serial"), int("changed_at"),
    ]),
    core("reading", 2, &[
        int("source_id"), int("package_id"), int("serial"), text("etag"), text("page_sha256"), int("fetched_at"),
        int("valid_at"), text("status"), text("reason"),
    ]),
    core("file_fact", 2, &[int("file_id"), int("variant"), bytes("facts")]),
    core("curation", 2, &[
        int("tree_id"), int("seq"), int("base_tree_id"), int("base_seq"), text("snapshot"), text("sha256"),
        text("include"),
    ]),
    core("curation_file", 3, &[
        int("tree_id"), int("seq"), int("position"), text("name"), bytes("content"),
    ]),
    core("curation_rule", 3, &[
        int("tree_id"), int("seq"), text("normalized_name"), text("rule"), text("chain"),
    ]),
    core("metadata", 1, &[
        int("id"), text("name"), text("normalized_name"), text("version"), int("source_id"), int("repo_id"), text("key"), text("value"),
        text("actor"), int("changed_at"),
    ]),
    core("fixed_url", 1, &[
        text("token"), int("repo_id"), int("repo_seq"), int("at"), text("actor"), int("created_at"),
    ]),
    core("fixed_url_tree", 2, &[text("token"), int("tree_id"), int("seq")]),
    core("promotion", 1, &[
        int("id"), int("repo_id"), text("to_name"), text("from_name"), text("snapshot"), int("pinned_at"), bytes("plan"),
        text("plan_sha256"), bytes("withheld"), text("state"), text("requested_by"), text("requested_by_id"),
        int("requested_at"), text("comment"), text("decided_by"), int("decided_at"), text("reason"), int("tx_id"),
    ]),
    core("promotion_source", 2, &[
        int("promotion_id"), int("position"), int("source_id"), text("label"),
    ]),
    core("revoked_signed_token", 1, &[text("guid"), int("expires_at"), int("revision")]),
    core("withheld_alarm", 2, &[int("repo_id"), int("at"), text("message")]),
    core("block_rule", 1, &[
        int("id"), int("priority"), int("exception"), int("source_id"), int("repo_id"), text("criteria"), text("description"),
        text("created_by"), int("created_at"),
    ]),
    core("job_run", 1, &[
        text("id"), text("key"), text("node"), int("started_at"), int("ended_at"), int("succeeded"), text("message"),
    ]),
    core("blob_access", 1, &[text("sha256"), int("day")]),
    core("name_guard", 1, &[
        int("id"), text("language"), text("pattern"), int("source_id"), int("automatic"), int("state"), text("description"),
        text("created_by"), int("created_at"),
    ]),
    core("name_overlap", 3, &[text("language"), text("name"), int("source_id"), int("seen_at"), int("appeared")]),
    core("curation_plan", 2, &[int("tree_id"), text("request"), int("planned_at"), bytes("selection")]),
    core("file_reading", 1, &[int("file_id"), int("read_at")]),
    core("block_rule_change", 1, &[int("revision"), int("first_id"), int("last_id")]),
    Table { since: 4, ..core("subscription_list", 2, &[int("repo_id"), int("seq"), text("entries")]) },
    Table { since: 5, ..core("tlog", 1, &[
        int("id"), text("origin"), text("seed"), text("old_seed"), int("old_until"), int("size"), text("checkpoint"),
        int("tx_id"), int("closed_until"), text("history"), text("pause"),
    ]) },
    Table { since: 5, ..core("tlog_entry", 2, &[
        int("log"), int("id"), text("subject"), text("entry"), bytes("salt"),
    ]) },
    Table { since: 5, ..core("tlog_tile", 3, &[int("log"), int("level"), int("number"), bytes("hashes")]) },
    Table { since: 5, ..core("tlog_event", 1, &[int("id"), text("kind"), text("text")]) },
    Table { since: 5, ..core("tlog_witnessed", 1, &[text("origin"), int("size"), text("note")]) },
    Table { since: 6, ..core("tlog_cosigned", 2, &[
        int("log"), text("witness"), int("size"), text("checkpoint"),
    ]) },
    Table { since: 5, ..core("tlog_timestamp", 2, &[int("log"), int("size"), bytes("answer")]) },
    Table { since: 2, ..core("catalog_change", 1, &[int("revision"), int("part"), int("object")]) },
    usage("usage_migration", 1, &[int("number"), text("name"), int("at"), int("expand_only"), text("version")]),
    usage("usage_download", 6, &[
        int("day"), text("language"), text("source"), text("package"), text("version"), text("platform"), int("count"),
    ]),
    usage("usage_package", 3, &[text("language"), text("source"), text("package"), int("count")]),
    usage("usage_writer", 1, &[text("name"), int("batch"), int("at")]),
    usage("usage_aggregate", 1, &[int("day"), text("sha256"), int("total"), int("at")]),
    usage("usage_work", 1, &[text("name"), int("at")]),
    usage("usage_blocked", 5, &[
        int("day"), int("rule"), text("package"), text("version"), text("client"), int("count"),
    ]),
];

/// Returns the tables of a schema, in order.
pub fn of(schema: Schema) -> impl DoubleEndedIterator<Item = &'static Table> + Clone {
    TABLES.iter().filter(move |table| table.schema == schema)
}

/// Returns the tables of a schema whose newest migration is `level`, in order.
pub fn tables_at(schema: Schema, level: i64) -> impl DoubleEndedIterator<Item = &'static Table> + Clone {
    of(schema).filter(move |table| table.since <= level)
}

impl Table {
    /// Returns the names of the columns, separated by commas.
    pub fn column_list(&self) -> String {
        self.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }

    /// Returns the names of the columns of the primary key, separated by commas.
    pub fn key_list(&self) -> String {
        let key = self.columns.iter().take(self.key);
        key.map(|column| column.name).collect::<Vec<_>>().join(", ")
    }
}
