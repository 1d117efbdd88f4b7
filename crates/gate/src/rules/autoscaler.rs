//! AST0224: an autoscaler without room, or with a floor of zero, is said.

use super::warn;
use crate::context::Context;
use astern_model::finding::Finding;
use astern_model::target::Target;
use astern_model::workload::Autoscaler;

pub(crate) const CODE: &str = "AST0224";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let scaled = context
        .written_ahead()
        .filter_map(|(write, workload)| Some((write, workload.autoscaler.as_ref()?)));
    scaled
        .flat_map(|(write, autoscaler)| judge(write.target, autoscaler))
        .collect()
}

fn judge(target: &Target, autoscaler: &Autoscaler) -> Vec<Finding> {
    let Autoscaler {
        name,
        min,
        max,
        current,
        wanted,
    } = autoscaler;
    let mut findings = Vec::new();
    if current >= max && wanted >= max {
        let message =
            format!("hpa/{name} has {target} at its maximum of {max}: while it rolls nothing is in reserve");
        let hint = format!(
            "if load is high, raise maxReplicas first: `kubectl edit hpa {name} -n {}`",
            target.namespace
        );
        findings.push(warn(CODE, Some(target), message, hint));
    }
    if *min == 0 {
        let message =
            format!("hpa/{name} may take {target} down to zero pods, and no longer acts once it is there");
        let hint = format!(
            "see that it has pods before you say yes: `kubectl get {target} -n {}`",
            target.namespace
        );
        findings.push(warn(CODE, Some(target), message, hint));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;

    #[test]
    fn an_autoscaler_at_its_maximum_or_with_a_floor_of_zero_is_said() {
        let check = |min: u32, current: u32, wanted: u32, expected: &str| {
            let mut fixture = Fixture::sound();
            fixture.workload().autoscaler = Some(Autoscaler {
                name: "api".to_owned(),
                min,
                max: 5,
                current,
                wanted,
            });
            assert_eq!(fixture.told(super::check), expected);
        };
        let at_maximum =
            "hpa/api has deployment/api-gateway at its maximum of 5: while it rolls nothing is in reserve";
        check(1, 3, 3, "");
        check(1, 5, 4, "");
        check(1, 5, 5, at_maximum);
        check(1, 5, 9, at_maximum);
        check(
            0,
            3,
            3,
            "hpa/api may take deployment/api-gateway down to zero pods, and no longer acts once it is there",
        );
    }
}
