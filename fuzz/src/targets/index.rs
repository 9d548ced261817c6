//! Targets for DCF and its uses: package indexes, DESCRIPTION, CRAN's history.

use rstudio_pm::model::digest::{Md5, Sha256};
use rstudio_pm::r::description::{self, Description};
use rstudio_pm::r::{dcf, dependency, history, index, packages, rewrite};

/// Records are slices of the text, and their fields are within them.
pub fn dcf(data: &[u8]) {
    for record in dcf::records(data).map_while(Result::ok) {
        assert_eq!(&data[record.offset..record.offset + record.raw.len()], record.raw);
        for field in &record.fields {
            assert!(field.start <= field.end && field.end <= data.len());
            let _ = (field.value.keep_white(), field.value.raw());
            let (Ok(tag), Ok(value)) =
                (std::str::from_utf8(field.tag), std::str::from_utf8(&field.value.fold()).map(str::to_owned))
            else {
                continue;
            };
            if tag.starts_with('\u{feff}') {
                // At the beginning of a text it is a byte order mark.
                continue;
            }
            let mut written = Vec::new();
            dcf::write_field(&mut written, tag, &value).expect("writing to a Vec succeeds");
            let reread = dcf::records(&written).next().expect("a record").expect("of one field");
            let read = String::from_utf8_lossy(&reread.get(tag).expect("the field").fold()).into_owned();
            let words = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&read), words(&value));
        }
    }
    let _ = dcf::description(data);
}

/// The index record of a DESCRIPTION is readable, and setting `Repository` changes no other field.
pub fn description(data: &[u8]) {
    let Ok(read) = Description::from_bytes(data) else { return };
    let _ = (read.built(), read.has_valid_version(), read.needs_compilation());
    for kind in dependency::DependencyKind::ALL {
        let _ = read.dependencies(kind).count();
    }
    let stanza = description::index_stanza(&read, Md5([1; 16]), Sha256([2; 32]), 3, true);
    assert!(stanza.len() <= 64 * data.len() + 1024);
    let record = dcf::records(&stanza).next().expect("a record").expect("good DCF");
    assert_eq!(record.get("Filesize").map(|value| value.fold().into_owned()), Some(b"3".to_vec()));
    let _ = description::metadata_stanza(&read);
    let rewritten = rewrite::description(data, "some/repository").expect("a value that can be written");
    let reread = Description::from_bytes(&rewritten).expect("what is written is valid");
    assert_eq!(reread.get("Repository"), Some("some/repository"));
    let others = |description: &Description| {
        let fields = description.fields().filter(|(tag, _)| *tag != "Repository");
        fields.map(|(tag, value)| (tag.to_owned(), value.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(others(&reread), others(&read));
}

/// A written index has the same records.
pub fn packages(data: &[u8]) {
    let Ok(text) = index::text("PACKAGES", data) else { return };
    let mut warnings = Vec::new();
    let Ok(records) = index::records(&text, &mut warnings) else { return };
    let mut written = Vec::new();
    packages::render(&mut written, records.iter().map(|record| record.stanza))
        .expect("writing to a Vec succeeds");
    let reread = index::records(&written, &mut warnings).expect("what is written is valid");
    assert_eq!(reread, records);
}

/// A package has a bounded number of events.
pub fn history(data: &[u8]) {
    let Ok(events) = history::events::Events::read(data) else { return };
    for record in dcf::records(data).map_while(Result::ok) {
        if let Some(package) = record.get("Package") {
            let _ = events.get(&String::from_utf8_lossy(&package.fold())).len();
        }
    }
}
