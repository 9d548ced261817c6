//! The page of the packages that the installation of a package requires.

use std::collections::HashMap;

use maud::{Markup, html};

use super::frame::{Frame, Location, Root, Section};
use super::table::{Column, table};
use super::text::{count, size, visible};

#[derive(Clone, Debug)]
pub struct RequiredPackage {
    pub name: String,
    pub version: String,
    pub size: Option<u64>,
    pub vulnerabilities: usize,
    /// The shortest chain of dependencies that requires the package, without the package itself.
    pub chain: Vec<String>,
}

/// The reason why a snapshot does not list a package.
#[derive(Clone, Debug)]
pub enum Refusal {
    Blocked {
        /// The version that would be listed.
        version: String,
        reason: String,
    },
    /// The snapshot has only archived versions.
    NotListed,
}

#[derive(Clone, Debug)]
pub struct MissingPackage {
    pub name: String,
    /// The rule or the guard because of which the snapshot does not list it, if that is the reason.
    pub reason: Option<String>,
}

/// A condition that the listed version of a required package does not meet.
#[derive(Clone, Debug)]
pub struct UnmetCondition {
    pub dependent: String,
    /// The package that it is about.
    pub dependency: String,
    /// The condition: `>= 2.0`.
    pub condition: String,
    pub version: String,
}

/// The packages of an operating system that an installation requires.
#[derive(Clone, Debug)]
pub struct SystemPackages {
    /// The systems that can be selected: their names and the texts for them.
    pub systems: Vec<(String, String)>,
    pub selected: Option<String>,
    /// Its packages; `None` if no system is selected, or if the server has no rules for system requirements.
    pub needs: Option<SystemNeeds>,
}

#[derive(Clone, Debug)]
pub struct SystemNeeds {
    /// The R packages that require packages of the system, with these.
    pub by_package: Vec<(String, Vec<String>)>,
    /// The commands that install all of them.
    pub commands: Vec<String>,
    pub unknown: usize,
}

/// Maximum number of unmet conditions on the page.
const MAX_UNMET: usize = 100;

/// Maximum number of packages in the tree.
const MAX_TREE: usize = 100;

#[derive(Clone, Debug)]
pub struct Closure {
    pub location: Location,
    pub package: String,
    pub required: Vec<RequiredPackage>,
    /// The number of packages that `required` omits.
    pub omitted: usize,
    /// The reason why the snapshot does not list the package; `None` if it does.
    pub refusal: Option<Refusal>,
    pub missing: Vec<MissingPackage>,
    /// Conditions for versions that the listed versions do not meet.
    pub unmet: Vec<UnmetCondition>,
    /// Names of packages, and the texts of their `SystemRequirements`.
    pub system_requirements: Vec<(String, String)>,
    pub unknown_requirements: usize,
    pub system_packages: SystemPackages,
}

impl Closure {
    pub fn render(&self, root: Root) -> String {
        let frame = Frame {
            location: Some((self.location.clone(), Section::Packages)),
            package: Some((self.package.clone(), Some("Installation"))),
            ..Frame::new(root, format!("Installation of {}, {}", visible(&self.package), self.location.repo))
        };
        let root = &frame.root;
        frame.render(&html! {
            h1 { "Installation of " (visible(&self.package)) }
            p.prose {
                "All packages that the installation requires (Depends, Imports and LinkingTo, and those of these "
                "packages), as this snapshot lists them. Packages of R itself are left out."
            }
            @if let Some(refusal) = &self.refusal {
                p.notice { @match refusal {
                    Refusal::Blocked { version, reason } => {
                        "Version " (visible(version)) " is blocked in this repository by " (visible(reason))
                        ", and this snapshot lists no other one: the package cannot be installed."
                    },
                    Refusal::NotListed => "This snapshot lists no version of the package; it has only archived ones.",
                } }
            } @else {
                (self.totals())
                (self.problems())
                (self.tree())
                (self.table(root))
                (self.requirements(root))
            }
        })
    }

