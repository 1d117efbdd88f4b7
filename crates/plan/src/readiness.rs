//! What makes a rollback impossible or less sure before anybody needs one: revisions about to be pruned, tags that move,
//! content that nobody keeps. Owns what a plan made now would not say; draws on nothing but what was seen.

use crate::choose::MARK_RESTORED_BY;
use crate::config::goes_back;
use crate::consumers::consumers;
use crate::refuse::typed;
use astern_model::choice::{Choice, KnownGood, RevisionRef};
use astern_model::config::ConfigName;
use astern_model::finding::{Finding, Severity};
use astern_model::helm;
use astern_model::id::RunId;
use astern_model::image::Image;
use astern_model::inventory::Inventory;
use astern_model::platform::Platform;
use astern_model::policy::Acceptor;
use astern_model::question::{Answer, Answers, Question, RevisionKey};
use astern_model::release::Release;
use astern_model::workload::{Revision, Workload};
use serde_json::Value;
use std::collections::BTreeSet;

/// The codes of what is found here. Each has a page in `docs/errors/`.
mod code {
    /// A release or two more, and the cluster forgets the revision.
    pub(super) const PRUNED_SOON: &str = "AST0301";
    /// A tag means another image than it meant when the revision ran.
    pub(super) const TAG_MOVED: &str = "AST0302";
    /// An image is named by a tag that somebody may move.
    pub(super) const MOVABLE_TAG: &str = "AST0303";
    /// No node has the image that ran, under its digest.
    pub(super) const DIGEST_NOWHERE: &str = "AST0304";
    /// No good release of the ledger holds the revision.
    pub(super) const NOT_RECORDED: &str = "AST0305";
    /// The revision is only presumed good, which a pipeline may not accept.
    pub(super) const PERSON_NEEDED: &str = "AST0306";
    /// The release that holds the revision does not hold all that it reads.
    pub(super) const CONFIG_NOT_KEPT: &str = "AST0307";
    /// Helm keeps few revisions, or knows none as deployed.
    pub(super) const HELM_HISTORY: &str = "AST0308";
    /// Nothing says whether pods of the revision serve.
    pub(super) const NO_READINESS: &str = "AST0309";
    /// What runs is what a run went back to, and nothing else is known to be good.
    pub(super) const TAKEN_BACK: &str = "AST0310";
}

/// So many further releases a revision should outlast: a bad one, and one that should have mended it.
const OUTLASTS: usize = 2;
/// Fewer revisions than this of a Helm release leave no second way back.
const HELM_KEEPS: usize = 3;
/// What Kubernetes keeps where a manifest says nothing.
/// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#clean-up-policy>.
const USUAL_LIMIT: u32 = 10;

/// The way back of one workload.
struct Way<'a> {
    workload: &'a Workload,
    good: &'a KnownGood,
    to: &'a Revision,
}

impl Way<'_> {
    fn label(&self) -> String {
        let RevisionRef { version, .. } = &self.good.revision;
        format!("{version} ({})", self.good.revision.label())
    }

    fn warn(&self, code: &str, message: String, hint: String) -> Finding {
        found(Severity::Warn, code, Some(self.workload), message, hint)
    }
}

fn ways<'a>(inventory: &'a Inventory, choices: &'a [Choice]) -> Vec<Way<'a>> {
    let way = |choice: &'a Choice| {
        let workload = inventory.workloads.get(&choice.target)?;
        let good = choice.good.as_ref()?;
        let of = |revision: &&Revision| revision.hash == good.revision.template;
        let to = workload.all_revisions().find(of)?;
        Some(Way { workload, good, to })
    };
    choices.iter().filter_map(way).collect()
}

/// Whether a workload has had one version only: there is no release of it to take back. Where earlier ones were, or can
/// not be kept, it is none.
pub fn is_first_version(choice: &Choice, workload: &Workload) -> bool {
    let numbered_first = workload.live_revision().is_none_or(|live| live.number <= 1);
    choice.good.is_none() && choice.passed_over.is_empty() && workload.history_limit > 0 && numbered_first
}

/// The run that went back to what a workload asks for now, where nothing else of it is known to be good: the release that went bad is
/// taken back already, and there is no other to take back before the next one.
pub fn restored_by(choice: &Choice, workload: &Workload) -> Option<RunId> {
    let live = workload.live_revision().filter(|_| choice.good.is_none())?;
    let run = live.marks.get(MARK_RESTORED_BY)?;
    Some(RunId::from(run.as_str()))
}

