//! Drops privileges after the ports are bound: started as root without systemd, the daemon switches to an
//! ordinary user for good, before any thread (capabilities are per thread) and any file of its own exists.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use caps::CapSet;
use nix::errno::Errno;
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::{
    AccessFlags, Gid, Uid, User, access, geteuid, initgroups, setgroups, setresgid, setresuid,
};

use super::files::provision::provision;
use base::config::Config;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// The name, or the user ID if the user has no name.
    name: String,
    pub(super) uid: Uid,
    /// The primary group; for a user without a name, the group of the gcfg.
    pub(super) gid: Gid,
    /// Whether the user is in the user database, and so may have supplementary groups.
    is_in_user_database: bool,
}

impl Account {
    /// Finds a user by name or number.
    pub(super) fn by_name(name: &str) -> Result<Account, PrivilegeError> {
        let unknown = || PrivilegeError::Unknown(name.to_owned());
        let by_number = || User::from_uid(Uid::from_raw(name.parse().ok()?)).ok().flatten();
        let user = User::from_name(name).ok().flatten().or_else(by_number).ok_or_else(unknown)?;
        Ok(Account { name: user.name, uid: user.uid, gid: user.gid, is_in_user_database: true })
    }

    pub(super) fn owner(file: &Path) -> Result<Account, PrivilegeError> {
        let metadata = std::fs::metadata(file)
            .map_err(|source| PrivilegeError::Owner { path: file.display().to_string(), source })?;
        let uid = Uid::from_raw(metadata.uid());
        Ok(match User::from_uid(uid).ok().flatten() {
            Some(user) => Account { name: user.name, uid, gid: user.gid, is_in_user_database: true },
            None => Account {
                name: uid.to_string(),
                uid,
                gid: Gid::from_raw(metadata.gid()),
                is_in_user_database: false,
            },
        })
    }

    /// Sets the supplementary groups of this process to those of the user.
    pub(super) fn take_groups(&self) -> Result<(), PrivilegeError> {
        match CString::new(self.name.as_str()) {
            Ok(name) if self.is_in_user_database => {
                initgroups(&name, self.gid).map_err(self.step_error("initgroups"))
            }
            _ => setgroups(&[]).map_err(self.step_error("setgroups")),
        }
    }

    pub(super) fn step_error(&self, step: &'static str) -> impl Fn(Errno) -> PrivilegeError {
        move |errno| PrivilegeError::Refused {
            user: self.name.clone(),
            step,
            reason: errno.desc().to_owned(),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Keep the current user, with a warning if that is root.
    Stay(Option<String>),
    Become(Account),
}

#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    #[error("--user {0}: there is no such user; create it with: useradd --system --no-create-home {0}")]
    Unknown(String),
    #[error(
        "--user {target}: only root can switch to another user, and this is {current}; start it as {target}"
    )]
    NotRoot { target: String, current: String },
    #[error("the owner of {path} cannot be read: {source}")]
    Owner { path: String, source: std::io::Error },
    #[error(
        "cannot switch to user {user}: {step}: {reason}; this needs the capabilities CAP_SETUID, CAP_SETGID and \
         CAP_SETPCAP: grant them, or start it as that user"
    )]
    Refused { user: String, step: &'static str, reason: String },
}

/// Plans the change of user: to `--user`, else to the owner of the gcfg unless systemd manages the user.
/// Errors: another user without root; an unknown user or owner.
pub(super) fn plan(user: Option<&str>, gcfg: &Path) -> Result<Plan, PrivilegeError> {
    let account = user.map(Account::by_name).transpose()?;
    let current_uid = geteuid();
    if !current_uid.is_root() {
        return match account {
            Some(account) if account.uid != current_uid => {
                Err(PrivilegeError::NotRoot { target: account.name, current: super::node::user_name() })
            }
            Some(_) | None => Ok(Plan::Stay(None)),
        };
    }
    // systemd changes the user itself (User=).
    let is_service = std::env::var_os("NOTIFY_SOCKET").is_some();
    let owner = match account {
        // With --user the gcfg may be missing here: a missing gcfg is reported when it is loaded.
        Some(_) => None,
        None if is_service => None,
        None => Some(Account::owner(gcfg)?),
    };
    Ok(decide(account, owner, is_service, gcfg))
}

/// Plans the change of user for a program that changes the server's data: to the owner of the data directory,
/// or of the configuration file if there is none.
pub(super) fn plan_for_data(gcfg: &Path, config: &Config) -> Result<Plan, PrivilegeError> {
    let dir = &config.server.data_dir;
    if !geteuid().is_root() {
        return Ok(Plan::Stay(None));
    }
    let account = Account::owner(if dir.exists() { dir } else { gcfg })?;
    Ok(if account.uid.is_root() { Plan::Stay(None) } else { Plan::Become(account) })
}

