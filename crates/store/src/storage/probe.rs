//! Probes locations for storage: whether they can be used as configured, and the remedy if not.

use super::background::is_damage;
use super::disk::{Disk, SPOOL_DIRECTORY};
use super::s3::S3;
use super::{Spool, StorageError, UnusableLocation};
use base::config::{ClassLocation, DirectoryLocation, RESTART_COMMAND, S3Location, StorageConfig};
use base::model::errors::error_chain;
use base::model::kind::StorageClass;
use base::model::text::shell_argument;
use bytes::Bytes;
use nix::sys::statfs::{
    BPF_FS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, DEVPTS_SUPER_MAGIC,
    PROC_SUPER_MAGIC, SECURITYFS_MAGIC, SYSFS_MAGIC, TMPFS_MAGIC, TRACEFS_MAGIC, statfs,
};
use nix::unistd::{AccessFlags, User, geteuid};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const CONTENT: &[u8] = b"rstudio-pm checks that it can write here; this file can be removed\n";

struct EffectiveUser {
    name: String,
    uid: u32,
}

impl EffectiveUser {
    fn new() -> EffectiveUser {
        let uid = geteuid();
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        EffectiveUser { name, uid: uid.as_raw() }
    }
}

/// Returns the distinct locations, each with its classes, in their order.
pub(super) fn distinct_locations(config: &StorageConfig) -> Vec<(&ClassLocation, Vec<StorageClass>)> {
    let mut locations: Vec<(&ClassLocation, Vec<StorageClass>)> = Vec::new();
    for class in StorageClass::ALL {
        let location = config.location(class);
        match locations.iter_mut().find(|(other, _)| *other == location) {
            Some((_, classes)) => classes.push(class),
            None => locations.push((location, vec![class])),
        }
    }
    locations
}

fn unusable(classes: &[StorageClass], location: String, problem: String, remedy: String) -> UnusableLocation {
    let classes: Vec<String> = classes.iter().map(|class| format!("'{}'", class.as_str())).collect();
    let effective_user = EffectiveUser::new();
    let user = format!("user {} (uid {})", effective_user.name, effective_user.uid).into();
    UnusableLocation { classes: classes.join(", "), location, user, problem, remedy, is_full: false }
}

/// Checks that a directory can be used, without creating it. Blocking.
pub(super) fn disk(location: &DirectoryLocation, classes: &[StorageClass]) -> Result<(), UnusableLocation> {
    check_file_system(location, classes)?;
    check_writable(&location.location).map_err(|e| unusable_disk(location, classes, &e))
}

/// Refuses a directory on a file system that stores no files. Blocking.
fn check_file_system(location: &DirectoryLocation, classes: &[StorageClass]) -> Result<(), UnusableLocation> {
    let Some(kind) = virtual_file_system(&location.location) else { return Ok(()) };
    let display = location.location.display().to_string();
    let problem = format!("it is on a virtual file system ({kind}), which stores no files");
    Err(unusable(classes, display, problem, "set another FileStorage location or Server.DataDir".to_owned()))
}

/// Returns the type of the file system of a directory (or of its nearest existing ancestor) if it stores no files: the
/// kernel shows its own data and devices there. Blocking.
pub fn virtual_file_system(location: &Path) -> Option<&'static str> {
    let directory = location.ancestors().find(|path| path.exists())?;
    match statfs(directory).ok()?.filesystem_type() {
        PROC_SUPER_MAGIC => Some("proc"),
        SYSFS_MAGIC => Some("sysfs"),
        CGROUP_SUPER_MAGIC | CGROUP2_SUPER_MAGIC => Some("cgroup"),
        DEVPTS_SUPER_MAGIC => Some("devpts"),
        DEBUGFS_MAGIC => Some("debugfs"),
        TRACEFS_MAGIC => Some("tracefs"),
        SECURITYFS_MAGIC => Some("securityfs"),
        BPF_FS_MAGIC => Some("bpf"),
        // The file system of /dev is a tmpfs. Others, such as that of /dev/shm, have another device number.
        TMPFS_MAGIC => {
            let device = |path: &Path| path.metadata().ok().map(|metadata| metadata.dev());
            let devices = device(Path::new("/dev")).filter(|number| Some(*number) != device(Path::new("/")));
            (devices.is_some() && device(directory) == devices).then_some("devtmpfs")
        }
        _ => None,
    }
}

/// Prepares a directory and probes it. A directory without space for a probe object is opened nevertheless, because
/// its objects can be read; in this case the second value describes the problem. Blocking.
pub(super) fn open(
    location: &DirectoryLocation,
    classes: &[StorageClass],
) -> Result<(Disk, Option<UnusableLocation>), UnusableLocation> {
    check_file_system(location, classes)?;
    let disk = match Disk::open(&location.location) {
        // Only the directory of spools could not be created: the first store operation creates it.
        Err(StorageError::Full(_)) if location.location.is_dir() => Ok(Disk::new(&location.location)),
        result => result,
    };
    let disk = disk.map_err(|e| unusable_disk(location, classes, &e))?;
    match write_and_read(&location.location, classes[0]).map_err(|e| unusable_disk(location, classes, &e)) {
        Ok(()) => Ok((disk, None)),
        Err(error) if error.is_full => Ok((disk, Some(error))),
        Err(unusable) => Err(unusable),
    }
}

