//! What the revert of a run says in a repository: its commit, and its pull request.

use crate::sample;
use astern_model::approval::Approval;
use astern_model::record::Event;
use astern_model::source::Place;
use astern_report::{revert_markdown, revert_message};

fn approval() -> Approval {
    let records = sample::restored();
    let approved = records.iter().find_map(|record| match &record.event {
        Event::Approved { approval, .. } => Some(approval.clone()),
        _ => None,
    });
    approved.expect("the sample was approved")
}

#[test]
fn the_commit_says_what_goes_back_why_and_by_which_run() {
    let (subject, body) = revert_message(&sample::run(), &sample::plan(), Some(&approval()));
    insta::assert_snapshot!(format!("{subject}\n\n{body}"), @r"
    Take back 4 workloads of vcci-scope3

    api-gateway answers 8 % errors since v1.2.4

    This is what runs since run r20261123-141503-7f3c in namespace vcci-scope3
    (approved by on-call, 2026-11-23 14:15:03 UTC).
    ");
}

#[test]
fn the_pull_request_says_it_in_markdown_that_no_name_can_break() {
    let places = [Place {
        file: "overlays/prod/kustomization.yaml".to_owned(),
        at: "images[api|x].newTag".to_owned(),
        from: "v1.2.4".to_owned(),
        to: "v1.2.3 `<b>`".to_owned(),
    }];
    let approval = Approval {
        reason: "errors | *since* [14:02](x)\n# not a head".to_owned(),
        ..approval()
    };
    let text = revert_markdown(&sample::run(), &sample::plan(), Some(&approval), &places);
    insta::assert_snapshot!(text, @r"
    Run `r20261123-141503-7f3c` of astern went back in namespace `vcci-scope3`; this says the same in Git.

    - why: errors \| \*since\* \[14:02\](x) # not a head
    - approved by `on-call` at 2026-11-23 14:15:03 UTC
    - `deployment/api-gateway`: `v1.2.4` → `v1.2.3`
    - `deployment/calculation-engine`: `v1.2.4` → `v1.2.3`
    - `deployment/data-ingestion`: `v1.2.4` → `v1.2.3`
    - `deployment/reporting-service`: `v1.2.4` → `v1.2.3`

    ## What changes

    - `overlays/prod/kustomization.yaml`, `images[api\|x].newTag`: `v1.2.4` → `` v1.2.3 `<b>` ``

    Until this is merged, whoever deploys from here would write back what the run replaced: whoever is paused stays paused. Once they have seen the merged commit, they can go on. The whole account: `astern report r20261123-141503-7f3c`.
    ");
}
