//! Simulates a different file system for a program by a preloaded library: NFS cannot be mounted on every test
//! machine.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds a library to preload that makes statfs(2) report this magic number for every path below `root`.
pub(crate) fn build_type_library(folder: &Path, root: &Path, magic: u32) -> PathBuf {
    let (source, library) = (folder.join("statfs.c"), folder.join("statfs.so"));
    let text = format!(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <string.h>\n#include <sys/vfs.h>\n\
         static int fake(const char *name, const char *path, struct statfs *out) {{\n\
         int (*real)(const char *, struct statfs *) = dlsym(RTLD_NEXT, name);\n\
         int result = real(path, out);\n\
         if (result == 0 && strncmp(path, \"{0}\", strlen(\"{0}\")) == 0) out->f_type = {magic};\n\
         return result;\n}}\n\
         int statfs(const char *path, struct statfs *out) {{ return fake(\"statfs\", path, out); }}\n\
         int statfs64(const char *path, struct statfs64 *out) {{\n\
         return fake(\"statfs64\", path, (struct statfs *)out); }}\n",
        root.display()
    );
    std::fs::write(&source, text).expect("written");
    build(&source, &library);
    library
}

/// Builds a library to preload that makes statvfs(3) report 5 % free space for every path below `root`, and 50 % for
/// every other path, regardless of the free space of the machine.
pub(crate) fn build_full_disk_library(folder: &Path, root: &Path) -> PathBuf {
    let (source, library) = (folder.join("statvfs.c"), folder.join("statvfs.so"));
    let text = format!(
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <string.h>\n#include <sys/statvfs.h>\n\
         static int fake(const char *name, const char *path, struct statvfs *out) {{\n\
         int (*real)(const char *, struct statvfs *) = dlsym(RTLD_NEXT, name);\n\
         int result = real(path, out);\n\
         if (result == 0) out->f_bavail = out->f_blocks / (strncmp(path, \"{0}\", strlen(\"{0}\")) == 0 ? 20 : 2);\n\
         return result;\n}}\n\
         int statvfs(const char *path, struct statvfs *out) {{ return fake(\"statvfs\", path, out); }}\n\
         int statvfs64(const char *path, struct statvfs64 *out) {{\n\
         return fake(\"statvfs64\", path, (struct statvfs *)out); }}\n",
        root.display()
    );
    std::fs::write(&source, text).expect("written");
    build(&source, &library);
    library
}

fn build(source: &Path, library: &Path) {
    let output =
        Command::new("gcc").args(["-shared", "-fPIC", "-o"]).arg(library).arg(source).arg("-ldl").output();
    let output = output.unwrap_or_else(|e| panic!("gcc cannot be run ({e}): install build-essential"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
