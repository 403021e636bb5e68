//! Who a device is: the events that vouch for it, carried by the device itself (SPEC.md,
//! "Certificates").
//!
//! Whether a certificate is accepted depends on its bytes alone. Whether the device is still in
//! force is another question, which the gate before every sending asks of the chain: if the
//! members of a conversation judged its changes by what each knows of a chain, they would part.

use crate::{
    Chain, Code, Error, Event, Identity, Key, ObjectId, Op, Result, Timestamp,
    chain::rotation_signers,
};
use alloc::{string::String, vec::Vec};

/// The largest certificate in bytes.
pub const MAX_CERTIFICATE: usize = 32 * 1024;
/// How many events may vouch: one for the device, two for every rotation before it.
const MAX_LINES: usize = 33;

/// A device and the identity that it belongs to, by signed events: those that lead from the
/// genesis key to the key that added the device, then its `add_device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    primary: Identity,
    device: Key,
    event: ObjectId,
    seq: u64,
    not_after: Option<Timestamp>,
    text: String,
}

impl Certificate {
    /// The certificate of an active device of a chain.
    ///
    /// # Errors
    /// `device_unknown` if the chain has no such device that may chat; `device_revoked`.
    pub fn of(chain: &Chain, device: &Identity) -> Result<Self> {
        let unknown = || Error::about(Code::DeviceUnknown, device);
        let known = chain.devices().find(|d| d.key == *device).ok_or_else(unknown)?;
        if !known.can(super::CAPABILITY) {
            return Err(unknown());
        }
        if known.revoked.is_some() {
            return Err(Error::about(Code::DeviceRevoked, device));
        }
        Self::read(path(chain, known.seq).as_bytes())
    }

    /// Checks that every event is signed by the key that the ones before it lead to.
    ///
    /// # Errors
    /// `certificate_refused`, with what is wrong.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes, true)
    }

    /// As [`Certificate::read`], for one that was read before.
    pub(super) fn read_again(bytes: &[u8]) -> Result<Self> {
        Self::parse(bytes, false)
    }

    fn parse(bytes: &[u8], verify: bool) -> Result<Self> {
        let last = follow(bytes, verify).map_err(|error| refused(&error.brief()))?;
        let Op::AddDevice { device, caps, not_after, .. } = last.event.op else {
            return Err(refused("the last event adds no device"));
        };
        if !caps.iter().any(|cap| cap == super::CAPABILITY) {
            return Err(refused("the device may not chat"));
        }
        Ok(Self {
            primary: last.event.chain,
            device,
            event: last.id,
            seq: last.event.seq,
            not_after,
            text: String::from_utf8(bytes.to_vec()).map_err(|_| refused("not text"))?,
        })
    }

    /// The identity that the device belongs to.
    #[must_use]
    pub const fn primary(&self) -> &Identity {
        &self.primary
    }

    /// The device's key.
    #[must_use]
    pub const fn device(&self) -> &Key {
        &self.device
    }

    /// The position of its `add_device` on the chain.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Until when the device may be used.
    #[must_use]
    pub const fn not_after(&self) -> Option<Timestamp> {
        self.not_after
    }

    /// The events, one canonical line each.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Whether the device is on the chain, by the very event of this certificate, and in force.
    ///
    /// # Errors
    /// `certificate_refused` if the chain does not have the event or has declared it void,
    /// `device_revoked` if the device was revoked or its time is over.
    pub fn check(&self, chain: &Chain, now: Timestamp) -> Result<()> {
        let device = self.device.identity();
        let known = chain.devices().find(|d| d.key == *device);
        match known {
            Some(known) if chain.id_at(self.seq) == Some(self.event) => {
                let over = self.not_after.is_some_and(|until| until <= now);
                if known.revoked.is_some() || over {
                    return Err(Error::about(Code::DeviceRevoked, device));
                }
                Ok(())
            }
            _ => Err(refused("its event is not on the chain")),
        }
    }
}

