//! Defects that the simulation plants, to prove that it finds such. Without the feature `planted` none can be, and what
//! asks for one compiles to nothing; the binary refuses to be built with it.

macro_rules! defects {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// One thing done wrong on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Defect {
            $($(#[$doc])* $name,)*
        }

        impl Defect {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

defects! {
    /// An effect happens before its intent is durable.
    SkipIntent,
    /// A step and its reversal leave the same key.
    ReuseKey,
    /// A write leaves no key.
    ForgetKey,
    /// A write carries no epoch of its own.
    ForgetEpoch,
    /// A newer epoch on the object stops nobody.
    IgnoreEpoch,
    /// An outcome that is not known counts as a failure, and is tried again.
    RetryUnknown,
    /// Writing a template sets the replicas to one.
    ForgetReplicas,
    /// Writing a template drops labels.
    DropLabels,
    /// Pins are not looked at.
    IgnorePins,
    /// A write carries no resourceVersion.
    IgnoreVersion,
    /// A deletion carries neither uid nor resourceVersion.
    IgnorePodIdentity,
    /// Nothing is fenced at a takeover.
    SkipFence,
    /// "Not there" is said without moving the object on.
    SkipSettleMark,
    /// What a predecessor left open is carried out again instead of settled.
    RepeatAfterTakeover,
    /// A resume acts under its predecessor's epoch.
    SkipTakeover,
    /// A record that the journal did not take counts as written.
    TrustJournal,
    /// A step begins before those that it comes after are done.
    IgnoreOrder,
    /// Steps are taken back in any order.
    IgnoreReverseOrder,
    /// A run counts as restored once any step is done.
    RestoredTooEarly,
    /// A step that is not there counts as done.
    BelieveSettled,
    /// Taking a template back leaves the change-cause of the run.
    ForgetChangeCause,
    /// A step is taken back whatever is there now.
    ReverseBlindly,
    /// A run counts as unwound with a step that may have taken effect.
    UnwindTooLittle,
    /// A rollout counts as served at once.
    ServesAtOnce,
    /// A read permits an older state than the newest.
    ReadStale,
    /// An effect that may be there counts as not there, without a look.
    SettleBlindly,
    /// What a ConfigMap or Secret holds is written over, whatever it is.
    IgnoreContentPins,
    /// Writing content drops the object's labels.
    DropContentLabels,
    /// Whoever reads an object starts before its content is back.
    ReadersFirst,
    /// The same on the way back.
    ReadersFirstOnTheWayBack,
    /// An object that was made is left behind when its making is taken back.
    LeaveMade,
    /// An object counts as not made while the request that makes it may still arrive.
    CallAbsent,
    /// A failure tells what an object holds.
    TellContent,
}

/// Whether defects can be planted in this build.
pub const CAN_BE_PLANTED: bool = cfg!(feature = "planted");

#[cfg(feature = "planted")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// Whether this defect is there.
#[cfg(feature = "planted")]
pub fn planted(defect: Defect) -> bool {
    PLANTED.get() == Some(defect)
}

/// Whether this defect is there: never.
#[cfg(not(feature = "planted"))]
pub const fn planted(_: Defect) -> bool {
    false
}

/// Plants a defect on this thread, or takes it out.
#[cfg(feature = "planted")]
pub fn plant(defect: Option<Defect>) {
    PLANTED.set(defect);
}
