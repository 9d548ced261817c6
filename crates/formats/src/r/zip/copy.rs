//! Copies a zip file with the contents of some members replaced; the other members are unchanged.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::{CENTRAL_LEN, END, LOCAL, Zip, format_error};
use crate::r::archive::ArchiveError;
use crate::r::rewrite::{RewriteError, RewriteOptions};

/// Copies the file. `replacements` has pairs of member name and new contents. Equal arguments produce equal bytes.
///
/// # Errors
/// [`RewriteError`], also if the result would have more than 4 GiB.
pub fn copy(
    file: &mut (impl Read + Seek),
    zip: &Zip,
    replacements: &[(String, Vec<u8>)],
    out: &mut impl Write,
    options: RewriteOptions,
) -> Result<(), RewriteError> {
    let mut directory = Vec::new();
    let mut position = 0_u64;
    let too_long = || RewriteError::Archive(format_error(0, "its rewritten copy would be longer than 4 GiB"));
    for member in &zip.members {
        let start = u32::try_from(position).map_err(|_| too_long())?;
        let central_record = zip.directory.get(member.record.clone());
        let not_plain =
            || RewriteError::Archive(format_error(member.start, "its format is not the plain one"));
        let mut central_record = central_record.ok_or_else(not_plain)?.to_vec();
        central_record[42..46].copy_from_slice(&start.to_le_bytes());
        match replacements.iter().find(|(name, _)| *name == member.name) {
            None => {
                file.seek(SeekFrom::Start(member.start)).map_err(read_error)?;
                let result = io::copy(&mut file.take(member.end - member.start), out);
                if result.map_err(RewriteError::Write)? != member.end - member.start {
                    return Err(RewriteError::Changed);
                }
                position += member.end - member.start;
            }
            Some((_, contents)) => {
                let mut crc = flate2::Crc::new();
                crc.update(contents);
                let level = flate2::Compression::new(options.level.clamp(1, 9));
                let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
                encoder.write_all(contents).map_err(RewriteError::Write)?;
                let compressed_contents = encoder.finish().map_err(RewriteError::Write)?;
                let size = |length: usize| u32::try_from(length).map_err(|_| too_long());
                central_record[10..12].copy_from_slice(&8_u16.to_le_bytes());
                central_record[16..20].copy_from_slice(&crc.sum().to_le_bytes());
                central_record[20..24].copy_from_slice(&size(compressed_contents.len())?.to_le_bytes());
                central_record[24..28].copy_from_slice(&size(contents.len())?.to_le_bytes());
                // The local record repeats fields of the central record, and has no extra fields.
                let mut local_record = Vec::with_capacity(30 + member.name.len());
                local_record.extend_from_slice(&LOCAL);
                local_record.extend_from_slice(&central_record[6..30]);
                local_record.extend_from_slice(&[0, 0]);
                local_record.extend_from_slice(&central_record[CENTRAL_LEN..CENTRAL_LEN + member.name.len()]);
                out.write_all(&local_record)
                    .and_then(|()| out.write_all(&compressed_contents))
                    .map_err(RewriteError::Write)?;
                position += (local_record.len() + compressed_contents.len()) as u64;
            }
        }
        directory.extend_from_slice(&central_record);
    }
    let start = u32::try_from(position).map_err(|_| too_long())?;
    let size = u32::try_from(directory.len()).map_err(|_| too_long())?;
    let count = u16::try_from(zip.members.len()).map_err(|_| too_long())?;
    let mut end = END.to_vec();
    end.extend_from_slice(&[0; 4]);
    end.extend_from_slice(&count.to_le_bytes());
    end.extend_from_slice(&count.to_le_bytes());
    end.extend_from_slice(&size.to_le_bytes());
    end.extend_from_slice(&start.to_le_bytes());
    end.extend_from_slice(&[0; 2]);
    out.write_all(&directory).and_then(|()| out.write_all(&end)).map_err(RewriteError::Write)
}

fn read_error(error: io::Error) -> RewriteError {
    RewriteError::Archive(ArchiveError::Io(error))
}
