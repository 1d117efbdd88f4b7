use astern_kubernetes::connect::*; use astern_kubernetes::failure::*;
use kube::api::*; use k8s_openapi::api::apps::v1::Deployment;
#[tokio::main]
async fn main() {
    let c = connect(&ConnectOptions::default()).await.unwrap();
    let api: Api<Deployment> = Api::namespaced(c.client.clone(), "kread-try");
    for p in [serde_json::json!([{"op":"test","path":"/spec/replicas","value":9}]), serde_json::json!([{"op":"replace","path":"/spec/replicas","value":-1}]), serde_json::json!([{"op":"test","path":"/spec/nope/x","value":9}])] {
        let patch: kube::api::Patch<()> = Patch::Json(serde_json::from_value(p).unwrap());
        let e = api.patch("a", &PatchParams::default(), &patch).await.unwrap_err();
        println!("{e:?}\n => {:?}", Attempt::new(Verb::Patch, "deployments", "x").failed(&e));
    }
    let mut d = api.get("a").await.unwrap(); d.metadata.resource_version = Some("1".into());
    let e = api.replace("a", &PostParams::default(), &d).await.unwrap_err();
    println!("{e:?}\n => {:?}", Attempt::new(Verb::Update, "deployments", "x").failed(&e));
}
