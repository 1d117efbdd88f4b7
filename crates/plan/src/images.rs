//! The images that really run. A tag can be moved, so the digests that pods tell are compared before and after.

use crate::judge::{Found, fail, pass};
use crate::world::View;
use astern_model::diff::{Change, Shown};
use astern_model::id::TemplateHash;
use astern_model::template::Template;
use astern_model::workload::{Pod, RunningImage};

/// The images of a revision whose digest its pods tell.
pub(crate) fn known(view: &View<'_>, hash: &TemplateHash) -> Vec<RunningImage> {
    let images = view.workload.running_images(hash);
    images
        .into_iter()
        .filter(|running| running.digest.is_some())
        .collect()
}

/// Container by container, the digest that runs now and the one that ran with the revision gone back to, where they
/// differ and the latter is known. `imageID` is what a pod's status calls it.
pub(crate) fn changes(view: &View<'_>, to: &Template, hash: &TemplateHash) -> Vec<Change> {
    let (now, then) = (known(view, &view.live), known(view, hash));
    let digest = |images: &[RunningImage], template: &Template, container: &str| {
        let containers = template.containers();
        let image = containers.iter().find(|one| one.name() == container)?.image()?;
        let running = images.iter().find(|running| running.image == image)?;
        running.digest.clone()
    };
    let containers = to.containers();
    containers
        .iter()
        .filter_map(|container| {
            let name = container.name();
            let from = digest(&now, &view.workload.template, name);
            let to = digest(&then, to, name)?;
            let place = if container.init {
                "initContainers"
            } else {
                "containers"
            };
            (from.as_ref() != Some(&to)).then(|| Change {
                path: format!("{place}[{name}].imageID"),
                from: Some(Shown::Value(from.unwrap_or_else(|| "not known".to_owned()))),
                to: Some(Shown::Value(to)),
            })
        })
        .collect()
}

/// Whether the pods run the digests that were known before the run.
pub(crate) fn judge<'a>(pods: impl Iterator<Item = &'a Pod> + Clone, expected: &[RunningImage]) -> Found {
    let mut compared = 0_usize;
    for running in expected {
        let Some(wanted) = &running.digest else { continue };
        for pod in pods.clone() {
            let Some(runs) = pod.digest_of(&running.image) else {
                continue;
            };
            if runs != wanted {
                return fail(format!(
                    "{} runs {} as {runs}; the good pods ran {wanted}: the tag was moved",
                    pod.name, running.image
                ));
            }
            compared += 1;
        }
    }
    match compared {
        0 => crate::judge::unknown("no pod tells which digest it runs".to_owned()),
        _ => {
            let images: Vec<String> = expected.iter().map(|running| running.image.to_string()).collect();
            pass(format!("as the good pods ran them: {}", images.join(", ")))
        }
    }
}
