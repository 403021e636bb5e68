//! The operator's NATS, for servers of which there are several: one stream is the one order of
//! what they write. The operator runs it; a server connects to it as to a database.

pub use async_nats::{Client, HeaderMap, Message as Incoming, Subscriber};

use crate::sqlite::Failure;
use async_nats::{
    ConnectOptions, Event, ServerAddr,
    jetstream::{
        self, ErrorCode,
        consumer::{DeliverPolicy, pull},
        context::{
            AccountError, AccountErrorKind, CreateStreamError, CreateStreamErrorKind,
            GetStreamErrorKind, PublishError, PublishErrorKind,
        },
        message::PublishMessage,
        stream::{
            ClusterInfo, Config, DiscardPolicy, Info, RawMessageErrorKind, RetentionPolicy,
            StorageType,
        },
    },
};
use axum::body::Bytes;
use clap::Args;
use futures_util::StreamExt as _;
use kez_core::Timestamp;
use serde::Deserialize;
use std::{collections::HashMap, fmt, num::NonZeroU8, path::PathBuf, str::FromStr, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// For how long NATS may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// After how long without a sign of life a server is taken for dead.
const PING: Duration = Duration::from_secs(2);
/// For how long a reader of a stream waits at once: it learns twice as often that the stream lives.
const WAIT: Duration = Duration::from_secs(2);
/// After how long without a message a reader is asked whether there is none.
const STILL: Duration = Duration::from_secs(3);
/// For how long the leader of a stream may not have heard from most of its nodes: another one is
/// elected after four seconds at the earliest.
const LED: Duration = Duration::from_secs(3);
/// How long nothing is tried after a failure.
const PAUSE: Duration = Duration::from_millis(300);
/// What the name of a stream begins with that is a key-value bucket of JetStream.
const BUCKET: &str = "KV_";
/// How many messages of a key a bucket keeps. It has to have a limit: one that no key reaches, and
/// that a client which takes it for a floating-point number still writes as it was.
const HISTORY: i64 = kez_core::json::MAX_INTEGER;

/// Where the operator's NATS is, and how to use it.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[group(skip)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Keep what is written in the NATS JetStream at this address, so that any number of servers
    /// share it; `tls://` checks the server's name. Several may be given, with commas.
    #[arg(id = "nats_url", long = "nats-url", env = "NATS_URL", hide_env_values = true)]
    pub url: Option<String>,
    /// A file with the credentials of the NATS user.
    #[arg(id = "nats_creds", long = "nats-creds", env = "NATS_CREDS")]
    pub creds: Option<PathBuf>,
    /// A file with the certificates to trust for NATS [default: the system's].
    #[arg(id = "nats_ca", long = "nats-ca", env = "NATS_CA")]
    pub ca: Option<PathBuf>,
    /// On how many servers of the cluster NATS keeps each message, 1 to 5 [default: 1 for a new
    /// stream].
    #[arg(id = "nats_replicas", long = "nats-replicas", env = "NATS_REPLICAS")]
    pub replicas: Option<NonZeroU8>,
}

impl Settings {
    /// These, and what others say where they say nothing.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            url: self.url.or(other.url),
            creds: self.creds.or(other.creds),
            ca: self.ca.or(other.ca),
            replicas: self.replicas.or(other.replicas),
        }
    }

    /// The addresses without what is secret in them.
    fn addresses(&self) -> Result<(Vec<ServerAddr>, String), String> {
        let url = self.url.as_deref().unwrap_or_default();
        // The text may hold a password: it is not repeated.
        let read = |text: &str| {
            ServerAddr::from_str(text.trim()).map_err(|_| "NATS_URL is no address of NATS".into())
        };
        let all = url.split(',').map(read).collect::<Result<Vec<_>, String>>()?;
        let hosts: Vec<_> = all.iter().map(|a| format!("{}:{}", a.host(), a.port())).collect();
        Ok((all, hosts.join(", ")))
    }
}

