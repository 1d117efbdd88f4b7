//! AST0245: what a Secret held then still lets its users in, before it holds it again.

use super::refuse;
use crate::context::Context;
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::finding::Finding;
use astern_model::login::{LoginProbe, LoginSeen, Proof};
use astern_model::step::config::Spec;

pub(crate) const CODE: &str = "AST0245";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let steps = context.config_ahead().map(|(_, spec)| spec);
    let written = steps.filter(|spec| spec.brings_back());
    let secrets = written.filter(|spec| spec.object().kind == ConfigKind::Secret);
    secrets.filter_map(|spec| of(context, spec)).collect()
}

fn of(context: &Context<'_>, spec: &Spec) -> Option<Finding> {
    let (object, to) = (spec.object(), spec.to());
    match &to.proof {
        Some(Proof::NeverRotates) => None,
        None => Some(unproven(object)),
        Some(Proof::Login(probe)) => match context.inventory.config.login(object, to) {
            Some(LoginSeen { failed: None, .. }) => None,
            Some(LoginSeen {
                failed: Some(why), ..
            }) => Some(failed(object, probe, why)),
            None => Some(failed(object, probe, "was not run")),
        },
    }
}

fn unproven(object: &ConfigName) -> Finding {
    let message = format!(
        "{object} would hold again what it held then, and nothing proves that this still works: a credential may have been \
         rotated since, and the one of then locks everybody out"
    );
    let hint = format!(
        "name a login with what it held then in astern.yaml, `config: {{restoreSecrets: [{{name: {name}, probe: {{command: [psql, \
         -h, HOST, -U, USER, -c, select 1], env: {{PGPASSWORD: KEY}}}}}}]}}`; or say that nobody rotates it, `{{name: {name}, \
         rotates: false}}`; or take it out, or say `--leave-config`: it then stays as it is",
        name = object.name
    );
    refuse(CODE, None, message, hint)
}

fn failed(object: &ConfigName, probe: &LoginProbe, why: &str) -> Finding {
    let message = format!(
        "what {object} held then is not proven to work any more: its login probe {} {why}",
        probe.program()
    );
    let hint = format!(
        "where the credential was rotated, take {} out of `restoreSecrets` in astern.yaml, or say `--leave-config`: it then stays as \
         it is; where the probe is wrong, mend it there and plan again: `astern plan`. What it prints is shown nowhere, since it \
         may be the credential: run it by hand to see it",
        object.name
    );
    refuse(CODE, None, message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Fixture;
    use jiff::{SignedDuration, Timestamp};

    #[test]
    fn a_secret_goes_back_only_with_a_login_that_answered_or_by_the_word_that_nobody_rotates_it() {
        let probe = || LoginProbe {
            command: vec!["psql".to_owned(), "-h".to_owned(), "db".to_owned()],
            env: [("PGPASSWORD".to_owned(), "password".to_owned())].into(),
            timeout: SignedDuration::from_secs(10),
        };
        let told = |kind: ConfigKind, proof: Option<Proof>, change: &dyn Fn(&mut LoginSeen)| {
            let mut fixture = Fixture::with_config();
            let Spec::Restore { object, to, .. } = fixture.config() else {
                panic!("nothing is put back")
            };
            object.kind = kind;
            to.proof = proof;
            let mut seen = LoginSeen {
                object: object.clone(),
                content: to.content.clone(),
                probe: probe(),
                at: Timestamp::UNIX_EPOCH,
                failed: None,
            };
            change(&mut seen);
            fixture.inventory.config.logins = vec![seen];
            fixture.told(check)
        };
        assert_eq!(told(ConfigKind::ConfigMap, None, &|_| ()), "");
        assert_eq!(told(ConfigKind::Secret, Some(Proof::NeverRotates), &|_| ()), "");
        assert!(told(ConfigKind::Secret, None, &|_| ()).contains("nothing proves that this still works"));
        let login = || Some(Proof::Login(probe()));
        assert_eq!(told(ConfigKind::Secret, login(), &|_| ()), "");
        let failed = |change: &dyn Fn(&mut LoginSeen), why: &str| {
            let said = told(ConfigKind::Secret, login(), change);
            assert!(said.ends_with(why), "{said}");
        };
        failed(
            &|seen| seen.failed = Some("exited with 2".to_owned()),
            "psql exited with 2",
        );
        failed(&|seen| seen.content = "another".into(), "psql was not run");
        failed(&|seen| seen.object.name = "other".to_owned(), "psql was not run");
        failed(
            &|seen| seen.probe.command.push("-c".to_owned()),
            "psql was not run",
        );
    }
}
