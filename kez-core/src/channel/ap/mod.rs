//! The channel `ap`: fediverse accounts.

pub(crate) mod html;
mod lookup;

pub(crate) use lookup::*;
