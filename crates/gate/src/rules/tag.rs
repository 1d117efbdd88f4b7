//! AST0216: a tag that somebody may have moved is said, where nobody recorded what it meant.

use super::warn;
use crate::context::{Context, Write};
use astern_model::finding::Finding;
use astern_model::image::Image;
use astern_model::workload::Workload;
use std::collections::BTreeSet;

pub(crate) const CODE: &str = "AST0216";

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (write, workload) in context.written_ahead() {
        let Some(revision) = write.revision else {
            continue;
        };
        let moved = revision
            .template
            .images()
            .into_iter()
            .filter(|image| may_move(image, &context.allow.mutable_tags));
        findings.extend(
            moved
                .filter(|image| !recorded(workload, &write, image))
                .map(|image| said(&write, workload, &image)),
        );
    }
    findings
}

fn may_move(image: &Image, mutable: &BTreeSet<String>) -> bool {
    image.digest().is_none() && image.tag().is_none_or(|tag| mutable.contains(tag))
}

/// Whether a pod of the target revision still tells the digest.
fn recorded(workload: &Workload, write: &Write<'_>, image: &Image) -> bool {
    let running = workload.running_images(&write.to.template);
    running
        .iter()
        .any(|running| &running.image == image && running.digest.is_some())
}

fn said(write: &Write<'_>, workload: &Workload, image: &Image) -> Finding {
    let live = workload.template.images().contains(image);
    let consequence = if live {
        "the live template names the same, so going back may change nothing"
    } else {
        "it may be another image by now"
    };
    let message = format!(
        "image {image} of {} has a tag that moves, and nobody recorded its digest: {consequence}",
        write.target
    );
    let hint =
        "compare its digest in the registry with the one of that release; name images by digest from now on";
    warn(CODE, Some(write.target), message, hint)
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, pod};
    use serde_json::json;

    #[test]
    fn a_tag_that_moves_is_said_unless_a_pod_tells_its_digest() {
        let check = |image: &str, running: bool, expected: &str| {
            let mut fixture = Fixture::sound();
            fixture.retemplate(json!({"containers": [{"name": "api", "image": image}]}));
            if running {
                let former = fixture.to(0).template.clone();
                fixture.workload().pods.push(pod("old-1", Some(&former), image));
            }
            assert_eq!(fixture.told(super::check), expected, "{image}");
        };
        let said = "has a tag that moves, and nobody recorded its digest: it may be another image by now";
        check("registry.test/api:v1.2.3", false, "");
        check(
            "registry.test/api:latest",
            false,
            &format!("image registry.test/api:latest of deployment/api-gateway {said}"),
        );
        check(
            "registry.test:5000/api",
            false,
            &format!("image registry.test:5000/api of deployment/api-gateway {said}"),
        );
        check("registry.test/api:latest", true, "");
        check("registry.test/api:latest@sha256:ab", false, "");
    }

    #[test]
    fn which_tags_move_is_the_owners_word() {
        let mut fixture = Fixture::sound();
        fixture.allow.mutable_tags = ["candidate".to_owned()].into();
        for (tag, moves) in [("candidate", true), ("latest", false)] {
            let image = format!("registry.test/api:{tag}");
            fixture.retemplate(json!({"containers": [{"name": "api", "image": image}]}));
            assert_eq!(!fixture.told(super::check).is_empty(), moves, "{tag}");
        }
    }
}
