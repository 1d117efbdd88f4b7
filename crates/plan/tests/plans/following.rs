//! Whether what Flux would apply once it goes on is what runs: what is named, what cannot be told, and what follows.

use crate::in_force::release;
use crate::support::{NAMESPACE, deployment, inventory, template, workload};
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::id::Uid;
use astern_model::inventory::Inventory;
use astern_model::owner::{InSync, OwnerName, OwnerSeen, PausableKind};
use astern_model::source::{Folder, FolderManifests, Manifest, NextChart, Reach, Upcoming};
use astern_model::target::Target;
use astern_model::workload::{Owner, OwnerKind, OwnerState};
use astern_plan::{Applied, Beside, Changes, ConfigSeen, InForceOf, changes, chart_in_sync, in_sync};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn shop() -> OwnerName {
    OwnerName {
        kind: PausableKind::Kustomization,
        namespace: "flux".to_owned(),
        name: "shop".to_owned(),
    }
}

fn upcoming() -> Upcoming {
    Upcoming {
        fetched: Folder {
            repository: "https://git.example.test/shop/deploy.git".to_owned(),
            commit: "3f2a".repeat(10),
            path: "deploy".to_owned(),
            reach: Reach::Flux,
            sets_templates: false,
        },
        follows: "refs/heads/main".to_owned(),
        suspended: false,
        namespace: None,
        prunes: true,
        manager: "kustomize-controller",
        fetch: "flux reconcile source git shop -n flux".to_owned(),
    }
}

fn said(kind: &str, name: &str, json: Value) -> Manifest {
    Manifest {
        file: "deploy/all.yaml".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        namespace: None,
        json: Ok(json),
    }
}

fn by_shop() -> Owner {
    Owner {
        kind: OwnerKind::Flux,
        name: "shop".to_owned(),
        known_by: "its labels".to_owned(),
        state: OwnerState::Passive {
            because: "spec.suspend: true".to_owned(),
        },
        object: Some(shop()),
    }
}

/// What runs is version v1, and reads ConfigMap `app-config`.
fn runs() -> Inventory {
    inventory(vec![workload("api").revision(1, "v1", "2026-11-19T10:00:00Z")])
}

fn would(version: &str) -> BTreeMap<Target, Result<Applied, String>> {
    let object = json!({"spec": {"template": template("api", version)}});
    BTreeMap::from([(deployment("api"), Ok(Applied::of(&object)))])
}

fn config_seen<'a>((name, (_, json)): (&'a ConfigName, &'a (&str, Value))) -> ConfigSeen<'a> {
    let managed = json.pointer("/metadata/managedFields").and_then(Value::as_array);
    ConfigSeen {
        name,
        json,
        managed: managed.map(Vec::as_slice).unwrap_or_default(),
    }
}

fn found(
    objects: Vec<Manifest>,
    applied: &BTreeMap<Target, Result<Applied, String>>,
    config: &[(&str, Value)],
) -> Changes {
    found_in(&runs(), objects, applied, config)
}

fn found_in(
    inventory: &Inventory,
    objects: Vec<Manifest>,
    applied: &BTreeMap<Target, Result<Applied, String>>,
    config: &[(&str, Value)],
) -> Changes {
    let names: Vec<ConfigName> = config
        .iter()
        .map(|(name, json)| ConfigName {
            kind: match json["kind"].as_str() {
                Some("Secret") => ConfigKind::Secret,
                _ => ConfigKind::ConfigMap,
            },
            name: (*name).to_owned(),
        })
        .collect();
    let config: Vec<ConfigSeen<'_>> = names.iter().zip(config).map(config_seen).collect();
    let said = FolderManifests {
        objects,
        unread: Vec::new(),
    };
    let beside = Beside {
        owner: &shop(),
        upcoming: &upcoming(),
        said: &said,
        applied,
        config: Some(&config),
    };
    changes(&beside, inventory)
}

fn changed(differs: &[&str], untold: &[&str]) -> Changes {
    let owned = |told: &[&str]| told.iter().map(|text| (*text).to_owned()).collect();
    Changes {
        differs: owned(differs),
        untold: owned(untold),
    }
}

fn of_shop() -> Value {
    json!({"kustomize.toolkit.fluxcd.io/name": "shop", "kustomize.toolkit.fluxcd.io/namespace": "flux"})
}

