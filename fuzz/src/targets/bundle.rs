//! Targets for the files of a bundle.

use rstudio_pm::bundle::shared::{BioconductorConfig, SharedFolder, SharedHead};
use rstudio_pm::bundle::{CompressedFile, Head, Product, ProductState, layout, segment, self_digest};

/// Appends the digest, so that mutations reach the code after its check.
fn with_digest(body: &[u8]) -> Vec<u8> {
    let sha256 = self_digest::digest(body);
    [body, b",\"sha256\":\"", sha256.to_string().as_bytes(), b"\"}\n"].concat()
}

/// A written head is read back unchanged.
pub fn head(data: &[u8]) {
    let (name, body) = super::line(data);
    let product = std::str::from_utf8(name).ok().and_then(Product::parse).unwrap_or(Product::Cran);
    assert_eq!(Product::parse(&product.to_string()).as_ref(), Some(&product));
    for bytes in [body.to_vec(), with_digest(body)] {
        if let Ok(head) = Head::read(&bytes, &product) {
            assert_eq!(Head::read(&head.bytes(), &product).as_ref(), Ok(&head));
            assert!(layout::is_safe_path(&head.dated_path(&product)));
        }
        for shared in SharedFolder::ALL {
            if let Ok(head) = SharedHead::read(&bytes, shared) {
                assert_eq!(SharedHead::read(&self_digest::serialize(&head), shared), Ok(head));
            }
        }
        let _ = self_digest::parse::<BioconductorConfig>(&bytes);
    }
}

/// The records of a segment and the state after them.
pub fn segment(data: &[u8]) {
    let mut state = ProductState::default();
    let _ = segment::for_each_record(data, &Product::Cran, 1, |record| state.apply(&record));
    assert_eq!(state.listing().len(), state.listed_count());
    let _ = (state.digest(), state.day(), state.releases().count());
    let _ = segment::readmes(data);
    for raw_size in [data.len() as u64, 1 << 20] {
        let sha256 = self_digest::digest(data);
        let packed = CompressedFile { path: String::new(), size: data.len() as u64, sha256, raw_size };
        if let Ok(text) = segment::unpack(data, &packed) {
            assert_eq!(text.len() as u64, raw_size);
        }
    }
}
