//! AST0245: what a Secret held then still lets its users in, before it holds it again.

use super::{PLAN_AGAIN, refuse};
use crate::context::Context;
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::finding::Finding;
use astern_model::helm::ReleaseName;
use astern_model::login::{LoginProbe, LoginSeen, Proof};
use astern_model::step::config::Wanted;
use astern_model::step::helm::Spec as HelmSpec;

pub(crate) const CODE: &str = "AST0245";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let steps = context.config_ahead().map(|(_, spec)| spec);
    let written = steps.filter(|spec| spec.brings_back());
    let secrets = written.filter(|spec| spec.object().kind == ConfigKind::Secret);
    let itself = secrets.filter_map(|spec| of(context, spec.object(), spec.to(), None));
    let through = context
        .releases_ahead()
        .flat_map(|spec| of_release(context, spec));
    itself.chain(through).collect()
}

/// The Secrets that Helm writes with a revision.
fn of_release(context: &Context<'_>, spec: &HelmSpec) -> Vec<Finding> {
    let HelmSpec::Rollback {
        release,
        to,
        contents,
        ..
    } = spec
    else {
        return Vec::new();
    };
    let by = Through {
        release,
        revision: to.number,
    };
    let Some(seen) = context.inventory.config.through(release, to.number) else {
        return vec![by.unknown("nobody has looked")];
    };
    let secrets = seen
        .differing
        .iter()
        .filter(|held| held.name.kind == ConfigKind::Secret);
    let judged = secrets.filter_map(|held| {
        let mut contents = contents.iter();
        match contents.find(|one| one.object == held.name && one.to.content == held.content) {
            Some(one) => of(context, &one.object, &one.to, Some(by)),
            None => Some(by.unsaid(&held.name)),
        }
    });
    let unknown = seen.unknown.iter().map(|why| by.unknown(why));
    judged.chain(unknown).collect()
}

fn of(
    context: &Context<'_>,
    object: &ConfigName,
    to: &Wanted,
    through: Option<Through<'_>>,
) -> Option<Finding> {
    match &to.proof {
        Some(Proof::NeverRotates) => None,
        None => Some(match through {
            None => unproven(object),
            Some(through) => through.unproven(object),
        }),
        Some(Proof::Login(probe)) => {
            let why = match context.inventory.config.login(object, to) {
                Some(LoginSeen { failed: None, .. }) => return None,
                Some(LoginSeen {
                    failed: Some(why), ..
                }) => why,
                None => "was not run",
            };
            Some(match through {
                None => failed(object, probe, why),
                Some(through) => through.failed(object, probe, why),
            })
        }
    }
}

/// The revision with which Helm brings a Secret back.
#[derive(Clone, Copy)]
struct Through<'a> {
    release: &'a ReleaseName,
    revision: u64,
}