#[test]
fn what_would_be_written_back_is_named_place_by_place_and_no_value_of_a_config_map() {
    let api = || said("Deployment", "api", json!({}));
    assert_eq!(found(vec![api()], &would("v1"), &[]), Changes::default());
    let image = "deployment/api containers[api].image: registry.test/api:v1 → registry.test/api:v2";
    assert_eq!(found(vec![api()], &would("v2"), &[]), changed(&[image], &[]));

    let config = |mode: &str| json!({"data": {"MODE": mode, "KEPT": "x"}});
    let app = |mode| said("ConfigMap", "app-config", config(mode));
    let live = [("app-config", config("calm"))];
    assert_eq!(
        found(vec![api(), app("calm")], &would("v1"), &live),
        Changes::default()
    );
    let key = "configmap/app-config data[MODE]";
    assert_eq!(
        found(vec![api(), app("storm")], &would("v1"), &live),
        changed(&[key], &[])
    );
    // Another namespace's is none of this platform.
    let elsewhere = Manifest {
        namespace: Some("other".to_owned()),
        ..app("storm")
    };
    assert_eq!(
        found(vec![api(), elsewhere], &would("v1"), &live),
        Changes::default()
    );
    let here = Manifest {
        namespace: Some(NAMESPACE.to_owned()),
        ..app("storm")
    };
    assert_eq!(
        found(vec![api(), here], &would("v1"), &live),
        changed(&[key], &[])
    );
}

#[test]
fn what_is_made_anew_and_what_would_be_deleted_though_it_is_read_count_as_well() {
    let api = || said("Deployment", "api", json!({}));
    let new = said("Deployment", "new", json!({}));
    assert_eq!(
        found(vec![api(), new], &would("v1"), &[]),
        changed(&["deployment/new is made, which is not there"], &[])
    );
    let ours = json!({"metadata": {"labels": of_shop()}});
    let deleted = "configmap/app-config, which is read, is deleted, since no file there makes it";
    assert_eq!(
        found(vec![api()], &would("v1"), &[("app-config", ours.clone())]),
        changed(&[deleted], &[])
    );
    assert_eq!(
        found(vec![api()], &would("v1"), &[("unread", ours)]),
        Changes::default()
    );
}

#[test]
fn what_flux_leaves_alone_in_the_files_or_on_the_object_is_not_deleted() {
    let marked = |name: &str, value: &str| json!({"metadata": {"annotations": {(name): value}}});
    let alone = [
        ("kustomize.toolkit.fluxcd.io/reconcile", "disabled"),
        ("kustomize.toolkit.fluxcd.io/ssa", "IfNotPresent"),
        ("kustomize.toolkit.fluxcd.io/ssa", "Ignore"),
    ];
    let of_shop_too = |mut json: Value| {
        json["metadata"]["labels"] = of_shop();
        [("app-config", json)]
    };
    let shops = {
        let mut inventory = runs();
        let api = inventory.workloads.get_mut(&deployment("api")).unwrap();
        api.owners.push(by_shop());
        inventory
    };
    for (name, value) in alone {
        let files = vec![
            said("Deployment", "api", marked(name, value)),
            said("ConfigMap", "app-config", marked(name, value)),
        ];
        let live = of_shop_too(json!({}));
        assert_eq!(
            found_in(&shops, files, &would("v2"), &live),
            Changes::default(),
            "{name}"
        );
    }
    let deleted = "deployment/api is deleted, since no file there makes it";
    let elsewhere = || vec![said("ConfigMap", "app-config", json!({}))];
    assert_eq!(
        found_in(&shops, elsewhere(), &would("v1"), &of_shop_too(json!({}))),
        changed(&[deleted], &[])
    );
    let mut kept = shops;
    let api = kept.workloads.get_mut(&deployment("api")).unwrap();
    let prune = "kustomize.toolkit.fluxcd.io/prune";
    api.annotations.insert(prune.to_owned(), "disabled".to_owned());
    let live = of_shop_too(marked(prune, "disabled"));
    assert_eq!(
        found_in(&kept, Vec::new(), &would("v1"), &live),
        Changes::default()
    );
}

