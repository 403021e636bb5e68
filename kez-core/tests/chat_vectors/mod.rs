//! The kinds of vectors that chat has.

use super::unhex;
use kez_core::{
    Chain, Envelope, Identity, Result, Timestamp,
    chat::{
        Body, Certificate, Evidence, Handle, Message, SealedKey, SignedBundle, SignedHandle,
        auth::{Binds, Credentials, Request},
        open, safety_number,
    },
    json::Value,
};
use serde_json::{Value as Json, json};

fn envelope(value: &Json) -> Result<Envelope> {
    Envelope::from_value(Value::parse(text(value).as_bytes())?)
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap()
}

/// Runs a vector of chat; nothing for the other kinds.
pub(crate) fn run(kind: &str, input: &Json, now: Timestamp) -> Option<Result<Json>> {
    Some(match kind {
        "handle" => text(input).parse::<Handle>().map(|handle| json!(handle.as_str())),
        "handle-record" => handle_record(input, now),
        "certificate" => Certificate::read(text(input).as_bytes()).map(|c| {
            assert_eq!(c.as_bytes(), text(input).as_bytes());
            json!(format!("{} {} {}", c.primary(), c.device(), c.seq()))
        }),
        "evidence" => Evidence::read(text(input).as_bytes())
            .map(|e| json!(format!("{} {}", e.primary(), e.device()))),
        "device" => device(input, now),
        "device-bundle" => envelope(input)
            .and_then(|envelope| SignedBundle::read(envelope, now))
            .map(|signed| json!(signed.bundle().device.as_str())),
        "auth" => auth(input),
        "safety" => {
            let side = |n: usize| {
                let id = |value| Identity::from_canonical(text(value)).unwrap();
                let devices = input[n]["devices"].as_array().unwrap().iter().map(id).collect();
                (id(&input[n]["primary"]), devices)
            };
            Ok(json!(safety_number(&side(0), &side(1))))
        }
        "sealed" => {
            let key = SealedKey::from_bytes(&unhex(&input["secret"]).try_into().unwrap()).unwrap();
            let envelope = unhex(&input["envelope"]);
            open(&key, text(&input["purpose"]), text(&input["to"]), &envelope)
                .map(|data| json!(str::from_utf8(&data).unwrap()))
        }
        "message" => Message::read(text(input).as_bytes()).map(|message| match message.body {
            Body::Text(said) => json!(format!("text {said}")),
            Body::Leave => json!("leave"),
            Body::Unknown(name) => json!(format!("unknown {name}")),
            _ => panic!("a body without a vector"),
        }),
        _ => return None,
    })
}

fn handle_record(input: &Json, now: Timestamp) -> Result<Json> {
    let chain = Chain::replay(text(&input["chain"]).as_bytes(), None, now)?;
    let signed = SignedHandle::read(envelope(&input["record"])?)?;
    signed.check(&text(&input["handle"]).parse()?, text(&input["server"]), &chain)?;
    Ok(Json::Null)
}

fn device(input: &Json, now: Timestamp) -> Result<Json> {
    let chain = Chain::replay(text(&input["chain"]).as_bytes(), None, now)?;
    Certificate::read(text(&input["certificate"]).as_bytes())?.check(&chain, now)?;
    Ok(Json::Null)
}

fn auth(input: &Json) -> Result<Json> {
    let credentials = match input["query"].as_str() {
        Some(query) => {
            let (device, auth) = query.split_once("&auth=").unwrap();
            Credentials::from_query(device.strip_prefix("device=").unwrap(), auth)?
        }
        None => Credentials::from_header(text(&input["header"]))?,
    };
    let binds = match (input["since"].as_u64(), input["body"].as_str()) {
        (Some(since), _) => Binds::Since(since),
        (_, Some(body)) => Binds::Body(body.as_bytes()),
        _ => Binds::Nothing,
    };
    let request = Request {
        origin: text(&input["origin"]),
        method: text(&input["method"]),
        path: text(&input["path"]),
        binds,
        at_ms: credentials.at_ms,
    };
    credentials.verify(&request, input["at"].as_u64().unwrap())?;
    Ok(Json::Null)
}
