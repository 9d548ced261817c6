//! The pages of an index of a language with projects.

use url::Url;

use base::model::project_name::ProjectName;
use base::model::project_page::UpstreamPage;

pub trait ProjectIndex: Sync {
    /// Reads the page of a project. `media_type` is that of the response, and `url` its address after redirects. The error
    /// is a text that follows the address: `has the media type …`.
    fn read_page(
        &self,
        media_type: Option<&str>,
        body: &[u8],
        url: &Url,
        project: &ProjectName,
    ) -> Result<UpstreamPage, String>;
}