/// Returns whether a probe object can be written to a directory. Blocking.
pub(super) fn has_space(location: &Path, class: StorageClass) -> bool {
    write_and_read(location, class).is_ok()
}

pub(super) fn unusable_disk(
    location: &DirectoryLocation,
    classes: &[StorageClass],
    error: &StorageError,
) -> UnusableLocation {
    let location = &location.location;
    let unusable_location =
        unusable(classes, location.display().to_string(), error.to_string(), remedy(location, error));
    UnusableLocation {
        is_full: matches!(error, StorageError::Full(_)) && location.is_dir(),
        ..unusable_location
    }
}

/// Describes why the spools of classes on S3 cannot be written.
pub(super) fn unusable_spools(
    spool_dir: &Path,
    classes: &[StorageClass],
    error: &StorageError,
) -> UnusableLocation {
    let remedy = format!("{}, or set Server.TempDir", remedy(spool_dir, error));
    unusable(classes, spool_dir.display().to_string(), error.to_string(), remedy)
}

fn write_and_read(location: &Path, class: StorageClass) -> Result<(), StorageError> {
    let to_error = |action| move |e| StorageError::io(action, location, e);
    let spools = location.join(SPOOL_DIRECTORY);
    let mut spool = Spool::create(&spools, class)?;
    spool.write_all(CONTENT).map_err(to_error("write to"))?;
    let path = location.join(format!(".probe-{:016x}", rand::random::<u64>()));
    let result = spool.into_file().persist(&path);
    result.map_err(|e| StorageError::io("create a file in", location, e.error))?;
    let bytes = std::fs::read(&path).map_err(to_error("read from"));
    std::fs::remove_file(&path).map_err(to_error("delete from"))?;
    match bytes? == CONTENT {
        true => Ok(()),
        false => Err(to_error("read from")(io::Error::other("the bytes read differ from those written"))),
    }
}

