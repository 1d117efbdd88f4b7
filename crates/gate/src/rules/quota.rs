//! AST0225: the namespace's quotas leave room for the pods that stand above the count while workloads roll.

use super::{refuse, warn};
use crate::context::{Context, Write};
use crate::demand::{Resource, Rolling, of_pod};
use crate::quantity::Quantity;
use crate::scope::counts;
use astern_model::finding::Finding;
use astern_model::inventory::Quota;
use astern_model::workload::Workload;

pub(crate) const CODE: &str = "AST0225";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let rollouts: Vec<Rollout<'_>> = context
        .written_ahead()
        .filter_map(|(write, workload)| Rollout::of(write, workload))
        .collect();
    let mut findings = Vec::new();
    for quota in &context.inventory.quotas {
        let rollouts: Vec<&Rollout<'_>> = rollouts
            .iter()
            .filter(|rollout| counts(quota, rollout.template))
            .collect();
        if rollouts.is_empty() {
            continue;
        }
        for (key, hard) in &quota.hard {
            let Some(resource) = Resource::parse(key) else {
                continue;
            };
            let used = quota.used.get(key).map_or("0", String::as_str);
            findings.extend(match (Quantity::parse(hard), Quantity::parse(used)) {
                (Some(hard), Some(used)) => over(quota, key, resource, hard.minus(used), &rollouts),
                _ => vec![unreadable(quota, key)],
            });
        }
    }
    findings
}

/// One workload that is about to roll.
struct Rollout<'a> {
    write: Write<'a>,
    workload: &'a Workload,
    template: &'a astern_model::template::Template,
    /// Pods of the target version that do not stand yet.
    missing: u32,
    /// Those of them that are made before an old one goes.
    more: u32,
    /// Whether not a single pod may be missing while it rolls.
    whole: bool,
}

impl<'a> Rollout<'a> {
    fn of(write: Write<'a>, workload: &'a Workload) -> Option<Self> {
        let template = &write.revision?.template;
        let rolling = Rolling::of(workload);
        let standing = || workload.pods.iter().filter(|pod| !pod.terminating);
        let back = standing().filter(|pod| pod.revision.as_ref() == Some(write.asks));
        // Pods that a stuck release left on the target version stay: a release that the quota itself blocks is taken
        // back without making a single pod.
        let missing = workload.desired.saturating_sub(number(back.count()));
        // What a stuck rollout has put above the count already is replaced, not added to.
        let room = workload.desired.saturating_add(rolling.surge);
        let more = room.saturating_sub(number(standing().count())).min(missing);
        let whole = rolling.unavailable == 0 && more > 0;
        Some(Self {
            write,
            workload,
            template,
            missing,
            more,
            whole,
        })
    }

    /// The most that it uses of a quota beyond what is used now: the pods above the count, and what larger pods add. A
    /// quota that does not count the pods that stand now has all of the new ones to count.
    fn need(&self, quota: &Quota, resource: Resource<'_>) -> Quantity {
        let pod = of_pod(self.template, resource);
        if !counts(quota, &self.workload.template) {
            return pod.times(self.workload.desired);
        }
        let growth = pod
            .minus(of_pod(&self.workload.template, resource))
            .max(Quantity::ZERO);
        pod.times(self.more).plus(growth.times(self.missing))
    }
}

