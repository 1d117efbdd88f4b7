//! The manifests beside the service: what must hold between them, since the same release is written down twice.

const GOOD: &str = include_str!("../../manifests/workloads-v1.2.3.yaml");
const BAD: &str = include_str!("../../manifests/workloads-v1.2.4.yaml");
const BAD_ON_KWOK: &str = include_str!("../../manifests/workloads-v1.2.4-kwok.yaml");

#[test]
fn the_release_for_fake_nodes_differs_in_lines_about_kwok_only() {
    let without: Vec<&str> = BAD_ON_KWOK
        .lines()
        .filter(|line| !line.contains("kwok"))
        .collect();
    assert_eq!(without, BAD.lines().collect::<Vec<_>>());
    for label in [
        "kwok.astern.dev/crash-loop: \"true\"",
        "kwok.astern.dev/never-ready: \"true\"",
    ] {
        assert_eq!(BAD_ON_KWOK.matches(label).count(), 1, "{label}");
    }
}

#[test]
fn the_bad_release_moves_every_image_and_adds_or_removes_no_object() {
    let values = |text: &str, key: &str| -> Vec<String> {
        text.lines()
            .filter_map(|line| line.trim().strip_prefix(key))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(values(GOOD, "kind: "), values(BAD, "kind: "));
    let moved: Vec<String> = values(GOOD, "image: ")
        .iter()
        .map(|at| at.replace("v1.2.3", "v1.2.4"))
        .collect();
    assert_eq!(moved, values(BAD, "image: "));
    assert_eq!(moved.len(), 6);
    assert!(
        !BAD.contains(": v1.2.3") && !BAD.contains("release v1.2.3"),
        "a version that was left behind"
    );
}