/// The version of a NATS server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl Version {
    /// Reads `2.10.27`, also with words behind it.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().ok()
        });
        Some(Self(parts.next()??, parts.next()??, parts.next()??))
    }

    /// Why a server of this version is not used.
    fn refused(self) -> Option<&'static str> {
        match self {
            v if v < Self(2, 10, 0) => Some("it has no auth callout; 2.10.27 is the oldest to use"),
            v if v < Self(2, 10, 27) || v == Self(2, 11, 0) => Some(
                "any user of JetStream reaches the streams of all accounts (CVE-2025-30215); \
                 2.10.27 and 2.11.1 are the oldest to use",
            ),
            _ => None,
        }
    }

    /// What is known to be wrong with it, where the operator can help it.
    fn warning(self) -> Option<&'static str> {
        let mended = match self {
            Self(2, 11, patch) => patch >= 16,
            Self(2, 12, patch) => patch >= 7,
            v => v >= Self(2, 14, 0),
        };
        let why = "clients that did not log in can harm it: leave `no_auth_user` out, and close \
                   its websocket to the public; 2.11.16, 2.12.7 and 2.14 are mended";
        (!mended).then_some(why)
    }
}

/// Connects, as the user of the settings or as the one of a seed. Gives where, too.
///
/// # Errors
/// A sentence that says what the operator can do.
pub async fn connect(
    settings: &Settings,
    name: &str,
    seed: Option<String>,
) -> Result<(Client, String), String> {
    let (addresses, hosts) = settings.addresses()?;
    let failed = |why: &dyn fmt::Display| format!("NATS at {hosts}: {why}");
    let mut options = ConnectOptions::new()
        .name(name)
        // What this server says to the others it knows already.
        .no_echo()
        .ping_interval(PING)
        .request_timeout(Some(LIMIT))
        .event_callback(async |event| match event {
            Event::Connected => tracing::info!("NATS: connected"),
            Event::Disconnected => tracing::warn!("NATS: disconnected"),
            event => tracing::warn!("NATS: {event}"),
        });
    if let Some(seed) = seed {
        options = options.nkey(seed);
    } else {
        // The client looks for neither in the addresses.
        if let Some(user) = addresses.iter().find_map(ServerAddr::username) {
            options = match addresses.iter().find_map(ServerAddr::password) {
                Some(password) => options.user_and_password(user.to_owned(), password.to_owned()),
                None => options.token(user.to_owned()),
            };
        }
        if let Some(path) = &settings.creds {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|e| format!("{}: {e}", path.display()))?;
            let unread = |_| format!("{}: no credentials of NATS", path.display());
            options = options.credentials(&text).map_err(unread)?;
        }
    }
    if let Some(path) = &settings.ca {
        options = options.add_root_certificates(path.clone());
    }
    let client = options.connect(addresses).await.map_err(|e| failed(&e))?;
    let info = client.server_info();
    let version = Version::parse(&info.version);
    let version = version.ok_or_else(|| failed(&"it names no version"))?;
    if let Some(why) = version.refused() {
        return Err(failed(&format_args!("version {}: {why}", info.version)));
    }
    if let Some(why) = version.warning() {
        tracing::warn!("NATS at {hosts}: version {}: {why}", info.version);
    }
    Ok((client, hosts))
}

/// The name of the account that a connection's user is of.
///
/// # Errors
/// What NATS says.
pub async fn account(client: &Client) -> Result<String, String> {
    let failed = |why: &dyn fmt::Display| format!("NATS does not name its user's account: {why}");
    let answer = client.request("$SYS.REQ.USER.INFO", Bytes::new()).await;
    let answer = answer.map_err(|e| failed(&e))?;
    let answer: serde_json::Value =
        serde_json::from_slice(&answer.payload).map_err(|e| failed(&e))?;
    let account = answer["data"]["account"].as_str();
    account.map(str::to_owned).ok_or_else(|| failed(&"no account"))
}

