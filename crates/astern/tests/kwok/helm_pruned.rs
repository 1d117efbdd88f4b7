//! Helm releases whose templates of then the cluster has pruned: foretold from Helm's records by a dry run, gone back to by the real
//! helm programs, and held against what stands afterwards.

use crate::config::with_rights;
use crate::gate::Policy;
use crate::helm::{Shop, helms, status};
use crate::input::own_user;
use crate::rehearsal::writes;
use crate::support::{Done, ended};
use astern_model::template::Template;
use serde_json::{Value, json};
use std::path::Path;

const ALL: [&str; 3] = ["deployment/api", "statefulset/db", "daemonset/agent"];

/// Three kinds of workloads that the cluster remembers one earlier revision of. Version 1 has a probe, a variable and a volume that no
/// later one has, and later ones have a sidecar.
const WORKLOAD: &str = r#"apiVersion: apps/v1
kind: KIND
metadata: {name: NAME}
spec:
  revisionHistoryLimit: 1
  selector: {matchLabels: {app: NAME}}
EXTRA
  template:
    metadata:
      labels:
        app: NAME
        {{- if and .Values.crash (eq "NAME" "api") }}
        kwok.astern.dev/crash-loop: "true"
        {{- end }}
      annotations:
        team: shop
        {{- if ne .Values.tag "v1" }}
        introduced: {{ .Values.tag }}
        {{- end }}
    spec:
      containers:
      - name: NAME
        image: "NAME:{{ .Values.tag }}"
        ports: [{containerPort: 8080}]
        resources: {requests: {cpu: "0.1", memory: 65536Ki}}
        env:
        - {name: LEVEL, value: {{ .Values.tag | quote }}}
        {{- if eq .Values.tag "v1" }}
        - {name: ONLY_THEN, value: "yes"}
        readinessProbe: {httpGet: {path: /ready, port: 8080}}
        volumeMounts: [{name: scratch, mountPath: /scratch}]
        {{- end }}
      {{- if ne .Values.tag "v1" }}
      - {name: sidecar, image: "sidecar:{{ .Values.tag }}"}
      {{- else }}
      volumes: [{name: scratch, emptyDir: {}}]
      {{- end }}
"#;

fn pruned(name: &str, helm: &Path) -> Shop {
    let shop = Shop::new(name, helm);
    let templates = shop.place.file("chart/templates");
    for file in ["api.yaml", "worker.yaml", "objects.yaml"] {
        std::fs::remove_file(templates.join(file)).unwrap();
    }
    for (workload, kind, extra) in [
        (
            ALL[0],
            "Deployment",
            "  replicas: 2\n  strategy: {type: Recreate}",
        ),
        (ALL[1], "StatefulSet", "  replicas: 1\n  serviceName: db"),
        (ALL[2], "DaemonSet", "  minReadySeconds: 0"),
    ] {
        let (_, name) = workload.split_once('/').unwrap();
        let text = WORKLOAD
            .replace("KIND", kind)
            .replace("NAME", name)
            .replace("EXTRA", extra);
        std::fs::write(templates.join(format!("{name}.yaml")), text).unwrap();
    }
    std::fs::write(shop.place.file("chart/values.yaml"), "tag: v1\ncrash: false\n").unwrap();
    shop.helm(&["install", "shop", "./chart"]);
    ready(&shop);
    shop
}

fn ready(shop: &Shop) {
    for workload in ALL {
        shop.place
            .kubectl(&["rollout", "status", workload, "--timeout=120s"]);
    }
    // Longer than it takes to be presumed good.
    std::thread::sleep(std::time::Duration::from_millis(1500));
}

fn upgrade(shop: &Shop, set: &str) {
    shop.helm(&["upgrade", "shop", "./chart", "--set", set]);
}

fn template(shop: &Shop, workload: &str) -> Template {
    Template::clean(shop.place.get(workload)["spec"]["template"].clone())
}

/// Whether the cluster keeps a template of the api with this image.
fn is_remembered(shop: &Shop, image: &str) -> bool {
    shop.place
        .kubectl(&["get", "replicasets", "-o", "yaml"])
        .contains(image)
}

fn crashes(shop: &Shop, set: &str) {
    upgrade(shop, set);
    shop.place.until("the crash loop", 60, |place| {
        place
            .kubectl(&["get", "pods", "-l", "app=api"])
            .contains("CrashLoopBackOff")
    });
}

