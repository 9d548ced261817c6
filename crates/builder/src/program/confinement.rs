//! Restrictions that the builder imposes on itself and its commands, in addition to those of the sandbox: Landlock,
//! resource limits, no new privileges. Without a sandbox, there are no other restrictions.

use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

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

/// The paths that commands may read; in `/etc` only what programs and libraries need, no configuration of services.
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
    // A low priority, so that requests to the server come first. An error is ignored: a systemd unit has a weight
    // instead, and may not change its priority.
    let _ = nice(19);
    lower_limit(Resource::Core, 0)?;
    lower_limit(Resource::Nice, 0)?;
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

/// Lets a command and its descendants have the scheduling policy `SCHED_IDLE` (sched(7)): they run only when no other
/// process of the same control group and session needs the processor, and, unlike processes with a low priority, do not
/// delay a process that wakes up. They cannot change the policy, because their limit for priorities is 0. The builder
/// itself keeps its policy, so that it observes the time limit however many processes a command has. An error of the
/// kernel is ignored: the restrictions of a system may not permit the call.
#[allow(unsafe_code, reason = "neither rustix nor nix has these calls")]
pub(super) fn run_when_idle(command: &mut Command) {
    let set_policy = || {
        let parameters = libc::sched_param { sched_priority: 0 };
        // SAFETY: the pointer refers to an initialized structure, which the call only reads; 0 means the calling process.
        let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
        Ok(())
    };
    // SAFETY: between fork and exec, the function makes one system call and allocates nothing.
    unsafe { command.pre_exec(set_policy) };
}

/// Lowers a resource limit to `value`, unless it is lower already.
fn lower_limit(resource: Resource, value: u64) -> Result<()> {
    let current = getrlimit(resource);
    let value = current.maximum.map_or(value, |maximum| maximum.min(value));
    Ok(setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?)
}

/// Applies the rules of Landlock. A kernel without it is no error, because the sandbox has the same restrictions.
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
