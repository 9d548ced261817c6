//! Names of operating systems in requests, in the table of distributions, and in the rule base.

/// A release of a distribution.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OsRelease {
    /// The name in lower case, such as `ubuntu`.
    pub distribution: String,
    /// The release, such as `22.04`.
    pub release: String,
}

/// A candidate for a requested system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemCandidate {
    /// The system in the table of distributions.
    pub table_entry: OsRelease,
    /// The system in the rule base.
    pub rules_entry: OsRelease,
}

impl OsRelease {
    pub fn new(distribution: &str, release: &str) -> OsRelease {
        OsRelease { distribution: distribution.to_owned(), release: release.to_owned() }
    }

    /// Returns the candidates for names from `/etc/os-release`, which clients send unchanged; the best candidate is
    /// first. Rebuilds of Red Hat Enterprise Linux are candidates for each other, because they need the same system
    /// packages; so do the service packs of a SUSE release.
    pub fn candidates(distribution: &str, release: &str) -> Vec<SystemCandidate> {
        let (distribution, release) = (distribution.trim().to_lowercase(), release.trim().to_lowercase());
        let distribution = canonical_name(&distribution);
        let major = release.split('.').next().unwrap_or_default();
        let candidate = |distribution: &str, release: &str| {
            let system = OsRelease::new(distribution, release);
            SystemCandidate { table_entry: system.clone(), rules_entry: system }
        };
        let mut candidates = vec![candidate(distribution, &release)];
        match distribution {
            "redhat" | "rockylinux" | "centos" => {
                candidates.extend(
                    [distribution, "rockylinux", "centos", "redhat"].map(|name| candidate(name, major)),
                );
            }
            "debian" => candidates.push(candidate(distribution, major)),
            // The table lists `24.04.1` as `24.04`.
            "ubuntu" => {
                let numbers: Vec<&str> = release.splitn(3, '.').take(2).collect();
                candidates.push(candidate(distribution, &numbers.join(".")));
            }
            "opensuse" | "sle" => {
                candidates.push(SystemCandidate {
                    table_entry: OsRelease::new(distribution, major),
                    rules_entry: OsRelease::new(distribution, &release),
                });
            }
            _ => {}
        }
        candidates
    }

    /// Returns the command that installs packages, without the package names.
    pub fn installer(&self) -> &'static str {
        let major = || self.release.split('.').next().and_then(|n| n.parse::<u32>().ok());
        match self.distribution.as_str() {
            "centos" | "redhat" if major().is_some_and(|major| major < 8) => "yum install -y",
            "centos" | "redhat" | "rockylinux" | "fedora" => "dnf install -y",
            "opensuse" | "sle" => "zypper --non-interactive install",
            "alpine" => "apk add --no-cache",
            _ => "apt-get install -y",
        }
    }
}

/// Returns the name of a distribution in the rule base.
fn canonical_name(distribution: &str) -> &str {
    match distribution {
        "rhel" | "redhatenterprise" | "redhatenterpriselinux" => "redhat",
        "rocky" | "alma" | "almalinux" | "ol" | "oracle" | "oraclelinux" => "rockylinux",
        "opensuse-leap" | "leap" => "opensuse",
        "sles" | "sled" | "suse" => "sle",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(distribution: &str, release: &str) -> Vec<String> {
        let row = |c: SystemCandidate| format!("{} {}", c.table_entry.distribution, c.table_entry.release);
        let mut rows: Vec<String> =
            OsRelease::candidates(distribution, release).into_iter().map(row).collect();
        rows.dedup();
        rows
    }

    #[test]
    fn names_used_by_clients_map_to_names_of_the_table() {
        assert_eq!(rows("Ubuntu", "24.04.1"), ["ubuntu 24.04.1", "ubuntu 24.04"]);
        assert_eq!(rows("debian", "12.5"), ["debian 12.5", "debian 12"]);
        assert_eq!(rows("almalinux", "9.3"), ["rockylinux 9.3", "rockylinux 9", "centos 9", "redhat 9"]);
        assert_eq!(rows("rockylinux", "8"), ["rockylinux 8", "centos 8", "redhat 8"]);
        assert_eq!(rows("rhel", "8.10")[..2], ["redhat 8.10", "redhat 8"]);
        assert_eq!(rows("opensuse-leap", "15.3"), ["opensuse 15.3", "opensuse 15"]);
        assert_eq!(rows("gentoo", ""), ["gentoo "]);
    }

    #[test]
    fn a_service_pack_is_found_by_its_number() {
        let candidates = OsRelease::candidates("sles", "15.3");
        assert_eq!(candidates[1].table_entry, OsRelease::new("sle", "15"));
        assert_eq!(candidates[1].rules_entry, OsRelease::new("sle", "15.3"));
    }

    #[test]
    fn each_distribution_has_its_installer() {
        let installer = |d, r| OsRelease::new(d, r).installer();
        assert_eq!(installer("ubuntu", "22.04"), "apt-get install -y");
        assert_eq!(
            (installer("centos", "7"), installer("centos", "8")),
            ("yum install -y", "dnf install -y")
        );
        assert_eq!(
            (installer("redhat", "9"), installer("rockylinux", "10")),
            ("dnf install -y", "dnf install -y")
        );
        assert_eq!(installer("sle", "15.6"), "zypper --non-interactive install");
    }
}