/// A connection to NATS with its JetStream, which comes back by itself.
#[derive(Clone)]
pub struct Nats {
    jetstream: jetstream::Context,
    hosts: String,
    replicas: Option<NonZeroU8>,
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Nats {
    /// Connects to JetStream, under a name that the operator will see.
    ///
    /// # Errors
    /// A sentence that says what the operator can do: no server there, credentials that are not
    /// taken, a server that is too old or has no JetStream.
    pub async fn connect(settings: &Settings, name: &str) -> Result<Self, String> {
        let (client, hosts) = connect(settings, name, None).await?;
        let mut jetstream = jetstream::new(client);
        jetstream.set_timeout(LIMIT);
        let young =
            |e: &AccountError| matches!(e.kind(), AccountErrorKind::JetStream(e) if unsettled(&e));
        patiently(|| jetstream.query_account(), young).await.map_err(|e| {
            let why = "JetStream is not enabled for this user, or not ready";
            format!("NATS at {hosts}: {why}: {e}")
        })?;
        Ok(Self { jetstream, hosts, replicas: settings.replicas })
    }

    /// What a stream has as its metadata, if it is there.
    ///
    /// # Errors
    /// What NATS says.
    pub async fn metadata(&self, stream: &str) -> Result<Option<HashMap<String, String>>, String> {
        Ok(self.find(stream).await?.map(|info| info.config.metadata))
    }

    async fn find(&self, stream: &str) -> Result<Option<Info>, String> {
        match self.jetstream.get_stream(stream).await {
            Ok(stream) => Ok(Some(stream.cached_info().clone())),
            Err(e) => match e.kind() {
                GetStreamErrorKind::JetStream(e)
                    if e.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(format!("NATS at {}: the stream {stream}: {e}", self.hosts)),
            },
        }
    }

    /// Makes a stream, unless another server was faster.
    async fn create(&self, wanted: &Config) -> Result<Info, String> {
        let said = |e: &CreateStreamError| match e.kind() {
            CreateStreamErrorKind::JetStream(e) => Some(e),
            _ => None,
        };
        let young = |e: &CreateStreamError| said(e).is_some_and(|e| unsettled(&e));
        let made = patiently(|| self.jetstream.create_stream(wanted), young);
        let error = match made.await {
            Ok(made) => return Ok(made.cached_info().clone()),
            Err(error) => error,
        };
        let there = said(&error).map(|e| e.error_code()) == Some(ErrorCode::STREAM_NAME_EXIST);
        let found = if there { self.find(&wanted.name).await? } else { None };
        found.ok_or_else(|| error.to_string())
    }

    /// Opens a stream, and makes it if it is missing.
    ///
    /// # Errors
    /// What NATS says; a stream of that name that is another one than is wanted.
    pub async fn log(&self, shape: Shape) -> Result<Log, String> {
        let name = shape.name;
        let failed = |why: &dyn fmt::Display| format!("NATS at {}: {name}: {why}", self.hosts);
        let bucket = name.starts_with(BUCKET);
        let wanted = Config {
            name: name.into(),
            description: Some(shape.description.into()),
            subjects: shape.subjects.iter().map(|&subject| subject.into()).collect(),
            retention: RetentionPolicy::Limits,
            discard: shape.keep.discard(),
            max_age: shape.keep.age(),
            storage: StorageType::File,
            num_replicas: self.replicas.map_or(1, |n| n.get().into()),
            max_bytes: shape.bytes.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX)),
            max_messages: -1,
            max_messages_per_subject: if bucket { HISTORY } else { -1 },
            allow_direct: bucket,
            deny_delete: shape.keep == Keep::All,
            deny_purge: shape.keep == Keep::All,
            metadata: shape.metadata,
            ..Config::default()
        };
        let found = match self.find(name).await? {
            Some(found) => found,
            None => self.create(&wanted).await.map_err(|e| failed(&e))?,
        };
        refused(&found.config, &wanted).map_or(Ok(()), |why| Err(failed(&why)))?;
        // What the operator says here holds; of what is not said, the stream's own does.
        let mut changed = found.config.clone();
        if self.replicas.is_some() {
            changed.num_replicas = wanted.num_replicas;
        }
        if changed.num_replicas > 1 && found.cluster.as_ref().is_none_or(|c| c.name.is_none()) {
            return Err(failed(&"a NATS server that is no cluster keeps one copy of a message"));
        }
        if shape.bytes.is_some() {
            changed.max_bytes = wanted.max_bytes;
        }
        changed.max_age = wanted.max_age;
        if changed != found.config {
            self.jetstream.update_stream(&changed).await.map_err(|e| failed(&e))?;
        }
        let (wanted, asked) = watch::channel(0);
        let (tell, told) = watch::channel((0, Err(Failure::Unreachable)));
        let stream = self.jetstream.get_stream_no_info(name).await.map_err(|e| failed(&e))?;
        let task = tokio::spawn(rounds(stream, asked, tell));
        Ok(Log {
            name,
            jetstream: self.jetstream.clone(),
            created: found.created.unix_timestamp_nanos().to_string(),
            last: found.state.last_sequence,
            wanted,
            told,
            task,
        })
    }
}

