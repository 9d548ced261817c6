//! Digests of the configuration, which let servers compare their configurations without disclosing values. Pure.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use base::config::Settings;
use base::model::identity::Identity;

/// Returns a line with digest and name for each property that is set, ordered by name. The digests are salted and
/// short, so that a value cannot be recovered from them.
pub fn digests(settings: &Settings, salt: Identity) -> String {
    let mut lines: Vec<String> = settings
        .iter()
        .map(|setting| {
            let name = match &setting.sub {
                None => format!("{}.{}", setting.section.name, setting.property.name),
                Some(sub) => format!("{} \"{sub}\".{}", setting.section.name, setting.property.name),
            };
            let mut digest = Sha256::new_with_prefix(salt.0);
            for text in std::iter::once(&name).chain(setting.values.iter().map(|value| &value.text)) {
                digest.update((text.len() as u64).to_be_bytes());
                digest.update(text);
            }
            let digest: [u8; 32] = digest.finalize().into();
            format!("{} {name}", hex::encode(&digest[..4]))
        })
        .collect();
    lines.sort_unstable_by(|a, b| {
        a.split_once(' ').map(|line| line.1).cmp(&b.split_once(' ').map(|line| line.1))
    });
    lines.join("\n")
}

/// Returns the names of the properties that differ, or are set in only one of the two configurations.
pub fn differing_properties<'a>(own: &'a str, other: &'a str) -> BTreeSet<&'a str> {
    let parse = |text: &'a str| -> BTreeMap<&'a str, &'a str> {
        text.lines().filter_map(|line| line.split_once(' ')).map(|(digest, name)| (name, digest)).collect()
    };
    let (own_values, other_values) = (parse(own), parse(other));
    let names = own_values.keys().chain(other_values.keys()).copied();
    names.filter(|name| own_values.get(name) != other_values.get(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::config::Config;

    #[test]
    fn differing_properties_are_named_without_their_values() {
        let dir = std::path::Path::new("/d");
        let digests_of = |lines: &str| {
            let file = Config::example(dir, lines).expect("a configuration");
            digests(&file.settings, Identity([7; 16]))
        };
        let own_digests = digests_of(
            "[CRAN]\nURL = https://a\n[Proxy]\nPassword = hunter2\n[Logging]\nSystemLog = STDERR\n",
        );
        let reordered_digests = digests_of(
            "[Logging]\nSystemLog = STDERR\n[Proxy]\nPassword = hunter2\n[CRAN]\nURL = https://a\n",
        );
        assert_eq!(own_digests, reordered_digests);
        assert!(!own_digests.contains("hunter"));
        let other_digests = digests_of(
            "[CRAN]\nURL = https://b\n[Proxy]\nPassword = hunter3\n[FileStorage \"cran\"]\nLocation = /c\n",
        );
        let names: Vec<&str> = differing_properties(&own_digests, &other_digests).into_iter().collect();
        assert_eq!(
            names,
            ["CRAN.URL", "FileStorage \"cran\".Location", "Logging.SystemLog", "Proxy.Password"]
        );
    }
}
