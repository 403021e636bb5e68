//! The channel `ap`: fediverse accounts.

mod finger;
mod host_meta;
pub(crate) mod html;
mod lookup;
mod name;

pub(crate) use lookup::*;
