//! Reads pages, files and objects beside them of an index, the files only from allowed hosts. The index states the addresses of
//! files, which are therefore checked before each request.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use url::Url;

use base::model::kind::Language;
use base::model::project_name::ProjectName;
use base::model::project_page::{ListedName, UpstreamFile, UpstreamPage};
use formats::bundle::layout::object_of_page;
use formats::language::Projects;
use upstream::{
    FileRequest, FileResponse, MAX_DECODED_LIST, Mirror, PageResponse, ProjectIndex, Upstream, UpstreamError,
    decode_pages,
};

/// Pauses before the second and each further request for a page.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(5)];

/// An index with its files.
pub(crate) struct Source {
    projects: &'static dyn Projects,
    upstream: Upstream,
    index: ProjectIndex,
    url: Url,
    /// Hosts, with or without a port, from which files are accepted, in addition to that of the index.
    file_hosts: Vec<String>,
}

impl Source {
    /// Opens the index at an address, with or without the usual folder of its pages, such as `/simple`, at its end.
    pub(crate) fn new(
        language: Language,
        projects: &'static dyn Projects,
        upstream: Upstream,
        base_url: &str,
        mut file_hosts: Vec<String>,
    ) -> Result<Source, UpstreamError> {
        let (index, addresses) = (upstream.project_index(language, base_url)?, projects.addresses());
        file_hosts.extend(addresses.file_hosts.iter().map(|host| (*host).to_owned()));
        let url = Url::parse(addresses.base(base_url)).map_err(|error| UpstreamError::Refused {
            url: index.address(),
            reason: format!("is not a URL: {error}"),
        })?;
        Ok(Source { projects, upstream, index, url, file_hosts })
    }

    /// Returns the address for messages.
    pub(crate) fn address(&self) -> String {
        self.index.address()
    }

    /// Reads the names of all projects, sorted.
    pub(crate) async fn names(&self) -> Result<Vec<ProjectName>, UpstreamError> {
        let refused = |reason| UpstreamError::Refused { url: self.index.page_address(None), reason };
        let PageResponse::Page(page) = self.index.root(None).await? else {
            return Err(refused("answered an unconditional request with 'not modified'".to_owned()));
        };
        let projects = self.projects;
        let task = tokio::task::spawn_blocking(move || {
            let media_type = page.media_type.clone();
            let (mut names, mut body) = (Vec::new(), page.into_reader().take(MAX_DECODED_LIST));
            let mut add = |listed: ListedName<'_>| names.push(ProjectName::folded(listed.name));
            projects.read_list(media_type.as_deref(), &mut body, &mut add)?;
            names.sort_unstable();
            names.dedup();
            Ok(names)
        });
        task.await.unwrap_or_else(|error| Err(error.to_string())).map_err(refused)
    }

    /// Reads the page of a project; `None` if the index does not have it.
    pub(crate) async fn page(&self, project: &ProjectName) -> Result<Option<UpstreamPage>, UpstreamError> {
        let mut pauses = PAUSES.into_iter();
        let page = loop {
            match self.index.pages(std::slice::from_ref(project), None).await {
                Ok(PageResponse::Page(page)) => break *page,
                Ok(PageResponse::Unchanged(_)) => {
                    let reason = "answered an unconditional request with 'not modified'".to_owned();
                    return Err(self.refused(project, reason));
                }
                Err(UpstreamError::Missing(_)) => return Ok(None),
                Err(error @ UpstreamError::Unavailable { .. }) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                Err(error) => return Err(error),
            }
        };
        let (projects, name) = (self.projects, project.clone());
        let task = tokio::task::spawn_blocking(move || decode_pages(projects, &page, &[name]));
        let decoded = task.await.unwrap_or_else(|error| Err(self.refused(project, error.to_string())))?;
        Ok(decoded.pages.into_iter().find(|page| page.project == *project))
    }

    fn refused(&self, project: &ProjectName, reason: String) -> UpstreamError {
        UpstreamError::Refused { url: self.index.page_address(Some(project.as_str())), reason }
    }

    /// Reads an object that belongs to a file, of at most `limit` bytes.
    pub(super) async fn object(&self, url: &str, limit: u64) -> Result<Bytes, UpstreamError> {
        let refused = |reason: String| UpstreamError::Refused { url: url.to_owned(), reason };
        let (folder, path) = address(url, &self.url, &self.file_hosts).map_err(refused)?;
        let request = FileRequest { path: &path, validators: None, limit };
        match self.upstream.transport(&folder)?.fetch(request).await? {
            FileResponse::Unchanged => {
                Err(refused("answered an unconditional request with 'not modified'".to_owned()))
            }
            FileResponse::Body { bytes, .. } => Ok(bytes),
        }
    }

