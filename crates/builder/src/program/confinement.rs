//! Restrictions that the builder imposes on itself and its commands, in addition to those of the sandbox: Landlock,
//! resource limits, no new privileges. Without a sandbox, there are no other restrictions.

use std::io::{Error, Result};
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
    path_beneath_rules,
};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getpid, getrlimit, nice, set_child_subreaper, set_dumpable_behavior,
    setrlimit,
};
use rustix::thread::set_no_new_privs;

use super::workspace::Workspace;
use crate::message::Limits;

/// The newest Landlock version whose restrictions are used. Older kernels enforce the restrictions that they support.
const LANDLOCK: ABI = ABI::V6;

/// The paths that commands may read. In `/etc`, these are only the files that programs and libraries need, and no
/// configuration of services.
const READABLE_PATHS: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt/R",
    "/opt/python",
    "/proc",
    "/dev",
    "/sys/devices/system/cpu",
    "/etc/alternatives",
    "/etc/R",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/ssh/ssh_known_hosts",
    "/etc/fonts",
    "/etc/papersize",
    "/etc/texmf",
    "/etc/java",
    "/etc/mime.types",
    "/etc/magic",
    "/etc/os-release",
    "/etc/debian_version",
    "/etc/redhat-release",
    "/etc/terminfo",
    "/etc/perl",
    "/etc/inputrc",
    "/run/systemd/resolve",
    "/run/systemd/userdb",
    "/run/nscd",
];

/// The paths that commands may write besides the workspace.
const WRITABLE_PATHS: &[&str] =
    &["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/random", "/dev/urandom", "/dev/shm"];

/// Applies all restrictions. The process must have only one thread.
pub(super) fn confine(workspace: &Workspace, readable_paths: &[PathBuf], limits: &Limits) -> Result<()> {
    set_no_new_privs(true)?;
    // Prevents other processes of the same user from reading the builder's memory and descriptors.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    set_child_subreaper(Some(getpid()))?;
    // A low priority, so that requests to the server come first. An error is ignored: a systemd unit has a weight and a
    // policy instead, and may not change its priority.
    let _ = nice(19);
    if limits.idle {
        let _ = run_when_idle();
    }
    lower_limit(Resource::Core, 0)?;
    lower_limit(Resource::Fsize, limits.file_size)?;
    lower_limit(Resource::Nofile, 4096)?;
    if let Some(bytes) = limits.memory {
        lower_limit(Resource::Data, bytes)?;
    }
    if let Some(processes) = limits.processes {
        lower_limit(Resource::Nproc, processes)?;
    }
    landlock(workspace, readable_paths).map_err(|error| Error::other(format!("Landlock: {error}")))
}

/// Gives this process and its commands the scheduling policy `SCHED_IDLE` (sched(7)): they run only when no other
/// process of the same control group and session needs the processor, and, unlike processes with a low priority, do not
/// delay a process that wakes up. The low priority prevents them from changing the policy.
#[allow(unsafe_code, reason = "neither rustix nor nix has this system call")]
fn run_when_idle() -> Result<()> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the pointer refers to an initialized structure, which the call only reads; 0 means the calling process.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}

/// Lowers a resource limit to `value`, unless it is lower already.
fn lower_limit(resource: Resource, value: u64) -> Result<()> {
    let current = getrlimit(resource);
    let value = current.maximum.map_or(value, |maximum| maximum.min(value));
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

/// Applies the rules of Landlock. A kernel without Landlock enforces nothing. This is not an error, because the sandbox
/// has the same restrictions.
fn landlock(
    workspace: &Workspace,
    readable_paths: &[PathBuf],
) -> std::result::Result<(), landlock::RulesetError> {
    let read_paths = READABLE_PATHS.iter().map(PathBuf::from).chain(readable_paths.iter().cloned());
    let write_paths = WRITABLE_PATHS.iter().map(PathBuf::from).chain([workspace.root().to_owned()]);
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(read_paths, AccessFs::from_read(LANDLOCK)))?
        .add_rules(path_beneath_rules(write_paths, AccessFs::from_all(LANDLOCK)))?
        .restrict_self()?;
    Ok(())
}