#[test]
fn a_key_that_no_file_says_goes_only_where_flux_or_kubectl_has_written_it() {
    let check = |managers: &[&str], ssa: &str, differs: &[&str], untold: &[&str]| {
        let entry = |manager: &&str| json!({"manager": manager, "operation": "Apply", "fieldsV1": {"f:data": {"f:ca.crt": {}}}});
        let managed: Vec<Value> = managers.iter().map(entry).collect();
        let live = json!({
            "metadata": {"managedFields": managed, "annotations": {"kustomize.toolkit.fluxcd.io/ssa": ssa}},
            "data": {"MODE": "calm", "ca.crt": "injected"},
        });
        let files = vec![
            said("Deployment", "api", json!({})),
            said("ConfigMap", "app-config", json!({"data": {"MODE": "calm"}})),
        ];
        let told = found(files, &would("v1"), &[("app-config", live)]);
        assert_eq!(told, changed(differs, untold), "{managers:?}");
    };
    let key = "configmap/app-config data[ca.crt]";
    check(&["kustomize-controller"], "", &[key], &[]);
    check(&["kubectl-edit"], "", &[key], &[]);
    check(&["cert-manager-cainjector"], "", &[], &[]);
    check(&["kustomize-controller", "cert-manager-cainjector"], "", &[], &[]);
    check(&["kubectl-edit"], "Merge", &[], &[]);
    let at = "configmap/app-config (deploy/all.yaml): data[ca.crt]";
    let ours = format!("{at} stands by a run's write alone, and the file does not say it");
    check(&["astern", "kustomize-controller"], "", &[], &[&ours]);
    let unknown = format!("{at} is not said by the file, and who has written it is not known");
    check(&[], "", &[], &[&unknown]);
}

#[test]
fn what_cannot_be_told_is_said_and_never_taken_for_the_same() {
    let untold = Manifest {
        json: Err("deploy/k.yaml has components".to_owned()),
        ..said("Deployment", "api", json!({}))
    };
    let why = "deployment/api (deploy/all.yaml): deploy/k.yaml has components";
    assert_eq!(found(vec![untold], &BTreeMap::new(), &[]), changed(&[], &[why]));
    let refused = BTreeMap::from([(deployment("api"), Err("it may not be patched".to_owned()))]);
    let api = said("Deployment", "api", json!({}));
    assert_eq!(
        found(vec![api], &refused, &[]),
        changed(&[], &["deployment/api (deploy/all.yaml): it may not be patched"])
    );
    let secret = json!({"kind": "Secret", "metadata": {"labels": of_shop(), "annotations": {"astern.dev/effect": "x"}}});
    let why = "secret/db was put back by a run, and no value of a Secret is read from Git";
    let api = said("Deployment", "api", json!({}));
    assert_eq!(
        found(vec![api], &would("v1"), &[("db", secret)]),
        changed(&[], &[why])
    );
    // What Flux leaves alone is not compared.
    let alone = json!({"metadata": {"annotations": {"kustomize.toolkit.fluxcd.io/reconcile": "disabled"}}});
    assert_eq!(
        found(vec![said("ConfigMap", "gone", alone)], &would("v1"), &[]),
        Changes::default()
    );
}

#[test]
fn what_a_run_wrote_and_no_file_says_is_left_by_flux_and_told() {
    let owned = |manager: &str, env: Value| {
        let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"api\"}": {
            ".": {}, "f:image": {}, "f:env": env,
        }}}}}});
        json!({"manager": manager, "fieldsV1": fields})
    };
    let tier = json!({"k:{\"name\":\"TIER\"}": {".": {}, "f:name": {}, "f:value": {}}});
    let object = |said: Value| {
        json!({
            "metadata": {"managedFields": [owned("astern", tier.clone()), owned("kustomize-controller", said)]},
            "spec": {"template": template("api", "v1")},
        })
    };
    let applied = |said: Value| BTreeMap::from([(deployment("api"), Ok(Applied::of(&object(said))))]);
    let api = || said("Deployment", "api", json!({}));
    assert_eq!(
        found(vec![api()], &applied(tier.clone()), &[]),
        Changes::default()
    );
    let why = "deployment/api (deploy/all.yaml): spec.containers[api].env[TIER] stands by a run's write alone, and the file does not say it";
    assert_eq!(found(vec![api()], &applied(json!({})), &[]), changed(&[], &[why]));
}

