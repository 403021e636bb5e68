#![doc = include_str!("../README.md")]

mod args;
mod auth;
mod cache;
mod chat;
mod claim;
mod clock;
mod config;
mod doctor;
mod evidence;
mod graph;
pub mod home;
pub mod host;
mod import;
mod key;
pub mod keystore;
mod output;
pub mod places;
mod publish;
mod run;
mod sigchain;
mod transaction;
mod verify;

pub use cache::{CachePolicy, Cached};
pub use config::Config;
pub use host::{Access, Host, Net, Settings, Stat, Stream};
pub use run::run;