/// The templates that a plan says its workloads ask for once helm has gone back.
fn foretold(plan: &Value) -> Vec<(String, String)> {
    let steps = plan["steps"].as_array().unwrap();
    let release = steps
        .iter()
        .find(|step| step["id"] == "release:helm/shop")
        .unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let carried = |one: &Value| {
        assert_eq!(one["to"]["kind"], "HelmRecord", "{one:#}");
        (text(&one["target"]["name"]), text(&one["to"]["template"]))
    };
    release["spec"]["workloads"]
        .as_array()
        .unwrap()
        .iter()
        .map(carried)
        .collect()
}

#[test]
fn a_release_goes_back_to_templates_that_the_cluster_has_pruned_and_they_stand_as_foretold() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = pruned(&format!("helm-pruned-{at}"), helm);
        for tag in ["v2", "v3"] {
            upgrade(&shop, &format!("tag={tag}"));
            ready(&shop);
        }
        crashes(&shop, "tag=v4,crash=true");
        shop.place.until("the first ReplicaSet to be pruned", 60, |_| {
            !is_remembered(&shop, "api:v1")
        });
        // Somebody tries to help beside helm: neither manifest says anything of it.
        shop.place.kubectl(&[
            "set",
            "env",
            "deployment/api",
            "BY_HAND=stays",
            "--containers=api",
        ]);
        let (config, user) = own_user(&shop.place);
        let planned = |words: &[&str]| -> Done {
            let mut command = shop.place.command(&config, words);
            ended(command.env("ASTERN_HELM", &shop.helm)).into()
        };
        let told = planned(&["plan", "--to", "helm/shop=1"]).expect(0);
        for words in [
            "from Helm's record of shop revision 1, deployed 20",
            "the cluster remembers no replicaset of it",
            "the cluster remembers no controllerrevision of it",
            "Helm's revision 1",
            "nothing tells how its pods fared",
            "named by --to helm/shop=1",
        ] {
            assert!(told.out.contains(words), "{words}\n{}", told.out);
        }
        let plan = planned(&["plan", "--to", "helm/shop=1", "-o", "json"])
            .expect(0)
            .json();
        // Nothing but the key by which hidden values are compared.
        let key = format!(
            "\"create\" \"/api/v1/namespaces/{}/secrets?\"",
            shop.place.namespace
        );
        assert_eq!(writes(&user), [key]);
        let foretold = foretold(&plan);
        assert_eq!(foretold.len(), ALL.len(), "{foretold:?}");
        let why = ["--yes", "--reason", "v4 crashes"];
        shop.astern(&[&["rollback", "--to", "helm/shop=1"][..], &why].concat())
            .expect(0);
        for workload in ALL {
            let (_, name) = workload.split_once('/').unwrap();
            let (_, hash) = foretold.iter().find(|(of, _)| of == name).unwrap();
            assert_eq!(template(&shop, workload).hash().as_str(), hash, "{workload}");
            let image = template(&shop, workload).images()[0].reference.clone();
            assert_eq!(image, format!("{name}:v1"));
        }
        let env = template(&shop, "deployment/api").json()["spec"]["containers"][0]["env"].to_string();
        for variable in ["BY_HAND", "ONLY_THEN"] {
            assert!(env.contains(variable), "{variable}: {env}");
        }
        let history = shop.history();
        assert_eq!(status(&history)[4], (5, "deployed"), "{history:?}");
    }
}

/// Version 1 has served and is pruned; version 2 crashes.
fn nothing_remembered(name: &str, helm: &Path) -> Shop {
    let shop = pruned(name, helm);
    crashes(&shop, "tag=v2,crash=true");
    let old = shop.place.get("replicasets");
    for replica_set in old["items"].as_array().unwrap() {
        if replica_set.to_string().contains("api:v1") {
            let name = format!("replicaset/{}", replica_set["metadata"]["name"].as_str().unwrap());
            shop.place.kubectl(&["delete", &name]);
        }
    }
    shop
}

