//! Bytes as stores keep them: gzip where that is smaller. Knows nothing of what they mean.

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use std::io::{Read, Write};

/// The bytes, gzipped.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let encoded = encoder.write_all(bytes).and_then(|()| encoder.finish());
    encoded.unwrap_or_else(|error| panic!("BUG: memory does not take bytes: {error}"))
}

/// The bytes behind [`gzip`]; none when they are damaged or not `size`, which the caller knows beforehand.
pub(crate) fn gunzip(gzipped: &[u8], size: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than there should be shows a wrong size without reading everything that a damaged stream may
    // expand to.
    GzDecoder::new(gzipped)
        .take(size.saturating_add(1))
        .read_to_end(&mut bytes)
        .ok()?;
    (bytes.len() as u64 == size).then_some(bytes)
}

/// What is in front of gzipped bytes.
const GZIP: u8 = b'z';
/// What is in front of bytes as they are.
const PLAIN: u8 = b'p';

/// The bytes with a first byte that says how they are kept.
pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    let gzipped = gzip(bytes);
    let (kind, content) = if gzipped.len() < bytes.len() {
        (GZIP, gzipped.as_slice())
    } else {
        (PLAIN, bytes)
    };
    let mut packed = Vec::with_capacity(content.len() + 1);
    packed.push(kind);
    packed.extend_from_slice(content);
    packed
}

/// The bytes behind [`pack`]; none when they are damaged or not `size`.
pub(crate) fn unpack(packed: &[u8], size: u64) -> Option<Vec<u8>> {
    match packed.split_first()? {
        (&GZIP, gzipped) => gunzip(gzipped, size),
        (&PLAIN, bytes) => (bytes.len() as u64 == size).then(|| bytes.to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bytes_come_back_and_never_grow_by_more_than_a_byte() {
        let check = |bytes: &[u8], smaller: bool| {
            let packed = pack(bytes);
            assert_eq!(unpack(&packed, bytes.len() as u64).as_deref(), Some(bytes));
            assert_eq!(packed.len() < bytes.len(), smaller);
            assert!(packed.len() <= bytes.len() + 1);
        };
        check(b"", false);
        check(b"short", false);
        check(&b"replicas: 3\n".repeat(1000), true);
    }

    #[test]
    fn damaged_or_resized_bytes_do_not_come_back() {
        let packed = pack(&b"replicas: 3\n".repeat(1000));
        assert_eq!(unpack(&packed, 11_999), None);
        assert_eq!(unpack(&packed[..packed.len() / 2], 12_000), None);
        assert_eq!(unpack(&[], 0), None);
        assert_eq!(unpack(b"xabc", 3), None);
    }
}
