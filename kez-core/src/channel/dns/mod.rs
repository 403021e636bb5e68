//! The channel `dns`: domains.

mod lookup;
mod near;

pub(crate) use lookup::*;
#[cfg(feature = "publish")]
pub(crate) use near::diagnose;