#[test]
fn without_a_remembered_revision_helms_records_say_what_was_deployed_long_enough() {
    for (at, helm) in helms().iter().enumerate() {
        let shop = nothing_remembered(&format!("helm-evidence-{at}"), helm);
        let told = shop.astern(&["plan"]).expect(0);
        for words in [
            "presumed from Helm's record alone: helm/shop had it for",
            "nothing tells how its pods fared",
            "roll helm/shop back from revision 2 to 1 with helm",
        ] {
            assert!(told.out.contains(words), "{words}\n{}", told.out);
        }
        shop.astern(&["plan", "-o", "plan.json"]).expect(0);
        // What is foretold depends on what stands, and is asked again before the run.
        let marked = [
            "set",
            "env",
            "deployment/api",
            "BY_HAND=later",
            "--containers=api",
        ];
        shop.place.kubectl(&marked);
        let moved = shop.astern(&["run", "plan.json", "--yes", "--reason", "v2 crashes"]);
        let moved = moved.expect(3);
        assert!(
            (moved.out + &moved.err).contains("AST0213"),
            "the plan was made before somebody's hand"
        );
        let why = ["--to", "helm/shop=1", "--yes", "--reason", "v2 crashes"];
        shop.astern(&[&["rollback"][..], &why].concat()).expect(0);
        assert_eq!(shop.place.image("api"), "api:v1");
    }
}

#[test]
fn what_stands_otherwise_than_it_was_foretold_is_never_called_restored() {
    let mut shop = nothing_remembered("helm-otherwise", &helms()[1]);
    // Between astern and helm stands one that changes the template once helm has gone back.
    let between = shop.place.file("helm-between");
    let script = format!(
        "#!/bin/sh\n{} \"$@\" || exit\ncase \"$*\" in *--help*) ;; rollback*|*' rollback '*) kubectl -n {} set env deployment/api LATER=x ;; esac\n",
        shop.helm.display(),
        shop.place.namespace
    );
    std::fs::write(&between, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&between, executable).unwrap();
    shop.helm = between;
    let unwinds = ["--on-failure", "unwind", "--reason", "v2 crashes"];
    let done = shop.astern(&[&["rollback", "--yes"][..], &unwinds].concat());
    assert_ne!(done.code, 0, "{done:?}");
    let told = done.out + &done.err;
    assert!(
        told.contains("its template is not the one that was to be rolled out: sha256:"),
        "{told}"
    );
    let report = shop.astern(&["report", &shop.place.run_begun()]);
    assert!(!report.out.contains("✓ restored"), "{}", report.out);
    // Helm goes forward again with what it brought.
    assert_eq!(
        status(&shop.history())[3],
        (4, "deployed"),
        "{:?}",
        shop.history()
    );
    assert_eq!(shop.place.image("api"), "api:v2");
}

#[test]
fn what_the_api_server_does_not_take_or_nobody_may_try_is_said_and_refused() {
    let shop = nothing_remembered("helm-untold", &helms()[0]);
    let named = ["plan", "--to", "helm/shop=1"];
    // Whoever may not patch a Deployment cannot have it tried as a dry run.
    let config = with_rights(&shop.place, |role| {
        role.replace(
            "resources: [deployments, statefulsets, daemonsets]\n    verbs: [patch]",
            "resources: [statefulsets, daemonsets]\n    verbs: [patch]",
        )
    });
    let refused = shop.place.astern_as(&config, &named).expect(3);
    for words in [
        "AST0111",
        "cannot patch resource \"deployments\"",
        "kubectl auth can-i patch deployments",
        "helm rollback shop 1",
    ] {
        assert!(
            (refused.out.clone() + &refused.err).contains(words),
            "{words}\n{refused:?}"
        );
    }
    let _policy = Policy::new(
        &shop.place,
        "no-v1",
        ["apps", "deployments", "UPDATE"],
        "object.spec.template.spec.containers.all(one, one.image != 'api:v1')",
        &["set", "image", "deployment/api", "api=api:v1"],
    );
    for words in [&named[..], &["plan"]] {
        let refused = shop.astern(words).expect(3);
        let told = refused.out + &refused.err;
        assert!(told.contains("the platform team forbids it"), "{words:?}\n{told}");
    }
    assert_eq!(shop.place.image("api"), "api:v2");
    let before = shop.place.get("deployment/api")["metadata"]["generation"].clone();
    assert_eq!(before, json!(2), "a dry run stores nothing");
}
