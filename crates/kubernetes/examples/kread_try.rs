use astern_kubernetes::connect::*; use astern_kubernetes::look::ClusterLook; use astern_port::cluster::Look;
use astern_model::question::*; use std::time::Instant;
#[tokio::main]
async fn main() {
    let ns = std::env::args().nth(1).unwrap();
    let c = connect(&ConnectOptions::default()).await.unwrap_or_else(|e| panic!("{e} / {}", e.hint()));
    let look = ClusterLook::new(c);
    let t = Instant::now();
    let inv = match look.inventory(&ns).await { Ok(i)=>i, Err(e)=>{ println!("{e} hint {:?} {:?}", e.hint, e.class); return; } };
    eprintln!("inventory {:?}", t.elapsed());
    println!("{:#?} {:?} {:?} {:?}", inv.cluster, inv.unread, inv.quotas, inv.cordoned_nodes);
    let mut qs = vec![];
    for w in inv.workloads.values() {
        println!("== {} {} desired {} status {:?} strat {:?} mgr {:?} owners {:?} hpa {:?} ann {:?} la {}", w.target, w.version(), w.desired, w.status, w.strategy, w.template_manager, w.owners, w.autoscaler, w.annotations, w.has_last_applied);
        println!("   live {:?}", w.live_revision().map(|r| (r.number, &r.name)));
        for r in &w.revisions { println!("   rev {} {:?} {} {} pods {} ready {} since {:?} cause {:?} marks {:?}", r.number, r.former_numbers, r.name, r.version(), r.pods, r.ready, r.serving_since, r.change_cause, r.marks);
            let key = RevisionKey { name: r.name.clone(), template: r.hash.clone() };
            qs.push(Question::WriteAccepted{target: w.target.clone(), revision: key.clone()});
            qs.push(Question::PodAccepted{target: w.target.clone(), revision: key});
            for i in r.template.images() { qs.push(Question::ImageListed{image: i.reference, node_selector: Default::default()}); }
        }
        for p in &w.pods { println!("   pod {} rev {} node {:?} ready {} since {:?} restarts {} trouble {:?} failing {:?} ids {:?}", p.name, p.revision.is_some(), p.node, p.ready, p.ready_since, p.restarts, p.trouble, p.failing, p.image_ids); }
    }
    for e in &inv.evidence { println!("{} {:?} {:?} {:?}", e.subject, e.side, e.fact, e.source); }
    qs.push(Question::MayI{verb:"update".into(), group:"apps".into(), resource:"deployments".into(), namespace: ns.clone()});
    qs.push(Question::MayI{verb:"get".into(), group:"".into(), resource:"pods/log".into(), namespace: ns.clone()});
    qs.push(Question::LockFree{namespace: ns.clone()});
    for (k, n, keys) in [(ReferenceKind::ConfigMap,"kube-root-ca.crt",vec!["ca.crt".to_owned(),"x".to_owned()]),(ReferenceKind::Secret,"s",vec!["a".into()]),(ReferenceKind::Secret,"nope",vec![]),(ReferenceKind::ServiceAccount,"default",vec![]),(ReferenceKind::PriorityClass,"system-node-critical",vec![]),(ReferenceKind::RuntimeClass,"x",vec![])] {
        qs.push(Question::Exists{kind:k, namespace: ns.clone(), name: n.into(), keys});
    }
    let t = Instant::now();
    let a = look.answer(&inv, &qs).await;
    eprintln!("{} answers {:?}", qs.len(), t.elapsed());
    for q in &qs { println!("{q:?} => {:?}", a.get(q)); }
    let targets: Vec<_> = inv.workloads.keys().cloned().collect();
    let t = Instant::now();
    let r = look.changed(&targets, jiff::SignedDuration::from_secs(3)).await;
    eprintln!("changed {r:?} {:?}", t.elapsed());
}
