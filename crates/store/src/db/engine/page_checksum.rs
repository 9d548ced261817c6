//! Checksums of the pages of a SQLite file: a file system of SQLite that writes one in the last 8 bytes of each page of a
//! database, and another one that also compares them, so that bytes changed by the disk are not read as content.
//!
//! SQLite keeps the 8 bytes free if the database was created with [`reserve`], which its header states. Pages are written
//! into the database by checkpoints only, so commits do not compute checksums. The WAL has SQLite's own checksums.
//!
//! The connections that serve requests do not compare: a damaged page is reported by an examination or a backup instead of
//! failing requests. A connection that changes pages replaces the checksum of each page that it reads by [`UNCHECKED`] or
//! [`DAMAGED`]. SQLite copies these bytes with the page into the WAL, so that a checkpoint, also one after a kill, knows
//! whether the page that it writes was made from a damaged one, whatever the file contains by then (after a power failure
//! during a checkpoint often half a page, which the WAL replaces), and so does a connection that compares. Another program
//! that only runs the checkpoint of a killed server writes [`UNCHECKED`].

#![allow(unsafe_code, reason = "rusqlite has no interface for file systems of SQLite")]

use std::ffi::{CStr, c_int, c_void};
use std::path::Path;
use std::sync::OnceLock;

use parking_lot::Mutex;
use rusqlite::ffi::{self, SQLITE_OK, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};
use rusqlite::{Connection, OpenFlags};
use sha2::{Digest, Sha256};

/// Size of a page, SQLite's default.
const PAGE: usize = 4096;
/// Size of the part of a page that its checksum covers.
const BODY: usize = PAGE - CHECKSUM;
const CHECKSUM: usize = 8;
/// In place of the checksum: the page is not damaged. In the file, another program wrote the page.
const UNCHECKED: [u8; CHECKSUM] = [0; CHECKSUM];
/// In place of the checksum: the page, or the one that it was made from, has been changed by the disk.
const DAMAGED: [u8; CHECKSUM] = [0xff; CHECKSUM];
/// Size of the header of a database, at the beginning of its first page.
const HEADER: usize = 100;

/// The file system that writes checksums.
const TRUSTING: &CStr = c"page-checksum";
/// The file system that also marks the pages that it reads.
const MARKING: &CStr = c"page-checksum-marked";
/// The file system that also compares checksums: SQLite gets the error `SQLITE_IOERR_DATA`.
const COMPARING: &CStr = c"page-checksum-compared";

/// What a connection does with the checksums of the pages that it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum Pages {
    /// Nothing. The connection changes no pages; it may run checkpoints.
    Trusted,
    /// A page keeps the mark that it is damaged when the connection changes it.
    Marked,
    /// A page with another checksum is an error.
    Compared,
}

/// Returns the name of the file system for a connection.
fn file_system(pages: Pages) -> Result<&'static CStr, rusqlite::Error> {
    let code = *REGISTERED.get_or_init(register);
    if code != SQLITE_OK {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
    }
    Ok(match pages {
        Pages::Trusted => TRUSTING,
        Pages::Marked => MARKING,
        Pages::Compared => COMPARING,
    })
}

/// Opens a file with the file system that writes checksums of pages.
pub(in crate::db) fn open_connection(
    file: &Path,
    flags: OpenFlags,
    pages: Pages,
) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open_with_flags_and_vfs(file, flags, file_system(pages)?)?;
    if flags.contains(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        reserve(&connection);
    }
    Ok(connection)
}

/// Reserves the space for checksums in the pages of a database that is created, or copied by VACUUM, by this connection.
fn reserve(connection: &Connection) {
    let mut size: c_int = 8;
    // SAFETY: the handle is open, and the operation reads and writes one integer. Its result does not matter: a database
    // with content is not changed.
    unsafe {
        let argument = (&raw mut size).cast::<c_void>();
        ffi::sqlite3_file_control(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_RESERVE_BYTES,
            argument,
        );
    }
}

/// Returns whether the pages of a database, whose file begins with these bytes, have checksums. VACUUM of another
/// program leaves the space for them blank.
pub(in crate::db) fn has_checksums(start: &[u8]) -> bool {
    has_reserved(start) && start.get(BODY..PAGE).is_some_and(|checksum| checksum != UNCHECKED)
}

/// Returns whether a header reserves the space for checksums.
fn has_reserved(header: &[u8]) -> bool {
    can_have_checksums(header) && header[20] == 8
}

/// Returns whether this is the header of a database with pages of the size that checksums need.
pub(in crate::db) fn can_have_checksums(header: &[u8]) -> bool {
    header.len() >= HEADER && header.starts_with(b"SQLite format 3\0") && header[16..18] == [0x10, 0]
}

/// Returns the checksum of a page without its last bytes.
fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    let digest: [u8; 32] = Sha256::digest(body).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    // Neither `UNCHECKED` nor `DAMAGED`.
    [a & 0xfe | 1, b & 0xfe, c, d, e, f, g, h]
}

/// What the last bytes of a page say about it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChecksumState {
    Right,
    /// No checksum: another program wrote the page, or it was never written.
    Unchecked,
    Wrong,
}

