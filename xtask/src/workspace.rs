//! Where things lie: the workspace, its target folder, the cache of built programs. Creates nothing.

use std::path::PathBuf;

/// The root of the checkout that this program was built in.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or_else(|| here.clone(), PathBuf::from)
}

pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// Outside the target folder, so that `cargo clean` does not cost minutes of Go builds.
pub(crate) fn cache() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    base.or_else(|| Some(std::env::home_dir()?.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("astern")
}
