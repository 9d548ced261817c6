//! Authorization: scopes of tokens, and the decision [`permit`] about an actor, an action and an object. Pure.

mod named_scope;
mod permit;
pub mod person;
mod scope;

pub use named_scope::{BadNamedScope, NamedScope, Names, named_scopes};
pub use permit::{Action, Actor, Object, Refusal, SourceObject, permit};
pub use scope::{Grant, Scope, ScopeKind, Selection};