/// Whether a cluster says that it has just started: it does not know all of its nodes yet, or who
/// leads them.
fn unsettled(error: &jetstream::Error) -> bool {
    [
        ErrorCode::CLUSTER_INCOMPLETE,
        ErrorCode::CLUSTER_NO_PEERS,
        ErrorCode::CLUSTER_NOT_ACTIVE,
        ErrorCode::CLUSTER_NOT_AVAILABLE,
        ErrorCode::CLUSTER_NOT_LEADER,
    ]
    .contains(&error.error_code())
}

/// Does something, and again for a while, if it fails as with a cluster that has just started.
async fn patiently<T, E, F: Future<Output = Result<T, E>>>(
    work: impl Fn() -> F,
    again: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let start = Instant::now();
    loop {
        match work().await {
            Err(error) if again(&error) && start.elapsed() < LIMIT => sleep(PAUSE).await,
            done => return done,
        }
    }
}

/// Why a stream that is there cannot be used.
fn refused(found: &Config, wanted: &Config) -> Option<String> {
    let kept = found.retention == RetentionPolicy::Limits
        && found.discard == wanted.discard
        && found.max_age.is_zero() == wanted.max_age.is_zero()
        && found.max_messages <= 0
        && found.max_messages_per_subject.max(0) == wanted.max_messages_per_subject.max(0)
        && found.storage == StorageType::File
        && !found.allow_rollup;
    // NATS adds its own.
    let mut metadata = wanted.metadata.iter();
    if found.subjects != wanted.subjects {
        Some(format!("the stream is of {}, not of KEZ", found.subjects.join(", ")))
    } else if !kept {
        let why = "the stream would lose what it took: it must keep all (retention limits, \
                   discard new, storage file, no limits but its size)";
        let other = "the stream keeps something else than KEZ made it for: delete it";
        Some(if wanted.max_age.is_zero() { why } else { other }.into())
    } else if metadata.any(|(key, value)| found.metadata.get(key) != Some(value)) {
        Some("the stream belongs to another server".into())
    } else {
        None
    }
}

/// What a stream keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Everything: when it is full it takes no more.
    All,
    /// What is new enough, as much as there is space for.
    For(Duration),
}

impl Keep {
    const fn discard(self) -> DiscardPolicy {
        match self {
            Self::All => DiscardPolicy::New,
            Self::For(_) => DiscardPolicy::Old,
        }
    }

    const fn age(self) -> Duration {
        match self {
            Self::All => Duration::ZERO,
            Self::For(age) => age,
        }
    }
}

