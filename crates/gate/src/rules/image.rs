//! AST0215: the images that the target needs can be had. Whether a tag still means the same is another rule's matter.

use super::{refuse, warn};
use crate::context::{Context, Write};
use astern_model::finding::Finding;
use astern_model::image::Image;
use astern_model::plan::Plan;
use astern_model::question::{Answer, Question, RevisionKey};
use astern_model::template::Template;
use astern_model::workload::Workload;
use serde_json::Value;

pub(crate) const CODE: &str = "AST0215";

pub(crate) fn ask(_: &Plan, writes: &[Write<'_>]) -> Vec<Question> {
    writes
        .iter()
        .flat_map(asked)
        .map(|(_, question)| question)
        .collect()
}

pub(crate) fn check(context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (write, workload) in context.written_ahead() {
        for (image, question) in asked(&write) {
            findings.extend(judge(&write, workload, &image, context.answers.get(&question)));
        }
    }
    findings
}

fn asked(write: &Write<'_>) -> Vec<(Image, Question)> {
    let Some(revision) = write.revision else {
        return Vec::new();
    };
    let question = |image: Image| {
        let question = Question::ImageListed {
            image: image.reference.clone(),
            target: write.target.clone(),
            revision: RevisionKey::from(write.to),
            never_pulled: never_pulled(&revision.template, &image),
        };
        (image, question)
    };
    revision.template.images().into_iter().map(question).collect()
}

/// Whether a container with this image starts only where a node has it already.
fn never_pulled(template: &Template, image: &Image) -> bool {
    template.containers().iter().any(|container| {
        let policy = container.json.get("imagePullPolicy").and_then(Value::as_str);
        container.image().as_ref() == Some(image) && policy == Some("Never")
    })
}

fn judge(write: &Write<'_>, workload: &Workload, image: &Image, answer: Answer) -> Option<Finding> {
    match answer {
        Answer::Yes => None,
        Answer::No { why } | Answer::Barred { why, .. } => {
            let message = format!("image {image} of {} cannot be had: {why}", write.label());
            let hint = "push the image again, or choose another revision: `--to`";
            Some(refuse(CODE, Some(write.target), message, hint))
        }
        // A pod that serves with it is better proof than a node's list, which is cut at fifty images.
        Answer::Unknown { .. } if serves(workload, write, image) => None,
        Answer::Unknown { why } => {
            let message = format!(
                "whether image {image} of {} can be had is not known: {why}",
                write.label()
            );
            let hint = "ask the registry before you say yes; a pod that cannot pull it is recognised early";
            Some(warn(CODE, Some(write.target), message, hint))
        }
    }
}

/// Whether a ready pod of the target revision runs the image now.
fn serves(workload: &Workload, write: &Write<'_>, image: &Image) -> bool {
    workload.pods.iter().any(|pod| {
        pod.ready
            && pod.revision.as_ref() == Some(&write.to.template)
            && pod.image_ids.contains_key(&image.reference)
    })
}

#[cfg(test)]
mod tests {
    use crate::fixture::{Fixture, no, pod, unknown};

    #[test]
    fn an_image_that_cannot_be_had_refuses_and_one_that_nobody_lists_warns() {
        let listed = Fixture::sound().asked(super::ask).swap_remove(0);
        let check = |change: &dyn Fn(&mut Fixture), expected: &str| {
            assert_eq!(Fixture::messages(super::check, change), expected);
        };
        check(&|_| (), "");
        check(
            &|f| {
                f.answers
                    .insert(listed.clone(), no("imagePullPolicy is Never and no node has it"))
            },
            "image registry.test/api:v1.2.3 of deployment/api-gateway at v1.2.3 cannot be had: imagePullPolicy is \
             Never and no node has it",
        );
        check(
            &|f| f.answers.insert(listed.clone(), unknown("no node lists it")),
            "whether image registry.test/api:v1.2.3 of deployment/api-gateway at v1.2.3 can be had is not known: no \
             node lists it",
        );
        check(
            &|f| {
                f.answers.insert(listed.clone(), unknown("no node lists it"));
                let former = f.to(0).template.clone();
                f.workload()
                    .pods
                    .push(pod("old-1", Some(&former), "registry.test/api:v1.2.3"));
            },
            "",
        );
        check(
            &|f| {
                f.answers.insert(listed.clone(), unknown("no node lists it"));
                let former = f.to(0).template.clone();
                f.workload()
                    .pods
                    .push(pod("old-1", Some(&former), "registry.test/api:v1.2.3"));
                f.workload().pods[0].ready = false;
            },
            "whether image registry.test/api:v1.2.3 of deployment/api-gateway at v1.2.3 can be had is not known: no \
             node lists it",
        );
    }
}
