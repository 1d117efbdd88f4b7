//! The ledger: the releases of a platform, beside what they describe. It carries sealed bytes and does not read them.

use crate::Failure;
use astern_model::release::ReleaseName;
use async_trait::async_trait;

/// One sealed release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The release.
    pub name: ReleaseName,
    /// Which writing of it this is: the next one must name it.
    pub version: Version,
    /// The sealed bytes, returned exactly as they were kept.
    pub bytes: Vec<u8>,
}

/// One writing of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub String);

/// An entry that is there and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The release, or the object that should hold one.
    pub name: String,
    /// Why not.
    pub failure: Failure,
}

/// What a ledger holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Those that can be read, in no order that means anything.
    pub entries: Vec<Entry>,
    /// Those that cannot: one damaged entry hides no other.
    pub unreadable: Vec<Unreadable>,
}

/// Why nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// There is an entry of that name already.
    Exists,
    /// Somebody wrote or removed the entry meanwhile. Read it again, decide again.
    Conflict,
    /// The store did not take it. With class `Unknown` it may have taken it: read.
    Store(Failure),
}

/// The ledger of one platform.
///
/// # Guarantees
/// - After `Ok` the entry is as durable as what it describes.
/// - Of two entries of one name, the second gets [`WriteError::Exists`], and the first stays as it is.
/// - Of two writings that name the same version, one gets [`WriteError::Conflict`].
/// - An entry that was cut short or altered is told as unreadable and never returned.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Adds an entry. `standing` is a word by which people may look for it.
    async fn add(&self, name: &ReleaseName, standing: &str, bytes: &[u8]) -> Result<Version, WriteError>;

    /// Writes an entry anew, if it is still the one of this version.
    async fn replace(
        &self,
        name: &ReleaseName,
        version: &Version,
        standing: &str,
        bytes: &[u8],
    ) -> Result<Version, WriteError>;

    /// All entries, by one request.
    async fn entries(&self) -> Result<Entries, Failure>;

    /// One entry. `Permanent` when it is damaged.
    async fn read(&self, name: &ReleaseName) -> Result<Option<Entry>, Failure>;

    /// Removes an entry, if it is still the one of this version. One that is gone is no error.
    async fn remove(&self, name: &ReleaseName, version: &Version) -> Result<(), WriteError>;

    /// What a person is told: `Secrets in namespace vcci-scope3`.
    fn place(&self) -> String;
}