/// What stream is wanted.
#[derive(Debug)]
pub struct Shape {
    /// Its name.
    pub name: &'static str,
    /// The subjects that it takes, with wildcards.
    pub subjects: &'static [&'static str],
    /// What the operator reads about it.
    pub description: &'static str,
    /// What tells it from another server's.
    pub metadata: HashMap<String, String>,
    /// How many bytes it may have.
    pub bytes: Option<u64>,
    /// What it keeps.
    pub keep: Keep,
}

/// What is appended to a stream.
#[derive(Debug)]
pub struct Entry {
    /// The subject.
    pub subject: String,
    /// The last message of this subject that the writer knows, 0 for none: if there is a later one,
    /// nothing is appended. `None` appends whatever there is.
    pub after: Option<u64>,
    /// What readers get beside the body.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The subject has a later message.
    Moved,
    /// The message is larger than the operator's NATS takes, in bytes.
    TooLarge(usize),
    /// NATS does not do it, or did not say whether it did.
    Failed(Failure),
}

/// A message of a stream.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its position, from 1, without gaps.
    pub seq: u64,
    /// When NATS took it.
    pub at: Timestamp,
    /// Its subject.
    pub subject: String,
    /// What is beside the body.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A stream as the one order of what several servers write. It ends with the value.
pub struct Log {
    name: &'static str,
    jetstream: jetstream::Context,
    /// When the stream was made: what tells it from a later one of its name.
    pub created: String,
    /// The position of the last message when this was opened.
    pub last: u64,
    wanted: watch::Sender<u64>,
    told: watch::Receiver<(u64, Result<u64, Failure>)>,
    task: JoinHandle<()>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Log {
    /// Appends a message. When this returns, as many servers of NATS have it as keep the stream.
    /// Gives its position.
    ///
    /// # Errors
    /// Why it was not appended; with `Unreachable` it may have been.
    pub async fn append(&self, entry: Entry) -> Result<u64, Refused> {
        let Entry { subject, after, headers, body } = entry;
        let publish = || {
            let message = PublishMessage::build().payload(body.clone()).headers(headers.clone());
            let message = match after {
                Some(after) => message.expected_last_subject_sequence(after),
                None => message,
            };
            let sent = self.jetstream.send_publish(subject.clone(), message);
            async move { sent.await?.await }
        };
        // Nobody was there to take it.
        let nobody = |e: &PublishError| e.kind() == PublishErrorKind::StreamNotFound;
        let ack = patiently(publish, nobody).await;
        Ok(ack.map_err(|e| self.refused(&e))?.sequence)
    }

    /// Appends messages, each with a name that no other has, behind the last one of the whole
    /// stream, `end`, and nothing if there is a later one. None waits for the one before it, and
    /// none comes anywhere but right behind it, whatever others append meanwhile.
    ///
    /// # Errors
    /// Why one was not appended; those before it may have been, those behind it were not.
    pub async fn append_behind(
        &self,
        end: u64,
        entries: Vec<(String, Entry)>,
    ) -> Result<(), Refused> {
        let (mut acks, mut before) = (Vec::with_capacity(entries.len()), None);
        for (end, (id, Entry { subject, headers, body, .. })) in (end..).zip(entries) {
            let message = PublishMessage::build().payload(body).headers(headers);
            // Where one is refused, another's makes the position of the next one right again.
            let message = match before {
                Some(before) => message.expected_last_message_id(before),
                None => message,
            };
            let message = message.expected_last_sequence(end).message_id(&id);
            let sent = self.jetstream.send_publish(subject, message).await;
            acks.push(sent.map_err(|e| self.refused(&e))?);
            before = Some(id);
        }
        for ack in acks {
            ack.await.map_err(|e| self.refused(&e))?;
        }
        Ok(())
    }

    fn refused(&self, error: &PublishError) -> Refused {
        match error.kind() {
            PublishErrorKind::WrongLastSequence | PublishErrorKind::WrongLastMessageId => {
                Refused::Moved
            }
            PublishErrorKind::MaxPayloadExceeded => {
                Refused::TooLarge(self.jetstream.client().max_payload())
            }
            kind => {
                tracing::error!("NATS: {}: {error}", self.name);
                let full = kind == PublishErrorKind::Other && is_full(error);
                Refused::Failed(if full { Failure::Full } else { Failure::Unreachable })
            }
        }
    }

    /// What is beside the body of a message, if that is still there.
    ///
    /// # Errors
    /// `Unreachable`.
    pub async fn headers(&self, seq: u64) -> Result<Option<HeaderMap>, Failure> {
        let stream = self.jetstream.get_stream_no_info(self.name).await;
        let stream = stream.map_err(|_| Failure::Unreachable)?;
        match stream.get_raw_message(seq).await {
            Ok(message) => Ok(Some(message.headers)),
            Err(e) if e.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(_) => Err(Failure::Unreachable),
        }
    }

    /// The connection, for what nobody keeps.
    #[must_use]
    pub fn client(&self) -> Client {
        self.jetstream.client()
    }

    /// The position of the last message, as it is at some time after this was called; in the second
    /// in which a cluster of NATS has two leaders that others still follow, it may be an older one.
    ///
    /// # Errors
    /// `Unreachable`.
    pub async fn end(&self) -> Result<u64, Failure> {
        let mut mine = 0;
        self.wanted.send_modify(|count| {
            *count += 1;
            mine = *count;
        });
        let mut told = self.told.clone();
        let told = told.wait_for(|(round, _)| *round >= mine).await;
        told.map_or(Err(Failure::Unreachable), |told| told.1.clone())
    }

    /// Sends what it makes of the messages after a position, for ever: of each once, in order. It
    /// waits where NATS cannot be reached, or lacks a message. Ends when nobody receives any more.
    pub async fn follow<T: Send>(
        &self,
        mut after: u64,
        to: mpsc::Sender<T>,
        make: impl Fn(Message) -> T + Send + Sync,
    ) {
        loop {
            match self.read(after, &to, &make).await {
                Ok(()) => return,
                Err((seq, why)) => {
                    after = seq;
                    tracing::warn!("NATS: {} after {seq}: {why}", self.name);
                }
            }
            sleep(PAUSE).await;
        }
    }

    async fn read<T: Send>(
        &self,
        mut after: u64,
        to: &mpsc::Sender<T>,
        make: &(impl Fn(Message) -> T + Send + Sync),
    ) -> Result<(), (u64, String)> {
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: after + 1 },
            max_expires: WAIT,
            ..Default::default()
        };
        let consumer = self.jetstream.create_consumer_on_stream(config, self.name).await;
        let consumer = consumer.map_err(|e| (after, e.to_string()))?;
        let mut messages = consumer.messages().await.map_err(|e| (after, e.to_string()))?;
        loop {
            let message = match timeout(STILL, messages.next()).await {
                Ok(Some(message)) => message,
                Ok(None) => return Err((after, "the reader ended".into())),
                // After a reconnection the client's reader may wait for ever, and not say so.
                Err(_) if self.end().await.is_ok_and(|end| end > after) => {
                    return Err((after, "the reader stands still".into()));
                }
                Err(_) => continue,
            };
            let message = message.map_err(|e| (after, e.to_string()))?;
            let info = message.info().map_err(|e| (after, e.to_string()))?;
            let (seq, at) = (info.stream_sequence, info.published.unix_timestamp());
            if seq != after + 1 {
                return Err((after, format!("the next message is {seq}: some are lost")));
            }
            let message = message.message;
            let message = Message {
                seq,
                at: Timestamp::from_seconds(at),
                subject: message.subject.to_string(),
                headers: message.headers.unwrap_or_default(),
                body: message.payload,
            };
            if to.send(make(message)).await.is_err() {
                return Ok(());
            }
            after = seq;
        }
    }
}

