//! The file that a client gets for a package, and the reasons.

use maud::{Markup, html};

use super::frame::{Frame, Location, Root, Section};
use super::setup::LinuxDistribution;
use super::text::{size, visible};
use api::explain::{Decision, Topic};

#[derive(Clone, Debug)]
pub struct ServedFile {
    /// The path of the file below the root of the server, without a leading slash.
    pub path: String,
    pub size: Option<u64>,
    pub sha256: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Explanation {
    pub location: Location,
    pub package: String,
    pub version: String,
    /// The distributions to choose from; none in a Python repository.
    pub distributions: Vec<LinuxDistribution>,
    /// The name of the chosen distribution; empty if the address of source packages is chosen.
    pub distribution: String,
    pub agent: String,
    pub decisions: Vec<Decision>,
    pub answer: String,
    pub file: Option<ServedFile>,
}

impl Explanation {
    pub fn render(&self, root: Root) -> String {
        let frame = Frame {
            location: Some((self.location.clone(), Section::Packages)),
            package: Some((self.package.clone(), Some("Explanation"))),
            ..Frame::new(root, format!("Explanation for {}, {}", visible(&self.package), self.location.repo))
        };
        let root = &frame.root;
        frame.render(&html! {
            h1 { "The file of " (visible(&self.package)) " for a client" }
            (self.form(root))
            p { "Answer: " strong { (visible(&self.answer)) } }
            @if let Some(file) = &self.file {
                p {
                    a href={ (root) (file.path) } { (visible(&file.path)) }
                    @if let Some(bytes) = file.size { " " (size(bytes)) }
                    @if let Some(digest) = &file.sha256 { br; small { "SHA-256 " code { (digest) } } }
                }
            }
            section.scroll tabindex="0" aria-label="Decisions" { table.decisions {
                caption { "Decisions, in order" }
                thead { tr {
                    @for heading in ["Topic", "Subject", "State", "Rule"] { th scope="col" { (heading) } }
                } }
                tbody { @for decision in &self.decisions { tr {
                    td.name { (topic(decision.topic)) }
                    td { @if decision.selected { strong { (visible(&decision.subject)) } } @else { (visible(&decision.subject)) } }
                    td { (visible(&decision.state)) }
                    td { (visible(&decision.rule)) }
                } } }
            } }
        })
    }

    fn form(&self, root: &Root) -> Markup {
        let action = root.package(&self.location, &self.package, "why/");
        let action = action.split('?').next().unwrap_or_default();
        html! {
            form.fields method="get" action=(action) {
                @if !self.distributions.is_empty() {
                    label { "System "
                        select name="platform" {
                            option value="" selected[self.distribution.is_empty()] { "any, source packages" }
                            @for distribution in &self.distributions {
                                option value=(distribution.name) selected[self.distribution == distribution.name] {
                                    (distribution.display)
                                }
                            }
                        }
                    }
                }
                label { "User-Agent "
                    input name="agent" value=(self.agent) maxlength="300" placeholder="R (4.4.1 x86_64-pc-linux-gnu x86_64 linux-gnu)";
                }
                label { "Version " input name="version" value=(self.version) maxlength="60" placeholder="the listed one"; }
                @if let Some(version) = root.bioconductor() { input type="hidden" name="bioc" value=(version); }
                button { "Explain" }
            }
        }
    }
}

fn topic(topic: Topic) -> &'static str {
    match topic {
        Topic::Snapshot => "Snapshot",
        Topic::Source => "Source",
        Topic::Release => "Release",
        Topic::Distribution => "Distribution",
        Topic::Client => "Client",
        Topic::Match => "Version of R",
        Topic::Binary => "Binary",
        Topic::File => "File",
        Topic::Build => "Build",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_repeats_the_request_and_escapes_the_decisions() {
        let page = Explanation {
            location: Location { repo: "prod".to_owned(), snapshot: "latest".to_owned() },
            package: "cli".to_owned(),
            version: String::new(),
            distributions: vec![LinuxDistribution {
                name: "noble".to_owned(),
                display: "Ubuntu 24.04".to_owned(),
                id: "ubuntu".to_owned(),
                release: "24.04".to_owned(),
            }],
            distribution: "noble".to_owned(),
            agent: "R (\"4.4\")".to_owned(),
            decisions: vec![Decision {
                topic: Topic::Source,
                subject: "<team>".to_owned(),
                state: "lists it".to_owned(),
                selected: true,
                rule: String::new(),
            }],
            answer: "200".to_owned(),
            file: Some(ServedFile {
                path: "prod/latest/src/contrib/cli_1.0.tar.gz".to_owned(),
                size: Some(10),
                sha256: None,
            }),
        };
        let html = page.render(Root::of_path("/prod/latest/web/packages/cli/why/"));
        for part in [
            "<option value=\"noble\" selected>Ubuntu 24.04",
            "value=\"R (&quot;4.4&quot;)\"",
            "<strong>&lt;team&gt;</strong>",
            "<p>Answer: <strong>200</strong></p>",
            // The words of topics are not broken.
            "<td class=\"name\">Source</td>",
            "href=\"../../../../../../prod/latest/src/contrib/cli_1.0.tar.gz\"",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
