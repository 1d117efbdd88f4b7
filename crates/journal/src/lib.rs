//! Where journals and vaults are kept: in memory, in one SQLite file, in the cluster beside the platform. Owns
//! durability, order and fencing; reads nothing of what the records mean.

mod api;
mod cluster;
mod keyed;
mod memory;
mod packed;
mod sqlite;
mod tip;
mod vault;

pub use cluster::ClusterJournal;
pub use memory::{MemoryJournal, MemoryVault};
pub use sqlite::{Sqlite, SqliteJournal, SqliteVault};
pub use vault::ClusterVault;
