//! What quotas say is used. Refusing is admission's.

use crate::api::admission::{hard, used};
use crate::cluster::Cluster;
use crate::store::Key;
use serde_json::{Map, Value, json};

pub(super) fn reconcile(cluster: &mut Cluster, key: &Key) {
    let Some(quota) = cluster.store.get(key).cloned() else {
        return;
    };
    let hard = hard(&quota);
    let used: Map<String, Value> = used(cluster, &key.namespace, &hard)
        .into_iter()
        .map(|(resource, amount)| (resource, amount.to_string().into()))
        .collect();
    cluster.modify(key, |quota| {
        quota["status"] = json!({"hard": quota["spec"]["hard"], "used": used});
    });
}
