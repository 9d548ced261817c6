//! Action and object of a route: who may use it. No I/O. `tests/access/matrix.rs` tests each for each kind of client.

use base::access::Action;
use base::model::ids::RepoId;

/// The action of a request, and its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access<'a> {
    pub action: Action,
    /// The object that the address names.
    pub target: AccessTarget<'a>,
}

/// The data that decides who may read a resolved address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepositoryAccess {
    pub id: RepoId,
    /// Whether it is only for authenticated clients.
    pub authenticated: bool,
}

/// The object that an address names. Handlers check the objects that a body names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessTarget<'a> {
    /// The whole server: the address names no object.
    Server,
    /// The repository with this name or number, if there is one.
    Repository(&'a str),
    /// The source with this name or number, if there is one.
    Source(&'a str),
}

/// Access that names no object.
pub(super) const fn server(action: Action) -> Access<'static> {
    Access { action, target: AccessTarget::Server }
}

pub const fn read_repository(name: &str) -> Access<'_> {
    Access { action: Action::Read, target: AccessTarget::Repository(name) }
}

/// Access that shows a repository on the admin API.
pub const fn inspect_repository(name: &str) -> Access<'_> {
    Access { action: Action::Inspect, target: AccessTarget::Repository(name) }
}

/// Access that shows a source on the admin API.
pub const fn inspect_source(name: &str) -> Access<'_> {
    source(Action::Inspect, name)
}

/// Access that changes a source.
pub const fn write_source(name: &str) -> Access<'_> {
    source(Action::WriteSource, name)
}

/// Access that plans, requests or decides a promotion to a repository.
pub const fn promote_repository(name: &str) -> Access<'_> {
    Access { action: Action::Promote, target: AccessTarget::Repository(name) }
}

/// Access that changes block rules.
pub const fn change_blocklist() -> Access<'static> {
    server(Action::ChangeBlocklist)
}

/// Access that only administrators have.
pub const fn administer() -> Access<'static> {
    server(Action::Administer)
}

pub(super) const fn source(action: Action, name: &str) -> Access<'_> {
    Access { action, target: AccessTarget::Source(name) }
}
