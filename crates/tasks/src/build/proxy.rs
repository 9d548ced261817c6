//! Applies the proxy of the section `[Proxy]` to git over HTTPS and HTTP.

use url::Url;

use base::config::Proxy;
use builder::message::{ProxyUrl, Remote};
use builder::url::Scheme;

/// Sets the proxy for a repository over HTTPS or HTTP, and as exceptions the hosts in `NO_PROXY` of the server's
/// environment. Returns the texts that must not appear in a log.
pub(super) fn set(remote: &mut Remote, proxy: &Proxy, scheme: Scheme) -> Vec<String> {
    if !matches!(scheme, Scheme::Https | Scheme::Http) {
        return Vec::new();
    }
    let Some(url) = url(proxy) else { return Vec::new() };
    let encoded = url.password().map(str::to_owned);
    let hidden = proxy.password.iter().map(|password| password.0.clone()).chain(encoded);
    let hidden = hidden.filter(|text| !text.is_empty()).collect();
    remote.proxy = ProxyUrl(url.to_string());
    let exceptions = ["no_proxy", "NO_PROXY"].iter().find_map(|name| std::env::var(name).ok());
    remote.no_proxy = exceptions.unwrap_or_default();
    hidden
}

/// Returns the URL of the proxy with user and password; `None` without a proxy, and for a URL that is not valid.
pub(super) fn url(proxy: &Proxy) -> Option<Url> {
    let text = proxy.url.as_ref().map(|url| url.0.trim()).filter(|text| !text.is_empty())?;
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url = Url::parse(&text).ok()?;
    if let Some(user) = proxy.user.as_deref().filter(|user| !user.is_empty() && url.username().is_empty()) {
        let user = user.to_owned();
        url.set_username(&user).ok()?;
        url.set_password(proxy.password.as_ref().map(|password| password.0.as_str())).ok()?;
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config::Secret;

    #[test]
    fn user_and_password_are_a_part_of_the_url_and_are_hidden() {
        let proxy = Proxy {
            url: Some(Secret("proxy.example:3128".to_owned())),
            user: Some("team".to_owned()),
            password: Some(Secret("p@ss".to_owned())),
        };
        let mut remote = Remote::default();
        assert!(set(&mut remote, &proxy, Scheme::Ssh).is_empty() && remote == Remote::default());
        assert_eq!(set(&mut remote, &proxy, Scheme::Https), ["p@ss", "p%40ss"]);
        assert_eq!(remote.proxy.0, "http://team:p%40ss@proxy.example:3128/");
        assert!(!format!("{remote:?}").contains("p%40ss"), "{remote:?}");
        assert!(set(&mut remote, &Proxy::default(), Scheme::Https).is_empty());
    }
}
