//! try
use astern_port::cluster::Look; use astern_port::sense::Sense; use astern_port::vault::Vault; use astern_port::Failure;
use astern_model::content::ContentRef; use astern_model::platform::*; use std::sync::*; use jiff::SignedDuration as D;
struct V(Mutex<Vec<(String, String)>>);
#[async_trait::async_trait] impl Vault for V {
    async fn put(&self, l: &str, b: &[u8]) -> Result<ContentRef, Failure> { self.0.lock().unwrap().push((l.into(), String::from_utf8_lossy(b).into_owned())); Ok(ContentRef{name: l.into(), keyed_hash: "h".into(), size: b.len() as u64}) }
    async fn get(&self, _: &ContentRef) -> Result<Vec<u8>, Failure> { unimplemented!() }
}
#[tokio::main] async fn main() {
    let ns = std::env::args().nth(1).unwrap();
    let c = astern_kubernetes::connect::connect(&Default::default()).await.unwrap();
    let look = astern_kubernetes::look::ClusterLook::new(c.clone());
    let inv = look.inventory(&ns).await.unwrap();
    let v = Arc::new(V(Default::default()));
    let s = astern_sense::ClusterSense::new(c.client.clone(), v.clone());
    let t: Vec<_> = inv.workloads.keys().cloned().collect();
    let now = std::time::Instant::now();
    for e in s.error_lines(&inv, &t, &Default::default(), None, D::from_secs(4)).await { println!("{} {:?} {:?} {:?}", e.subject, e.side, e.fact, e.window); }
    println!("took {:?}", now.elapsed());
    let svc = std::env::args().nth(2).unwrap_or("web".into());
    let port: u16 = std::env::args().nth(3).map_or(8080, |p| p.parse().unwrap());
    let p = |name: &str, to, bearer| (t[0].clone(), Probe{name: name.into(), to, status: 200, json: Some(JsonExpectation{path:"/status".into(), equals: "ok".into()}), header: None, bearer});
    let probes = vec![
        p("proxy", ProbeTarget::Service{service: svc.clone(), port, path: "/health".into()}, None),
        p("proxy-bearer", ProbeTarget::Service{service: svc.clone(), port, path: "/health".into()}, Some(SecretRef::Env("X".into()))),
        p("url", ProbeTarget::Url("http://127.0.0.1:1/health".into()), None),
        p("url-secret", ProbeTarget::Url(std::env::var("URL").unwrap_or("http://127.0.0.1:2/health".into())), Some(SecretRef::Secret{secret:"s".into(), key:"a".into()})),
        p("url-noenv", ProbeTarget::Url("http://127.0.0.1:2/health".into()), Some(SecretRef::Env("NOPE".into()))),
        p("https", ProbeTarget::Url("https://127.0.0.1:29141/health".into()), None),
    ];
    for e in s.probe(&ns, &probes, D::from_secs(4)).await { println!("{:?}", e.fact); }
    let now = std::time::Instant::now();
    let saved = s.save(&inv, &t, D::from_secs(5), 10<<20).await;
    println!("saved {:?}", now.elapsed());
    for e in saved.evidence { println!("  {} {} {:?}", e.what, e.content.size, e.tail); }
    for m in saved.missed { println!("  MISSED {m}"); }
    for (l, b) in v.0.lock().unwrap().iter() { println!("--- {l}\n{}", &b[..b.len().min(1500)]); }
}
