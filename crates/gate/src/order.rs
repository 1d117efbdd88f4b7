//! Which step comes after which. Owns the walk along `after`; whether the order is a sound one is a rule's matter.

use astern_model::id::StepId;
use astern_model::step::Step;
use std::collections::{BTreeMap, BTreeSet};

/// The order of a plan's steps.
pub(crate) struct Order<'a> {
    steps: &'a [Step],
    places: BTreeMap<&'a StepId, usize>,
}

impl<'a> Order<'a> {
    pub(crate) fn of(steps: &'a [Step]) -> Self {
        let mut places = BTreeMap::new();
        for (place, step) in steps.iter().enumerate() {
            places.entry(&step.id).or_insert(place);
        }
        Self { steps, places }
    }

    /// Where a step stands; of two with one id, the first.
    pub(crate) fn place(&self, step: &StepId) -> Option<usize> {
        self.places.get(step).copied()
    }

    /// Whether `later` starts only once `earlier` is done, by whatever way. References that point forward are not
    /// walked, so that the walk ends on a plan with a cycle as well.
    pub(crate) fn follows(&self, later: &StepId, earlier: &StepId) -> bool {
        let (Some(from), Some(goal)) = (self.place(later), self.place(earlier)) else {
            return false;
        };
        let mut open = vec![from];
        let mut seen = BTreeSet::new();
        while let Some(place) = open.pop() {
            for before in self.steps[place].after.iter().filter_map(|id| self.place(id)) {
                if before == goal && before < place {
                    return true;
                }
                // Whatever stands before the goal cannot lead to it.
                if before > goal && before < place && seen.insert(before) {
                    open.push(before);
                }
            }
        }
        false
    }
}
