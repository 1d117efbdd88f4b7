//! A small cluster behind the ports, and a rig that carries plans out on it under a clock that costs no time.

pub(crate) mod plans;
pub(crate) mod rig;
pub(crate) mod twin;
