//! Where journals, vaults and ledgers are kept: in memory, in one SQLite file, in the cluster beside the platform. Owns
//! durability, order and fencing; reads nothing of what the records mean.

mod api;
mod cluster;
mod keyed;
mod layered;
mod ledger;
mod memory;
mod packed;
mod sqlite;
mod tip;
mod vault;

pub use cluster::ClusterJournal;
pub use layered::LayeredVault;
pub use ledger::ClusterLedger;
pub use memory::{MemoryJournal, MemoryLedger, MemoryVault};
pub use sqlite::{Sqlite, SqliteJournal, SqliteVault};
pub use vault::ClusterVault;
