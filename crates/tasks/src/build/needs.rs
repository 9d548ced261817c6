//! Build dependencies of an R package, from its DESCRIPTION, vignettes and help pages. There are none if `R CMD
//! build` does not install the package. Otherwise they are its strong dependencies, its vignette engines, and the
//! packages of `Suggests` that its vignettes name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek};

use super::description;
use super::failure::BuildFailure;
use formats::r::dependency::{DependencyKind, parse_list};
use formats::r::description::Description;
use formats::r::name::{is_base, is_package};
use formats::r::version::is_numeric;

/// Maximum number of bytes that are searched in each file.
const MAX_FILE: u64 = 4 << 20;
/// Maximum number of bytes that are searched in all files together.
const MAX_BYTES: u64 = 64 << 20;
/// Prefixes of Rd macros that `R CMD build` evaluates. It installs the package before the evaluation. A false
/// match causes an unnecessary installation, but no error.
const EVALUATED_MACROS: [&str; 5] = ["\\Sexpr", "\\doi", "\\PR", "\\package", "\\bib"];
/// The fields of strong dependencies, without which a package cannot be installed.
const STRONG_KINDS: [DependencyKind; 3] =
    [DependencyKind::Depends, DependencyKind::Imports, DependencyKind::LinkingTo];

/// Packages with the requirements on their versions, such as `>= 1.2`.
pub(super) type Needs = BTreeMap<String, BTreeSet<String>>;

/// Returns the build dependencies of a source tree (a tar file), without base packages. Blocking.
pub(super) fn of_tree(tree: &mut File, builds_vignettes: bool) -> Result<Needs, BuildFailure> {
    let bytes = description::read(tree)?;
    // `R CMD build` reports an invalid DESCRIPTION.
    let Ok(description) = Description::from_bytes(&bytes) else { return Ok(Needs::new()) };
    let suggested: BTreeSet<&str> =
        description.dependencies(DependencyKind::Suggests).map(|dependency| dependency.name).collect();
    let mut facts = TreeFacts::default();
    tree.rewind()?;
    let mut archive = tar::Archive::new(tree);
    let mut bytes_left = MAX_BYTES;
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let is_vignette = builds_vignettes && path.starts_with(b"vignettes/");
        let is_help_page = path.starts_with(b"man/");
        if !entry.header().entry_type().is_file() || !(is_vignette || is_help_page) {
            continue;
        }
        let mut text = Vec::new();
        entry.by_ref().take(MAX_FILE.min(bytes_left)).read_to_end(&mut text)?;
        bytes_left -= text.len() as u64;
        if is_vignette {
            facts.add_vignette(&text, &suggested);
        } else {
            facts.add_help_page(&path, &text);
        }
    }
    Ok(facts.needs(&description))
}

/// The properties of a source tree that determine its build dependencies.
#[derive(Default)]
struct TreeFacts {
    has_vignettes: bool,
    /// Whether a help page is evaluated during the build.
    has_evaluated_page: bool,
    /// Packages of `Suggests` that vignettes name.
    vignette_packages: BTreeSet<String>,
}