#[test]
fn what_kubectl_has_written_and_no_file_says_is_taken_away_by_flux() {
    let entry = |manager: &str, operation: &str, template: Value| {
        json!({"manager": manager, "operation": operation,
        "fieldsV1": {"f:spec": {"f:template": template}}})
    };
    let env = || {
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"api\"}": {"f:env": {
            ".": {}, "k:{\"name\":\"HOTFIX\"}": {".": {}, "f:name": {}, "f:value": {}},
        }}}}})
    };
    let restart =
        || json!({"f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/restartedAt": {}}}});
    let by_file = || {
        let fields = json!({"f:metadata": {"f:labels": {"f:app": {}}}, "f:spec": {"f:containers": {"k:{\"name\":\"api\"}": {
            ".": {}, "f:name": {}, "f:image": {},
        }}}});
        entry("kustomize-controller", "Apply", fields)
    };
    let check = |others: Vec<Value>, ssa: &str, differs: &[&str], untold: &[&str]| {
        let managed: Vec<Value> = others.into_iter().chain([by_file()]).collect();
        let object = json!({
            "metadata": {"managedFields": managed, "annotations": {"kustomize.toolkit.fluxcd.io/ssa": ssa}},
            "spec": {"template": template("api", "v1")},
        });
        let applied = BTreeMap::from([(deployment("api"), Ok(Applied::of(&object)))]);
        let api = said("Deployment", "api", json!({}));
        assert_eq!(found(vec![api], &applied, &[]), changed(differs, untold));
    };
    let hotfix = "deployment/api spec.containers[api].env, which kubectl has written and Flux takes away";
    check(vec![entry("kubectl-set", "Update", env())], "", &[hotfix], &[]);
    check(vec![entry("kubectl", "Apply", env())], "", &[hotfix], &[]);
    check(
        vec![entry("before-first-apply", "Update", env())],
        "",
        &[hotfix],
        &[],
    );
    // Somebody else's is left, and so is all of an object that is merged.
    check(vec![entry("lens", "Update", env())], "", &[], &[]);
    check(
        vec![
            entry("kubectl-set", "Update", env()),
            entry("lens", "Update", env()),
        ],
        "",
        &[],
        &[],
    );
    check(vec![entry("kubectl-set", "Update", env())], "merge", &[], &[]);
    // With kubectl's part gone it stands by a run's write alone.
    let ours = "deployment/api (deploy/all.yaml): spec.containers[api].env stands by a run's write alone, and the file does not say it";
    check(
        vec![
            entry("kubectl-set", "Update", env()),
            entry("astern", "Update", env()),
        ],
        "",
        &[],
        &[ours],
    );
    // No other version, though pods start anew: somebody's word is enough.
    let anew = "deployment/api (deploy/all.yaml): Flux takes the mark of kubectl's restart away, so that its pods start anew";
    check(
        vec![entry("kubectl-rollout", "Update", restart())],
        "",
        &[],
        &[anew],
    );
    // What the API server has filled in is filled in again.
    let made = json!({"f:spec": {"f:restartPolicy": {}, "f:dnsPolicy": {}}});
    let remade = "deployment/api (deploy/all.yaml): kubectl has made it anew, and what of it the file does not say is taken away by Flux or filled in again";
    check(vec![entry("kubectl-create", "Update", made)], "", &[], &[remade]);
}

#[test]
fn an_owner_goes_on_where_both_what_is_fetched_and_what_is_newest_say_what_runs() {
    let same = Changes::default();
    let differs = changed(&["deployment/api containers[api].image: api:v1 → api:v2"], &[]);
    let untold = changed(&[], &["not looked into: deploy/x.yaml"]);
    let newest = "9b42".repeat(10);
    let check = |fetched: &Changes, at_newest: Option<&Changes>, expected: &str| {
        let newest = at_newest.map(|changes| (newest.as_str(), changes));
        let told = match in_sync(&upcoming(), fetched, newest) {
            InSync::Yes { revision } => format!("yes {}", &revision[..4]),
            InSync::No { says } => says,
            InSync::Untold { why } => format!("untold {why}"),
        };
        assert_eq!(told, expected);
    };
    let back = "it would write back: deployment/api containers[api].image: api:v1 → api:v2";
    check(&same, None, "yes 3f2a");
    check(&same, Some(&same), "yes 9b42");
    check(&differs, None, &format!("at 3f2a3f2a3f2a {back}"));
    // Merged, and not fetched yet.
    let fetch = "9b429b429b42 says what runs, and is not fetched yet (`flux reconcile source git shop -n flux` fetches it at once)";
    check(&differs, Some(&same), &format!("at 3f2a3f2a3f2a {back}; {fetch}"));
    // Good when it was fetched, and released again since.
    check(&same, Some(&differs), &format!("at 9b429b429b42 {back}"));
    check(&untold, Some(&same), "untold not looked into: deploy/x.yaml");
    check(&same, Some(&untold), "untold not looked into: deploy/x.yaml");
    check(&untold, Some(&differs), &format!("at 9b429b429b42 {back}"));
}