fn checksum_state(page: &[u8]) -> ChecksumState {
    let (body, stored) = page.split_at(BODY);
    if stored == UNCHECKED {
        ChecksumState::Unchecked
    } else if stored == checksum(body) {
        ChecksumState::Right
    } else {
        ChecksumState::Wrong
    }
}

/// Which pages a connection has compared with their checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::db) enum ComparedPages {
    All,
    /// Those that have checksums; another program wrote the others.
    Some,
    /// The database has no checksums.
    None,
}

/// Returns which pages a connection, opened with [`Pages::Compared`], has compared.
pub(in crate::db) fn compared_pages(connection: &Connection) -> ComparedPages {
    let mut file: *mut sqlite3_file = std::ptr::null_mut();
    // SAFETY: the handle is open, and the operation writes one pointer, to a file of one of the file systems.
    unsafe {
        let argument = (&raw mut file).cast::<c_void>();
        let operation = ffi::SQLITE_FCNTL_FILE_POINTER;
        let code = ffi::sqlite3_file_control(connection.handle(), c"main".as_ptr(), operation, argument);
        match code == SQLITE_OK && !file.is_null() && state(file).compares {
            true if state(file).has_unchecked => ComparedPages::Some,
            true => ComparedPages::All,
            false => ComparedPages::None,
        }
    }
}

struct Original(*mut sqlite3_vfs);

// SAFETY: SQLite's file systems are registered for the life of the process, and may be used by all threads.
unsafe impl Send for Original {}
// SAFETY: as above.
unsafe impl Sync for Original {}

static ORIGINAL: OnceLock<Original> = OnceLock::new();
static REGISTERED: OnceLock<c_int> = OnceLock::new();

/// The functions of an open file: those of SQLite, with some replaced.
#[repr(C)]
struct Methods {
    replaced: sqlite3_io_methods,
    original: &'static sqlite3_io_methods,
}

/// The replaced functions of each set of functions that SQLite's file system has.
static METHODS: Mutex<Vec<&'static Methods>> = Mutex::new(Vec::new());

/// State of an open file, in memory of SQLite after that of the original file.
#[repr(C)]
struct ChecksumFile {
    writes: bool,
    compares: bool,
    /// Whether pages that are read may be written again.
    marks: bool,
    /// Whether a page without checksum was read.
    has_unchecked: bool,
}

type Open = unsafe extern "C" fn(
    *mut sqlite3_vfs,
    ffi::sqlite3_filename,
    *mut sqlite3_file,
    c_int,
    *mut c_int,
) -> c_int;

/// Registers the file systems, which are copies of SQLite's default file system except for the opening of files.
fn register() -> c_int {
    // SAFETY: SQLite initializes itself here; the result is valid for the life of the process.
    let default = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
    // SAFETY: null, or valid as above.
    let Some(copied) = (unsafe { default.as_ref() }) else { return ffi::SQLITE_ERROR };
    let original = ORIGINAL.get_or_init(|| Original(default));
    debug_assert_eq!(original.0, default);
    let variants: [(&CStr, Open); 3] =
        [(TRUSTING, open::<false, false>), (MARKING, open::<true, false>), (COMPARING, open::<false, true>)];
    for (name, open) in variants {
        let size = copied.szOsFile + size_of::<ChecksumFile>() as c_int;
        let vfs = sqlite3_vfs {
            szOsFile: size,
            pNext: std::ptr::null_mut(),
            zName: name.as_ptr(),
            xOpen: Some(open),
            ..*copied
        };
        // SAFETY: SQLite keeps the pointer, and the value is never freed.
        let code = unsafe { ffi::sqlite3_vfs_register(Box::into_raw(Box::new(vfs)), 0) };
        if code != SQLITE_OK {
            return code;
        }
    }
    SQLITE_OK
}

