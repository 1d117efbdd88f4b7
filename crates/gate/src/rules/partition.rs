//! AST0223: a `partition` keeps pods below an ordinal on what they run. Where that is another version than the
//! target, writing the template does not bring the workload back.

use super::{refuse, some, warn};
use crate::context::{Context, Write};
use astern_model::finding::Finding;
use astern_model::workload::{Pod, Strategy, Workload};

pub(crate) const CODE: &str = "AST0223";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    context
        .written_ahead()
        .filter_map(|(write, workload)| judge(&write, workload))
        .collect()
}

fn judge(write: &Write<'_>, workload: &Workload) -> Option<Finding> {
    let Strategy::RollingUpdate { partition, .. } = workload.strategy else {
        return None;
    };
    if partition == 0 {
        return None;
    }
    let target = write.target;
    // A pod whose ordinal cannot be read may be below.
    let below = |pod: &&Pod| ordinal(&pod.name).is_none_or(|ordinal| ordinal < partition);
    let stay: Vec<&str> = workload
        .pods
        .iter()
        .filter(below)
        .filter(|pod| pod.revision.as_ref() != Some(write.asks))
        .map(|pod| pod.name.as_str())
        .collect();
    if stay.is_empty() {
        let message =
            format!("{target} has partition {partition}: only pods from that ordinal on are replaced");
        return Some(warn(
            CODE,
            Some(target),
            message,
            "the pods below it run the target version already",
        ));
    }
    let message = format!(
        "{target} has partition {partition}, so {} would stay on what they run, which is not {}",
        some(&stay),
        write.to.version
    );
    // The template first: with the partition gone first, every pod would take the version that must go.
    let hint = format!(
        "first put the good template back: `kubectl rollout undo {target} -n {0} --to-revision={1}`, then let all pods \
         follow: `kubectl patch {target} -n {0} --type merge -p \
         '{{\"spec\":{{\"updateStrategy\":{{\"rollingUpdate\":{{\"partition\":0}}}}}}}}'`",
        target.namespace, write.to.number
    );
    Some(refuse(CODE, Some(target), message, hint))
}

/// The number at the end of a StatefulSet's pod name.
fn ordinal(pod: &str) -> Option<u32> {
    pod.rsplit_once('-')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, pod};

    #[test]
    fn the_way_out_puts_the_template_back_before_it_lets_all_pods_follow() {
        let mut fixture = Fixture::stuck_statefulset();
        fixture.workload().strategy = Strategy::RollingUpdate {
            max_surge: None,
            max_unavailable: None,
            partition: 1,
            ordered: true,
        };
        let hint = super::check(&fixture.context()).remove(0).hint;
        let undo = hint.find("kubectl rollout undo statefulset/store -n shop --to-revision=1");
        assert!(undo.is_some() && undo < hint.find("kubectl patch"), "{hint}");
    }

    #[test]
    fn pods_that_a_partition_keeps_on_another_version_are_named() {
        let check = |partition: u32, former: bool, expected: &str| {
            let mut fixture = Fixture::stuck_statefulset();
            fixture.workload().strategy = Strategy::RollingUpdate {
                max_surge: None,
                max_unavailable: None,
                partition,
                ordered: true,
            };
            let at_partition = pod("store-1", None, "registry.test/api:v1.2.4");
            fixture.workload().pods.push(at_partition);
            if former {
                let target = fixture.to(0).template.clone();
                fixture.workload().pods[0].revision = Some(target);
            }
            assert_eq!(fixture.told(super::check), expected);
        };
        check(0, false, "");
        check(
            1,
            false,
            "statefulset/store has partition 1, so store-0 would stay on what they run, which is not v1.2.3",
        );
        check(
            1,
            true,
            "statefulset/store has partition 1: only pods from that ordinal on are replaced",
        );
    }
}
