//! Setup instructions for clients: the address of the repository, lines to copy, and a command that checks
//! them. `tests/web/setup.rs` executes the lines as displayed.

mod python;
mod r;

use maud::{Markup, html};

use base::model::kind::{Layout, RepoKind};

/// The system on which packages are installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum System {
    /// Any Linux distribution: the code to copy detects it when it is executed.
    AnyLinux,
    /// A Linux distribution, by its name in addresses.
    Linux(String),
    /// Source packages, on any system.
    Source,
    Windows,
    MacOs,
}

impl System {
    pub fn key(&self) -> &str {
        match self {
            System::AnyLinux => "linux",
            System::Linux(name) => name,
            System::Source => "source",
            System::Windows => "windows",
            System::MacOs => "macos",
        }
    }
}

/// A Linux distribution that a client may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinuxDistribution {
    /// The name in addresses, after `__linux__/`.
    pub name: String,
    pub display: String,
    /// The `ID` in `/etc/os-release`.
    pub id: String,
    /// The release, as in `VERSION_ID` or its first part.
    pub release: String,
}

/// The instructions for the clients of one kind of repository.
struct Instructions {
    /// Returns the URL that clients use.
    url: fn(&Setup) -> String,
    clients: fn(&Setup) -> Vec<Client>,
    install_command: fn(&VersionToInstall<'_>) -> Option<String>,
    /// Returns the command of a shell that installs a small package of the mirror; without one, there is no first run.
    first_install: fn(&Setup) -> Option<String>,
}

fn instructions(kind: RepoKind) -> &'static Instructions {
    match kind {
        RepoKind::R => &r::R,
        RepoKind::Bioconductor => &r::BIOCONDUCTOR,
        RepoKind::Python => &python::PYTHON,
        #[cfg(debug_assertions)]
        RepoKind::Sample => &Instructions {
            url: |setup| format!("{}/{}/sample/", setup.repository, setup.snapshot),
            clients: |setup| {
                vec![Client::new("curl", "curl").snippet("List", format!("curl {}", setup.url()))]
            },
            install_command: |_| None,
            first_install: |_| None,
        },
    }
}

#[derive(Clone, Copy, Debug)]
pub struct VersionToInstall<'a> {
    pub package: &'a str,
    pub version: &'a str,
    /// Whether the snapshot has it only in the archive.
    pub is_archived: bool,
    /// The URL of the snapshot, without a slash at the end.
    pub snapshot: &'a str,
}

/// Returns the command that installs a version from a repository; `None` if clients cannot install it. SECURITY: people
/// paste it: the name and the version must be valid.
pub fn install_command(kind: RepoKind, version: &VersionToInstall<'_>) -> Option<String> {
    (instructions(kind).install_command)(version)
}

#[derive(Clone, Debug)]
pub struct Setup {
    pub kind: RepoKind,
    /// The URL of the server.
    pub server: String,
    /// The URL of the repository, without a snapshot.
    pub repository: String,
    /// `latest`, a day or the number of a transaction.
    pub snapshot: String,
    pub system: System,
    pub distributions: Vec<LinuxDistribution>,
    pub bioconductor: Option<String>,
    /// A package of the repository and its version, for the command that checks the setup.
    pub example: Option<(String, String)>,
    /// The names of the sources of the repository to which packages are uploaded.
    pub uploads: Vec<String>,
}

impl Setup {
    /// Returns the URL that clients use. For a Linux distribution it is the URL of the binaries.
    pub fn url(&self) -> String {
        (instructions(self.kind).url)(self)
    }

    /// The most frequently used client is first.
    pub fn clients(&self) -> Vec<Client> {
        (instructions(self.kind).clients)(self)
    }

    /// Returns the setup for the newest state of a repository, such as one that does not exist yet.
    pub fn newest(kind: RepoKind, server: &str, repo: &str) -> Setup {
        Setup {
            kind,
            server: server.to_owned(),
            repository: format!("{server}/{repo}"),
            snapshot: "latest".to_owned(),
            system: System::Source,
            distributions: Vec::new(),
            bioconductor: None,
            example: None,
            uploads: Vec::new(),
        }
    }

    /// Returns the command of a shell that installs a small package of the mirror; `None` for kinds without one.
    pub(super) fn first_install(&self) -> Option<String> {
        (instructions(self.kind).first_install)(self)
    }

    /// Returns whether the address depends on the system: only lists have binaries.
    pub fn has_systems(&self) -> bool {
        self.kind.layout() == Layout::Lists
    }

    /// Renders the setup of all clients; only that of the first one is expanded.
    pub fn render(&self) -> Markup {
        html! {
            (Snippet::new("The address of the repository", self.url()).render())
            @for (at, client) in self.clients().iter().enumerate() {
                details name="client" id={ "for-" (client.key) } open[at == 0] {
                    summary { (client.name) }
                    @for part in &client.parts {
                        @match part {
                            SetupPart::Remark(text) => { p.prose { (text) } }
                            SetupPart::Snippet(snippet) => { (snippet.render()) }
                        }
                    }
                }
            }
        }
    }
}