impl TreeFacts {
    fn add_vignette(&mut self, text: &[u8], suggested: &BTreeSet<&str>) {
        self.has_vignettes = true;
        let words = text.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'.');
        let words = words.filter_map(|word| std::str::from_utf8(word).ok());
        let words = words.map(|word| word.trim_matches('.')).filter(|word| suggested.contains(word));
        self.vignette_packages.extend(words.map(str::to_owned));
    }

    fn add_help_page(&mut self, path: &[u8], text: &[u8]) {
        let contains = |word: &str| text.windows(word.len()).any(|bytes| bytes == word.as_bytes());
        self.has_evaluated_page |=
            path.starts_with(b"man/macros/") || EVALUATED_MACROS.iter().any(|word| contains(word));
    }

    fn needs(&self, description: &Description) -> Needs {
        let mut needs = Needs::new();
        let is_installed =
            self.has_vignettes || self.has_evaluated_page || description.non_empty("RdMacros").is_some();
        if !is_installed {
            return needs;
        }
        let builders = description.non_empty("VignetteBuilder").filter(|_| self.has_vignettes);
        let engines: Vec<_> = builders.into_iter().flat_map(parse_list).collect();
        let strong = STRONG_KINDS.into_iter().flat_map(|kind| description.dependencies(kind));
        let is_engine = |name: &str| engines.iter().any(|engine| engine.name == name);
        let suggested = description.dependencies(DependencyKind::Suggests);
        let vignette_dependencies = suggested.filter(|dependency| {
            self.vignette_packages.contains(dependency.name) || is_engine(dependency.name)
        });
        for dependency in strong.chain(vignette_dependencies).chain(engines.iter().copied()) {
            if dependency.name == "R" || is_base(dependency.name) || !is_package(dependency.name) {
                continue;
            }
            let requirements = needs.entry(dependency.name.to_owned()).or_default();
            let requirement = dependency.requirement.filter(|requirement| is_numeric(requirement.version));
            requirements.extend(requirement.map(|r| format!("{} {}", r.operator.as_str(), r.version)));
        }
        needs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &str = "Package: tested\nVersion: 1.0\nDepends: R (>= 4.0), methods, one (>= 1.2)\n\
                               Imports: two\nSuggests: knitr (> 1), data.table, other\nVignetteBuilder: knitr\n";

    fn needs(files: &[(&str, &str)], builds_vignettes: bool) -> String {
        let mut tar = tar::Builder::new(tempfile::tempfile().unwrap());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Regular);
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        let needs = of_tree(&mut tar.into_inner().unwrap(), builds_vignettes).unwrap();
        let texts = needs.iter().map(|(name, requirements)| {
            let requirements: Vec<&str> = requirements.iter().map(String::as_str).collect();
            format!("{name} {}", requirements.join(" ")).trim().to_owned()
        });
        texts.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_vignette_needs_its_engine_and_the_suggested_packages_that_it_names() {
        let vignette = "%\\VignetteEngine{knitr::knitr}\nx <- data.table::data.table(); another\n";
        let files = [("vignettes/a.Rmd", vignette), ("DESCRIPTION", DESCRIPTION), ("tests/t.R", "other")];
        assert_eq!(needs(&files, true), "data.table, knitr > 1, one >= 1.2, two");
        assert_eq!(needs(&files, false), "", "vignettes are not built, so R does not install the package");
        let files = [("DESCRIPTION", DESCRIPTION), ("vignettes/a.Rnw", "See data.table. And other.")];
        assert_eq!(needs(&files, true), "data.table, knitr > 1, one >= 1.2, other, two");
    }

    #[test]
    fn an_evaluated_page_requires_the_strong_dependencies_of_the_package() {
        for (path, text, is_evaluated) in [
            ("man/f.Rd", "\\name{f}", false),
            ("man/f.Rd", "\\Sexpr[stage=build]{1}", true),
            ("man/f.Rd", "see \\doi{10.1/x}", true),
            ("man/macros/m.Rd", "\\newcommand{\\x}{y}", true),
            ("inst/f.Rd", "\\Sexpr[stage=build]{1}", false),
        ] {
            let expected = if is_evaluated { "one >= 1.2, two" } else { "" };
            for builds_vignettes in [false, true] {
                assert_eq!(needs(&[("DESCRIPTION", DESCRIPTION), (path, text)], builds_vignettes), expected);
            }
        }
        let description = format!("{DESCRIPTION}RdMacros: two\n");
        assert_eq!(needs(&[("DESCRIPTION", &description)], false), "one >= 1.2, two");
    }

    #[test]
    fn invalid_names_and_requirements_are_left_out() {
        let description =
            "Package: tested\nDepends: ../x, stats, R\nImports: yes (>= r123), no-name\nRdMacros: yes\n";
        assert_eq!(needs(&[("DESCRIPTION", description)], false), "yes");
        assert_eq!(needs(&[("DESCRIPTION", "not: a\n  description\nx")], false), "");
    }
}
