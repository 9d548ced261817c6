//! Small zip files made on the spot: members stored as they are.

/// The members in order; names that end in `/` are folders.
pub(crate) fn zip<B: AsRef<[u8]>>(members: &[(String, B)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let bytes = bytes.as_ref();
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        let size = u32::try_from(bytes.len()).expect("small").to_le_bytes();
        let length = u16::try_from(name.len()).expect("short").to_le_bytes();
        let start = u32::try_from(out.len()).expect("small").to_le_bytes();
        // Version 2.0, no flags, stored, a time in 2026.
        let common = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x5c],
            &crc.sum().to_le_bytes()[..],
            &size,
            &size,
            &length,
            &[0, 0],
        ];
        let common = common.concat();
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(bytes);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&start);
        directory.extend_from_slice(name.as_bytes());
    }
    let start = u32::try_from(out.len()).expect("small").to_le_bytes();
    let size = u32::try_from(directory.len()).expect("small").to_le_bytes();
    let count = u16::try_from(members.len()).expect("few").to_le_bytes();
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend_from_slice(&[&count[..], &count, &size, &start, &[0, 0]].concat());
    out
}
