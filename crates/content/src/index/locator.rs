//! The location of a file's bytes as a row stores it, and the address of a request for them. Pure. A page of
//! an index can state any address, so each is checked before a request.

use percent_encoding::percent_decode_str;
use url::Url;

use base::config::IndexConfig;
use base::model::plain_url;
use formats::bundle::layout::object_of_page;
use formats::language::{self, IndexAddresses};

/// The address of a file, as a folder and a path below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAddress {
    /// The URL of a folder; it contains the user and password of the index only if the folder is on the index's server.
    pub folder: String,
    /// The decoded path below the folder.
    pub path: String,
}

fn addresses(index: &IndexConfig) -> Option<&'static IndexAddresses> {
    language::of(index.language).projects().map(|projects| projects.addresses())
}

/// Returns the base URL of an index: the address without the usual folder of pages at its end.
pub fn base(index: &IndexConfig) -> Option<Url> {
    Url::parse(addresses(index)?.base(&index.url)).ok()
}

/// Returns the location to store for an address on a page: relative to an index in a directory, the absolute
/// path on the index's server, otherwise the whole address. `index` is its base URL. `None` if it cannot be requested.
pub fn locator(file: &str, index: &Url) -> Option<String> {
    if let Some(path) = plain_url::path_on(index, file) {
        return Some(path.to_owned());
    }
    // One on the server of the index was found by now.
    if plain_url::is_plain(file) {
        return Some(file.to_owned());
    }
    let file = Url::parse(file).ok()?;
    if file.query().is_some() {
        return None;
    }
    if file.scheme() == "file" {
        if index.scheme() != "file" {
            return None;
        }
        // SECURITY: only files below the directory; `Url` does not resolve `..` after an encoded slash (`%2F..`).
        let path = file.path().strip_prefix(index.path().trim_end_matches('/'))?.strip_prefix('/')?;
        let path = percent_decode_str(path).decode_utf8().ok()?.into_owned();
        let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        return path.split('/').all(is_name).then_some(path);
    }
    if is_same_server(&file, index) {
        return Some(file.path().to_owned());
    }
    let mut file = file;
    let _ = (file.set_username(""), file.set_password(None));
    file.set_fragment(None);
    Some(file.into())
}

/// Returns the address of a stored location. Fails with the reason for a host that is not allowed, or without TLS.
pub fn address(locator: &str, config: &IndexConfig) -> Result<FileAddress, String> {
    let invalid = || format!("'{}' is not a location of a file", short(locator));
    let index = base(config).ok_or_else(invalid)?;
    if index.scheme() == "file" && !locator.contains("://") {
        let object = object_of_page(locator);
        let Some((folder, name)) = object.as_deref().and_then(|object| object.rsplit_once('/')) else {
            return Ok(FileAddress { folder: index.into(), path: locator.to_owned() });
        };
        let mut url = index.clone();
        url.set_path(&format!("{}/{folder}", index.path().trim_end_matches('/')));
        return Ok(FileAddress { folder: url.into(), path: name.to_owned() });
    }
    let mut url = if locator.starts_with('/') {
        let mut url = index.clone();
        url.set_path(locator);
        url
    } else {
        Url::parse(locator).map_err(|_| invalid())?
    };
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid());
    }
    if !is_same_server(&url, &index) {
        check_host(&url, &index, config)?;
    }
    if let Some(object) = object_of_page(url.path()) {
        url.set_path(&object);
    }
    let segments: Vec<String> =
        url.path_segments().map(|segments| segments.map(str::to_owned).collect()).unwrap_or_default();
    let (last, folders) = segments.split_last().filter(|(last, _)| !last.is_empty()).ok_or_else(invalid)?;
    let path = percent_decode_str(last).decode_utf8().map_err(|_| invalid())?.into_owned();
    url.set_path(&folders.join("/"));
    Ok(FileAddress { folder: url.into(), path })
}

/// Returns the address of a file whose bytes are an object of a bundle in a directory; `None` for any other file.
pub fn object_in_directory(locator: &str, config: &IndexConfig) -> Option<FileAddress> {
    if !config.url.starts_with("file:") || locator.contains("://") {
        return None;
    }
    object_of_page(locator)?;
    address(locator, config).ok()
}

fn is_same_server(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// Refuses hosts other than the index's, those of the language and configured ones, and addresses without TLS if the index
/// uses TLS.
fn check_host(url: &Url, index: &Url, config: &IndexConfig) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let with_port = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let is_allowed = index.host_str().is_some_and(|index| index.eq_ignore_ascii_case(&host))
        || addresses(config).is_some_and(|addresses| addresses.file_hosts.contains(&host.as_str()))
        || config.file_hosts.iter().any(|allowed| *allowed == host || *allowed == with_port);
    if !is_allowed {
        return Err(format!(
            "the index states an address on the host '{}', from which files are not fetched; if they may come from there, \
             add it: [{1}] FileHosts = {0}",
            short(&with_port),
            config.section()
        ));
    }
    if index.scheme() == "https" && url.scheme() != "https" {
        return Err(format!(
            "the index, which has TLS, states an address without it on '{}'; such files are not fetched",
            short(&with_port)
        ));
    }
    Ok(())
}

