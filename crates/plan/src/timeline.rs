//! When a revision was the newest, as far as the cluster really keeps it. Owns the reading of revision numbers and
//! creation times; a time that is not kept is `unknown`, never worked out.

use crate::choose::MARK_ROLLED_BACK_BY;
use crate::world::{View, essence};
use astern_model::id::TemplateHash;
use astern_model::workload::{Revision, RevisionKind};
use jiff::{SignedDuration, Timestamp};

/// The revisions of one workload in the order in which they were the newest.
pub(crate) struct Timeline<'a> {
    /// Every time that a remembered revision became the newest, by number.
    uses: Vec<Use<'a>>,
    /// The revisions by creation.
    created: Vec<(&'a Revision, TemplateHash)>,
}

struct Use<'a> {
    number: u64,
    revision: &'a Revision,
    essence: TemplateHash,
}

/// How long a revision was the newest before another version came.
pub(crate) struct Stint {
    pub(crate) newest_for: SignedDuration,
    pub(crate) until: Timestamp,
}

impl<'a> Timeline<'a> {
    /// The timeline of a workload.
    pub(crate) fn of(view: &View<'a>) -> Self {
        let mut uses = Vec::new();
        let mut created = Vec::new();
        for revision in view.revisions.iter().copied() {
            let essence = essence(&revision.template, &revision.hash);
            for number in revision.former_numbers.iter().copied().chain([revision.number]) {
                uses.push(Use {
                    number,
                    revision,
                    essence: essence.clone(),
                });
            }
            created.push((revision, essence));
        }
        uses.sort_by(|a, b| (a.number, &a.revision.name).cmp(&(b.number, &b.revision.name)));
        created.sort_by_key(|(revision, _)| (revision.created_at, first_number(revision)));
        Self { uses, created }
    }

    /// How long `revision` was the newest before a different version came, or why that is not known.
    pub(crate) fn stint(&self, revision: &Revision) -> Result<Stint, String> {
        if !revision.former_numbers.is_empty() {
            let kept = keeper(revision.kind);
            let before = list(&revision.former_numbers);
            return Err(format!(
                "it is unknown when it served: an undo used its {kept} again (it was {before} before)"
            ));
        }
        let position = self
            .uses
            .iter()
            .position(|used| used.revision.uid == revision.uid);
        let by_creation = self.created.iter().position(|(made, _)| made.uid == revision.uid);
        let (Some(position), Some(by_creation)) = (position, by_creation) else {
            return Err("it is unknown when it served: it is not among the remembered revisions".to_owned());
        };
        let own = &self.uses[position].essence;
        let Some(ahead) = self.uses[position..].iter().position(|used| &used.essence != own) else {
            return Err("it is unknown how long it served: no later version is remembered".to_owned());
        };
        let next = &self.uses[position + ahead];
        if next.number != first_number(next.revision) {
            return Err(format!(
                "it is unknown how long it served: after it an undo brought back what is now revision {}, at a time that is not kept",
                next.revision.number
            ));
        }
        let created_next = self.created[by_creation..]
            .iter()
            .find(|(_, essence)| essence != own);
        if created_next.is_none_or(|(made, _)| made.uid != next.revision.uid) {
            return Err("it is unknown how long it served: the revisions' numbers contradict the order in which they were made, so an undo came between".to_owned());
        }
        let follows = |pair: &[Use<'_>]| pair[1].number <= pair[0].number.saturating_add(1);
        if !self.uses[position..=position + ahead].windows(2).all(follows) {
            return Err(format!(
                "it is unknown how long it served: a revision between it and revision {} is no longer remembered",
                next.revision.number
            ));
        }
        let until = next.revision.created_at;
        Ok(Stint {
            newest_for: until.duration_since(self.began(position)),
            until,
        })
    }

    /// Whether the live revision is an older one that came back.
    fn is_used_again(&self, view: &View<'_>, live: &Revision) -> bool {
        let newest = self.created.last();
        !live.former_numbers.is_empty()
            || newest.is_some_and(|(made, essence)| made.uid != live.uid && essence != &view.essence)
    }

    /// When the version of the use at `position` became the newest: a restart of the same version does not count.
    fn began(&self, position: usize) -> Timestamp {
        let own = &self.uses[position].essence;
        let same = self.uses[..=position]
            .iter()
            .rev()
            .take_while(|used| &used.essence == own && used.revision.former_numbers.is_empty());
        same.map(|used| used.revision.created_at)
            .min()
            .unwrap_or(self.uses[position].revision.created_at)
    }
}

/// Since when the live version is the newest, where that is kept. For a revision that an undo brought back it is the
/// last write of whoever wrote the template last: the version came then at the latest.
pub(crate) fn live_since(view: &View<'_>) -> Option<Timestamp> {
    let written = || {
        view.workload
            .template_manager
            .as_ref()
            .and_then(|manager| manager.at)
    };
    let Some(live) = view.live_revision() else {
        return written();
    };
    let timeline = Timeline::of(view);
    if timeline.is_used_again(view, live) {
        return written();
    }
    let position = timeline
        .uses
        .iter()
        .position(|used| used.revision.uid == live.uid)?;
    Some(timeline.began(position))
}

/// Whether the live version is an older one that was brought back, and not one that had been taken back: such a
/// workload stands at the end of a rollback, not of a release.
pub(crate) fn brought_back(view: &View<'_>) -> bool {
    view.live_revision().is_some_and(|live| {
        !live.marks.contains_key(MARK_ROLLED_BACK_BY) && Timeline::of(view).is_used_again(view, live)
    })
}

/// The lowest number that a revision had.
fn first_number(revision: &Revision) -> u64 {
    revision
        .former_numbers
        .iter()
        .copied()
        .chain([revision.number])
        .min()
        .unwrap_or(revision.number)
}

fn list(numbers: &[u64]) -> String {
    let texts: Vec<String> = numbers
        .iter()
        .map(|number| format!("revision {number}"))
        .collect();
    texts.join(", ")
}

fn keeper(kind: RevisionKind) -> &'static str {
    match kind {
        RevisionKind::ReplicaSet => "ReplicaSet",
        RevisionKind::ControllerRevision => "ControllerRevision",
        RevisionKind::HelmRecord => "Helm record",
    }
}