    /// Renders what makes the installation fail.
    fn problems(&self) -> Markup {
        html! {
            @if !self.missing.is_empty() {
                p.notice { span.danger { "Not in this snapshot" } ": "
                    @for (at, package) in self.missing.iter().enumerate() {
                        @if at > 0 { ", " }
                        (visible(&package.name))
                        @if let Some(reason) = &package.reason { " (" (visible(reason)) ")" }
                    }
                }
            }
            @if !self.unmet.is_empty() {
                div.notice {
                    p { span.danger { "Conditions that the listed versions do not meet" } ":" }
                    ul { @for unmet in self.unmet.iter().take(MAX_UNMET) { li {
                        (visible(&unmet.dependent)) " needs " (visible(&unmet.dependency)) " "
                        (visible(&unmet.condition)) "; this snapshot lists " (visible(&unmet.version))
                    } } }
                    @if self.unmet.len() > MAX_UNMET { p { "and " (self.unmet.len() - MAX_UNMET) " more" } }
                }
            }
        }
    }

    fn totals(&self) -> Markup {
        let known: Vec<u64> = self.required.iter().filter_map(|package| package.size).collect();
        let (total, unknown) = (known.iter().sum::<u64>(), self.required.len() - known.len());
        let vulnerable = self.required.iter().filter(|package| package.vulnerabilities > 0).count();
        html! {
            p { strong { (count(self.required.len() + self.omitted, "package", "packages")) }
                ", " (size(total)) " as source packages"
                @if unknown > 0 { " without " (unknown) " whose size is not known" }
                @if vulnerable > 0 { ", " span.danger { (vulnerable) " with known vulnerabilities" } }
                "."
            }
            @if self.omitted > 0 {
                p {
                    "The page lists the " (self.required.len()) " nearest ones; the size and the vulnerabilities are those of "
                    "these."
                }
            }
        }
    }

    fn table(&self, root: &Root) -> Markup {
        let columns = [
            Column::name("Name"),
            Column::text("Version"),
            Column::number("Size"),
            Column::text("Required by"),
        ];
        let row = |package: &RequiredPackage| {
            [
                html! { a href=(root.package(&self.location, &package.name, "")) { (visible(&package.name)) } },
                html! {
                    (visible(&package.version))
                    @if package.vulnerabilities > 0 { " " span.danger {
                        (count(package.vulnerabilities, "vulnerability", "vulnerabilities"))
                    } }
                },
                html! { @if let Some(bytes) = package.size { (size(bytes)) } },
                html! { @for (at, name) in package.chain.iter().enumerate() {
                    @if at > 0 { " › " }
                    (visible(name))
                } },
            ]
        };
        table("Required packages", columns, self.required.iter().map(row))
    }

    /// Renders the first packages as a tree, each below the nearest one that requires it. Nothing without a second level.
    fn tree(&self) -> Markup {
        let mut below: HashMap<&str, Vec<&RequiredPackage>> = HashMap::new();
        for package in self.required.iter().take(MAX_TREE) {
            if let Some(dependent) = package.chain.last() {
                below.entry(dependent).or_default().push(package);
            }
        }
        let Some(root) = self.required.first().filter(|_| below.len() > 1) else { return html! {} };
        let mut branches: Vec<Branch> = below
            .get(root.name.as_str())
            .into_iter()
            .flatten()
            .map(|package| Branch::new(&below, package))
            .collect();
        branches.sort_by_key(|branch| std::cmp::Reverse(branch.packages));
        html! {
            h2 { "What requires what" }
            p.prose {
                "Each package is below the nearest one that requires it, and counted once."
                @if self.required.len() > MAX_TREE { " The tree has the " (MAX_TREE) " nearest packages." }
            }
            ul.tree { @for branch in &branches { (branch.markup) } }
            h2 { "All packages" }
        }
    }

