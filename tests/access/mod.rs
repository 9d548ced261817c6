//! Tokens, scopes and authenticated repositories.

mod audit;
mod bodies;
mod bootstrap;
mod chromium;
mod client_secret;
mod clients;
mod cross_site;
mod federation;
mod keyring;
mod login;
mod matrix;
mod pages;
mod provider_tokens;
mod quick_start;
mod remote;
mod secrets;
mod servers;
mod sign_in;
mod uploads;
mod verbs;

use crate::support::access::{basic, bearer, get, private_repository, send, token};
