//! Checks that the names of all members can be files and folders at the same time.

use super::{ArchiveError, ZipFormat, ZipMember, format_error};

/// Checks that no two members have the same name, and that no file has the name of a folder, or of a folder in the path of
/// another member: a program creates the one or the other.
pub(super) fn check(members: &[ZipMember], format: ZipFormat) -> Result<(), ArchiveError> {
    // One buffer for all names, because a file may have 400,000 members.
    let mut bytes = Vec::with_capacity(members.iter().map(|member| member.name.len()).sum());
    let mut ends = Vec::with_capacity(members.len());
    for member in members {
        let start = bytes.len();
        match format {
            // On Windows, names that differ only in case are the same file.
            ZipFormat::Plain | ZipFormat::Streamed => {
                bytes.extend_from_slice(member.name.to_lowercase().as_bytes());
            }
            ZipFormat::Wheel => bytes.extend_from_slice(member.name.as_bytes()),
        }
        // No name has a zero byte. As the lowest byte, it sorts the members of a folder directly after a file with the name
        // of the folder.
        for byte in bytes[start..].iter_mut().filter(|byte| **byte == b'/') {
            *byte = 0;
        }
        ends.push(bytes.len());
    }
    let mut start = 0;
    let mut names: Vec<(&[u8], usize)> = Vec::with_capacity(members.len());
    for (index, end) in ends.into_iter().enumerate() {
        names.push((&bytes[start..end], index));
        start = end;
    }
    // SECURITY: sorting compares each name with few others, however long the names are.
    names.sort_unstable();
    for ((name, _), (next, index)) in names.iter().zip(names.iter().skip(1)) {
        let error = |defect| Err(format_error(members[*index].start, defect));
        match next.strip_prefix(*name) {
            Some([]) => return error("two members have the same name"),
            Some([0, ..]) if !name.ends_with(&[0]) => {
                return error("a member has the name of a folder in the path of another member");
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}
