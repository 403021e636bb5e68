//! The channel `dns`: domains.

mod lookup;

pub(crate) use lookup::*;
