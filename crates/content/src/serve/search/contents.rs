//! The searchable texts of packages, from what is stored about their listed versions.

use std::collections::HashMap;

use crate::serve::project::names;
use base::model::ids::{PackageId, ReleaseId};
use base::model::kind::{Language, Layout};
use base::model::point::PointTree;
use formats::language;
use formats::r::description::Description;
use store::db::project_file::{self, ListedFile};
use store::db::{Conn, DbError, detail, release_facts};
use store::search::{Texts, Version};

/// Maximum length of a text, in bytes: the longest descriptions of CRAN have 5,000.
const MAX_TEXT: usize = 16 << 10;

/// The fields of a DESCRIPTION with keywords.
const KEYWORDS: [&str; 3] = ["Keywords", "biocViews", "X-schema.org-keywords"];

/// A listed package.
#[derive(Clone, Debug)]
pub(super) struct ListedPackage {
    pub(super) package: PackageId,
    pub(super) version: Version,
    /// The texts of the list: name, and of a project its summary.
    texts: Texts,
    /// The release whose details have the other texts; `None` if there are none.
    release: Option<ReleaseId>,
}

/// Returns the packages that trees list; of a package in several of them, that of the first one.
pub(super) fn listed(
    c: &mut dyn Conn,
    trees: &[PointTree],
    language: Language,
) -> Result<HashMap<PackageId, ListedPackage>, DbError> {
    let mut packages = HashMap::new();
    for tree in trees {
        let listed = match language.layout() {
            Layout::Lists => of_list(c, tree)?,
            Layout::Projects => of_projects(c, tree, language)?,
        };
        for listed in listed {
            packages.entry(listed.package).or_insert(listed);
        }
    }
    Ok(packages)
}

fn of_list(c: &mut dyn Conn, tree: &PointTree) -> Result<Vec<ListedPackage>, DbError> {
    let listed = detail::listed(c, tree.tree, tree.seq)?.into_iter();
    let package = |listed: detail::ListedDetail| ListedPackage {
        package: listed.package,
        version: Version { revision: listed.release.0, is_complete: listed.is_known },
        texts: Texts { name: listed.name, ..Texts::default() },
        release: Some(listed.release),
    };
    Ok(listed.map(package).collect())
}

fn of_projects(
    c: &mut dyn Conn,
    tree: &PointTree,
    language: Language,
) -> Result<Vec<ListedPackage>, DbError> {
    let mut files: HashMap<PackageId, Vec<ListedFile>> = HashMap::new();
    for file in project_file::all(c, tree.tree, tree.seq)? {
        files.entry(file.key.package).or_default().push(file);
    }
    let package = |(package, files): (PackageId, Vec<ListedFile>)| {
        let newest = names::newest(&files, language)?;
        let description = language::describe(language, &newest.facts);
        Some(ListedPackage {
            package,
            version: Version { revision: newest.key.release.0, is_complete: true },
            texts: Texts {
                name: newest.project.clone(),
                title: limited(description.summary.as_deref()),
                ..Texts::default()
            },
            release: None,
        })
    };
    Ok(files.into_iter().filter_map(package).collect())
}

/// Reads the texts of packages: from their DESCRIPTIONs, otherwise from their records in the index.
pub(super) fn read(
    c: &mut dyn Conn,
    packages: &[ListedPackage],
) -> Result<Vec<(PackageId, Version, Texts)>, DbError> {
    let releases: Vec<ReleaseId> = packages.iter().filter_map(|listed| listed.release).collect();
    let mut descriptions: HashMap<ReleaseId, Vec<u8>> = HashMap::with_capacity(releases.len());
    for (release, description) in releases.iter().zip(detail::descriptions(c, &releases)?) {
        descriptions.extend(description.map(|description| (*release, description)));
    }
    let missing: Vec<ReleaseId> =
        releases.into_iter().filter(|release| !descriptions.contains_key(release)).collect();
    for (release, record) in missing.iter().zip(release_facts::records(c, &missing)?) {
        descriptions.extend(record.map(|record| (*release, record)));
    }
    let texts = |listed: &ListedPackage| {
        let description = listed.release.and_then(|release| descriptions.get(&release));
        let texts = match description.and_then(|text| Description::from_bytes(text).ok()) {
            Some(description) => of_description(listed.texts.name.clone(), &description),
            None => listed.texts.clone(),
        };
        (listed.package, listed.version, texts)
    };
    Ok(packages.iter().map(texts).collect())
}

fn of_description(name: String, description: &Description) -> Texts {
    let field = |tag: &str| description.non_empty(tag);
    let joined = |tags: &[&str]| {
        let texts: Vec<&str> = tags.iter().filter_map(|tag| field(tag)).collect();
        limited(Some(&texts.join(" ")))
    };
    Texts {
        name,
        title: limited(field("Title")),
        keywords: joined(&KEYWORDS),
        people: joined(&["Maintainer", "Author"]),
        description: limited(field("Description")),
    }
}

fn limited(text: Option<&str>) -> String {
    let text = text.unwrap_or_default();
    text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_those_of_a_description_and_long_ones_are_cut_between_characters() {
        let long = "é".repeat(MAX_TEXT);
        let text = format!(
            "Package: a\nTitle: Tests of Texts\nAuthor: A\nMaintainer: B <b@example.org>\nbiocViews: One, Two\n\
             Keywords: three\nEncoding: UTF-8\nDescription: {long}\n"
        );
        let description = Description::from_bytes(text.as_bytes()).expect("fields");
        let texts = of_description("a".to_owned(), &description);
        assert_eq!((texts.title.as_str(), texts.keywords.as_str()), ("Tests of Texts", "three One, Two"));
        assert_eq!(texts.people, "B <b@example.org> A");
        assert_eq!(texts.description.len(), MAX_TEXT);
        let none = of_description("b".to_owned(), &Description::from_bytes(b"Package: b\n").expect("fields"));
        assert_eq!(none, Texts { name: "b".to_owned(), ..Texts::default() });
    }
}
