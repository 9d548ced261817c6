//! Authorization: scopes of tokens, and the decision [`permit`] about an actor, an action and an object. Pure.

mod permit;
mod scope;

pub use permit::{Action, Actor, Object, Refusal, SourceObject, permit};
pub use scope::{BadScope, Grant, Scope, ScopeKind, Selection};
