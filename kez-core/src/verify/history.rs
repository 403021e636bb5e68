//! What a verifier knows of a sigchain.

use crate::{Chain, Code, Error, Fork};
use alloc::boxed::Box;

/// What a verifier knows of a primary's sigchain, from all its sources together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// The sources that count answered that there is no such chain.
    Absent,
    /// No source was asked: none is known, or the user works offline.
    Unchecked,
    /// It could not be established whether there is a chain; why.
    Unknown(Error),
    /// The chain, the longest that is known.
    Known(Box<Known>),
    /// Two branches that both verify, and nothing that settles between them.
    Forked(Box<Fork>),
}

/// A known chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The chain.
    pub chain: Chain,
    /// Why events may be missing at its end: `rollback`, `chain_damaged`, `chain_unreachable`, or
    /// a code of a transparency log.
    pub doubt: Option<Error>,
    /// Whether no source was asked now, so that this is what was seen before.
    pub unchecked: bool,
    /// Whether the committed key settled a fork in its favour.
    pub settled: bool,
    /// Why a sigchain server was not believed, if one was not.
    pub refused: Option<Error>,
}

impl Known {
    /// Whether no source answered now, so that this is what was seen before.
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        let served = |error: &Error| matches!(error.code(), Code::Rollback | Code::ChainDamaged);
        self.unchecked || self.doubt.as_ref().is_some_and(|error| !served(error))
    }

    /// Whether the sources serve fewer events than were seen before.
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        self.doubt.as_ref().is_some_and(|error| error.code() == Code::Rollback)
    }
}

impl From<Chain> for History {
    /// A chain as its sources serve it, with nothing in doubt.
    fn from(chain: Chain) -> Self {
        let known = Known { chain, doubt: None, unchecked: false, settled: false, refused: None };
        Self::Known(Box::new(known))
    }
}

impl History {
    /// Why it may not be the history, or not all of it.
    #[must_use]
    pub fn doubt(&self) -> Option<Error> {
        match self {
            Self::Absent | Self::Unchecked => None,
            Self::Unknown(error) => Some(error.clone()),
            Self::Known(known) => known.doubt.clone(),
            Self::Forked(fork) => {
                Some(Error::about(Code::Forked, format_args!("from event {} on", fork.seq())))
            }
        }
    }

    /// The chain, if there is one that can be told.
    #[must_use]
    pub fn chain(&self) -> Option<&Chain> {
        match self {
            Self::Known(known) => Some(&known.chain),
            _ => None,
        }
    }
}