/// What must be known of the cluster beyond the inventory.
pub fn readiness_questions(inventory: &Inventory, choices: &[Choice]) -> Vec<Question> {
    let ways = ways(inventory, choices);
    let asked = ways.iter().flat_map(|way| {
        let tagged = way.to.template.images().into_iter();
        tagged.filter_map(|image| {
            let digest = digest_then(way, &image)?;
            Some([asked(way, &image.reference), asked(way, &pinned(&image, digest)?)])
        })
    });
    asked.flatten().collect()
}

fn asked(way: &Way<'_>, image: &str) -> Question {
    Question::ImageListed {
        image: image.to_owned(),
        target: way.workload.target.clone(),
        revision: RevisionKey::from(&way.good.revision),
        never_pulled: false,
    }
}

/// What a rollback to the chosen revisions would meet that a plan does not say. `releases` are the ledger's; the answers
/// those to [`readiness_questions`].
pub fn readiness(
    inventory: &Inventory,
    platform: &Platform,
    releases: &[Release],
    choices: &[Choice],
    answers: &Answers,
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = inventory.releases.iter().flat_map(of_helm).collect();
    if releases.is_empty() {
        findings.push(no_ledger());
    }
    findings.extend(choices.iter().filter_map(|choice| taken_back(choice, inventory)));
    for way in ways(inventory, choices) {
        findings.extend(pruned_soon(&way));
        for image in way.to.template.images() {
            findings.extend(of_image(&way, &image, inventory, platform, answers));
        }
        if !releases.is_empty() {
            findings.extend(not_recorded(&way));
            findings.extend(config_not_kept(&way, platform, releases));
        }
        findings.extend(person_needed(&way, platform));
        findings.extend(no_readiness(&way, platform));
    }
    findings
}

fn found(
    severity: Severity,
    code: &str,
    workload: Option<&Workload>,
    message: String,
    hint: String,
) -> Finding {
    Finding {
        severity,
        code: code.to_owned(),
        target: workload.map(|workload| workload.target.clone()),
        message,
        hint,
    }
}

/// A controller keeps the newest earlier revisions and removes the rest; each release makes the live one an earlier one.
/// What a good release of the ledger holds is written back from there.
fn pruned_soon(way: &Way<'_>) -> Option<Finding> {
    let Way { workload, to, .. } = way;
    if to.uid.as_str().is_empty() || recorded(way) {
        return None;
    }
    let live = workload.template.hash();
    let newer = workload.revisions.iter();
    let newer = newer.filter(|revision| revision.number > to.number && revision.hash != live);
    let limit = workload.history_limit;
    let outlasts = usize::try_from(limit).unwrap_or(usize::MAX);
    let outlasts = outlasts.saturating_sub(newer.count() + 1);
    if outlasts >= OUTLASTS {
        return None;
    }
    let gone = match outlasts {
        0 => "the next release",
        _ => "the second release from now",
    };
    let target = &workload.target;
    let raised = limit.saturating_mul(2).max(USUAL_LIMIT);
    Some(way.warn(
        code::PRUNED_SOON,
        format!("revisionHistoryLimit is {limit}: {gone} removes {}", way.label()),
        format!(
            "kubectl patch {target} -n {} --type merge -p '{{\"spec\":{{\"revisionHistoryLimit\":{raised}}}}}', and the same \
             in its manifest; or have the ledger keep releases: astern releases record --version VERSION",
            target.namespace
        ),
    ))
}

/// Whether a good release of the ledger holds the revision.
fn recorded(way: &Way<'_>) -> bool {
    let mut released = way.workload.released.iter();
    released.any(|released| released.template == way.to.hash && released.standing.is_good())
}

/// The digest that ran of an image: as pods of the revision tell, or a release of the ledger.
fn digest_then<'a>(way: &Way<'a>, image: &Image) -> Option<&'a str> {
    if image.digest().is_some() {
        return None;
    }
    let Way { workload, to, .. } = way;
    let pods = workload.pods.iter();
    let mut pods = pods.filter(|pod| pod.revision.as_ref() == Some(&to.hash));
    let released = workload
        .released
        .iter()
        .filter(|released| released.template == to.hash);
    let mut images = released.flat_map(|released| &released.images);
    pods.find_map(|pod| pod.digest_of(image))
        .or_else(|| images.find_map(|one| one.digest.as_deref().filter(|_| &one.image == image)))
}

/// The image by its digest; none where a node told something else, such as the id of an image that was never pulled.
fn pinned(image: &Image, digest: &str) -> Option<String> {
    let is_digest = digest.starts_with("sha256:");
    is_digest.then(|| format!("{}@{digest}", image.repository()))
}