fn decide(account: Option<Account>, owner: Option<Account>, is_service: bool, gcfg: &Path) -> Plan {
    match (account, owner, is_service) {
        (Some(account), _, _) if !account.uid.is_root() => Plan::Become(account),
        (Some(_), _, _) => Plan::Stay(Some("running as root, because of --user root".to_owned())),
        (None, _, true) => Plan::Stay(Some("running as root; set User= in the unit".to_owned())),
        (None, Some(account), false) if !account.uid.is_root() => Plan::Become(account),
        (None, _, false) => Plan::Stay(Some(format!(
            "running as root, because {} belongs to root; change its owner to an ordinary user (chown rstudio-pm), or \
             name a user with --user",
            gcfg.display()
        ))),
    }
}

/// Executes the plan and returns the warnings.
pub(super) fn execute(plan: Plan, gcfg: &Path, config: &Config) -> Result<Vec<String>, PrivilegeError> {
    match plan {
        Plan::Stay(warning) => Ok(warning.into_iter().collect()),
        Plan::Become(account) => {
            let mut warnings = provision(gcfg, config, account.uid.as_raw(), account.gid.as_raw());
            warnings.extend(become_user(&account, gcfg)?);
            Ok(warnings)
        }
    }
}

/// Switches to the user and drops groups, capabilities and the possibility to switch back; returns the
/// warnings. After an error the process must exit: its user is changed only in part.
fn become_user(account: &Account, gcfg: &Path) -> Result<Vec<String>, PrivilegeError> {
    let refusal = |step, reason: String| PrivilegeError::Refused { user: account.name.clone(), step, reason };
    let mut warnings = Vec::new();
    // Only root can clear the bounding set. If even root cannot, no-new-privs below makes the set irrelevant.
    if let Err(error) = caps::clear(None, CapSet::Bounding) {
        warnings.push(format!("could not clear the capability bounding set: {error}"));
    }
    account.take_groups()?;
    let (uid, gid) = (account.uid, account.gid);
    setresgid(gid, gid, gid).map_err(account.step_error("setresgid"))?;
    setresuid(uid, uid, uid).map_err(account.step_error("setresuid"))?;
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(|error| refusal("capabilities", error.to_string()))?;
    }
    set_no_new_privs().map_err(account.step_error("no-new-privs"))?;
    // SECURITY: dropped privileges must not be recoverable.
    if setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_ok() {
        return Err(refusal("setresuid", "the process can still become root".to_owned()));
    }
    if access(gcfg, AccessFlags::R_OK).is_err() {
        let (path, user) = (gcfg.display(), &account.name);
        warnings.push(format!(
            "user {user} cannot read {path}: reloads will fail; fix it with: chown {user} '{path}'"
        ));
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(uid: u32) -> Account {
        Account {
            name: format!("u{uid}"),
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(uid),
            is_in_user_database: true,
        }
    }

    fn plan_for(user: Option<u32>, owner: u32, is_service: bool) -> Plan {
        decide(user.map(account), Some(account(owner)), is_service, Path::new("/g"))
    }

    #[test]
    fn root_switches_to_the_given_user_or_else_to_the_owner_of_the_gcfg() {
        assert_eq!(plan_for(Some(7), 8, false), Plan::Become(account(7)));
        assert_eq!(plan_for(Some(7), 0, true), Plan::Become(account(7)));
        assert_eq!(plan_for(None, 8, false), Plan::Become(account(8)));
    }

    #[test]
    fn a_process_that_stays_root_gets_a_warning() {
        for plan in [plan_for(None, 0, false), plan_for(Some(0), 8, false), plan_for(None, 8, true)] {
            assert!(matches!(&plan, Plan::Stay(Some(warning)) if warning.contains("as root")), "{plan:?}");
        }
    }

    #[test]
    fn an_unknown_user_is_reported_with_a_remedy() {
        let error = Account::by_name("no-such-user").expect_err("there is none").to_string();
        assert!(error.contains("useradd --system --no-create-home no-such-user"), "{error}");
        assert_eq!(Account::by_name("0").expect("root has that number").name, "root");
    }

    #[test]
    fn the_account_of_the_owner_is_found() {
        let dir = tempfile::tempdir().expect("a directory");
        let gcfg = dir.path().join("a.gcfg");
        std::fs::write(&gcfg, "").expect("written");
        assert_eq!(Account::owner(&gcfg).expect("readable").uid, geteuid());
        let error = Account::owner(&dir.path().join("none")).expect_err("there is no file").to_string();
        assert!(error.contains("none cannot be read"), "{error}");
    }
}