/// Whether the stream, the account or the disk has no space left.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let code = error.source().and_then(|e| e.downcast_ref::<jetstream::Error>());
    code.is_some_and(|e| {
        matches!(
            e.error_code(),
            ErrorCode::STREAM_STORE_FAILED
                | ErrorCode::STORAGE_RESOURCES_EXCEEDED
                | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
                | ErrorCode::INSUFFICIENT_RESOURCES
        )
    })
}

/// Asks where the stream ends, once for all who want to know: whoever comes while it is asked gets
/// the next answer.
async fn rounds(
    stream: jetstream::stream::Stream<()>,
    mut asked: watch::Receiver<u64>,
    tell: watch::Sender<(u64, Result<u64, Failure>)>,
) {
    while asked.changed().await.is_ok() {
        let round = *asked.borrow_and_update();
        let end = match stream.get_info().await {
            Ok(info) if led(info.cluster.as_ref()) => Ok(info.state.last_sequence),
            Ok(_) => {
                tracing::warn!("NATS: the leader of a stream is alone");
                Err(Failure::Unreachable)
            }
            Err(e) => {
                tracing::warn!("NATS: the end of a stream: {e}");
                Err(Failure::Unreachable)
            }
        };
        drop(tell.send_replace((round, end)));
    }
}