fn of_image(
    way: &Way<'_>,
    image: &Image,
    inventory: &Inventory,
    platform: &Platform,
    answers: &Answers,
) -> Option<Finding> {
    if image.digest().is_some() {
        return None;
    }
    let then = digest_then(way, image);
    let now = then.and_then(|then| another_digest(image, then, inventory));
    if let (Some(then), Some((pod, now))) = (then, now) {
        return Some(found(
            Severity::Refuse,
            code::TAG_MOVED,
            Some(way.workload),
            format!(
                "image {image} ran as {then} at {}, and {pod} runs it as {now}: the tag was moved, and going back to it \
                 deploys another image",
                way.label()
            ),
            by_digest(image, then),
        ));
    }
    let tags = &platform.policy.mutable_tags;
    let may_move = image
        .tag()
        .is_none_or(|tag| tags.iter().any(|mutable| mutable == tag));
    if may_move {
        let pulled = if always_pulled(way, image) {
            ", and imagePullPolicy Always pulls whatever it names by then"
        } else {
            ""
        };
        let (digest, hint) = match then {
            Some(then) => (format!("it ran as {then}"), by_digest(image, then)),
            None => (
                "nobody recorded its digest".to_owned(),
                "compare its digest in the registry with the one of that release; name images by digest from now on"
                    .to_owned(),
            ),
        };
        let message = format!(
            "image {image} of {} has a tag that moves ({digest}){pulled}",
            way.label()
        );
        return Some(way.warn(code::MOVABLE_TAG, message, hint));
    }
    digest_nowhere(way, image, then?, answers)
}

/// A pod of the namespace that runs the same reference as another image, with that image's digest.
fn another_digest<'a>(image: &Image, then: &str, inventory: &'a Inventory) -> Option<(&'a str, &'a str)> {
    let pods = inventory.workloads.values().flat_map(|workload| &workload.pods);
    pods.filter_map(|pod| Some((pod.name.as_str(), pod.digest_of(image)?)))
        .find(|(_, now)| *now != then && now.starts_with("sha256:") && then.starts_with("sha256:"))
}

fn always_pulled(way: &Way<'_>, image: &Image) -> bool {
    way.to.template.containers().iter().any(|container| {
        let policy = container.json.get("imagePullPolicy").and_then(Value::as_str);
        container.image().as_ref() == Some(image) && policy == Some("Always")
    })
}

fn by_digest(image: &Image, digest: &str) -> String {
    match pinned(image, digest) {
        Some(pinned) => format!(
            "name it by its digest in the manifest: {pinned}; keep that digest in the registry under a tag of its own"
        ),
        None => "name images by digest from now on".to_owned(),
    }
}

/// Nodes have the name and not the digest, so what they have under that name is another image. Where they tell neither, the gate
/// says that it is not known whether the image can be had; and what a pod runs is there.
fn digest_nowhere(way: &Way<'_>, image: &Image, digest: &str, answers: &Answers) -> Option<Finding> {
    let mut pods = way.workload.pods.iter();
    if pods.any(|pod| pod.digest_of(image) == Some(digest)) {
        return None;
    }
    let by_name = answers.get(&asked(way, &image.reference));
    let by_digest = answers.get(&asked(way, &pinned(image, digest)?));
    if by_name != Answer::Yes || by_digest == Answer::Yes {
        return None;
    }
    Some(way.warn(
        code::DIGEST_NOWHERE,
        format!(
            "nodes list image {image}, and none lists it as {digest}, as it ran at {}",
            way.label()
        ),
        format!("ask the registry whether {image} is still that digest; name images by digest from now on"),
    ))
}

fn no_ledger() -> Finding {
    let message = "the ledger holds no release: what can be gone back to is what the cluster happens to remember, and what \
                   ConfigMaps and Secrets held cannot be put back";
    let hint = "astern releases record --version VERSION, with every deployment";
    found(
        Severity::Warn,
        code::NOT_RECORDED,
        None,
        message.to_owned(),
        hint.to_owned(),
    )
}

fn not_recorded(way: &Way<'_>) -> Option<Finding> {
    if recorded(way) {
        return None;
    }
    let mut candidates = way.workload.released.iter();
    let hint = match candidates.find(|released| released.template == way.to.hash) {
        Some(candidate) => format!(
            "once you know that it is: astern releases mark good {} --reason TEXT",
            candidate.release
        ),
        None => "astern releases record --version VERSION, with every deployment".to_owned(),
    };
    let message = format!("no good release of the ledger holds {}", way.label());
    Some(way.warn(code::NOT_RECORDED, message, hint))
}