#[test]
fn what_a_suspended_source_would_fetch_is_told_and_left_to_a_person() {
    let differs = changed(&["deployment/api containers[api].image: api:v1 → api:v2"], &[]);
    let suspended = Upcoming {
        suspended: true,
        ..upcoming()
    };
    let newest = "9b42".repeat(10);
    let check = |fetched: &Changes, expected: InSync| {
        assert_eq!(in_sync(&suspended, fetched, Some((&newest, &differs))), expected);
    };
    let back = "it would write back: deployment/api containers[api].image: api:v1 → api:v2";
    let why = format!("its GitRepository is suspended, and once that goes on: at 9b429b429b42 {back}");
    check(&Changes::default(), InSync::Untold { why });
    let says = format!("at 3f2a3f2a3f2a {back}");
    check(&differs, InSync::No { says });
}

#[test]
fn a_chart_is_what_runs_only_where_config_maps_hold_what_the_record_says() {
    let name = |name: &str| ConfigName {
        kind: ConfigKind::ConfigMap,
        name: name.to_owned(),
    };
    let release = release(&[("deployed", "2026-11-19T10:00:00Z", Some("v1"), None)]);
    let next = NextChart {
        release: release.name.clone(),
        chart: "shop-1.0.0".to_owned(),
        values: json!({}),
    };
    let seen = OwnerSeen {
        name: OwnerName {
            kind: PausableKind::HelmRelease,
            ..shop()
        },
        uid: Uid("uid-shop".to_owned()),
        state: by_shop().state,
        setting: json!(true),
        parents: Vec::new(),
        paused: None,
        in_sync: None,
        scales: None,
    };
    let config = (
        name("app-config"),
        json!({"data": {"MODE": "calm", "ca.crt": "injected"}}),
    );
    let live = [ConfigSeen {
        name: &config.0,
        json: &config.1,
        managed: &[],
    }];
    let check = |said: &[(&str, Result<Value, String>)], live: Option<&[ConfigSeen<'_>]>, expected: &str| {
        let contents = said.iter().map(|(of, said)| (name(of), said.clone())).collect();
        let in_force = InForceOf {
            release: &release,
            values: &json!({}),
            contents: &contents,
        };
        let told = match chart_in_sync(&seen, &next, &in_force, live, &runs()) {
            InSync::Yes { revision } => format!("yes {revision}"),
            InSync::No { says } => says,
            InSync::Untold { why } => format!("untold {why}"),
        };
        assert_eq!(told, expected);
    };
    let holds = |mode: &str| Ok(json!({"data": {"MODE": mode}}));
    check(&[], None, "yes shop-1.0.0");
    check(&[("app-config", holds("calm"))], Some(&live), "yes shop-1.0.0");
    check(&[("filled", Ok(json!({})))], Some(&live), "yes shop-1.0.0");
    let other = "untold revision 1 of helm/shop: configmap/app-config holds something else";
    check(&[("app-config", holds("storm"))], Some(&live), other);
    let gone = "untold revision 1 of helm/shop: configmap/gone is not there";
    check(&[("gone", holds("calm"))], Some(&live), gone);
    let unread = "untold revision 1 of helm/shop: configmap/app-config could not be read";
    check(&[("app-config", holds("calm"))], None, unread);
    let odd = "untold revision 1 of helm/shop: configmap/app-config: its data is no map in the manifest";
    let why = Err("its data is no map in the manifest".to_owned());
    check(&[("app-config", why)], Some(&live), odd);
}