/// A revocation that anybody can check: the events that lead to it, as in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    primary: Identity,
    device: Identity,
    text: String,
}

impl Evidence {
    /// The evidence that a chain has of a device's revocation.
    ///
    /// # Errors
    /// `device_unknown` if the device is not revoked there.
    pub fn of(chain: &Chain, device: &Identity) -> Result<Self> {
        let known = chain.devices().find(|d| d.key == *device).and_then(|d| d.revoked);
        let revoked = known.ok_or_else(|| Error::about(Code::DeviceUnknown, device))?;
        Self::read(path(chain, revoked.seq).as_bytes())
    }

    /// Checks signatures as [`Certificate::read`] does.
    ///
    /// # Errors
    /// `certificate_refused`.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let last = follow(bytes, true).map_err(|error| refused(&error.brief()))?;
        let Op::RevokeDevice { device, .. } = last.event.op else {
            return Err(refused("the last event revokes no device"));
        };
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| refused("not text"))?;
        Ok(Self { primary: last.event.chain, device, text })
    }

    /// The identity whose device it was.
    #[must_use]
    pub const fn primary(&self) -> &Identity {
        &self.primary
    }

    /// The device.
    #[must_use]
    pub const fn device(&self) -> &Identity {
        &self.device
    }

    /// The events, one canonical line each.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

fn refused(about: &str) -> Error {
    Error::about(Code::CertificateRefused, about)
}

/// The lines that lead to an event: every rotation before it, every commitment, and itself.
fn path(chain: &Chain, seq: u64) -> String {
    let mut text = String::new();
    for (event, line) in chain.events().iter().zip(chain.lines()) {
        let leads = matches!(event.op, Op::Rotate { .. }) || event.next.is_some();
        if event.seq == seq || (event.seq < seq && leads) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

struct Last {
    event: Event,
    id: ObjectId,
}

/// Follows the current key from the chain's name to the last event.
fn follow(bytes: &[u8], verify: bool) -> Result<Last> {
    if bytes.len() > MAX_CERTIFICATE {
        return Err(Error::about(Code::TooLarge, "a certificate has at most 32 KiB"));
    }
    let mut rest = bytes;
    let mut current: Option<Key> = None;
    let mut next: Option<ObjectId> = None;
    let mut last: Option<Last> = None;
    for _ in 0..MAX_LINES {
        if rest.is_empty() {
            break;
        }
        let (envelope, event, _) = Event::take(&mut rest)?;
        let key = match current {
            Some(key) => key,
            None => Key::from_identity(&event.chain)?,
        };
        if let Some(last) = &last {
            if last.event.chain != event.chain {
                return Err(Error::about(Code::ChainId, &event.chain));
            }
            if event.seq <= last.event.seq {
                return Err(Error::about(Code::ChainSeq, event.seq));
            }
        }
        let to = match &event.op {
            Op::Rotate { to, .. } => Some(to.clone()),
            _ => None,
        };
        if event.next.is_some() && next.is_some() && to.is_none() {
            return Err(Code::NextRefused.into());
        }
        let device = match &event.op {
            Op::AddDevice { device, .. } => Some(device),
            _ => None,
        };
        let signers: Vec<&Key> = match &to {
            Some(to) => rotation_signers(&key, to, next)?,
            None => core::iter::once(&key).chain(device).collect(),
        };
        if verify {
            envelope.verify(&signers)?
        } else {
            envelope.check_set(&signers)?
        }
        next = if to.is_some() { event.next } else { event.next.or(next) };
        current = Some(to.unwrap_or(key));
        last = Some(Last { event, id: envelope.id() });
    }
    if !rest.is_empty() {
        return Err(Error::about(Code::TooLarge, "a certificate has at most 33 events"));
    }
    last.ok_or_else(|| Code::ChainEmpty.into())
}