/// As counts fit into the model's `u32`: more pods than that do not exist.
fn number(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn over(
    quota: &Quota,
    key: &str,
    resource: Resource<'_>,
    free: Quantity,
    rollouts: &[&Rollout<'_>],
) -> Vec<Finding> {
    let bytes = resource.is_bytes();
    let left = free.max(Quantity::ZERO).text(bytes);
    // Without room for one pod, and with none that may be missing, such a rollout cannot take its first step.
    let stuck: Vec<Finding> = rollouts
        .iter()
        .filter(|rollout| rollout.whole)
        .map(|rollout| (rollout, of_pod(rollout.template, resource)))
        .filter(|(_, pod)| *pod > Quantity::ZERO && *pod > free)
        .map(|(rollout, pod)| {
            let target = rollout.write.target;
            let message = format!(
                "quota {} leaves {left} of {key}, {target} needs {} for one more pod, and no pod of it may be missing \
                 (maxUnavailable 0): it cannot roll",
                quota.name,
                pod.text(bytes)
            );
            refuse(CODE, Some(target), message, hint(quota, &target.namespace))
        })
        .collect();
    if !stuck.is_empty() {
        return stuck;
    }
    let need = rollouts.iter().fold(Quantity::ZERO, |sum, rollout| {
        sum.plus(rollout.need(quota, resource))
    });
    let Some(first) = rollouts.first().filter(|_| need > Quantity::ZERO && need > free) else {
        return Vec::new();
    };
    let names: Vec<_> = rollouts
        .iter()
        .filter(|rollout| rollout.need(quota, resource) > Quantity::ZERO)
        .map(|rollout| rollout.write.target)
        .collect();
    let message = format!(
        "quota {} leaves {left} of {key}, and rolling {} may need {}: pods may have to wait for each other",
        quota.name,
        super::some(&names),
        need.text(bytes)
    );
    vec![warn(
        CODE,
        None,
        message,
        hint(quota, &first.write.target.namespace),
    )]
}

fn unreadable(quota: &Quota, key: &str) -> Finding {
    let message = format!(
        "quota {} has a {key} that cannot be read, so whether pods fit was not checked",
        quota.name
    );
    warn(
        CODE,
        None,
        message,
        format!("look at it: `kubectl describe quota {}`", quota.name),
    )
}

fn hint(quota: &Quota, namespace: &str) -> String {
    format!(
        "make room or raise it: `kubectl describe quota {} -n {namespace}`",
        quota.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, pod};
    use astern_model::inventory::Scope;
    use astern_model::workload::Strategy;

    /// Three pods of 250m and 64Mi stand.
    fn fixture(key: &str, hard: &str, used: &str) -> Fixture {
        let mut fixture = Fixture::sound();
        let live = fixture.workload().template.hash();
        fixture.workload().pods = (0..3)
            .map(|n| pod(&format!("api-{n}"), Some(&live), "registry.test/api:v1.2.4"))
            .collect();
        let of = |amount: &str| [(key.to_owned(), amount.to_owned())].into();
        fixture.inventory.quotas = vec![Quota {
            name: "team".to_owned(),
            hard: of(hard),
            used: of(used),
            scopes: Vec::new(),
        }];
        fixture
    }

    fn unavailable(fixture: &mut Fixture, count: &str) {
        fixture.workload().strategy = Strategy::RollingUpdate {
            max_surge: Some("1".to_owned()),
            max_unavailable: Some(count.to_owned()),
            partition: 0,
            ordered: false,
        };
    }

    #[test]
    fn a_quota_without_room_for_one_more_pod_is_refused_where_none_may_be_missing() {
        let check = |key: &str, hard: &str, used: &str, expected: &str| {
            assert_eq!(fixture(key, hard, used).told(super::check), expected);
        };
        check("requests.cpu", "1", "750m", "");
        check("pods", "4", "3", "");
        check("services", "0", "0", "");
        check("requests.nvidia.com/gpu", "0", "0", "");
        check(
            "requests.cpu",
            "900m",
            "750m",
            "quota team leaves 150m of requests.cpu, deployment/api-gateway needs 250m for one more pod, and no pod of \
             it may be missing (maxUnavailable 0): it cannot roll",
        );
        check(
            "pods",
            "3",
            "3",
            "quota team leaves 0 of pods, deployment/api-gateway needs 1 for one more pod, and no pod of it may be \
             missing (maxUnavailable 0): it cannot roll",
        );
        check(
            "memory",
            "much",
            "0",
            "quota team has a memory that cannot be read, so whether pods fit was not checked",
        );
    }

    #[test]
    fn a_full_quota_for_other_pods_is_no_obstacle() {
        let check = |scope: &str, refused: bool| {
            let mut fixture = fixture("pods", "3", "3");
            fixture.inventory.quotas[0].scopes = vec![Scope {
                name: scope.to_owned(),
                operator: "Exists".to_owned(),
                values: Vec::new(),
            }];
            assert_eq!(!fixture.told(super::check).is_empty(), refused, "{scope}");
        };
        check("BestEffort", false);
        check("Terminating", false);
        check("NotBestEffort", true);
        check("NotTerminating", true);
    }

    #[test]
    fn a_quota_without_room_only_warns_where_an_old_pod_may_go_first() {
        let mut fixture = fixture("requests.memory", "200Mi", "192Mi");
        unavailable(&mut fixture, "1");
        assert_eq!(
            fixture.told(super::check),
            "quota team leaves 8Mi of requests.memory, and rolling deployment/api-gateway may need 64Mi: pods may have \
             to wait for each other"
        );
    }

    #[test]
    fn a_release_that_the_quota_itself_blocks_is_taken_back_since_its_old_pods_still_stand() {
        let check = |back: usize, key: &str, hard: &str, used: &str, expected: &str| {
            let mut fixture = fixture(key, hard, used);
            let former = fixture.to(0).template.clone();
            for pod in fixture.workload().pods.iter_mut().take(back) {
                pod.revision = Some(former.clone());
            }
            assert_eq!(fixture.told(super::check), expected, "{back} {key}");
        };
        check(3, "pods", "3", "3", "");
        check(3, "requests.cpu", "750m", "750m", "");
        check(
            2,
            "pods",
            "3",
            "3",
            "quota team leaves 0 of pods, deployment/api-gateway needs 1 for one more pod, and no pod of it may be \
             missing (maxUnavailable 0): it cannot roll",
        );
    }

    #[test]
    fn only_pods_that_are_made_anew_grow() {
        let mut fixture = fixture("requests.memory", "200Mi", "192Mi");
        unavailable(&mut fixture, "1");
        fixture.retemplate(serde_json::json!({"containers": [{
            "name": "api",
            "image": "registry.test/api:v1.2.3",
            "resources": {"requests": {"memory": "128Mi"}},
        }]}));
        let former = fixture.to(0).template.clone();
        for pod in fixture.workload().pods.iter_mut().take(2) {
            pod.revision = Some(former.clone());
        }
        // One pod above the count, and 64Mi more for the one that is replaced.
        assert_eq!(
            fixture.told(super::check),
            "quota team leaves 8Mi of requests.memory, and rolling deployment/api-gateway may need 192Mi: pods may have \
             to wait for each other"
        );
    }

    #[test]
    fn a_stuck_rollout_that_already_stands_above_the_count_asks_for_nothing_more() {
        let mut fixture = fixture("pods", "4", "4");
        let live = fixture.workload().template.hash();
        fixture
            .workload()
            .pods
            .push(pod("api-3", Some(&live), "registry.test/api:v1.2.4"));
        assert_eq!(fixture.told(super::check), "");
    }
}
