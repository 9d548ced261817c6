//! The references of a remote repository: its branch and its tags. git lists them in a sandbox, unless the server can
//! request them over HTTP itself, or the files of a local repository have not changed.

mod http;
mod local;
mod packets;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Builds;
use super::failure::BuildFailure;
use super::fetch::{self, HostKeys};
use builder::url::{GitUrl, Scheme};
use formats::r::version;
use store::db::git_builder::{GitBuilder, Trigger};

/// Maximum number of tags of a repository; only the highest ones are used.
const MAX_TAGS: usize = 5_000;
/// Maximum length of a tag in bytes.
const MAX_TAG: usize = 1000;

/// Caches for polls of remote repositories.
#[derive(Default)]
pub(super) struct Remotes {
    http: http::HttpClients,
    local: local::LocalListings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct References {
    /// The newest commit of the branch.
    pub(super) head: Option<String>,
    /// Tags and the commits that they name, the lowest version first.
    pub(super) tags: Vec<(String, String)>,
}

impl References {
    /// Converts a list of objects and names. An annotated tag has a second entry, `name^{}`, with its commit.
    pub(super) fn new(listed: Vec<(String, String)>) -> References {
        let (mut head, mut tags) = (None, BTreeMap::new());
        for (object, name) in listed {
            match name.strip_prefix("refs/tags/") {
                Some(tag) => {
                    let (tag, is_peeled) = match tag.strip_suffix("^{}") {
                        Some(tag) => (tag, true),
                        None => (tag, false),
                    };
                    // git does not check names from a server. An empty tag in a row means a commit of the branch.
                    let is_valid =
                        !tag.is_empty() && tag.len() <= MAX_TAG && !tag.chars().any(char::is_control);
                    if is_valid && (is_peeled || !tags.contains_key(tag)) {
                        tags.insert(tag.to_owned(), object);
                    }
                }
                None => head = Some(object),
            }
        }
        let mut tags: Vec<(String, String)> = tags.into_iter().collect();
        let number = |tag: &str| tag.trim_start_matches(|c: char| !c.is_ascii_digit()).to_owned();
        tags.sort_by(|(a, _), (b, _)| version::compare(&number(a), &number(b)).then_with(|| a.cmp(b)));
        tags.drain(..tags.len().saturating_sub(MAX_TAGS));
        References { head, tags }
    }
}

/// Converts a list to references; fails if the list lacks the branch of a builder for commits.
pub(super) fn for_builder(
    builder: &GitBuilder,
    listed: Vec<(String, String)>,
) -> Result<References, BuildFailure> {
    let references = References::new(listed);
    if references.head.is_none() && builder.trigger == Trigger::Commits {
        return Err(BuildFailure::Temporary(match builder.branch.as_str() {
            "" => "the repository has no commit".to_owned(),
            branch => format!("the repository has no branch '{branch}'"),
        }));
    }
    Ok(references)
}

pub(super) async fn list(builds: &Builds, builder: &GitBuilder) -> Result<References, BuildFailure> {
    let url = fetch::url(builds, &builder.url)?;
    match url.scheme {
        Scheme::Https | Scheme::Http => {
            let names = names(builder);
            if let Some(mut listed) = http::list(builds, builder, &url, &names).await? {
                listed.retain(|(_, name)| is_listed(name, &names));
                return for_builder(builder, listed);
            }
            list_by_git(builds, builder).await
        }
        Scheme::File => list_local(builds, builder, &url).await,
        Scheme::Ssh => list_by_git(builds, builder).await,
    }
}

async fn list_by_git(builds: &Builds, builder: &GitBuilder) -> Result<References, BuildFailure> {
    let listing = fetch::references(builds, builder, HostKeys::Known).await?;
    for_builder(builder, listing.references)
}

/// Lists the references of a local repository; returns the previous list if its files have not changed.
async fn list_local(builds: &Builds, builder: &GitBuilder, url: &GitUrl) -> Result<References, BuildFailure> {
    let path = PathBuf::from(&url.path);
    let definition = format!("{}\n{}\n{}", builder.url, builder.branch, builder.trigger.as_str());
    let digest = tokio::task::spawn_blocking(move || local::digest(&path, &definition)).await;
    let digest = digest.map_err(|error| BuildFailure::Temporary(error.to_string()))?;
    let known = digest.as_ref().and_then(|digest| builds.remotes.local.get(builder.id, digest));
    if let Some(known) = known {
        return Ok(known);
    }
    let references = list_by_git(builds, builder).await?;
    if let Some(digest) = digest {
        builds.remotes.local.insert(builder.id, digest, references.clone());
    }
    Ok(references)
}

/// Returns the references that a builder needs: the name of its branch, and the prefix `refs/tags/` for all tags.
fn names(builder: &GitBuilder) -> Vec<String> {
    let mut names = vec![fetch::branch_reference(builder)];
    if builder.trigger == Trigger::Tags {
        names.push("refs/tags/".to_owned());
    }
    names
}

/// Returns whether a reference matches a requested name or prefix. A server may ignore the request and list others.
fn is_listed(name: &str, names: &[String]) -> bool {
    let name = name.strip_suffix("^{}").unwrap_or(name);
    names.iter().any(|wanted| name == wanted || (wanted.ends_with('/') && name.starts_with(wanted.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotated_tags_name_commits_and_tags_are_in_the_order_of_versions() {
        let pair = |object: &str, name: &str| (object.to_owned(), name.to_owned());
        let references = References::new(vec![
            pair("aa", "HEAD"),
            pair("b1", "refs/tags/v1.10"),
            pair("b2", "refs/tags/v1.9"),
            pair("c2", "refs/tags/v1.9^{}"),
            pair("d1", "refs/tags/0.1"),
        ]);
        assert_eq!(references.head.as_deref(), Some("aa"));
        assert_eq!(references.tags, [pair("0.1", "d1"), pair("v1.9", "c2"), pair("v1.10", "b1")]);
    }

    #[test]
    fn references_that_were_not_requested_are_ignored() {
        let names = ["refs/heads/main".to_owned(), "refs/tags/".to_owned()];
        for (name, expected) in [
            ("refs/heads/main", true),
            ("refs/heads/main2", false),
            ("HEAD", false),
            ("refs/tags/v1^{}", true),
            ("refs/pull/1/head", false),
        ] {
            assert_eq!(is_listed(name, &names), expected, "{name}");
        }
    }
}
