//! Lists of the files in a directory, in the form of Apache's `IndexOptions HTMLTable`, as CRAN has them:
//! uscan, Spack and conda skeleton find versions in them.

use std::fmt::Write;

use super::document::{Listing, RRows};
use base::model::time::Timestamp;
use formats::r::description::Description;
use formats::r::layout::{IndexFormat, RepoFileName, Segment};
use store::db::life::FileInfo;

struct ListingEntry<'a> {
    /// A plain name, which needs no escaping; with a slash for a directory.
    name: String,
    at: Option<Timestamp>,
    size: Option<i64>,
    /// The package, to combine its files in the list of packages.
    package: &'a str,
}

pub(super) fn html(listing: &Listing, rows: &RRows) -> String {
    let title = match listing {
        Listing::Sources => "src/contrib".to_owned(),
        Listing::Archive => "src/contrib/Archive".to_owned(),
        Listing::Package(name) => format!("src/contrib/Archive/{}", plain(name).unwrap_or_default()),
        Listing::Binaries(index) => format!("binaries for {}", index.selector.platform),
        Listing::Empty => "binaries".to_owned(),
    };
    let has_index = !matches!(listing, Listing::Archive | Listing::Package(_));
    let mut html = format!(
        "<!DOCTYPE html>\n<html><head><title>Index of {title}</title></head><body>\n<h1>Index of {title}</h1>\n<table>\n\
         <tr><th>Name</th><th>Last modified</th><th>Size</th></tr>\n"
    );
    for name in ["../", "Archive/"].into_iter().take(if *listing == Listing::Sources { 2 } else { 1 }) {
        write_row(&mut html, name, None, None);
    }
    for format in IndexFormat::ALL.into_iter().filter(|_| has_index) {
        write_row(&mut html, format.file_name(), None, None);
    }
    for ListingEntry { name, at, size, .. } in entries(listing, rows) {
        write_row(&mut html, &name, at, size);
    }
    html += "</table>\n</body></html>\n";
    html
}

fn entries<'a>(listing: &Listing, rows: &'a RRows) -> Vec<ListingEntry<'a>> {
    match rows {
        RRows::Archived(files) if *listing == Listing::Archive => {
            let mut entries: Vec<ListingEntry<'_>> = Vec::new();
            for file in files {
                match entries.last_mut().filter(|last| last.package == file.name) {
                    Some(last) => last.at = last.at.max(file.published_at),
                    None => entries.extend(plain(&file.name).map(|name| ListingEntry {
                        name: format!("{name}/"),
                        at: file.published_at,
                        size: None,
                        package: &file.name,
                    })),
                }
            }
            entries
        }
        RRows::Archived(files) | RRows::Current(files) => files.iter().filter_map(file_entry).collect(),
        RRows::Listed(records) => {
            let Listing::Binaries(index) = listing else { return Vec::new() };
            let extension = index.selector.platform.extension();
            let entry = |stanza: &[u8]| {
                let record = Description::from_bytes(stanza).ok()?;
                let usual_name = || Some(format!("{}_{}.{extension}", record.package()?, record.version()?));
                let name = record.non_empty("File").map(str::to_owned).or_else(usual_name)?;
                let size = record.non_empty("Filesize").and_then(|size| size.parse().ok());
                Some(ListingEntry {
                    name: RepoFileName::parse(&name)?.to_string(),
                    at: None,
                    size,
                    package: "",
                })
            };
            records.iter().filter_map(|record| entry(&record.stanza)).collect()
        }
    }
}

fn file_entry(file: &FileInfo) -> Option<ListingEntry<'_>> {
    let name = RepoFileName::parse(&file.file)?.to_string();
    Some(ListingEntry { name, at: file.published_at, size: file.size, package: &file.name })
}

fn plain(name: &str) -> Option<&str> {
    Segment::parse(name).map(|_| name)
}

fn write_row(html: &mut String, name: &str, at: Option<Timestamp>, size: Option<i64>) {
    let at = at.map_or_else(String::new, |at| at.civil().strftime("%Y-%m-%d %H:%M").to_string());
    let size = size.map_or_else(|| "-".to_owned(), |size| size.to_string());
    writeln!(
        html,
        "<tr><td><a href=\"{name}\">{name}</a></td><td align=\"right\">{at}  </td><td align=\"right\">{size}</td></tr>"
    )
    .expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, file: &str, at: i64) -> FileInfo {
        FileInfo {
            name: name.to_owned(),
            normalized_name: name.to_lowercase(),
            file: file.to_owned(),
            size: Some(7),
            published_at: (at > 0).then_some(Timestamp(at * 1_000_000)),
        }
    }

    /// The names that a regular expression of conda skeleton finds: `<td><a href="([^"]+)">\1</a></td>`.
    fn names(html: &str) -> Vec<&str> {
        let links = html.split("<td><a href=\"").skip(1);
        links
            .map(|text| {
                let (name, rest) = text.split_once('"').expect("a name");
                assert!(rest.starts_with(&format!(">{name}</a></td>")), "{rest}");
                name
            })
            .collect()
    }

    #[test]
    fn files_are_rows_of_a_table_with_their_time() {
        let rows = RRows::Current(vec![
            file("A3", "A3_1.0.0.tar.gz", 1_700_000_000),
            file("x", "4.6.0/Recommended/x_1.0.tar.gz", 0),
            file("y", "y_1\"><script>.tar.gz", 0),
        ]);
        let html = html(&Listing::Sources, &rows);
        assert_eq!(
            names(&html),
            ["../", "Archive/", "PACKAGES.rds", "PACKAGES.gz", "PACKAGES", "A3_1.0.0.tar.gz"]
        );
        assert!(
            html.contains("</td><td align=\"right\">2023-11-14 22:13  </td><td align=\"right\">7</td>"),
            "{html}"
        );
    }

    #[test]
    fn the_archive_lists_each_package_once() {
        let rows = RRows::Archived(vec![
            file("A3", "A3_0.9.1.tar.gz", 1_600_000_000),
            file("A3", "A3_0.9.2.tar.gz", 1_700_000_000),
            file("brio", "brio_1.0.tar.gz", 0),
        ]);
        let list = html(&Listing::Archive, &rows);
        assert_eq!(names(&list), ["../", "A3/", "brio/"]);
        assert!(list.contains("2023-11-14") && !list.contains("2020"), "{list}");
        let list = html(&Listing::Package("A3".to_owned()), &rows);
        assert_eq!(names(&list), ["../", "A3_0.9.1.tar.gz", "A3_0.9.2.tar.gz", "brio_1.0.tar.gz"]);
    }
}
