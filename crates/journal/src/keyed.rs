//! The vault's key and the references made with it. Owns no storage; the key is never printed.

use astern_model::content::ContentRef;
use astern_model::id::hex;
use astern_port::{Failure, FailureClass};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The key's length: SHA-256's own, beyond which nothing is gained.
pub(crate) const KEY_BYTES: usize = 32;

/// Digits of the hash in a name: 160 bits, so that two contents never share one, and a name stays short.
const NAME_DIGITS: usize = 40;

/// What the name of everything in a vault begins with.
const NAME_PREFIX: &str = "astern-saved-";

/// The key. It has no `Debug`: a short secret could be guessed from its hash by whoever knows the key.
#[derive(Clone)]
pub(crate) struct Key([u8; KEY_BYTES]);

impl Key {
    /// A new one from the operating system's randomness.
    pub(crate) fn random() -> Result<Self, Failure> {
        random("make the vault's key").map(Self)
    }

    /// The one that a store keeps; none when it has another length.
    pub(crate) fn stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As a store keeps it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The reference of `content`.
    pub(crate) fn reference(&self, content: &[u8]) -> ContentRef {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("BUG: HMAC takes keys of every length");
        mac.update(content);
        let digits = hex(&mac.finalize().into_bytes());
        ContentRef {
            name: format!("{NAME_PREFIX}{}", &digits[..NAME_DIGITS]),
            keyed_hash: format!("hmac-sha256:{digits}"),
            size: content.len() as u64,
        }
    }
}

/// Bytes from the operating system's randomness.
pub(crate) fn random<const LENGTH: usize>(operation: &str) -> Result<[u8; LENGTH], Failure> {
    let mut bytes = [0; LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(
            FailureClass::Permanent,
            operation,
            format!("this machine gives no random bytes: {error}"),
        )
    })?;
    Ok(bytes)
}

/// SHA-256, for stores' own checks.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// How keeping is called in a [`Failure`].
pub(crate) fn put_operation(label: &str) -> String {
    format!("keep a {label} in the vault")
}

/// How reading back is called in a [`Failure`].
pub(crate) fn get_operation(reference: &ContentRef) -> String {
    format!("read {} from the vault", reference.name)
}

/// What asking for something that is not there gives.
pub(crate) fn missing(reference: &ContentRef, place: &str) -> Failure {
    Failure::new(
        FailureClass::Permanent,
        get_operation(reference),
        format!("it is not in {place}"),
    )
    .hint("it was deleted, or kept in another place: ask with the --store or the cluster that the run used")
}

/// What damaged content gives. It is never returned.
pub(crate) fn damaged(reference: &ContentRef, place: &str, how: &str) -> Failure {
    Failure::new(FailureClass::Permanent, get_operation(reference), format!("it is damaged in {place}: {how}")).hint(
        "steps that need this content cannot be taken back by astern; restore the store from a backup, or put the \
         content back by hand",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_the_keyed_hash_of_the_content() {
        let key = Key::stored(&[7; KEY_BYTES]).unwrap();
        let reference = key.reference(b"hunter2");
        assert_eq!(reference.size, 7);
        assert_eq!(
            reference.keyed_hash.strip_prefix("hmac-sha256:").unwrap()[..40],
            reference.name["astern-saved-".len()..]
        );
        assert_ne!(key.reference(b"hunter3").keyed_hash, reference.keyed_hash);
        assert_ne!(
            Key::stored(&[8; KEY_BYTES])
                .unwrap()
                .reference(b"hunter2")
                .keyed_hash,
            reference.keyed_hash
        );
        assert!(Key::stored(&[7; 31]).is_none());
    }
}
