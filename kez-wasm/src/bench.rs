//! Conversations without a server, for `cargo xtask bench mls`. No published module has it.

use crate::error::or_throw;
use kez_core::{
    Chain, Code, Event, Identity, Op, Result as CoreResult, Scheme, SecretKey, Timestamp,
    chat::{
        About, Body, CAPABILITY, Certificate, Change, Device, Group, KeyPackage, Message,
        MessageId, Random, Received,
    },
};
use std::sync::Arc;
use wasm_bindgen::prelude::*;

/// 2026-11-21T12:00:00Z
const NOW: Timestamp = Timestamp::from_seconds(1_795_262_400);

fn random<const N: usize>() -> CoreResult<[u8; N]> {
    let mut bytes = [0; N];
    crate::fill_random(&mut bytes)?;
    Ok(bytes)
}

fn person() -> CoreResult<(Identity, Device)> {
    let owner = SecretKey::from_bytes(Scheme::Ed25519, random()?)?;
    let device = SecretKey::from_bytes(Scheme::Ed25519, random()?)?;
    let mut chain = Chain::new(owner.public().identity())?;
    let op = Op::AddDevice {
        device: device.public().clone(),
        caps: vec![CAPABILITY.into()],
        not_after: None,
        name: None,
    };
    let mut event = Event::new(chain.name().clone(), None, NOW, op).to_envelope()?;
    event.sign(&owner, &[0; 32])?;
    event.sign(&device, &[0; 32])?;
    chain.append(&event, NOW)?;
    let certificate = Certificate::of(&chain, device.public().identity())?;
    let random: Random = Arc::new(crate::fill_random);
    Ok((chain.name().clone(), Device::new(device, certificate, random)?))
}

fn join(device: &Device, welcome: Option<Vec<u8>>, package: &KeyPackage) -> CoreResult<Group> {
    let welcome = welcome.ok_or(Code::WelcomeRefused)?;
    Ok(device.join(&welcome, (&package.id(), &package.secret))?.0)
}

/// A group, as its first two members see it.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Bench {
    first: Group,
    second: Group,
    count: u64,
}

#[wasm_bindgen]
impl Bench {
    /// The first device adds the others at once, and the second joins.
    ///
    /// # Errors
    /// Those of the core.
    #[wasm_bindgen(constructor)]
    pub fn new(members: u32) -> Result<Self, JsValue> {
        or_throw(Self::make(members))
    }

    fn make(members: u32) -> CoreResult<Self> {
        let (primary, device) = person()?;
        let mut first = device.create(random()?, &About::group("bench", primary), NOW)?;
        let mut others = Vec::new();
        for _ in 1..members {
            let (_, device) = person()?;
            let package = device.key_package(false, NOW)?;
            others.push((device, package));
        }
        let add = others.iter().map(|(_, package)| package.public.clone()).collect();
        let commit = first.commit(&Change { add, ..Change::default() }, NOW)?;
        first.confirm()?;
        let (device, package) = others.first().ok_or(Code::Usage)?;
        let second = join(device, commit.welcome, package)?;
        Ok(Self { first, second, count: 0 })
    }

    /// One encrypts a text, and the other decrypts it.
    ///
    /// # Errors
    /// Those of the core.
    pub fn message(&mut self, text: String) -> Result<(), JsValue> {
        self.count += 1;
        let message = Message {
            id: MessageId::from_bytes(or_throw(random())?),
            at: NOW,
            count: self.count,
            body: Body::Text(text),
            head: None,
        };
        let entry = or_throw(self.first.encrypt(&message))?;
        match or_throw(self.second.process(&entry))? {
            Received::Message { message: got, .. } if got == message => Ok(()),
            _ => or_throw(Err(Code::MessageRefused.into())),
        }
    }

    /// One renews its keys, and the other follows.
    ///
    /// # Errors
    /// Those of the core.
    pub fn renew(&mut self) -> Result<(), JsValue> {
        or_throw(self.change(&Change::default()).map(drop))
    }

    /// One adds a new device; the other follows, and the new one joins.
    ///
    /// # Errors
    /// Those of the core.
    pub fn add(&mut self) -> Result<(), JsValue> {
        or_throw(self.extend())
    }

    fn extend(&mut self) -> CoreResult<()> {
        let (_, device) = person()?;
        let package = device.key_package(false, NOW)?;
        let change = Change { add: vec![package.public.clone()], ..Change::default() };
        let welcome = self.change(&change)?;
        join(&device, welcome, &package).map(drop)
    }

    fn change(&mut self, change: &Change) -> CoreResult<Option<Vec<u8>>> {
        let commit = self.first.commit(change, NOW)?;
        self.first.confirm()?;
        self.second.process(&commit.message)?;
        Ok(commit.welcome)
    }
}
