//! Secrets whose content comes from elsewhere: an ExternalSecret is changed by the ids of its release, and what pods mount of a
//! provider is told.

use crate::config::{changed, go, held, live, reading, refused, seen, to_release};
use crate::support::{at, crashing, platform};
use astern_model::config::{ClassPart, ClassSeen, ConfigKind, ConfigName};
use astern_model::external::{Drawn, Part, Source};
use astern_model::login::Proof;
use astern_model::reversal::Reversal;
use astern_model::workload::FieldManager;
use astern_plan::code;
use serde_json::{Value, json};

fn drawn(version: &str) -> Drawn {
    Drawn {
        source: Source {
            name: "db".to_owned(),
            version: "v1".to_owned(),
            uid: "uid-external".into(),
        },
        parts: vec![Part {
            at: Some("/spec/data/0/remoteRef/version".to_owned()),
            key: "prod/db".to_owned(),
            version: Some(version.to_owned()),
        }],
        once: false,
    }
}

#[test]
fn an_externalsecret_names_the_ids_of_its_release_again_and_is_waited_for_before_anybody_reads() {
    let keys = ConfigName {
        kind: ConfigKind::Secret,
        name: "keys".to_owned(),
    };
    let mut platform = platform();
    platform
        .restore_secrets
        .insert("keys".to_owned(), Some(Proof::NeverRotates));
    let of = |now: Option<Drawn>, then: Option<Drawn>| {
        let mut live = live(&keys, "now");
        live.source = Some("externalsecret/db".to_owned());
        live.drawn = now;
        let mut held = held(&keys, "then");
        held.drawn = then;
        let inventory = seen(
            vec![reading(crashing("api"), &[&keys], 1)],
            vec![live],
            vec![held],
        );
        go(&to_release(&["api"]), &inventory, &platform)
    };
    let plan = of(Some(drawn("uuid/two")), Some(drawn("uuid/one"))).unwrap();
    let [first, wait, write, ..] = plan.steps.as_slice() else {
        panic!("{:?}", plan.steps)
    };
    assert_eq!(
        (first.id.as_str(), &first.reversal),
        ("config:secret/keys", &Reversal::Exact)
    );
    assert_eq!(
        (wait.id.as_str(), &wait.reversal),
        ("drawn:secret/keys", &Reversal::Nothing)
    );
    assert_eq!(wait.after, std::slice::from_ref(&first.id));
    assert!(write.after.contains(&first.id) && write.after.contains(&wait.id));
    let refusal = |now: Option<Drawn>, then: Option<Drawn>, words: &[&str]| {
        let (code, said) = refused(of(now, then));
        assert_eq!(code, code::MADE_FROM, "{said}");
        for words in words {
            assert!(said.contains(words), "no {words:?}: {said}");
        }
    };
    let one = || Some(drawn("uuid/one"));
    refusal(None, one(), &["which writes it again"]);
    let pin = "\"path\":\"/spec/data/0/remoteRef/version\",\"value\":\"uuid/one\"";
    refusal(
        Some(drawn("AWSPREVIOUS")),
        one(),
        &["says AWSPREVIOUS", "never AWSPREVIOUS", pin],
    );
    refusal(one(), None, &["it was recorded without them", "ID-OF-prod/db"]);
    refusal(
        one(),
        Some(drawn("latest")),
        &["they were not named by their ids then"],
    );
    refusal(
        one(),
        one(),
        &["names the versions of then already", "force-sync"],
    );
    let mut once = drawn("uuid/two");
    once.once = true;
    refusal(Some(once), one(), &["CreatedOnce"]);
}

#[test]
fn what_pods_mount_of_a_provider_is_told_with_its_versions_and_who_changed_it_since() {
    let text = "- objectName: \"prod/db\"\n  objectType: \"secretsmanager\"\n  objectVersion: \"1f0c\"\n- objectName: prod/api\n  \
                objectVersionLabel: AWSCURRENT\n- objectName: prod/more\n";
    let part = |name: &str, version: Option<&str>, label: Option<&str>| ClassPart {
        name: name.to_owned(),
        version: version.map(str::to_owned),
        label: label.map(str::to_owned),
    };
    let parts = ClassPart::read(text);
    assert_eq!(
        parts,
        [
            part("prod/db", Some("1f0c"), None),
            part("prod/api", None, Some("AWSCURRENT")),
            part("prod/more", None, None),
        ]
    );
    let google = "- resourceName: projects/p/secrets/s/versions/7\n  path: s\n";
    assert_eq!(ClassPart::read(google)[0].version.as_deref(), Some("7"));
    let mounts = |json: &mut Value| {
        json["spec"]["volumes"] = json!([{"name": "db", "csi": {"driver": "secrets-store.csi.x-k8s.io",
            "volumeAttributes": {"secretProviderClass": "db-class"}}}]);
    };
    let mut inventory = seen(vec![changed(crashing("api"), &mounts, 1)], Vec::new(), Vec::new());
    assert_eq!(
        astern_plan::mounted_classes(&inventory)
            .into_iter()
            .collect::<Vec<_>>(),
        ["db-class"]
    );
    let warned = |inventory: &_| {
        let plan = go(&to_release(&["api"]), inventory, &platform()).unwrap();
        let told = plan
            .warnings
            .into_iter()
            .find(|warning| warning.contains("db-class"));
        told.unwrap_or_else(|| panic!("nothing is said of the class"))
    };
    assert!(warned(&inventory).contains("could not be read"));
    let manager = |time: &str| {
        Some(FieldManager {
            name: "argocd".to_owned(),
            operation: "Apply".to_owned(),
            at: Some(at(time)),
        })
    };
    let class = |time: &str, parts: Vec<ClassPart>| ClassSeen {
        name: "db-class".to_owned(),
        parts,
        manager: manager(time),
    };
    inventory.config.classes = vec![class("13:59:00", parts)];
    let told = warned(&inventory);
    for words in [
        "prod/db at version 1f0c",
        "prod/api at AWSCURRENT, which moves",
        "changed by argocd at 2026-11-23 13:59:00 UTC, after release r1 was recorded",
        "put the version ids of then in place, kubectl edit secretproviderclass db-class",
    ] {
        assert!(told.contains(words), "no {words:?}: {told}");
    }
    inventory.config.classes = vec![class("13:00:00", vec![part("prod/more", None, None)])];
    let told = warned(&inventory);
    assert!(
        told.contains("is as it was when release r1 was recorded"),
        "{told}"
    );
    assert!(told.contains("it names no version by its id"), "{told}");
}
