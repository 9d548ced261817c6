//! The list and the pages of an index of a language with projects.

use std::io::Read;

use url::Url;

use base::model::digest::Sha256;
use base::model::project_name::ProjectName;
use base::model::project_page::{ListSummary, ListedName, UpstreamPage};

/// Where indexes have their lists, pages and files.
#[derive(Debug)]
pub struct IndexAddresses {
    /// The media types of lists and pages, as in the header `Accept`.
    pub accept: &'static str,
    /// The folders in which an index may have its list and its pages, in the order in which they are tried; `""` for the
    /// address itself. The configured address may end with the first one.
    pub folders: &'static [&'static str],
    /// The names of a list or page in a directory, in order of preference, with their media types.
    pub files: &'static [(&'static str, &'static str)],
    /// Hosts besides that of the index from which files may come.
    pub file_hosts: &'static [&'static str],
}

impl IndexAddresses {
    /// Returns the folder in which an index usually has its pages.
    pub fn folder(&self) -> &'static str {
        self.folders.first().copied().unwrap_or_default()
    }

    /// Returns an address of an index without this folder and the slash at its end.
    pub fn base<'a>(&self, url: &'a str) -> &'a str {
        let url = url.trim_end_matches('/');
        url.strip_suffix(self.folder()).and_then(|base| base.strip_suffix('/')).unwrap_or(url)
    }
}

/// A request for pages below the address of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRequest {
    /// The path; without a body, a slash follows it in the address.
    pub path: String,
    /// Sent by POST; without it, the request is a GET.
    pub body: Option<RequestBody>,
}

impl IndexRequest {
    /// Returns the request for the page of the first project, below a folder.
    pub fn of_page(folder: &str, projects: &[ProjectName]) -> IndexRequest {
        let parts = [folder, projects.first().map_or("", ProjectName::as_str)];
        IndexRequest { path: parts.join("/").trim_start_matches('/').to_owned(), body: None }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestBody {
    pub media_type: &'static str,
    pub bytes: Vec<u8>,
}

pub trait ProjectIndex: Sync {
    fn addresses(&self) -> &'static IndexAddresses;

    /// Returns the maximum number of projects of one request.
    fn batch(&self) -> usize {
        1
    }

    /// Returns the request for the pages of projects, at most [`ProjectIndex::batch`], in a folder of the index.
    fn request(&self, folder: &str, projects: &[ProjectName]) -> IndexRequest {
        IndexRequest::of_page(folder, projects)
    }

    /// Returns whether only lists and pages have the media type: such a list need not be read to recognize it.
    fn is_own_media_type(&self, _media_type: &str) -> bool {
        false
    }

    /// Returns whether a document is a list of projects. `url` is its address after redirects.
    fn is_list(&self, media_type: Option<&str>, body: &[u8], _url: &Url) -> bool {
        self.read_list(media_type, &mut &*body, &mut |_| ()).is_ok()
    }

    /// Reads a list from a stream: `on_project` is called for each project, also before an error is found. The error is a
    /// text that follows the address and a colon.
    fn read_list(
        &self,
        media_type: Option<&str>,
        body: &mut dyn Read,
        on_project: &mut dyn FnMut(ListedName<'_>),
    ) -> Result<ListSummary, String>;

    /// Checks the media type of a page before its body is decoded. The error is as that of [`ProjectIndex::read_page`].
    fn check_media_type(&self, _media_type: Option<&str>) -> Result<(), String> {
        Ok(())
    }

    /// Reads the response to a request for pages; a project without a page in the result is not at the index. `media_type` is
    /// that of the response, and `url` its address after redirects. The error is a text that follows the address.
    fn read_page(
        &self,
        media_type: Option<&str>,
        body: &[u8],
        url: &Url,
        projects: &[ProjectName],
    ) -> Result<Vec<UpstreamPage>, String>;

    /// Returns stored facts with the digest of metadata that this server read from the file; with `None`, without the
    /// digest that the index declares.
    fn with_metadata(&self, facts: &[u8], _metadata: Option<Sha256>) -> Vec<u8> {
        facts.to_vec()
    }

    /// Returns the digest in stored facts of metadata that an index declares, for which the database may have no row.
    fn unrecorded_metadata(&self, _facts: &[u8]) -> Option<Sha256> {
        None
    }

    /// Returns stored facts of a file if the database has a row for metadata that an index declares.
    fn with_recorded_metadata(&self, facts: &[u8]) -> Vec<u8> {
        facts.to_vec()
    }

    /// Returns the digest in stored facts that the index declares instead of a SHA-256: `md5=…`.
    fn other_digest(&self, _facts: &[u8]) -> Option<String> {
        None
    }

    /// Returns whether metadata of stored files is read for which the index declares none.
    fn reads_metadata_of_files(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_end_with_the_usual_folder() {
        for (folders, url, base) in [
            (&["simple", ""][..], "https://h/a/simple/", "https://h/a"),
            (&["simple"], "https://h/xsimple", "https://h/xsimple"),
            (&[""], "https://h/simple/", "https://h/simple"),
        ] {
            let addresses = IndexAddresses { accept: "", folders, files: &[], file_hosts: &[] };
            assert_eq!(addresses.base(url), base);
        }
    }
}
