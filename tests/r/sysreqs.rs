//! The open rule base of system requirements and its sample of texts, compared with R's regular expressions.

use std::collections::BTreeSet;
use std::io::Write;

use rstudio_pm::r::sysreqs::{OsRelease, RuleBase, Rules};

use crate::support::{data, rscript};

/// Matches that only R or only our rules find: index in the sample, rule.
const DIFFERENCES: &[(usize, &str)] = &[];

fn base() -> RuleBase {
    let root = data::path("sysreqs");
    let mut files = vec![("systems.json".to_owned(), std::fs::read(root.join("systems.json")).unwrap())];
    for entry in std::fs::read_dir(root.join("rules")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        files.push((format!("rules/{name}"), std::fs::read(&path).unwrap()));
    }
    RuleBase::from_files(files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice()))).unwrap()
}

fn texts() -> Vec<String> {
    let sample = std::fs::read(data::path("sysreqs/test/sysreqs.json")).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&sample).unwrap();
    rows.iter().map(|row| row["SystemRequirements"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_file_of_the_rule_base_is_read_and_every_pattern_compiles() {
    let rules = Rules::new(base()).unwrap();
    assert_eq!(rules.invalid_patterns(), [""; 0]);
    let files = std::fs::read_dir(data::path("sysreqs/rules")).unwrap().count();
    assert!(rules.len() == files && files > 50, "{} of {files}", rules.len());
    assert_eq!(RuleBase::from_document(&rules.base().document()).as_ref(), Ok(rules.base()));
}

#[test]
fn rules_match_the_texts_in_which_r_finds_their_patterns() {
    let (base, texts) = (base(), texts());
    assert!(texts.len() > 1000, "{}", texts.len());
    let folder = tempfile::tempdir().unwrap();
    let (patterns, sample) = (folder.path().join("patterns"), folder.path().join("sample"));
    let mut file = std::fs::File::create(&patterns).unwrap();
    for (name, rule) in &base.rules {
        rule.patterns.iter().for_each(|pattern| writeln!(file, "{name}\t{pattern}").unwrap());
    }
    let lines: Vec<String> = texts.iter().map(|text| text.replace(['\n', '\r'], " ")).collect();
    std::fs::write(&sample, lines.join("\n")).unwrap();
    let r_output = rscript::run(
        r#"a <- commandArgs(TRUE)
           p <- strsplit(readLines(a[1], encoding = "UTF-8"), "\t", fixed = TRUE)
           t <- readLines(a[2], encoding = "UTF-8", warn = FALSE)
           for (x in p) for (i in which(grepl(x[2], t, ignore.case = TRUE, perl = TRUE))) cat(i - 1, x[1], "\n")"#,
        &[&patterns, &sample],
    );
    let r_matches: BTreeSet<(usize, &str)> = r_output
        .lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(index, rule)| (index.parse().unwrap(), rule))
        .collect();
    let rules = Rules::new(base.clone()).unwrap();
    let matches = |(index, text): (usize, &String)| {
        rules.matching_rules(text).map(|rule| (index, rule.to_owned())).collect::<Vec<_>>()
    };
    let own_matches: Vec<(usize, String)> = texts.iter().enumerate().flat_map(matches).collect();
    let own_matches: BTreeSet<(usize, &str)> =
        own_matches.iter().map(|(index, rule)| (*index, rule.as_str())).collect();
    assert!(r_matches.len() > 1300, "R found {} matches", r_matches.len());
    let differences: Vec<(usize, &str)> = r_matches.symmetric_difference(&own_matches).copied().collect();
    assert_eq!(differences, DIFFERENCES, "of {} matches", r_matches.len());
}

#[test]
fn as_many_texts_of_the_sample_have_requirements_as_another_program_counts() {
    let (rules, texts) = (Rules::new(base()).unwrap(), texts());
    let count_texts = |distribution: &str, release: &str| {
        let system = OsRelease::new(distribution, release);
        texts.iter().filter(|text| !rules.requirements(text, &system).is_empty()).count()
    };
    let systems =
        [("ubuntu", "22.04"), ("ubuntu", "24.04"), ("debian", "12"), ("opensuse", "15.6"), ("redhat", "9")];
    let mut own_counts: Vec<usize> =
        systems.iter().map(|(name, release)| count_texts(name, release)).collect();
    own_counts.push(texts.iter().filter(|text| rules.matching_rules(text).count() == 0).count());
    // The counts of `sysreqs.py` on the same data.
    let output = std::process::Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/r/sysreqs.py"))
        .arg(data::path("sysreqs"))
        .args(systems.iter().flat_map(|(name, release)| [name, release]))
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).expect("numbers");
    let python_counts: Vec<usize> = output.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(python_counts.iter().all(|count| *count > 100), "{python_counts:?}");
    assert_eq!(own_counts, python_counts);
}

#[test]
fn well_known_packages_have_their_known_requirements() {
    let rules = Rules::new(base()).unwrap();
    let requirements = |text: &str, distribution: &str, release: &str| {
        let requirements =
            rules.requirements(text, &rules.resolve_system(&OsRelease::new(distribution, release)));
        let requirements: Vec<String> = requirements
            .iter()
            .map(|requirement| format!("{}: {}", requirement.rule, requirement.packages.join(" ")))
            .collect();
        requirements.join("; ")
    };
    assert_eq!(requirements("libxml2 (>= 2.9.0)", "ubuntu", "24.04"), "libxml2: libxml2-dev");
    let sf = "GDAL (>= 2.0.1), GEOS (>= 3.4.0),\nPROJ (>= 4.8.0), sqlite3";
    let packages = requirements(sf, "ubuntu", "22.04");
    for part in
        ["gdal: libgdal-dev gdal-bin", "geos: libgeos-dev", "proj: libproj-dev", "sqlite3: libsqlite3-dev"]
    {
        assert!(packages.contains(part), "{packages}");
    }
    assert!(requirements(sf, "centos", "8").contains("gdal: gdal-devel gdal sqlite-devel"));
    let java = rules.requirements("Java JDK 1.2 or higher", &OsRelease::new("ubuntu", "22.04"));
    assert_eq!(java[0].packages, ["default-jdk"]);
    assert_eq!(java[0].post_install[0].command.as_deref(), Some("R CMD javareconf"));
    assert_eq!(
        requirements("Java", "opensuse", "15"),
        "java: java-11-openjdk-devel",
        "the newest of the alternatives"
    );
    assert_eq!(requirements("gdal", "ubuntu", "16.04"), "gdal: libgdal-dev gdal-bin");
    assert_eq!(
        rules.requirements("gdal", &OsRelease::new("ubuntu", "16.04"))[0].pre_install.len(),
        3,
        "the specific rule first"
    );
    assert_eq!(requirements("C++17", "ubuntu", "22.04"), "");
}