    /// Returns the folder of a file, and the path of the file in it.
    pub(crate) fn file(&self, file: &UpstreamFile) -> Result<(Mirror, String), UpstreamError> {
        let refused = |reason: String| UpstreamError::Refused { url: file.url.clone(), reason };
        let (folder, path) = address(&file.url, &self.url, &self.file_hosts).map_err(refused)?;
        Ok((self.upstream.mirror(&folder)?, path))
    }
}

/// Returns the folder's address and the decoded path of a file. Credentials of the index are sent to its server only.
fn address(file: &str, index: &Url, hosts: &[String]) -> Result<(String, String), String> {
    let mut url = Url::parse(file).map_err(|_| "is not a URL".to_owned())?;
    if url.query().is_some() {
        return Err("has a query, so its content may change".to_owned());
    }
    url.set_fragment(None);
    match url.scheme() {
        "file" => {
            // SECURITY: only files below the directory. `Url` has removed `..`, but not the encoded form `%2F..`.
            let decoded_path = percent_decode_str(url.path()).decode_utf8().map_err(|_| "is not UTF-8")?;
            let is_below = index.scheme() == "file"
                && decoded_path.split('/').all(|part| part != "..")
                && url
                    .path()
                    .strip_prefix(index.path().trim_end_matches('/'))
                    .is_some_and(|path| path.starts_with('/'));
            if !is_below {
                return Err("is not below the directory of the index".to_owned());
            }
        }
        "http" | "https" if is_same_server(&url, index) => {
            let path = url.path().to_owned();
            url = index.clone();
            url.set_path(&path);
        }
        "http" | "https" => {
            check_host(&url, index, hosts)?;
            let _ = (url.set_username(""), url.set_password(None));
        }
        _ => return Err("has a scheme other than http, https or file".to_owned()),
    }
    if let Some(object) = object_of_page(url.path()) {
        url.set_path(&object);
    }
    let path = url.path().to_owned();
    let (folder, name) =
        path.rsplit_once('/').filter(|(_, name)| !name.is_empty()).ok_or("is not the address of a file")?;
    let name = percent_decode_str(name).decode_utf8().map_err(|_| "is not UTF-8")?.into_owned();
    url.set_path(folder);
    Ok((url.into(), name))
}

fn is_same_server(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host_str() == b.host_str()
        && a.port_or_known_default() == b.port_or_known_default()
}

fn check_host(url: &Url, index: &Url, hosts: &[String]) -> Result<(), String> {
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    let with_port = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
    let is_allowed = index.host_str().is_some_and(|index| index.eq_ignore_ascii_case(&host))
        || hosts
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(&host) || allowed.eq_ignore_ascii_case(&with_port));
    if !is_allowed {
        return Err(format!(
            "is on a host from which files are not fetched; if they may come from there, add --file-hosts {with_port} \
             (rspm import: --host)"
        ));
    }
    if index.scheme() == "https" && url.scheme() != "https" {
        return Err("is without TLS, but the index has TLS".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addressed(file: &str, index: &str) -> Result<(String, String), String> {
        let hosts = ["cdn.example:8443", "files.pythonhosted.org"].map(str::to_owned);
        address(file, &index.parse().expect(index), &hosts)
    }

    #[test]
    fn files_come_from_allowed_hosts_and_folders() {
        for (file, index, folder, name) in [
            (
                "https://files.pythonhosted.org/p/aa/a-1.0%2Bx.whl",
                "https://pypi.org",
                "https://files.pythonhosted.org/p/aa",
                "a-1.0+x.whl",
            ),
            (
                "http://h:8080/f/a-1.whl",
                "http://me:secret@h:8080/root",
                "http://me:secret@h:8080/f",
                "a-1.whl",
            ),
            (
                "http://you:word@cdn.example:8443/a-1.whl",
                "http://me:secret@h",
                "http://cdn.example:8443/",
                "a-1.whl",
            ),
            (
                "file:///srv/web/packages/a%20b/a-1.whl",
                "file:///srv/web",
                "file:///srv/web/packages/a%20b",
                "a-1.whl",
            ),
        ] {
            assert_eq!(addressed(file, index), Ok((folder.to_owned(), name.to_owned())), "{file}");
        }
        for (file, index, part) in [
            ("https://cdn.example/a-1.whl", "https://pypi.org", "--file-hosts cdn.example"),
            ("http://files.pythonhosted.org/a-1.whl", "https://pypi.org", "without TLS"),
            ("file:///etc/passwd", "https://pypi.org", "not below"),
            ("file:///srv/website/a-1.whl", "file:///srv/web", "not below"),
            ("file:///srv/web/../x/a-1.whl", "file:///srv/web", "not below"),
            ("file:///srv/web/a%2F..%2F../x/a-1.whl", "file:///srv/web", "not below"),
            ("https://pypi.org/a-1.whl?token=1", "https://pypi.org", "query"),
            ("https://pypi.org/a/", "https://pypi.org", "of a file"),
        ] {
            let error = addressed(file, index).expect_err(file);
            assert!(error.contains(part), "{file}: {error}");
        }
    }
}
