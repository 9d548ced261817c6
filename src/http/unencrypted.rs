//! The warning that tokens of authenticated repositories cross the network unencrypted.

use base::config::Config;
use base::model::loopback::is_loopback_host;
use runtime::catalog::Catalog;

/// Returns the warning if an authenticated repository exists, a network listener has no TLS, and `Server.Address` does
/// not state that a proxy encrypts.
pub fn warning(config: &Config, catalog: &Catalog) -> Option<String> {
    let listen = config.http.listen.as_ref().filter(|listen| !is_loopback_host(&listen.host))?;
    let is_https = config.server.address.as_deref().is_some_and(|address| {
        address.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"))
    });
    let repo = catalog.repos.iter().find(|repo| repo.authenticated).filter(|_| !is_https)?;
    Some(format!(
        "authenticated repositories, such as '{}', are served without encryption on {listen}: anyone on the network path can \
         read their tokens. Configure [HTTPS], or name the https address of a proxy in Server.Address and listen on a \
         loopback address",
        repo.name
    ))
}
