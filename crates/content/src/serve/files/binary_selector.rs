//! Selects the binary to serve among those of a release: a pure function of platform, architecture and snapshot.

use base::model::time::Timestamp;
use formats::r::platform::{ANY_ARCH, Arch, Platform};
use store::db::binary::Binary;

/// Selects the binaries of a platform that a snapshot contains.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BinarySelector {
    pub platform: Platform,
    /// The newest binary from before this instant is served; if there is none, the first one after it. The versions in
    /// a snapshot never change, and a binary that was added later is better than none.
    pub until: Timestamp,
}

/// Returns whether a binary runs on an architecture; some run on every one.
pub fn runs_on(binary: &Binary, arch: Arch) -> bool {
    let binary_arch = binary.platform.rsplit_once('/').map(|(_, binary_arch)| binary_arch);
    binary_arch == Some(arch.as_str()) || binary_arch == Some(ANY_ARCH)
}

/// Returns whether a binary may be served: a removed one is served only for snapshots in which it was listed.
pub(in crate::serve) fn is_visible(binary: &Binary, until: Timestamp) -> bool {
    binary.removed_at.is_none_or(|at| binary.at < until && until <= at)
}

/// Selects the binary to serve among those of one release, which are sorted oldest first.
pub(in crate::serve) fn pick(binaries: &[Binary], arch: Arch, until: Timestamp) -> Option<&Binary> {
    let mut candidates = binaries.iter().filter(|binary| runs_on(binary, arch) && is_visible(binary, until));
    candidates.clone().rfind(|binary| binary.at < until).or_else(|| candidates.next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::model::ids::{FileId, PackageId, ReleaseId};
    use store::db::file::FileState;

    fn binary(number: i64, arch: &str, at: i64) -> Binary {
        Binary {
            package: PackageId(1),
            release: ReleaseId(1),
            file: FileId(number),
            platform: format!("4.5-noble/{arch}"),
            number,
            name: "x_1.0.tar.gz".to_owned(),
            locator: String::new(),
            size: None,
            md5: None,
            sha256: None,
            state: FileState::Stored,
            class: None,
            at: Timestamp(at),
            removed_at: None,
            stanza: Vec::new(),
        }
    }

    #[test]
    fn the_newest_binary_of_the_snapshot_is_selected_else_the_first_later_one() {
        let binaries = [binary(1, "x86_64", 10), binary(2, "x86_64", 20), binary(3, "x86_64", 30)];
        let file = |until| pick(&binaries, Arch::X86_64, Timestamp(until)).map(|b| b.file.0);
        assert_eq!([5, 10, 11, 20, 21, 99].map(file), [Some(1), Some(1), Some(1), Some(1), Some(2), Some(3)]);
        assert_eq!(pick(&[], Arch::X86_64, Timestamp(99)), None);
    }

    #[test]
    fn a_removed_binary_stays_in_the_snapshots_that_had_it() {
        let removed = |binary: Binary, at| Binary { removed_at: Some(Timestamp(at)), ..binary };
        // The first was replaced at 20 and must not reappear when the second is removed.
        let binaries = [removed(binary(1, "x86_64", 10), 20), removed(binary(2, "x86_64", 20), 30)];
        let file = |until| pick(&binaries, Arch::X86_64, Timestamp(until)).map(|b| b.file.0);
        assert_eq!(
            [5, 11, 20, 21, 30, 31, i64::MAX].map(file),
            [None, Some(1), Some(1), Some(2), Some(2), None, None]
        );
        let relisted_binaries = [removed(binary(1, "x86_64", 10), 30), binary(2, "x86_64", 40)];
        let file = |until| pick(&relisted_binaries, Arch::X86_64, Timestamp(until)).map(|b| b.file.0);
        assert_eq!([20, 31, 41].map(file), [Some(1), Some(2), Some(2)]);
    }

    #[test]
    fn a_binary_for_another_architecture_is_never_served() {
        let binaries = [binary(1, "any", 10), binary(2, "x86_64", 20)];
        let file = |arch| pick(&binaries, arch, Timestamp(99)).map(|b| b.file.0);
        assert_eq!((file(Arch::X86_64), file(Arch::Arm64)), (Some(2), Some(1)));
        assert_eq!(pick(&binaries[1..], Arch::Arm64, Timestamp(99)), None);
    }
}