    /// Renders the packages of an operating system, with the form that selects it.
    fn system_packages(&self, root: &Root) -> Markup {
        let SystemPackages { systems, selected, needs } = &self.system_packages;
        let display = systems.iter().find(|(name, _)| Some(name) == selected.as_ref()).map(|(_, text)| text);
        html! {
            form.fields method="get" action=(root.package(&self.location, &self.package, "dependencies/")) {
                label { "Packages of the system "
                    select name="platform" {
                        @for (name, text) in systems {
                            option value=(name) selected[Some(name) == selected.as_ref()] { (text) }
                        }
                    }
                }
                @if let Some(version) = root.bioconductor() { input type="hidden" name="bioc" value=(version); }
                button { "Show" }
            }
            @if let Some(display) = display { @match needs {
                None => p.notice {
                    "This server has no rules for system requirements. " code { "rspm sync --type=sysreqs" } " fetches them."
                },
                Some(needs) if needs.by_package.is_empty() && needs.unknown > 0 => p.notice {
                    "Whether the installation requires packages of " (display) " is not known: the system requirements of "
                    (count(needs.unknown, "package", "packages")) " are in archives that this server has not read."
                },
                Some(needs) if needs.by_package.is_empty() => p {
                    "The rules for system requirements name no package of " (display) "."
                },
                Some(needs) => {
                    figure.snippet {
                        figcaption { span { "Packages of " (display) ", installed as root" } }
                        pre tabindex="0" { code { (needs.commands.join("\n")) } }
                    }
                    ul { @for (package, packages) in &needs.by_package {
                        li { (visible(package)) ": " (packages.iter().map(|name| visible(name)).collect::<Vec<_>>().join(", ")) }
                    } }
                    @if needs.unknown > 0 {
                        p.notice {
                            "Further packages of " (display) " may be required: the system requirements of "
                            (count(needs.unknown, "package", "packages")) " are in archives that this server has not read."
                        }
                    }
                },
            } }
        }
    }

    fn requirements(&self, root: &Root) -> Markup {
        html! {
            @if !self.system_requirements.is_empty() {
                h2 { "System requirements" }
                ul { @for (package, text) in &self.system_requirements {
                    li {
                        a href=(root.package(&self.location, package, "")) { (visible(package)) }
                        ": " span dir="auto" { (visible(text)) }
                    }
                } }
            }
            @if self.unknown_requirements > 0 {
                p.muted { "The system requirements of " (count(self.unknown_requirements, "package", "packages")) " are not known." }
            }
            @if !self.system_requirements.is_empty() || self.unknown_requirements > 0 { (self.system_packages(root)) }
        }
    }
}

/// A package in the tree, with what is below it.
struct Branch {
    markup: Markup,
    /// The number of packages, with this one.
    packages: usize,
    /// The sum of their known sizes, in bytes.
    bytes: u64,
}

