//! Promotions: requests to set a repository to the state of another one, with the persons who requested them and
//! decided. Rows are never removed. Also the alarms about such repositories.

use std::time::Duration;

use super::repo::Subscription;
use super::{Conn, DbError, Value, ids};
use crate::db::engine::columns::{column, row, select};
use crate::db::engine::conn::{Cells, Columns};
use base::model::digest::Sha256;
use base::model::ids::{RepoId, TxId};
use base::model::recorded_words::PromotionState;
use base::model::time::Timestamp;

column! {
    PromotionState = "a state of a promotion",
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct NewPromotion {
        pub repo: RepoId,
        /// Its name at the time of the request.
        pub to_name: String,
        /// The name of the other repository at the time of the request.
        pub from_name: String,
        /// The snapshot of the other repository, as written in the request.
        pub snapshot: String,
        /// The subscriptions of the other repository at the snapshot.
        pub subscriptions: Vec<Subscription> = _,
        /// The cut-off time of the states of the sources, exclusive.
        pub pinned_at: Timestamp,
        pub requested_by: String,
        /// The identity of the author, as the identity provider states it; `None` for another credential than a sign-in.
        pub requested_by_id: Option<String>,
        pub requested_at: Timestamp,
        pub comment: String,
    }
}

row! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Promotion from "promotion" {
        pub id: i64,
        pub request: NewPromotion = "repo_id, to_name, from_name, snapshot, pinned_at, requested_by, requested_by_id, \
            requested_at, comment",
        pub state: PromotionState,
        /// The decision, if a person made one.
        pub decision: Option<Decision> = "decided_by, decided_at, reason" => decision,
        pub tx: Option<TxId> = "tx_id",
    }
}

/// What the persons who decide about a promotion approve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedPlan {
    /// The difference that it makes, as JSON.
    pub plan: Vec<u8>,
    /// The versions that rules withhold from the promoted state, as [`crate::db::repo::withheld`] returns them.
    pub withheld: Vec<u8>,
}

