//! `kez chat export` and `kez chat import`: a device moves to another machine.

use super::{
    Account, Desk, MAX_RECORD, Public, account_name, copy, lock, read_public, write_public,
};
use crate::{
    args::WithAccount,
    home::storage,
    host::{Access, Net},
    output::{Out, clean},
    run::Context,
    transaction::Transaction,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kez_core::{
    Code, Error, Result,
    chat::{Handle, client::Client},
    keyfile::KeyFile,
};
use serde::{Deserialize, Serialize};
use std::path::Path;
use zeroize::Zeroizing;

/// The largest file that is read, in bytes.
const MAX_FILE: usize = 4 * MAX_RECORD;

/// A device on its way.
#[derive(Serialize, Deserialize)]
struct Moving {
    kez_chat_device: u8,
    handle: String,
    server: String,
    primary: String,
    /// A key file, always with a passphrase.
    key: String,
    /// What the client gave, in base64.
    state: String,
}

/// Ends a device here, and writes all of it into a file.
pub(super) async fn export<N: Net>(
    context: &Context<'_, N>,
    out: &Out<'_>,
    file: &Path,
    account: &WithAccount,
) -> Result<()> {
    // What cannot be written anyway shall end nothing.
    if context.host.stat(file).is_ok() {
        return Err(Error::about(Code::Usage, format!("{} is there already", file.display())));
    }
    let account = Account::choose(context, account)?;
    let passphrase = context.new_passphrase()?;
    let key = context.keys().seal(&account.secret, &passphrase)?;
    let public = read_public(context, &account.card)?;
    let blob = {
        let _lock = lock(context, &account.dir)?;
        let desk = Desk { context, dir: account.dir.clone() };
        Client::export(&desk, &account.secret, context.host.randomness()).await?
    };
    let moving = Moving {
        kez_chat_device: 1,
        handle: public.handle,
        server: public.server,
        primary: public.primary,
        key: key.to_text().to_string(),
        state: STANDARD.encode(blob),
    };
    let text = serde_json::to_vec(&moving).map_err(|_| Code::StateRefused)?;
    let written = context.host.write(file, &text, Access::Private, false);
    written.map_err(storage(file))?;
    let device = account.secret.public().identity();
    let value = serde_json::json!({
        "schema": "kez.chat.moved/1",
        "device": device,
        "file": file,
    });
    out.result(
        &value,
        &format!("{device} is in {}, and has ended here", clean(&file.display().to_string())),
    );
    out.hint(
        "kez: take it up on the other machine by `kez chat import`, once, and delete the file",
    );
    Ok(())
}

/// Takes a device up from a file.
pub(super) async fn import<N: Net>(
    context: &Context<'_, N>,
    out: &Out<'_>,
    file: &Path,
    name: &str,
    no_passphrase: bool,
) -> Result<()> {
    let refused = || Error::about(Code::StateRefused, file.display());
    let bytes = Zeroizing::new(context.read_input(file, MAX_FILE)?);
    let moving: Moving = serde_json::from_slice(&bytes).map_err(|_| refused())?;
    if moving.kez_chat_device != 1 {
        return Err(refused());
    }
    let handle: Handle = moving.handle.parse()?;
    let account = account_name(&handle, &moving.server)?;
    let blob = STANDARD.decode(&moving.state).map_err(|_| refused())?;
    let key = KeyFile::read(moving.key.as_bytes())?;
    let passphrase = context.passphrase("Passphrase of the file: ")?;
    let secret = key.open(&passphrase)?;
    let device = secret.public().identity().clone();
    let known = context.keys().list()?.into_iter().find(|entry| entry.identity == device);
    let name = match known {
        Some(entry) => entry.name,
        None => {
            if no_passphrase {
                out.hint("kez: warning: the device's key is stored unencrypted");
            }
            let passphrase = (!no_passphrase).then_some(passphrase.as_str());
            let _lock = context.home.lock()?;
            let mut transaction = Transaction::new();
            let added = context.keys().add(&mut transaction, name, &secret, passphrase)?;
            transaction.commit(context.home)?;
            added.name
        }
    };
    let dir = context.home.path("chat").join(&account);
    let card = dir.with_file_name(format!("{account}.json"));
    let _lock = lock(context, &dir)?;
    let desk = || Desk { context, dir: dir.clone() };
    let random = || context.host.randomness();
    let opened = Client::open(desk(), copy(&secret)?, random()).await;
    // Without its card it is here because this was cut off.
    let client = match opened {
        Ok(client) if context.home.look_up(&card, MAX_RECORD)?.is_none() => client,
        _ => Client::import(desk(), secret, random(), &blob).await?,
    };
    let own = client.account();
    if own.handle != handle || own.server != moving.server {
        return Err(refused());
    }
    let public = Public {
        kez_chat: 1,
        handle: moving.handle,
        server: moving.server,
        device: name,
        primary: client.device().certificate().primary().to_string(),
        published: None,
    };
    write_public(context, &card, &public)?;
    super::tell_account(out, &account, &public, &device);
    Ok(())
}