fn short(text: &str) -> String {
    text.escape_debug().take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use base::config::{EarlierYanks, PrivateUrl};
    use base::model::kind::Language;

    fn config(url: &str, hosts: &[&str]) -> IndexConfig {
        IndexConfig {
            language: Language::Python,
            url: PrivateUrl(url.to_owned()),
            file_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            sync_schedule: String::new(),
            delay: Duration::ZERO,
            delay_except: Vec::new(),
            earlier_yanks: EarlierYanks::Show,
            unlisted: false,
            concurrency: 8,
            follow: true,
        }
    }

    fn addressed(file: &str, config: &IndexConfig) -> Result<(String, String), String> {
        let locator = locator(file, &base(config).ok_or("no base")?).ok_or("no location")?;
        address(&locator, config).map(|address| (address.folder, address.path))
    }

    #[test]
    fn files_come_from_allowed_hosts() {
        let pypi = config("https://pypi.org/simple", &["cdn.example.org:8443"]);
        let file = "https://files.pythonhosted.org/packages/aa/a-1.0%2Bx.whl";
        assert_eq!(
            addressed(file, &pypi),
            Ok(("https://files.pythonhosted.org/packages/aa".to_owned(), "a-1.0+x.whl".to_owned()))
        );
        assert!(addressed("https://cdn.example.org:8443/a-1.whl", &pypi).is_ok());
        for (bad, part) in [
            ("https://cdn.example.org/a-1.whl", "FileHosts = cdn.example.org"),
            ("http://files.pythonhosted.org/packages/aa/a-1.whl", "without it"),
            ("http://pypi.org/a-1.whl", "without it"),
            ("file:///etc/passwd", "no location"),
            ("https://pypi.org/a-1.whl?token=1", "no location"),
        ] {
            let error = addressed(bad, &pypi).expect_err(bad);
            assert!(error.contains(part), "{bad}: {error}");
        }
    }

    #[test]
    fn only_the_server_of_the_index_gets_the_password() {
        let index = config("http://me:secret@h:8080/root/pypi/+simple", &["other"]);
        let (folder, path) = addressed("http://h:8080/root/pypi/+f/a-1.whl", &index).expect("allowed");
        assert_eq!((&*folder, &*path), ("http://me:secret@h:8080/root/pypi/+f", "a-1.whl"));
        let (folder, _) = addressed("http://you:word@other/a-1.whl", &index).expect("allowed");
        assert_eq!(folder, "http://other/");
        let (folder, _) = addressed("http://h/a-1.whl", &index).expect("the same host");
        assert_eq!(folder, "http://h/");
    }

    #[test]
    fn files_of_a_bundle_are_its_objects() {
        let digest = "ab".repeat(32);
        for index in ["file:///srv/my%20bundle", "https://h/bundle/"] {
            let base = index.trim_end_matches('/');
            let (folder, name) = (format!("{base}/pypi/v1/1/obj/ab"), "a-1.0+x-py3-none-any.whl");
            let index = config(index, &[]);
            let url = format!("{folder}/{digest}.whl/{name}");
            assert_eq!(addressed(&url, &index), Ok((folder.clone(), format!("{digest}.whl"))));
            let metadata = addressed(&format!("{url}.metadata"), &index);
            assert_eq!(metadata, Ok((folder, format!("{digest}.metadata"))));
            let base = super::base(&index).expect("a base URL");
            let locator = locator(&url, &base).expect("a location");
            assert_eq!(object_in_directory(&locator, &index).is_some(), index.url.starts_with("file:"));
        }
    }

    #[test]
    fn files_of_a_directory_are_below_it() {
        let index = config("file:///srv/web", &[]);
        assert_eq!(
            addressed("file:///srv/web/packages/aa/a%20b-1.whl", &index),
            Ok(("file:///srv/web".to_owned(), "packages/aa/a b-1.whl".to_owned()))
        );
        assert_eq!(object_in_directory("packages/aa/a b-1.whl", &index), None);
        for bad in [
            "file:///srv/website/a-1.whl",
            "file:///etc/passwd",
            "file:///srv/web/../x/a-1.whl",
            "file:///srv/web/a%2F..%2F../x/a-1.whl",
        ] {
            assert!(addressed(bad, &index).is_err(), "{bad}");
        }
        assert!(addressed("https://files.pythonhosted.org/a-1.whl", &index).is_ok());
    }
}
