use crate::support::*;
#[test]
fn scale() {
    let names: Vec<String> = (0..5000).map(|i| format!("service-{i:05}")).collect();
    let mut inv = inventory(names.iter().map(|n| {
        let mut b = workload(n);
        for k in 1..10u64 { b = b.revision(k, &format!("v{k}"), &format!("2026-11-{:02}T10:00:00Z", k)); }
        b.revision(10, "v10", "14:02:00").serving(9, 2, "2026-11-19T10:00:20Z").troubled(10, 2, "14:02:10", crash_loop())
    }));
    for n in &names { for s in [astern_model::evidence::Side::Live, astern_model::evidence::Side::Former] {
        inv.evidence.push(evidence(&deployment(n), s, errors(astern_model::evidence::Known::Is(0.2)))); } }
    let mut p = platform();
    p.members = names.iter().enumerate().map(|(i,n)| astern_model::platform::Member { target: deployment(n), depends_on: if i%4>0 { vec![deployment(&names[i-1])] } else { vec![] }, probes: vec![] }).collect();
    let rss = std::fs::read_to_string("/proc/self/status").unwrap(); for l in rss.lines().filter(|l| l.starts_with("VmRSS")) { eprintln!("before {l}"); } let t = std::time::Instant::now();
     let t = std::time::Instant::now(); let c = astern_model::plan::Criteria::of(&p, inv.workloads.keys().cloned().collect()); eprintln!("criteria {:?} {}", t.elapsed(), c.targets.len()); let t = std::time::Instant::now(); let h: usize = inv.workloads.values().map(|w| w.template.hash().0.len()).sum(); eprintln!("hash {:?} {h}", t.elapsed()); let t = std::time::Instant::now();
    let plan = plan(&request(), &inv, &p).unwrap();
    eprintln!("took {:?}, {} steps", t.elapsed(), plan.steps.len());
    let rss = std::fs::read_to_string("/proc/self/status").unwrap();
    for l in rss.lines().filter(|l| l.starts_with("VmRSS")||l.starts_with("VmHWM")) { eprintln!("{l}"); }
}
