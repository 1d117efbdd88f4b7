//! Debian's packages: what is missing is installed with apt-get, after one update. Nothing else is known of the machine.

use std::process::Command;
use std::sync::Once;

use crate::failure::{Failure, Outcome};
use crate::process;

/// A program that must be there, and the package that brings it.
pub(crate) struct Need {
    /// Absolute paths, any of which will do; programs may lie outside an ordinary user's PATH.
    pub(crate) any_of: &'static [&'static str],
    pub(crate) package: &'static str,
}

pub(crate) const OPENSSL: Need = Need {
    any_of: &["/usr/bin/openssl"],
    package: "openssl",
};
pub(crate) const IPROUTE: Need = Need {
    any_of: &["/usr/sbin/ip", "/sbin/ip", "/bin/ip"],
    package: "iproute2",
};
pub(crate) const CONTAINERD: Need = Need {
    any_of: &["/usr/bin/containerd"],
    package: "containerd",
};
pub(crate) const RUNC: Need = Need {
    any_of: &["/usr/sbin/runc", "/usr/bin/runc"],
    package: "runc",
};
pub(crate) const CNI: Need = Need {
    any_of: &["/usr/lib/cni/bridge"],
    package: "containernetworking-plugins",
};
pub(crate) const NFTABLES: Need = Need {
    any_of: &["/usr/sbin/nft"],
    package: "nftables",
};
pub(crate) const MOUNT: Need = Need {
    any_of: &["/usr/bin/mount", "/bin/mount"],
    package: "mount",
};
pub(crate) const GIT: Need = Need {
    any_of: &["/usr/bin/git"],
    package: "git",
};
pub(crate) const REDIS: Need = Need {
    any_of: &["/usr/bin/redis-server"],
    package: "redis-server",
};

/// Installs what is missing; silent when nothing is.
pub(crate) fn ensure(needs: &[Need]) -> Outcome {
    let missing: Vec<&str> = needs
        .iter()
        .filter(|need| !need.any_of.iter().any(|path| std::path::Path::new(path).exists()))
        .map(|need| need.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get update && apt-get install -y {}", missing.join(" "));
    if !process::on_path("apt-get") {
        return Err(
            Failure::new(format!("missing: {}, and this is no Debian", missing.join(", ")))
                .next("install them with this system's own package manager, then the same command again"),
        );
    }
    update_once();
    eprintln!("installing {} (apt-get)", missing.join(", "));
    let mut install = Command::new("apt-get");
    install
        .args(["install", "-y", "--no-install-recommends"])
        .args(&missing);
    let log = std::env::temp_dir().join(format!("astern-apt-get-{}.log", std::process::id()));
    process::run_logged(install.env("DEBIAN_FRONTEND", "noninteractive"), &log)
        .map_err(|failure| failure.next(format!("as root: {by_hand}")))?;
    drop(std::fs::remove_file(log));
    Ok(())
}

fn update_once() {
    static UPDATED: Once = Once::new();
    UPDATED.call_once(|| {
        eprintln!("reading Debian's package lists (apt-get update)");
        // A failed update is no reason to stop: the lists at hand may do, and the installation says what is wrong.
        drop(process::read(Command::new("apt-get").arg("update")));
    });
}