#[derive(Clone, Debug)]
pub struct Client {
    /// A short name in lower case.
    pub key: &'static str,
    pub name: &'static str,
    /// The parts of the instructions.
    pub parts: Vec<SetupPart>,
}

impl Client {
    fn new(key: &'static str, name: &'static str) -> Client {
        Client { key, name, parts: Vec::new() }
    }

    fn remark(mut self, text: impl Into<String>) -> Client {
        self.parts.push(SetupPart::Remark(text.into()));
        self
    }

    fn snippet(mut self, target: impl Into<String>, text: impl Into<String>) -> Client {
        self.parts.push(SetupPart::Snippet(Snippet::new(target, text)));
        self
    }
}

#[derive(Clone, Debug)]
pub enum SetupPart {
    Remark(String),
    Snippet(Snippet),
}

#[derive(Clone, Debug)]
pub struct Snippet {
    /// The file that contains them, or the program that executes them.
    pub target: String,
    pub text: String,
}

impl Snippet {
    fn new(target: impl Into<String>, text: impl Into<String>) -> Snippet {
        Snippet { target: target.into(), text: text.into() }
    }

    fn render(&self) -> Markup {
        html! {
            figure.snippet {
                figcaption { span { (self.target) } }
                pre tabindex="0" { code { (self.text) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(kind: RepoKind, system: System) -> Setup {
        Setup {
            kind,
            server: "https://pm.example".to_owned(),
            repository: "https://pm.example/prod".to_owned(),
            snapshot: "2026-11-20".to_owned(),
            system,
            distributions: vec![LinuxDistribution {
                name: "noble".to_owned(),
                display: "Ubuntu 24.04 (Noble)".to_owned(),
                id: "ubuntu".to_owned(),
                release: "24.04".to_owned(),
            }],
            bioconductor: (kind == RepoKind::Bioconductor).then(|| "3.20".to_owned()),
            example: Some(("rlang".to_owned(), "1.1.6".to_owned())),
            uploads: vec!["team".to_owned()],
        }
    }

    #[test]
    fn the_address_names_the_distribution_only_for_r() {
        let url = |kind, system: &System| setup(kind, system.clone()).url();
        let noble = System::Linux("noble".to_owned());
        assert_eq!(url(RepoKind::R, &noble), "https://pm.example/prod/__linux__/noble/2026-11-20");
        assert_eq!(url(RepoKind::R, &System::Windows), "https://pm.example/prod/2026-11-20");
        assert_eq!(url(RepoKind::Python, &noble), "https://pm.example/prod/2026-11-20/simple/");
    }

    #[test]
    fn a_command_installs_exactly_one_version() {
        let command = |kind: RepoKind, is_archived: bool| {
            let snapshot = "https://h.example/prod/latest";
            install_command(kind, &VersionToInstall { package: "one", version: "1.0", is_archived, snapshot })
        };
        assert_eq!(command(RepoKind::R, false).as_deref(), Some("install.packages(\"one\")"));
        assert_eq!(
            command(RepoKind::R, true).as_deref(),
            Some(
                "install.packages(\"https://h.example/prod/latest/src/contrib/Archive/one/one_1.0.tar.gz\", repos = NULL)"
            )
        );
        assert_eq!(command(RepoKind::Bioconductor, false).as_deref(), Some("BiocManager::install(\"one\")"));
        assert_eq!(command(RepoKind::Bioconductor, true), None, "BiocManager installs the listed version");
        assert_eq!(command(RepoKind::Python, false).as_deref(), Some("pip install one==1.0"));
    }

    #[test]
    fn every_client_has_its_own_key_and_the_address() {
        for kind in [RepoKind::R, RepoKind::Bioconductor, RepoKind::Python] {
            for system in [System::AnyLinux, System::Source, System::Linux("noble".to_owned())] {
                let setup = setup(kind, system);
                let clients = setup.clients();
                let mut keys: Vec<&str> = clients.iter().map(|client| client.key).collect();
                keys.sort_unstable();
                keys.dedup();
                assert_eq!(keys.len(), clients.len());
                for client in &clients {
                    let has_address = |part: &SetupPart| match part {
                        SetupPart::Snippet(snippet) => snippet.text.contains("https://pm.example/"),
                        SetupPart::Remark(_) => false,
                    };
                    assert!(client.parts.iter().any(has_address), "{:?} {}", kind, client.key);
                }
                let html = setup.render().into_string();
                assert_eq!(html.matches("<details").count(), clients.len());
                assert_eq!(html.matches(" open").count(), 1);
            }
        }
    }

    #[test]
    fn the_text_for_any_linux_names_all_distributions() {
        let clients = setup(RepoKind::R, System::AnyLinux).clients();
        let Some(SetupPart::Snippet(first)) =
            clients[0].parts.iter().find(|part| matches!(part, SetupPart::Snippet(_)))
        else {
            panic!("the first client has lines")
        };
        assert!(first.text.contains("\"ubuntu 24.04\" = \"noble\""), "{}", first.text);
        assert!(first.text.contains("c(CRAN = url)"), "{}", first.text);
    }
}