impl Through<'_> {
    fn unproven(&self, object: &ConfigName) -> Finding {
        let Self { release, revision } = self;
        let name = &object.name;
        let message = format!(
            "{release} brings back with revision {revision} what {object} held then, and nothing proves that this still works: a \
             credential may have been rotated since, and what a chart draws at random is another one in each revision"
        );
        let hint = format!(
            "name a login with what it held then in astern.yaml, `config: {{restoreSecrets: [{{name: {name}, probe: {{command: [psql, \
             -h, HOST, -U, USER, -c, select 1], env: {{PGPASSWORD: KEY}}}}}}]}}`; or say that nobody rotates it, `{{name: {name}, \
             rotates: false}}`; {}",
            self.outside()
        );
        refuse(CODE, None, message, hint)
    }

    fn failed(&self, object: &ConfigName, probe: &LoginProbe, why: &str) -> Finding {
        let Self { release, revision } = self;
        let message = format!(
            "{release} brings back with revision {revision} what {object} held then, and that is not proven to work any more: its \
             login probe {} {why}",
            probe.program()
        );
        let hint = format!(
            "where the credential was rotated, {}; where the probe is wrong, mend it in astern.yaml and plan again: `astern plan`. \
             What it prints is shown nowhere, since it may be the credential: run it by hand to see it",
            self.outside()
        );
        refuse(CODE, None, message, hint)
    }

    fn unknown(&self, why: &str) -> Finding {
        let Self { release, revision } = self;
        let message = format!(
            "whether {release} brings back another content of Secrets with revision {revision} is not known: {why}"
        );
        refuse(CODE, None, message, self.outside())
    }

    fn unsaid(&self, object: &ConfigName) -> Finding {
        let Self { release, revision } = self;
        let message = format!(
            "{release} brings back with revision {revision} another content of {object}, and the plan does not say so"
        );
        let hint =
            format!("{PLAN_AGAIN}; the plan is older than what {object} holds now, or than this astern");
        refuse(CODE, None, message, hint)
    }

    fn outside(&self) -> String {
        "roll back beside the release, `astern rollback --outside-helm`, which leaves the Secret as it is; the next upgrade writes \
         what its own revision holds"
            .to_owned()
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
    use astern_model::config::{HeldConfig, ReleaseContent};
    use astern_model::content::ContentRef;
    use astern_model::step::Spec;
    use astern_model::step::config::Spec as ConfigSpec;
    use astern_model::step::helm::CarriedContent;
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
            let ConfigSpec::Restore { object, to, .. } = fixture.config() else {
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

    /// What the revision holds of `secret/db`, differing from what stands.
    fn held() -> HeldConfig {
        HeldConfig {
            name: ConfigName {
                kind: ConfigKind::Secret,
                name: "db".to_owned(),
            },
            kept: ContentRef {
                name: "saved".to_owned(),
                keyed_hash: "then".to_owned(),
                size: 1,
            },
            content: "then".into(),
            keys: vec!["password".to_owned()],
            secret_type: None,
            drawn: None,
            changes: Vec::new(),
        }
    }

    #[test]
    fn a_secret_that_a_release_brings_back_needs_the_same_proof_and_what_nobody_has_looked_at_is_refused() {
        let told = |change: &dyn Fn(&mut ReleaseContent, &mut Vec<CarriedContent>)| {
            let mut fixture = Fixture::through_release();
            let Spec::Helm(HelmSpec::Rollback {
                release,
                to,
                contents,
                ..
            }) = &mut fixture.plan.steps[0].spec
            else {
                panic!("no rollback")
            };
            let mut seen = ReleaseContent {
                release: release.clone(),
                revision: to.number,
                differing: vec![held()],
                unknown: Vec::new(),
            };
            *contents = vec![CarriedContent {
                object: held().name,
                pin: None,
                to: Wanted {
                    kept: held().kept,
                    content: held().content,
                    keys: held().keys,
                    origin: "Helm's record".to_owned(),
                    proof: Some(Proof::NeverRotates),
                },
            }];
            change(&mut seen, contents);
            fixture.inventory.config.through = vec![seen];
            fixture.told(check)
        };
        assert_eq!(told(&|_, _| ()), "");
        let says = |change: &dyn Fn(&mut ReleaseContent, &mut Vec<CarriedContent>), words: &str| {
            let said = told(change);
            assert!(said.contains(words), "{said}");
        };
        says(
            &|_, contents| contents[0].to.proof = None,
            "helm/shop brings back with revision 3 what secret/db held then, and nothing proves that this still works",
        );
        says(
            &|_, contents| contents.clear(),
            "another content of secret/db, and the plan does not say so",
        );
        says(
            &|_, contents| contents[0].to.content = "another".into(),
            "another content of secret/db, and the plan does not say so",
        );
        says(
            &|seen, _| seen.unknown.push("secret/tls: why".to_owned()),
            "is not known: secret/tls: why",
        );
        says(&|seen, _| seen.revision = 1, "is not known: nobody has looked");
        assert_eq!(
            told(&|seen, contents| {
                seen.differing[0].name.kind = ConfigKind::ConfigMap;
                contents.clear();
            }),
            ""
        );
    }
}
