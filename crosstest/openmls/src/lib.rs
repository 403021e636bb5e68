//! Tests alone: kez-core's conversations against OpenMLS, over suite 1 of RFC 9420, which both
//! have. The suite that KEZ uses has other numbers of the same parts (X-Wing for X25519), and the
//! drafts that it stands on are not settled between libraries yet.
