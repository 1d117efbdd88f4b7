//! AST0210: the plan is carried out on the cluster that it was made for, and on no other.

use super::{PLAN_AGAIN, refuse};
use crate::context::Context;
use astern_model::finding::Finding;
use astern_model::target::ClusterIdentity;

pub(crate) const CODE: &str = "AST0210";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let (planned, here) = (&context.plan.cluster, &context.inventory.cluster);
    let (message, hint) = match (&planned.identity, &here.identity) {
        (ClusterIdentity::KubeSystem(a), ClusterIdentity::KubeSystem(b))
        | (ClusterIdentity::RootCa(a), ClusterIdentity::RootCa(b)) => {
            if a == b {
                return Vec::new();
            }
            let message = format!(
                "the plan is for cluster {a} (context {}), and this is cluster {b} (context {})",
                planned.context, here.context
            );
            (
                message,
                format!("name the plan's cluster: `--context {}`", planned.context),
            )
        }
        (planned, here) => {
            let message = format!(
                "the plan knows its cluster by {}, and this user sees it by {}: whether they are one cannot be told",
                by(planned),
                by(here)
            );
            (
                message,
                format!("use a user with the same right to get namespace kube-system, or {PLAN_AGAIN}"),
            )
        }
    };
    vec![refuse(CODE, None, message, hint)]
}

fn by(identity: &ClusterIdentity) -> String {
    match identity {
        ClusterIdentity::KubeSystem(uid) => format!("namespace kube-system ({uid})"),
        ClusterIdentity::RootCa(uid) => format!("configmap/kube-root-ca.crt ({uid})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn another_cluster_is_refused_with_both_uids() {
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(
            &|f| f.inventory.cluster.server = "https://another-address.test".to_owned(),
            "",
        );
        check(
            &|f| f.inventory.cluster.identity = ClusterIdentity::KubeSystem("uid-other".into()),
            "the plan is for cluster uid-kube-system (context prod), and this is cluster uid-other (context prod)",
        );
        check(
            &|f| f.inventory.cluster.identity = ClusterIdentity::RootCa("uid-kube-system".into()),
            "the plan knows its cluster by namespace kube-system (uid-kube-system), and this user sees it by \
             configmap/kube-root-ca.crt (uid-kube-system): whether they are one cannot be told",
        );
    }
}