/// Checks that the directory, or its nearest existing ancestor, can be written, without leaving changes.
fn check_writable(location: &Path) -> Result<(), StorageError> {
    let mut directory = location;
    loop {
        match directory.metadata() {
            Ok(metadata) if metadata.is_dir() => break,
            Ok(_) => {
                let cause = io::Error::from(io::ErrorKind::NotADirectory);
                return Err(StorageError::io("create files in", directory, cause));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => match directory.parent() {
                Some(parent) => directory = parent,
                None => return Err(StorageError::io("find", location, e)),
            },
            Err(e) => return Err(StorageError::io("enter", directory, e)),
        }
    }
    let flags = AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK;
    let access = nix::unistd::eaccess(directory, flags);
    access.map_err(|e| StorageError::io("create files in", directory, io::Error::from(e)))?;
    if directory == location {
        // Permissions are not sufficient: a full disk and some network mounts only fail on a write.
        let file = tempfile::Builder::new().prefix(".probe-").tempfile_in(location);
        let mut file = file.map_err(|e| StorageError::io("create a file in", location, e))?;
        file.write_all(CONTENT).map_err(|e| StorageError::io("write to", location, e))?;
    }
    Ok(())
}

fn remedy(location: &Path, error: &StorageError) -> String {
    let effective_user = EffectiveUser::new();
    let (display, user) = (quote(location), &effective_user.name);
    let kind = match error {
        StorageError::Full(_) => return format!("free space: df -h {display}; df -i {display}"),
        StorageError::Io { source, .. } if is_damage(source) => {
            return "its disk or file system failed; see: journalctl -k -p err".to_owned();
        }
        StorageError::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::Other,
    };
    match kind {
        io::ErrorKind::ReadOnlyFilesystem if !location.exists() => {
            format!("run: sudo install -d -o {user} -m 0700 {display} && {RESTART_COMMAND}")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!(
                "its file system is mounted read-only (findmnt -T {display}), or the service may not write there yet: \
                 {RESTART_COMMAND}"
            )
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            let file = first_file(location).unwrap_or_else(|| location.to_owned());
            format!("{} is a file; move it away, or set another FileStorage location", quote(&file))
        }
        _ if !location.exists() => format!("run: sudo install -d -o {user} -m 0700 {display}"),
        _ => {
            let blocked_parent = location
                .ancestors()
                .skip(1)
                .find(|parent| nix::unistd::eaccess(*parent, AccessFlags::X_OK).is_err());
            match blocked_parent {
                Some(parent) => {
                    format!("let {user} search a parent directory: sudo chmod o+x {}", quote(parent))
                }
                None => format!("run: sudo chown -R {user} {display} && sudo chmod 0700 {display}"),
            }
        }
    }
}

/// Returns the path, or its ancestor, that exists and is not a directory.
fn first_file(location: &Path) -> Option<PathBuf> {
    location
        .ancestors()
        .find(|path| path.metadata().is_ok_and(|metadata| !metadata.is_dir()))
        .map(Path::to_owned)
}

fn quote(path: &Path) -> String {
    shell_argument(&path.display().to_string())
}

/// Writes, looks up, reads, lists and deletes `temp/validate.<random>.txt` in a bucket, and begins and aborts a
/// multipart upload.
pub(super) async fn s3(
    location: &S3Location,
    classes: &[StorageClass],
    s3: &std::sync::Arc<S3>,
) -> Result<(), UnusableLocation> {
    if location.skip_validation {
        return Ok(());
    }
    let path = s3.path(&format!("temp/validate.{:010x}.txt", rand::random::<u64>() & 0xff_ffff_ffff));
    let put = s3.put_at(&path, Bytes::from_static(CONTENT), "text/plain").await;
    let mut result = put.map_err(|e| ("s3:PutObject", e));
    if result.is_ok() {
        result = async {
            s3.size_at(&path).await.map_err(|e| ("s3:GetObject", e))?;
            let bytes = s3.read_small(&path).await.map_err(|e| ("s3:GetObject", e))?;
            if bytes != CONTENT {
                let (object, expected, received) = (s3.name(&path), CONTENT.len() as u64, bytes.len() as u64);
                return Err(("s3:GetObject", StorageError::Length { object, expected, received }));
            }
            s3.try_multipart(&path).await.map_err(|e| ("s3:PutObject and s3:AbortMultipartUpload", e))?;
            s3.try_list(&path).await.map_err(|e| ("s3:ListBucket", e))
        }
        .await;
        let removal = s3.delete_at(&path).await.map_err(|e| ("s3:DeleteObject", e));
        result = result.and(removal);
    }
    result.map_err(|(permission, error)| unusable_s3(location, classes, permission, &error))
}

pub(super) fn unusable_s3(
    location: &S3Location,
    classes: &[StorageClass],
    permission: &str,
    error: &StorageError,
) -> UnusableLocation {
    let S3Location { bucket, prefix, .. } = location;
    let problem = match error {
        StorageError::S3 { action, object, source } => {
            format!("cannot {action} {object}: {}", error_chain(source.as_ref()))
        }
        other => other.to_string(),
    };
    let key_prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    let remedy = if problem.contains("NoSuchBucket") {
        format!("create the bucket: aws s3 mb s3://{bucket}, or correct S3Storage.Bucket and Region")
    } else if matches!(error, StorageError::Credentials { .. } | StorageError::Other(_)) {
        "correct the S3Storage section".to_owned()
    } else if ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"]
        .iter()
        .any(|code| problem.contains(code))
    {
        "correct the credentials: those of S3Storage.Profile, of the environment or of the host's role"
            .to_owned()
    } else if ["AccessDenied", "403 Forbidden"].iter().any(|code| problem.contains(code)) {
        format!(
            "allow the credentials {permission} (storage needs s3:ListBucket on arn:aws:s3:::{bucket}, and s3:GetObject, \
             s3:PutObject, s3:DeleteObject, s3:AbortMultipartUpload on arn:aws:s3:::{bucket}/{key_prefix}*)"
        )
    } else {
        let endpoint = location.endpoint.as_deref().unwrap_or("Amazon S3");
        format!(
            "check that {endpoint} can be reached from this host and that S3Storage.Bucket, Region and Endpoint are right"
        )
    };
    unusable(classes, format!("s3://{bucket}/{prefix}"), problem, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(location: &Path) -> DirectoryLocation {
        DirectoryLocation { location: location.to_owned() }
    }

    #[test]
    fn a_check_leaves_no_files() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(disk(&location(dir.path()), &[StorageClass::Cran]), Ok(()));
        assert_eq!(disk(&location(&dir.path().join("a/b")), &[StorageClass::Cran]), Ok(()));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn file_systems_of_the_kernel_store_nothing() {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        let mut kinds = Vec::new();
        for mount in mounts.lines() {
            let mut words = mount.split(' ').skip(1);
            let (Some(path), Some(kind)) = (words.next(), words.next()) else { panic!("{mount}") };
            if ["proc", "sysfs", "cgroup2", "devpts", "devtmpfs"].contains(&kind)
                || (path, kind) == ("/dev", "tmpfs")
            {
                let nested = Path::new(path).join("rstudio-pm/cran");
                assert!(virtual_file_system(&nested).is_some(), "{mount}");
                kinds.push(kind);
            }
        }
        assert!(kinds.contains(&"proc"), "{mounts}");
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(virtual_file_system(&dir.path().join("a/b")), None);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("it's");
        std::fs::write(&file, "").unwrap();
        let unusable =
            disk(&location(&file.join("cran")), &[StorageClass::Cran, StorageClass::Pypi]).unwrap_err();
        assert_eq!(unusable.classes, "'cran', 'pypi'");
        assert!(unusable.remedy.contains(r"it'\''s' is a file"), "{unusable}");
    }
}