impl Branch {
    fn new(below: &HashMap<&str, Vec<&RequiredPackage>>, package: &RequiredPackage) -> Branch {
        let children = below.get(package.name.as_str()).into_iter().flatten();
        let mut branches: Vec<Branch> = children.map(|child| Branch::new(below, child)).collect();
        branches.sort_by_key(|branch| std::cmp::Reverse(branch.packages));
        let others: usize = branches.iter().map(|branch| branch.packages).sum();
        let bytes = package.size.unwrap_or(0) + branches.iter().map(|branch| branch.bytes).sum::<u64>();
        let name = visible(&package.name);
        let markup = html! { li {
            @if branches.is_empty() { (name) } @else {
                details {
                    summary { (name) " " small { "and " (count(others, "package", "packages")) ", " (size(bytes)) } }
                    ul { @for branch in &branches { (branch.markup) } }
                }
            }
        } };
        Branch { markup, packages: others + 1, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_totals_chains_and_what_is_missing() {
        let required = |name: &str, size: Option<u64>, chain: &[&str]| RequiredPackage {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            size,
            vulnerabilities: usize::from(name == "b"),
            chain: chain.iter().map(|name| (*name).to_owned()).collect(),
        };
        let missing = |name: &str, reason: Option<&str>| MissingPackage {
            name: name.to_owned(),
            reason: reason.map(str::to_owned),
        };
        let page = Closure {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            package: "a".to_owned(),
            required: vec![
                required("a", Some(1_500), &[]),
                required("b", Some(500), &["a"]),
                required("c", None, &["a", "b"]),
            ],
            omitted: 0,
            refusal: None,
            missing: vec![missing("gone", None), missing("bad", Some("blocked by rule 1 (<x>)"))],
            unmet: vec![UnmetCondition {
                dependent: "a".to_owned(),
                dependency: "b".to_owned(),
                condition: ">= 2.0".to_owned(),
                version: "1.0".to_owned(),
            }],
            system_requirements: vec![("c".to_owned(), "<GNU make>".to_owned())],
            unknown_requirements: 2,
            system_packages: SystemPackages {
                systems: vec![("noble".to_owned(), "Ubuntu 24.04".to_owned())],
                selected: None,
                needs: None,
            },
        };
        let html = page.render(Root::of_path("/prod/latest/web/packages/a/dependencies/"));
        for part in [
            "<strong>3 packages</strong>, 2.0 kB as source packages without 1 whose size is not known, ",
            "1 with known vulnerabilities",
            "<td>a › b</td>",
            "Not in this snapshot</span>: gone, bad (blocked by rule 1 (&lt;x&gt;))",
            "<li>a needs b &gt;= 2.0; this snapshot lists 1.0</li>",
            "&lt;GNU make&gt;",
            "of 2 packages are not known",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        let tree = "<ul class=\"tree\"><li><details><summary>b <small>and 1 package, 500 bytes</small></summary>\
            <ul><li>c</li></ul></details></li></ul>";
        assert!(html.contains(tree), "{html}");
        assert!(!html.contains("fetches them") && !html.contains("<figure"), "no system is selected: {html}");
        let with_system = |needs: Option<SystemNeeds>| {
            let system_packages =
                SystemPackages { selected: Some("noble".to_owned()), needs, ..page.system_packages.clone() };
            let page = Closure { system_packages, ..page.clone() };
            page.render(Root::of_path("/prod/latest/web/packages/a/dependencies/"))
        };
        assert!(with_system(None).contains("rspm sync --type=sysreqs"));
        let none = SystemNeeds { by_package: Vec::new(), commands: Vec::new(), unknown: 0 };
        assert!(with_system(Some(none.clone())).contains("name no package of Ubuntu 24.04"));
        let html = with_system(Some(SystemNeeds { unknown: 2, ..none }));
        assert!(html.contains("requires packages of Ubuntu 24.04 is not known"), "{html}");
        assert!(
            html.contains("of 2 packages are in archives") && !html.contains("name no package"),
            "{html}"
        );
        let html = with_system(Some(SystemNeeds {
            by_package: vec![("c".to_owned(), vec!["make".to_owned(), "<gcc>".to_owned()])],
            commands: vec!["apt-get install -y make '<gcc>'".to_owned()],
            unknown: 1,
        }));
        for part in [
            "<option value=\"noble\" selected>Ubuntu 24.04</option>",
            "<code>apt-get install -y make '&lt;gcc&gt;'</code>",
            "<li>c: make, &lt;gcc&gt;</li>",
            "may be required: the system requirements of 1 package are in archives",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        let refused = |refusal: Refusal| {
            let page = Closure { refusal: Some(refusal), ..page.clone() };
            page.render(Root::of_path("/prod/latest/web/packages/a/dependencies/"))
        };
        let html = refused(Refusal::Blocked { version: "1.0".to_owned(), reason: "rule 2 (<y>)".to_owned() });
        assert!(html.contains("Version 1.0 is blocked in this repository by rule 2 (&lt;y&gt;)"), "{html}");
        assert!(!html.contains("3 packages") && !html.contains("<table"), "{html}");
        assert!(refused(Refusal::NotListed).contains("only archived ones"));
    }

    #[test]
    fn a_tree_of_many_packages_is_small_and_escaped() {
        let name = |number: usize| format!("package{number}<b>");
        let required = |number: usize| RequiredPackage {
            name: name(number),
            version: "1.0".to_owned(),
            size: Some(1_234_567),
            vulnerabilities: 0,
            // Three packages below each, so that every third one is folded.
            chain: number.checked_sub(1).map(|before| name(before / 3)).into_iter().collect(),
        };
        let page = Closure {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            package: name(0),
            required: (0..500).map(required).collect(),
            omitted: 0,
            refusal: None,
            missing: Vec::new(),
            unmet: Vec::new(),
            system_requirements: Vec::new(),
            unknown_requirements: 0,
            system_packages: SystemPackages { systems: Vec::new(), selected: None, needs: None },
        };
        let tree = page.tree().into_string();
        assert!(tree.len() <= 6_000 && !tree.contains("<b>"), "{} bytes: {tree}", tree.len());
        assert_eq!(tree.matches("<li>").count(), MAX_TREE - 1, "without the package itself: {tree}");
        assert!(
            tree.contains("The tree has the 100 nearest packages.") && tree.contains(" packages, "),
            "{tree}"
        );
    }
}
