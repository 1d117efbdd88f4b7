//! A small cluster behind the ports, and a rig that carries plans out on it under a clock that costs no time.

pub mod plans;
pub mod rig;
pub mod twin;