/// Returns the replaced functions for a file of SQLite's file system.
fn methods(original: &'static sqlite3_io_methods) -> &'static Methods {
    let mut known = METHODS.lock();
    if let Some(methods) = known.iter().find(|methods| std::ptr::eq(methods.original, original)) {
        return methods;
    }
    let replaced = sqlite3_io_methods {
        // Without the functions of version 3, which read pages from a memory map.
        iVersion: original.iVersion.min(2),
        xRead: Some(read),
        xWrite: Some(write),
        xDeviceCharacteristics: Some(device_characteristics),
        ..*original
    };
    let methods: &'static Methods = Box::leak(Box::new(Methods { replaced, original }));
    known.push(methods);
    methods
}

/// Opens a file, and replaces the functions of a database.
///
/// # Safety
/// The arguments are those of `xOpen` of one of the file systems.
unsafe extern "C" fn open<const MARKS: bool, const COMPARES: bool>(
    _: *mut sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let Some(original) = ORIGINAL.get() else { return ffi::SQLITE_CANTOPEN };
    // SAFETY: the original file system opens the file in the first part of the memory, which has at least its size. Its
    // functions are constants.
    unsafe {
        let Some(open) = (*original.0).xOpen else { return ffi::SQLITE_CANTOPEN };
        let code = open(original.0, name, file, flags, out);
        let Some(functions) = (*file).pMethods.as_ref() else { return code };
        let is_compared_wal = COMPARES
            && flags & ffi::SQLITE_OPEN_WAL != 0
            && state(ffi::sqlite3_database_file_object(name)).compares;
        if code != SQLITE_OK || flags & ffi::SQLITE_OPEN_MAIN_DB == 0 && !is_compared_wal {
            return code;
        }
        let methods = methods(functions);
        // Of a WAL, whose pages have marks instead of checksums, nothing is read.
        let mut start = [0; PAGE];
        let is_new = !is_compared_wal && !read_page(methods.original, file, &mut start, 0);
        // Connections that may create a database call `reserve` first. Of a database without checksums that was too large
        // to be copied, each page gets one when it is written.
        *state(file) = ChecksumFile {
            writes: is_new || has_reserved(&start),
            compares: is_compared_wal || COMPARES && has_checksums(&start),
            marks: MARKS,
            has_unchecked: false,
        };
        (*file).pMethods = &raw const methods.replaced;
        code
    }
}

/// Reads a page. Returns false if the file is shorter, or cannot be read.
///
/// # Safety
/// `functions` are those of the original file system for the open file.
unsafe fn read_page(
    functions: &sqlite3_io_methods,
    file: *mut sqlite3_file,
    page: &mut [u8; PAGE],
    offset: i64,
) -> bool {
    // SAFETY: `page` has the size that is read.
    functions.xRead.is_some_and(|read| unsafe {
        read(file, page.as_mut_ptr().cast(), PAGE as c_int, offset) == SQLITE_OK
    })
}

/// Returns the state of a file.
///
/// # Safety
/// The file was opened by one of the file systems, and no other reference to its state exists. SQLite uses a file on
/// one thread at a time.
unsafe fn state<'a>(file: *mut sqlite3_file) -> &'a mut ChecksumFile {
    // SAFETY: the memory has the size of the original file, which `register` adds to; bytes have no alignment.
    unsafe {
        let offset = ORIGINAL.get().map_or(0, |original| (*original.0).szOsFile) as usize;
        &mut *file.cast::<u8>().add(offset).cast::<ChecksumFile>()
    }
}

/// Returns SQLite's functions of a file.
///
/// # Safety
/// [`open`] has replaced the functions of the file.
unsafe fn original(file: *mut sqlite3_file) -> &'static sqlite3_io_methods {
    // SAFETY: `pMethods` points to the first field of a `Methods` that is never freed.
    unsafe { (*(*file).pMethods.cast::<Methods>()).original }
}

unsafe extern "C" fn read(file: *mut sqlite3_file, buffer: *mut c_void, size: c_int, offset: i64) -> c_int {
    // SAFETY: the arguments are those of SQLite; `buffer` has `size` bytes, which the original function fills.
    unsafe {
        let Some(read) = original(file).xRead else { return ffi::SQLITE_IOERR_READ };
        let code = match read(file, buffer, size, offset) {
            // SQLite would take the error of a disk for damage of the file.
            ffi::SQLITE_IOERR_CORRUPTFS => return ffi::SQLITE_IOERR_READ,
            code => code,
        };
        let state = state(file);
        if code != SQLITE_OK || size as usize != PAGE || !(state.compares || state.marks && state.writes) {
            return code;
        }
        let page = std::slice::from_raw_parts_mut(buffer.cast::<u8>(), PAGE);
        let checksum_state = checksum_state(page);
        if state.compares {
            state.has_unchecked |=
                checksum_state == ChecksumState::Unchecked && page.iter().any(|byte| *byte != 0);
            return if checksum_state == ChecksumState::Wrong { ffi::SQLITE_IOERR_DATA } else { SQLITE_OK };
        }
        page[BODY..].copy_from_slice(&if checksum_state == ChecksumState::Wrong {
            DAMAGED
        } else {
            UNCHECKED
        });
        SQLITE_OK
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    buffer: *const c_void,
    size: c_int,
    offset: i64,
) -> c_int {
    // SAFETY: the arguments are those of SQLite; `buffer` has `size` bytes.
    unsafe {
        let Some(write) = original(file).xWrite else { return ffi::SQLITE_IOERR_WRITE };
        if size as usize != PAGE {
            return write(file, buffer, size, offset);
        }
        let mut page = [0; PAGE];
        page.copy_from_slice(std::slice::from_raw_parts(buffer.cast::<u8>(), PAGE));
        let state = state(file);
        state.writes &= offset != 0 || has_reserved(&page);
        if state.writes && page[BODY..] != DAMAGED {
            let sum = checksum(&page[..BODY]);
            page[BODY..].copy_from_slice(&sum);
        }
        write(file, page.as_ptr().cast(), size, offset)
    }
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    // SAFETY: the argument is that of SQLite.
    unsafe {
        let all = original(file).xDeviceCharacteristics.map_or(0, |function| function(file));
        // Otherwise SQLite reads parts of pages, which cannot be compared.
        if state(file).compares { all & !ffi::SQLITE_IOCAP_SUBPAGE_READ } else { all }
    }
}
