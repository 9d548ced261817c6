//! Identity federation: tokens of other issuers, such as CI systems and clusters, are exchanged for this server's.

mod exchange;
mod matching;

pub use exchange::{Exchange, ExchangeError, ExchangeKind, ExchangedToken, exchange};
pub use matching::{Match, NoMatch, find_match};
