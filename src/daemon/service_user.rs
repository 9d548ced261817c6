//! The user and the sandbox of a server that root starts. Root checks the configuration and runs commands with them.

use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, getegid, geteuid, getgroups, setgroups, setresgid, setresuid};

use super::files::provision;
use super::privileges::{Account, PrivilegeError};
use super::sandbox;
use super::service_unit::ServiceUnit;
use base::config::Config;
use generator::units;

pub(super) struct ServiceUser {
    /// `None` if it is the current user.
    account: Option<Account>,
    /// The unit, if systemd has one that uses the configuration.
    unit: Option<ServiceUnit>,
}

impl ServiceUser {
    /// Returns the user of the unit that runs the server with this configuration, otherwise the owner of the
    /// configuration. Only root can act as another user.
    pub(super) fn find(gcfg: &Path) -> ServiceUser {
        if !geteuid().is_root() {
            return ServiceUser { account: None, unit: None };
        }
        let unit = ServiceUnit::find(gcfg);
        let unit_account = unit.as_ref().and_then(|unit| {
            let name = if unit.user.is_empty() { "root" } else { &unit.user };
            let mut account = Account::by_name(name).ok()?;
            if let Ok(Some(group)) = Group::from_name(&unit.group) {
                account.gid = group.gid;
            }
            Some(account)
        });
        let account = unit_account.or_else(|| Account::owner(gcfg).ok());
        ServiceUser { account: account.filter(|account| !account.uid.is_root()), unit }
    }

    pub(super) fn uid(&self) -> u32 {
        self.account.as_ref().map_or_else(geteuid, |account| account.uid).as_raw()
    }

    /// Runs `work` while the whole process has only the user's rights. Fails if it cannot switch to the user or back.
    pub(super) fn run<T>(&self, work: impl FnOnce() -> T) -> Result<T, PrivilegeError> {
        let Some(account) = &self.account else { return Ok(work()) };
        let (groups, group, root) = (getgroups().unwrap_or_default(), getegid(), Uid::from_raw(0));
        account.take_groups()?;
        let (uid, gid) = (account.uid, account.gid);
        // access(2) uses the real user, open(2) the effective user. The saved user remains root, to switch back.
        setresgid(gid, gid, group).map_err(account.step_error("setresgid"))?;
        setresuid(uid, uid, root).map_err(account.step_error("setresuid"))?;
        let result = work();
        setresuid(root, root, root).map_err(account.step_error("setresuid"))?;
        restore_groups(group, &groups).map_err(account.step_error("setgroups"))?;
        Ok(result)
    }

    /// Hides directories as the unit hides them from the service. Returns a message if that is not possible.
    pub(super) fn enter_sandbox(&self, config: &Config) -> Option<String> {
        let unit = self.unit.as_ref()?;
        let mut hidden_dirs: Vec<&'static str> = Vec::new();
        if unit.hides_homes {
            hidden_dirs.extend(units::HOME_DIRS);
        }
        if unit.has_private_tmp {
            hidden_dirs.extend(units::TEMPORARY_DIRS);
        }
        let bound_paths = units::bound_paths(config);
        hidden_dirs.retain(|dir| bound_paths.iter().any(|path| path.starts_with(dir)));
        let error = sandbox::enter(&hidden_dirs, &bound_paths).err()?;
        Some(format!(
            "paths below {} were checked outside the sandbox of the service, inside which they may be readable: {error}",
            hidden_dirs.join(", ")
        ))
    }

    /// Returns the missing paths of the server that root creates for the user: systemd through the unit, or a
    /// manual start. Requires the rights of root.
    pub(super) fn root_created_paths(&self, gcfg: &Path, config: &Config) -> Vec<PathBuf> {
        if self.account.is_none() {
            return Vec::new();
        }
        let creates = |path: &PathBuf| match &self.unit {
            Some(_) => units::creates(path),
            None => provision::creates(path),
        };
        let is_missing = |path: &PathBuf| path.symlink_metadata().is_err();
        provision::paths_of_server(gcfg, config)
            .into_iter()
            .filter(|path| is_missing(path) && creates(path))
            .collect()
    }
}

fn restore_groups(group: Gid, groups: &[Gid]) -> nix::Result<()> {
    setresgid(group, group, group)?;
    setgroups(groups)
}