/// Where not even a person may accept it, the plan is refused (AST0104).
fn person_needed(way: &Way<'_>, platform: &Platform) -> Option<Finding> {
    let may = &platform.policy.accept_presumed;
    if !way.good.because.is_presumed() || may.contains(&Acceptor::Yes) || !may.contains(&Acceptor::Person) {
        return None;
    }
    let message = format!(
        "{} is only presumed good, and policy.acceptPresumed does not let --yes accept that: a person must be there",
        way.label()
    );
    let to = typed(&way.workload.target);
    let hint = format!(
        "a pipeline may name it: --to {to}={}; or a good release holds it: astern releases record",
        way.good.revision.number
    );
    Some(way.warn(code::PERSON_NEEDED, message, hint))
}

/// A release may have been recorded before the revision's readers were known, or in part.
fn config_not_kept(way: &Way<'_>, platform: &Platform, releases: &[Release]) -> Option<Finding> {
    let holds = |release: &&Release| {
        let held = release.workload(&way.workload.target);
        release.standing.is_good() && held.is_some_and(|held| held.template == way.to.hash)
    };
    let mut holding = releases.iter().filter(holds).peekable();
    let newest = &holding.peek()?.name;
    let kept: BTreeSet<&ConfigName> = holding
        .flat_map(|release| &release.config)
        .map(|held| &held.name)
        .collect();
    let read = consumers(&way.to.template, &way.workload.annotations);
    let lost = read.keys().filter(|name| !kept.contains(name));
    let lost: Vec<String> = lost
        .filter(|name| goes_back(name, platform))
        .map(ToString::to_string)
        .collect();
    (!lost.is_empty()).then(|| {
        way.warn(
            code::CONFIG_NOT_KEPT,
            format!(
                "release {newest} holds {} and not the content of {} that it reads: a release that breaks that content cannot \
                 be taken back whole",
                way.label(),
                lost.join(", ")
            ),
            "astern releases record --version VERSION records what runs now, with all that it reads".to_owned(),
        )
    })
}

fn of_helm(release: &helm::Release) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(newest) = release.newest() else {
        return findings;
    };
    let mut warn =
        |message, hint| findings.push(found(Severity::Warn, code::HELM_HISTORY, None, message, hint));
    let name = &release.name.name;
    let deployed = |revision: &helm::Revision| revision.status == helm::Status::Deployed;
    if !release.revisions.iter().any(deployed) {
        warn(
            format!(
                "no revision of {} is deployed as far as Helm knows; its newest, {}, is {}",
                release.name, newest.number, newest.status
            ),
            format!("astern helm {name} shows its revisions; an upgrade or rollback that succeeds makes one"),
        );
    }
    let kept = release.revisions.len();
    let all = usize::try_from(newest.number).unwrap_or(usize::MAX);
    if kept < HELM_KEEPS && all > kept {
        warn(
            format!(
                "Helm keeps {kept} of the {all} revisions of {}: the next upgrades remove what can be gone back to",
                release.name
            ),
            "leave --history-max of helm at 10, or raise it".to_owned(),
        );
    }
    findings
}

fn taken_back(choice: &Choice, inventory: &Inventory) -> Option<Finding> {
    let workload = inventory.workloads.get(&choice.target)?;
    let run = restored_by(choice, workload)?;
    let message = format!(
        "it runs {}, which run {run} went back to, and no other revision of it is known to be good: there is nothing to take back \
         before the next release",
        workload.version()
    );
    let to = typed(&choice.target);
    let hint = format!(
        "nothing to do: the next release can be taken back to {}; to leave it now all the same, `astern releases {to}` lists the \
         revisions and `astern plan --to {to}=REVISION` goes to one on your own word",
        workload.version()
    );
    Some(found(
        Severity::Warn,
        code::TAKEN_BACK,
        Some(workload),
        message,
        hint,
    ))
}

fn no_readiness(way: &Way<'_>, platform: &Platform) -> Option<Finding> {
    let target = &way.workload.target;
    let mut members = platform.members.iter();
    let probed = members.any(|member| &member.target == target && !member.probes.is_empty());
    let containers = way.to.template.containers();
    let mut serving = containers.iter().filter(|container| !container.init);
    if probed || serving.any(|container| container.json.get("readinessProbe").is_some()) {
        return None;
    }
    Some(way.warn(
        code::NO_READINESS,
        format!(
            "no container of {} has a readinessProbe: its pods count as serving as soon as their process runs",
            way.label()
        ),
        "give the container a readinessProbe, or the workload a probe in astern.yaml".to_owned(),
    ))
}
