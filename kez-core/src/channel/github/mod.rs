//! The channel `github`: GitHub accounts.

mod lookup;

pub(crate) use lookup::*;
