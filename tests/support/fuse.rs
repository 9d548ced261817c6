//! An empty, really mounted FUSE file system, as far as statfs(2) and path lookups need one.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A mount point; unmounted on drop.
pub(crate) struct MountPoint(PathBuf);

impl Drop for MountPoint {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Mounts the file system.
pub(crate) fn mount(dir: &Path) -> MountPoint {
    let device = File::options().read(true).write(true).open("/dev/fuse").unwrap_or_else(|e| {
        panic!("/dev/fuse cannot be opened ({e}): run 'modprobe fuse', and in a container pass --device /dev/fuse")
    });
    let mut command = Command::new("mount");
    command.args(["-i", "-t", "fuse", "test", "-o", "fd=0,rootmode=40000,user_id=0,group_id=0"]).arg(dir);
    let output = command.stdin(Stdio::from(device.try_clone().expect("a second handle"))).output();
    let output = output.unwrap_or_else(|e| panic!("mount cannot be run ({e}): install it"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "FUSE cannot be mounted; this test needs root with CAP_SYS_ADMIN: {error}"
    );
    std::thread::spawn(move || serve(device));
    MountPoint(dir.to_owned())
}

/// Answers requests until the file system is unmounted: FUSE protocol 7, see fuse(4).
fn serve(mut device: File) {
    let mut request = vec![0; 128 * 1024];
    while let Ok(size @ 40..) = device.read(&mut request) {
        let u32_at =
            |offset: usize| u32::from_le_bytes(request[offset..offset + 4].try_into().expect("four bytes"));
        let encode =
            |values: &[u32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
        let (error, body) = match u32_at(4) {
            // LOOKUP: no such file.
            1 => (-2, Vec::new()),
            // FORGET, INTERRUPT, BATCH_FORGET: no answer.
            2 | 36 | 42 => continue,
            // GETATTR: valid for a second; inode 1; a directory, mode 0755; two links; blocks of 4096 bytes.
            3 => {
                let inode = [1, 0, 0, 0, 0, 0];
                let mode = [0o40755, 2, 0, 0, 0, 4096, 0];
                (0, encode(&[&[1, 0, 0, 0], &inode[..], &[0; 9], &mode].concat()))
            }
            // STATFS.
            17 => (0, encode(&[9, 0, 9, 0, 9, 0, 9, 0, 9, 0, 4096, 255, 4096, 0, 0, 0, 0, 0, 0, 0])),
            // INIT: version 7.31, writes of 64 KB.
            26 => (0, encode(&[7, 31, 65_536, 0, 0x0009_000c, 65_536, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0])),
            // Other requests: ENOSYS.
            _ => (-38_i32, Vec::new()),
        };
        let length = 16 + u32::try_from(body.len()).expect("short");
        let mut answer = [length.to_le_bytes(), error.to_le_bytes()].concat();
        answer.extend_from_slice(&request[8..16]);
        answer.extend_from_slice(&body);
        if size < 40 || device.write_all(&answer).is_err() {
            return;
        }
    }
}