/// Whether who tells about a stream leads most of its nodes: one that is cut off from them takes
/// itself for their leader for a while, and knows nothing of what they have taken since.
fn led(cluster: Option<&ClusterInfo>) -> bool {
    let others = cluster.map_or(&[][..], |cluster| &cluster.replicas);
    let near = others.iter().filter(|node| !node.offline && node.active <= LED).count();
    // The leader is one of them, too.
    (near + 1) * 2 > others.len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_known_holes_are_refused() {
        for (text, refused, warned) in [
            ("2.9.10", true, true),
            ("2.10.0", true, true),
            ("2.10.26", true, true),
            ("2.10.27", false, true),
            ("2.10.27-1+b2", false, true),
            ("2.11.0", true, true),
            ("2.11.1", false, true),
            ("2.11.16", false, false),
            ("2.12.6", false, true),
            ("2.12.7-RC.1", false, false),
            ("2.13.0", false, true),
            ("2.14.0", false, false),
            ("3.0.0", false, false),
        ] {
            let version = Version::parse(text).unwrap();
            assert_eq!(version.refused().is_some(), refused, "{text}");
            assert_eq!(version.warning().is_some(), warned, "{text}");
        }
        for text in ["", "2", "2.10", "v2.10.27", "2.10.x"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_leader_whom_most_do_not_follow_is_not_asked() {
        let led_by = |seconds: &[f64], offline: bool| {
            let node = |active: &f64| {
                let active = (active * 1e9) as u64;
                serde_json::json!({ "name": "x", "current": true, "active": active, "offline": offline })
            };
            let all: Vec<_> = seconds.iter().map(node).collect();
            let cluster = serde_json::json!({ "name": "c", "leader": "l", "replicas": all });
            led(Some(&serde_json::from_value(cluster).unwrap()))
        };
        assert!(led(None) && led_by(&[], false));
        assert!(led_by(&[0.5, 2.9], false) && led_by(&[0.5, 100.0], false));
        assert!(!led_by(&[3.1, 100.0], false) && !led_by(&[0.5, 0.5], true));
        assert!(led_by(&[1.0, 1.0, 9.0, 9.0], false) && !led_by(&[1.0, 9.0, 9.0, 9.0], false));
        // Two of two.
        assert!(led_by(&[1.0], false) && !led_by(&[9.0], false));
    }

    #[test]
    fn addresses_are_named_without_their_passwords() {
        let settings = |url: &str| Settings { url: Some(url.into()), ..Settings::default() };
        let (all, hosts) =
            settings("tls://user:hidden@a.example, nats://b.example:4333").addresses().unwrap();
        assert_eq!((all.len(), &*hosts), (2, "a.example:4222, b.example:4333"));
        let refused = settings("http://user:hidden@a.example").addresses().unwrap_err();
        assert_eq!(refused, "NATS_URL is no address of NATS");
    }
}