impl RecordedPlan {
    pub fn digest(&self) -> Sha256 {
        Sha256::of(&self.plan)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub by: String,
    pub at: Timestamp,
    pub reason: String,
}

fn decision(cells: &mut Cells) -> Result<Option<Decision>, DbError> {
    let (by, at, reason): (String, Option<Timestamp>, String) = Columns::decode(cells)?;
    Ok(at.map(|at| Decision { by, at, reason }))
}

pub fn get(c: &mut dyn Conn, id: i64) -> Result<Option<Promotion>, DbError> {
    let promotion = c.first(select!(Promotion, "WHERE id = $1"), &[id.into()])?;
    promotion.map(|promotion| with_subscriptions(c, promotion)).transpose()
}

/// Returns at most `limit` promotions, the newest first: all, or those to this repository or in this state.
pub fn list(
    c: &mut dyn Conn,
    repo: Option<RepoId>,
    state: Option<PromotionState>,
    limit: i64,
) -> Result<Vec<Promotion>, DbError> {
    const LIST: &str = select!(
        Promotion,
        "WHERE ($1 = 0 OR repo_id = $1) AND ($2 = '' OR state = $2) ORDER BY id DESC LIMIT $3"
    );
    let state = state.map_or("", PromotionState::as_str);
    let params: [Value; 3] = [repo.map_or(0, |repo| repo.0).into(), state.into(), limit.into()];
    let promotions: Vec<Promotion> = c.all(LIST, &params)?;
    promotions.into_iter().map(|promotion| with_subscriptions(c, promotion)).collect()
}

fn with_subscriptions(c: &mut dyn Conn, mut promotion: Promotion) -> Result<Promotion, DbError> {
    const SOURCES: &str =
        "SELECT source_id, label FROM promotion_source WHERE promotion_id = $1 ORDER BY position";
    promotion.request.subscriptions = c.all(SOURCES, &[promotion.id.into()])?;
    Ok(promotion)
}

/// Writes a request with its plan; returns its number.
pub fn create(c: &mut dyn Conn, new: &NewPromotion, recorded: &RecordedPlan) -> Result<i64, DbError> {
    const INSERT: &str = "INSERT INTO promotion (id, repo_id, to_name, from_name, snapshot, pinned_at, state, \
        requested_by, requested_at, comment, plan, plan_sha256, withheld, requested_by_id, decided_by, reason) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, '', '')";
    const SOURCE: &str = "INSERT INTO promotion_source (promotion_id, position, source_id, label) \
        VALUES ($1, $2, $3, $4)";
    let id = ids::reserve(c, ids::Sequence::Promotion, 1)?;
    let params: [Value; 14] = [
        id.into(),
        new.repo.into(),
        new.to_name.as_str().into(),
        new.from_name.as_str().into(),
        new.snapshot.as_str().into(),
        new.pinned_at.into(),
        PromotionState::Requested.as_str().into(),
        new.requested_by.as_str().into(),
        new.requested_at.into(),
        new.comment.as_str().into(),
        recorded.plan.as_slice().into(),
        recorded.digest().to_string().into(),
        recorded.withheld.as_slice().into(),
        Value::opt_text(new.requested_by_id.as_ref()),
    ];
    c.execute(INSERT, &params)?;
    for (position, entry) in (1_i64..).zip(&new.subscriptions) {
        let label = entry.label.as_str().into();
        c.execute(SOURCE, &[id.into(), position.into(), entry.source.into(), label])?;
    }
    Ok(id)
}

/// Returns the plan of a request.
///
/// # Errors
/// [`DbError::Shape`] if there is no such request, or its plan does not have its digest.
pub fn recorded_plan(c: &mut dyn Conn, id: i64) -> Result<RecordedPlan, DbError> {
    const SELECT: &str = "SELECT plan, withheld, plan_sha256 FROM promotion WHERE id = $1";
    let missing = DbError::Shape { column: 0, found: "no row", expected: "a promotion" };
    let (plan, withheld, digest): (Vec<u8>, Vec<u8>, String) =
        c.first(SELECT, &[id.into()])?.ok_or(missing)?;
    let recorded = RecordedPlan { plan, withheld };
    if recorded.digest().to_string() != digest {
        let expected = "the plan of a promotion with the digest of its row";
        return Err(DbError::Shape { column: 0, found: "other bytes", expected });
    }
    Ok(recorded)
}

pub fn decide(
    c: &mut dyn Conn,
    id: i64,
    state: PromotionState,
    decision: &Decision,
    tx: Option<TxId>,
) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE promotion SET state = $1, decided_by = $2, decided_at = $3, reason = $4, tx_id = $5 \
        WHERE id = $6";
    let params: [Value; 6] = [
        state.as_str().into(),
        decision.by.as_str().into(),
        decision.at.into(),
        decision.reason.as_str().into(),
        tx.into(),
        id.into(),
    ];
    c.execute(UPDATE, &params).map(drop)
}

/// Time after which an alarm ends: 30 days.
pub const ALARM_DURATION: Duration = Duration::from_secs(30 * 86_400);

row! {
    /// What rules and advisories started or ceased to withhold in a repository that changes by promotion.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct WithheldAlarm from "withheld_alarm" {
        pub repo: RepoId = "repo_id",
        pub at: Timestamp,
        /// A sentence without the name of the repository.
        pub message: String,
    }
}

/// Writes an alarm, and removes those that have ended.
pub fn add_alarm(c: &mut dyn Conn, alarm: &WithheldAlarm) -> Result<(), DbError> {
    const INSERT: &str = "INSERT INTO withheld_alarm (repo_id, at, message) VALUES ($1, $2, $3) ON CONFLICT (repo_id, \
        at) DO UPDATE SET message = excluded.message";
    let ended = alarm.at - ALARM_DURATION;
    c.execute("DELETE FROM withheld_alarm WHERE at <= $1", &[ended.into()])?;
    c.execute(INSERT, &[alarm.repo.into(), alarm.at.into(), alarm.message.as_str().into()]).map(drop)
}

/// Returns the alarms at `now`, the newest first.
pub fn alarms(c: &mut dyn Conn, now: Timestamp) -> Result<Vec<WithheldAlarm>, DbError> {
    const SELECT: &str = select!(WithheldAlarm, "WHERE at > $1 ORDER BY at DESC, repo_id LIMIT 100");
    c.all(SELECT, &[(now - ALARM_DURATION).into()])
}
