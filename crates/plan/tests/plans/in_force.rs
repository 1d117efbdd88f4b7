//! Which revision of a Helm release tells what was read: the one that was in force while the good templates ran.

use crate::support::{at, crashing, deployment, inventory, plan, platform, request, template};
use astern_model::config::{ConfigKind, ConfigName};
use astern_model::helm::{Read, Record, Release, ReleaseName, Revision, Standing, Status};
use astern_model::id::Uid;
use astern_model::template::Template;
use astern_plan::{in_force, sought};
use serde_json::json;

/// Revisions come oldest first: state, when its record was made, the version of api that it has, and what app-config holds.
pub(crate) type Kept<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>);

pub(crate) fn release(kept: &[Kept<'_>]) -> Release {
    let revision = |(number, (status, created, version, held)): (u64, &Kept<'_>)| {
        let templates = version.map(|version| {
            let manifest = Template::clean(template("api", version));
            (deployment("api"), manifest)
        });
        let objects = held.map(|held| ("configmap/app-config".to_owned(), json!({"data": {"MODE": held}})));
        Revision {
            number,
            status: Status::from((*status).to_owned()),
            uid: Uid(format!("uid-{number}")),
            created_at: Some(at(created)),
            changed_at: at(created),
            record: Read::Read(Box::new(Record {
                chart: "shop-1.0.0".to_owned(),
                app_version: None,
                server_side: false,
                description: String::new(),
                content: String::new(),
                templates: templates.into_iter().collect(),
                objects: objects.into_iter().collect(),
                values: json!({}),
                hooks: Vec::new(),
                kept: Vec::new(),
                crds: Vec::new(),
            })),
        }
    };
    Release {
        name: ReleaseName {
            namespace: "shop".to_owned(),
            name: "shop".to_owned(),
        },
        revisions: {
            let mut revisions: Vec<Revision> = (1..).zip(kept).map(revision).collect();
            revisions.reverse();
            revisions
        },
        at_work: Vec::new(),
        standing: Standing::default(),
        recorded: None,
    }
}

/// v1.2.3 of api came on 2026-11-19 at 10:00:00, and v1.2.4, which crashes, on 2026-11-23 at 14:02:00.
fn told(release: &Release) -> Option<Result<(u64, Vec<String>), String>> {
    let inventory = inventory([crashing("api")]);
    let draft = plan(&request(), &inventory, &platform()).unwrap();
    let sought = sought(&draft, &inventory, &platform());
    let app = ConfigName {
        kind: ConfigKind::ConfigMap,
        name: "app-config".to_owned(),
    };
    let app = sought.iter().find(|sought| sought.name == app).unwrap();
    let found = in_force(&[(app, release)], &inventory, &platform()).remove(0);
    found.map(|found| found.map(|one| (one.number, one.passed_over)))
}

const V1: Option<&str> = Some("v1.2.3");
const V2: Option<&str> = Some("v1.2.4");
const CAME: &str = "2026-11-19T09:59:58Z";

fn check(kept: &[Kept<'_>], expected: Result<u64, &str>) {
    let found = told(&release(kept)).unwrap();
    match (found, expected) {
        (Ok((number, passed_over)), Ok(expected)) => {
            assert_eq!(number, expected, "{kept:?}");
            assert!(passed_over.is_empty(), "{passed_over:?}");
        }
        (Err(why), Err(words)) => assert!(why.contains(words), "{why}"),
        (found, expected) => panic!("{found:?}, not {expected:?}: {kept:?}"),
    }
}

#[test]
fn the_last_revision_that_succeeded_and_has_the_templates_of_then_tells() {
    let (first, bad) = (
        ("superseded", CAME, V1, Some("calm")),
        ("deployed", "14:01:58", V2, Some("storm")),
    );
    check(&[first, bad], Ok(1));
    // A hook may take its time between the record and the templates.
    check(&[first, ("deployed", "13:20:00", V2, Some("storm"))], Ok(1));
    let between = ("superseded", "12:00:00", V1, Some("windy"));
    check(&[first, between, bad], Ok(2));
    // Somebody fixed forward.
    check(&[first, bad, ("failed", "14:08:00", V1, Some("gale"))], Ok(1));
    // The bad one is mostly a failed one, and what it wrote says nothing of before.
    check(
        &[
            ("deployed", CAME, V1, Some("calm")),
            ("failed", "14:01:58", V2, Some("storm")),
        ],
        Ok(1),
    );
}

#[test]
fn what_a_failed_revision_may_have_written_meanwhile_is_no_certain_content() {
    let (first, bad) = (
        ("superseded", CAME, V1, Some("calm")),
        ("deployed", "14:01:58", V2, Some("storm")),
    );
    let failed = |held| ("failed", "12:00:00", V1, held);
    check(
        &[first, failed(Some("windy")), bad],
        Err("revision 2 of helm/shop (failed) may have written it"),
    );
    check(
        &[first, failed(None), bad],
        Err("revision 2 of helm/shop (failed) may have written it"),
    );
    check(&[first, failed(Some("calm")), bad], Ok(1));
    check(
        &[failed(Some("windy")), bad],
        Err("no revision of helm/shop that succeeded is kept of before"),
    );
}

#[test]
fn a_release_without_the_readers_counts_by_its_times_and_what_came_just_before_the_next_version_is_that_ones()
{
    let first = ("superseded", CAME, None, Some("calm"));
    check(&[first, ("deployed", "13:00:00", None, Some("windy"))], Ok(2));
    check(&[first, ("deployed", "14:02:00", None, Some("storm"))], Ok(1));
    let found = told(&release(&[first, ("deployed", "14:01:00", None, Some("storm"))])).unwrap();
    let (number, passed_over) = found.unwrap();
    assert_eq!(number, 1);
    assert!(
        passed_over[0].contains(
            "revision 2 of helm/shop (2026-11-23 14:01:00 UTC) came so shortly before the version of"
        ),
        "{passed_over:?}"
    );
    // What came with the version itself is of then.
    check(&[("deployed", "2026-11-19T10:00:03Z", None, Some("calm"))], Ok(1));
}

#[test]
fn records_that_do_not_tell_are_said_and_a_release_without_the_object_is_not_asked() {
    let bad = ("deployed", "14:01:58", V2, Some("storm"));
    check(
        &[bad],
        Err("no revision of helm/shop that succeeded is kept of before 2026-11-23 14:02:00"),
    );
    check(
        &[("superseded", CAME, V1, None), bad],
        Err("revision 1 of helm/shop, which was in force then, does not have it"),
    );
    check(
        &[("superseded", CAME, Some("v9"), Some("calm")), bad],
        Err("revision 1 of helm/shop has a template of deployment/api that"),
    );
    let mut unread = release(&[("superseded", CAME, V1, Some("calm")), bad]);
    unread.revisions[1].record = Read::NotAsked;
    let why = told(&unread).unwrap().unwrap_err();
    assert!(
        why.contains("revision 1 of helm/shop is older than those that are read"),
        "{why}"
    );
    assert_eq!(told(&release(&[("deployed", CAME, V1, None)])), None);
}
