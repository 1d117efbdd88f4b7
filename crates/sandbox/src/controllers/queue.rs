//! What is to be done, in the order in which it became due. Owns that a task waits only once; does nothing itself.

use crate::store::Key;
use jiff::Timestamp;
use std::collections::{BTreeSet, VecDeque};

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Controller {
    Namespace,
    Garbage,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    Endpoints,
    Quota,
    Scheduler,
    Kubelet,
    Claims,
    Events,
    Autoscaler,
}

impl Controller {
    /// The program that it is a part of, as its writes name it.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            _ => "kube-controller-manager",
        }
    }
}

/// One object that one controller is to look at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) controller: Controller,
    pub(crate) key: Key,
}

impl Task {
    pub(crate) fn new(controller: Controller, key: Key) -> Self {
        Self { controller, key }
    }
}

/// Tasks that are due, and those that will be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    due: VecDeque<Task>,
    waiting: BTreeSet<Task>,
    timers: BTreeSet<(Timestamp, Task)>,
}

impl Queue {
    pub(crate) fn add(&mut self, controller: Controller, key: Key) {
        let task = Task { controller, key };
        if self.waiting.insert(task.clone()) {
            self.due.push_back(task);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Task> {
        let task = self.due.pop_front()?;
        self.waiting.remove(&task);
        Some(task)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    pub(crate) fn later(&mut self, at: Timestamp, task: Task) {
        self.timers.insert((at, task));
    }

    pub(crate) fn next_timer(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Makes the timers due that have run out.
    pub(crate) fn ring(&mut self, now: Timestamp) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, task)) = self.timers.pop_first() {
                self.add(task.controller, task.key);
            }
        }
    }
}
