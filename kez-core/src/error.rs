//! The error contract: every failure has a stable snake_case [`Code`], and this table is the one
//! place where codes, their meaning and their remedy are written (SPEC.md, appendix A).

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
};
use core::fmt;

/// What a caller can do about an error: the coarse grouping of [`Code`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "types", derive(ts_rs::TS), ts(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Kind {
    /// The bytes break the wire format: reject them.
    Format,
    /// The argument is not what the function takes: fix the call.
    Input,
    /// A signature or key check failed: do not trust the object.
    Crypto,
    /// A sigchain rule is broken: do not trust the chain.
    Chain,
    /// A well-formed object does not prove what is asked, or no longer does.
    Proof,
    /// An answer could not be had: try again later.
    Network,
    /// The user's own files: keys, cache, configuration.
    Storage,
}

impl Kind {
    /// The lower-case name used in JSON output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Input => "input",
            Self::Crypto => "crypto",
            Self::Chain => "chain",
            Self::Proof => "proof",
            Self::Network => "network",
            Self::Storage => "storage",
        }
    }
}

macro_rules! codes {
    ($($(#[$when:meta])* $variant:ident $code:literal $kind:ident $status:ident $summary:literal $remedy:literal)*) => {
        /// A stable reason code. Codes are never renamed or reused; new ones may be added.
        ///
        /// ```
        /// use kez_core::Code;
        /// assert_eq!(Code::from_name("rate_limited"), Some(Code::RateLimited));
        /// assert_eq!(Code::RateLimited.as_str(), "rate_limited");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[cfg_attr(feature = "types", derive(ts_rs::TS), ts(rename_all = "snake_case"))]
        #[non_exhaustive]
        pub enum Code { $($(#[$when])* #[doc = $summary] $variant,)* }

        impl Code {
            /// Every code, in the order of SPEC.md's table.
            pub const ALL: &'static [Self] = &[$($(#[$when])* Self::$variant,)*];

            /// The stable name, as it stands in JSON and in SPEC.md.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $($(#[$when])* Self::$variant => $code,)* } }

            /// The group that the code belongs to.
            #[must_use]
            pub const fn kind(self) -> Kind { match self { $($(#[$when])* Self::$variant => Kind::$kind,)* } }

            /// The verdict that a verification ends with when this is the reason.
            #[must_use]
            pub const fn status(self) -> crate::Status {
                match self { $($(#[$when])* Self::$variant => crate::Status::$status,)* }
            }

            /// One sentence: what happened.
            #[must_use]
            pub const fn summary(self) -> &'static str { match self { $($(#[$when])* Self::$variant => $summary,)* } }

            /// One sentence: what to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str { match self { $($(#[$when])* Self::$variant => $remedy,)* } }
        }
    };
}

codes! {
    JsonUtf8 "json_utf8" Format Invalid "The text is not valid UTF-8, or starts with a byte order mark." "Publish the proof again as plain UTF-8 text."
    JsonSyntax "json_syntax" Format Invalid "The text is not JSON." "Copy the whole proof again, unchanged."
    JsonString "json_string" Format Invalid "A JSON string holds a lone surrogate, a noncharacter or a raw control character." "Create the object again with a conforming implementation."
    JsonNumber "json_number" Format Invalid "A JSON number is not a plain integer within 2^53-1." "Create the object again with a conforming implementation."
    JsonDuplicate "json_duplicate" Format Invalid "A JSON object names the same member twice." "Do not trust the object: two readers could see different values."
    JsonDepth "json_depth" Format Invalid "The JSON is nested more than 8 levels deep." "Create the object again with a conforming implementation."
    JsonNotCanonical "json_not_canonical" Format Invalid "The bytes are not the canonical (JCS) form that this encoding demands." "Use the bytes as they were created, without reformatting."
    TooLarge "too_large" Format Invalid "The input is larger than its limit." "Shorten it, or split it up."
    MemberMissing "member_missing" Format Invalid "A required member is missing." "Create the object again with a conforming implementation."
    MemberUnknown "member_unknown" Format Invalid "The object has a member that this version does not know." "Update to a newer version, or remove the member."
    MemberType "member_type" Format Invalid "A member has the wrong JSON type." "Create the object again with a conforming implementation."
    VersionUnknown "version_unknown" Format Invalid "The object is of another KEZ version." "Update to a newer version."
    TypeUnknown "type_unknown" Format Invalid "The object is of a type that is not expected here." "Give a claim where a claim is wanted, and a chain where a chain is wanted."
    TextRefused "text_refused" Format Invalid "A free text is empty, longer than 128 characters, or holds control or bidirectional characters." "Use plain, short text."
    TimeRefused "time_refused" Format Invalid "A time is not RFC 3339 in UTC with whole seconds." "Write times as 2026-11-21T12:00:00Z."
    UrlRefused "url_refused" Format Invalid "A URL is not an absolute https or wss URL without credentials or fragment." "Use a plain https:// or wss:// URL."
    IdRefused "id_refused" Format Invalid "An object id is not 64 lower-case hex digits." "Ids are never shortened: copy the whole id."
    IdentityRefused "identity_refused" Input Invalid "The identity does not follow its scheme's grammar." "Check the spelling of the name."
    SchemeUnknown "scheme_unknown" Input Invalid "The identity's scheme is not one that KEZ knows." "Use nostr:, ed25519:, dns:, github:, bluesky: or ap:."
    KeyRefused "key_refused" Crypto Invalid "The public key is malformed, not on its curve, weak or not canonical." "Use a key made by a conforming implementation."
    SecretRefused "secret_refused" Input Invalid "A secret key was given where a public identity is wanted." "Use the npub or public key; if the secret was shown to others, rotate it."
    KeyExpected "key_expected" Input Invalid "The identity is not a key, and only keys can sign." "Give a nostr: or ed25519: identity."
    SignatureSyntax "signature_syntax" Format Invalid "A signature is not 128 lower-case hex digits." "Create the object again with a conforming implementation."
    SignatureSet "signature_set" Crypto Invalid "The object does not carry exactly the signatures that it needs, in order." "Sign it with the keys that the rules ask for, and no others."
    SuiteMismatch "suite_mismatch" Crypto Invalid "The signature suite does not fit the key." "ed25519 keys sign with ed25519, nostr keys with bip340 or nostr-event."
    SignatureBad "signature_bad" Crypto Invalid "The signature does not verify." "Do not trust the object: it was altered, or signed by another key."
    ExpiryRefused "expiry_refused" Format Invalid "The object expires before it was created." "Create it again with a later expiry."
    CompactSyntax "compact_syntax" Format Invalid "The compact form is not kez:z1: and canonical unpadded base64url." "Copy the whole kez:z1: text again, without spaces or line breaks."
    ZstdRefused "zstd_refused" Format Invalid "The compressed data is not exactly one plain zstd frame within the limits." "Create the compact form again with a conforming implementation."
    PointerSyntax "pointer_syntax" Format Invalid "The pointer is not kez: followed by a key identity." "Write kez:nostr:npub1... or kez:ed25519:<hex>."
    ProofMalformed "proof_malformed" Format Invalid "Text with the marker of a KEZ proof does not parse as one." "Repair the text as the detail says, or publish the proof again."
    LineSyntax "line_syntax" Format Invalid "A chain line does not end with exactly one line feed, or is empty." "Export the chain again; do not edit it."
    ChainEmpty "chain_empty" Chain Invalid "The chain has no event." "Publish the chain again."
    ChainId "chain_id" Chain Invalid "An event belongs to another chain." "Do not trust the source: it mixed two chains."
    ChainSeq "chain_seq" Chain Invalid "An event's sequence number is not one more than the one before." "Fetch the chain again from its start."
    ChainPrev "chain_prev" Chain Invalid "An event does not link to the event before it." "Do not trust the source: events are missing or were replaced."
    ChainTime "chain_time" Chain Invalid "An event is dated before the event that it follows." "Set the clock of the signing machine, and sign the event again."
    ChainFuture "chain_future" Chain Invalid "An event is dated more than 10 minutes ahead of the verifier's clock." "Check both clocks."
    ChainSigner "chain_signer" Chain Invalid "An event is not signed by the key that may sign it at this point of the chain." "Sign with the current key of the chain."
    OpUnknown "op_unknown" Chain Invalid "The chain holds an operation that this version does not know and may not skip." "Update to a newer version."
    ClaimListed "claim_listed" Chain Invalid "The chain lists this claim already." "Nothing is to be done; a new proof needs a new claim."
    RevokeTarget "revoke_target" Format Invalid "A revocation must name a claim or a subject, and not both." "Name one of the two."
    ReasonUnknown "reason_unknown" Format Invalid "The reason is not superseded, retired or compromised." "Use one of the three."
    NextRefused "next_refused" Chain Invalid "A commitment to the next key is set already, and only a rotation may replace it." "Rotate to the committed key first."
    NextMismatch "next_mismatch" Chain Invalid "The rotation does not go to the key that the chain has committed to." "Rotate to the key whose paper copy was kept."
    KeyUsed "key_used" Chain Invalid "The key or device was part of this chain before and never comes back." "Make a fresh key."
    DeviceUnknown "device_unknown" Chain Invalid "The device is not an active device of this chain." "List the devices with `kez sigchain show`."
    CompromiseRefused "compromise_refused" Chain Invalid "compromised_since does not lie within the time in which the old key was current." "Name the first event that the thief may have signed."
    ForkRefused "fork_refused" Chain Invalid "The object does not show two validly signed branches of one chain." "Do not trust the accusation."

    Revoked "revoked" Proof Revoked "The owner revoked the claim." "Ask the owner for a new proof."
    KeyRotated "key_rotated" Proof Revoked "The claim was signed by a key that the owner has replaced, and was not on the chain before." "The owner should sign and publish a new claim with the current key."
    KeyCompromised "key_compromised" Proof Revoked "The claim rests on an event that the owner declared void after a key was compromised." "The owner should sign and publish a new claim with the current key."
    Expired "expired" Proof Expired "The claim has expired." "The owner should publish a fresh claim."
    NotYetValid "not_yet_valid" Proof Invalid "The claim is dated more than 10 minutes ahead of the verifier's clock." "Check both clocks."
    Forked "forked" Proof Fork "The chain has two histories that are both validly signed." "Trust neither branch until the owner settles it with the committed key."
    BeaconMismatch "beacon_mismatch" Proof Fork "A claim names a chain head that is not on the chain." "Somebody sees another history: ask the owner, and do not trust either."
    Rollback "rollback" Proof Unreachable "The sources serve an older chain than was seen before or than a claim names." "Ask another source; this one withholds newer events."
    ChainUnreachable "chain_unreachable" Proof Unreachable "The sigchain that the claim relies on could not be fetched." "Try again later, or name another source with --source."
    ChainDamaged "chain_damaged" Proof Unreachable "A source's copy of the sigchain breaks off at a damaged line, and no other source continues it." "Ask another source; the owner should publish the chain again."
    LogRefused "log_refused" Proof Unreachable "A sigchain server's transparency log does not prove what the server says." "Do not rely on this server; ask another source."
    LogInconsistent "log_inconsistent" Proof Unreachable "A sigchain server's transparency log is not the one that it showed before." "The server rewrote its log or shows others another one: keep both checkpoints and tell the operator."
    LogUnwitnessed "log_unwitnessed" Proof Unreachable "Too few of the configured witnesses have cosigned the server's log." "Try again in a minute, or see whether the witnesses run."
    ProofNotFound "proof_not_found" Proof Invalid "The account was read and holds no KEZ proof." "Publish the proof where `kez claim create` says."
    WrongOwner "wrong_owner" Proof Invalid "The proof belongs to somebody else: it names another account than the one that shows it." "Do not trust it; the account copied somebody's proof."
    AccountChanged "account_changed" Proof Invalid "The name now belongs to another account than the one that was claimed." "Do not trust it; the owner must make a new claim."
    IdentityNotFound "identity_not_found" Proof Invalid "The platform says that the account does not exist." "Check the spelling; the account may have been renamed or deleted."
    HandleMismatch "handle_mismatch" Proof Invalid "The handle and the account do not name each other." "The owner should repair the handle on the platform."
    GistForked "gist_forked" Proof Invalid "The proof sits in a fork of somebody else's gist." "Publish the proof in a gist of your own."
    NotOnChain "not_on_chain" Proof Invalid "The account points to a sigchain that does not list it." "The owner should run `kez sigchain add` for this account."
    ListingMismatch "listing_mismatch" Proof Invalid "The chain lists the claim for another subject." "Do not trust it."
    NoChannel "no_channel" Proof Unreachable "No channel can look this identity up." "Start from an account or a nostr key of the same person."

    RateLimited "rate_limited" Network Unreachable "The platform limits how often it may be asked." "Try again later; not before retry_at, where the platform names a time."
    AuthRequired "auth_required" Network Unreachable "The platform shows this account only to those who are signed in." "Ask the owner to publish the proof in another place too."
    AccountSuspended "account_suspended" Network Unreachable "The platform reports that the account is deactivated, suspended or taken down." "Try again when the account is active."
    Challenge "challenge" Network Unreachable "A check against bots answered in the place of the platform." "Try again later, or from another network."
    Offline "offline" Network Unreachable "The answer is not in the cache, and --offline forbids to fetch it." "Run again without --offline."
    Timeout "timeout" Network Unreachable "The server did not answer in time." "Try again later."
    ConnectFailed "connect_failed" Network Unreachable "No connection to the server could be made." "Check the network, or try again later."
    TlsFailed "tls_failed" Network Unreachable "The server's certificate was not accepted." "Do not go on: somebody may be in between."
    DnsFailed "dns_failed" Network Unreachable "The name could not be resolved, or DNSSEC validation failed." "Try again later, or with another resolver."
    HttpStatus "http_status" Network Unreachable "The server answered with an error status." "Try again later."
    RedirectRefused "redirect_refused" Network Unreachable "The server redirects to another host, or too often." "Use the final address, if you trust it."
    AddressRefused "address_refused" Network Unreachable "The address is not public, or the URL is not https, and such are never asked." "Only test set-ups allow loopback addresses, by an explicit option."
    BodyTooLarge "body_too_large" Network Unreachable "The server's answer is larger than the limit." "Ask the owner to publish a smaller document."
    ResponseRefused "response_refused" Network Unreachable "The server's answer is not what its protocol prescribes." "Try again later; tell the operator."
    RelayRefused "relay_refused" Network Unreachable "The relay closed the subscription or refused the event." "Try another relay."
    HostUnknown "host_unknown" Network Unreachable "DNS has no address for the host." "Check the spelling of the host."
    SearchIncomplete "search_incomplete" Network Unreachable "A limit ended the search before everything was read." "Try again with the address of the proof, or ask the owner to publish it as the newest item."

    Usage "usage" Input Invalid "The command line is not right." "See `kez help`."
    KeyNotFound "key_not_found" Storage Invalid "There is no key of this name." "See `kez key list`."
    KeyExists "key_exists" Storage Invalid "A key of this name or value is stored already." "Choose another name."
    KeyFile "key_file" Storage Invalid "The key file is damaged." "Restore it from a backup or from paper."
    KeyPermissions "key_permissions" Storage Invalid "Others can read the key file." "Run `chmod 600` on it."
    PassphraseWrong "passphrase_wrong" Storage Invalid "The passphrase is wrong, or the key file was altered." "Try again."
    PassphraseNeeded "passphrase_needed" Storage Invalid "A passphrase is needed, and there is no terminal to ask for it." "Give it with --passphrase-file, or store the key with --no-passphrase."
    StorageFailed "storage_failed" Storage Invalid "A file could not be read or written." "Check the disk's space and permissions."
    ConfigRefused "config_refused" Storage Invalid "The configuration file is not right." "Correct the named setting."
    PublishRefused "publish_refused" Network Unreachable "What was to be published was not accepted there." "See the server's answer, and try again."
    HeadConflict "head_conflict" Network Fork "The place of publication has newer or other events than the local chain." "Run `kez sigchain import` from that place first."

    #[cfg(feature = "publish")]
    CredentialMissing "credential_missing" Storage Invalid "No token or password of this account is stored, and none was given." "Make one there; `kez auth add` stores it, and --token-file takes it once."
    #[cfg(feature = "publish")]
    KeyringFailed "keyring_failed" Storage Invalid "The keyring of the system could not be used." "Unlock it; where there is none, let `kez auth add` store a file instead."
    #[cfg(feature = "publish")]
    CredentialRefused "credential_refused" Network Unreachable "The platform does not accept the token or password: it is wrong, has expired or was revoked." "Make a new one there, and use that."
    #[cfg(feature = "publish")]
    CredentialOther "credential_other" Input Invalid "The token or password is of another account." "Sign in as the account that you want to publish at."
    #[cfg(feature = "publish")]
    ScopeMissing "scope_missing" Network Unreachable "The token may not do what is needed for publishing." "Make a token with the scope that is named."
    #[cfg(feature = "publish")]
    SecondFactor "second_factor" Network Unreachable "The platform asks for a second factor." "Make an app password in the account's settings, and use that one."
    #[cfg(feature = "publish")]
    PlaceFull "place_full" Network Unreachable "The profile has no room for the proof." "Remove one of its fields, and run again."
    #[cfg(feature = "publish")]
    PlaceChanged "place_changed" Network Unreachable "Somebody else changes the same place at the same time, again and again." "Run again: nothing was overwritten."
    #[cfg(feature = "publish")]
    NotVisible "not_visible" Network Unreachable "The proof cannot be read back yet where it belongs." "Publish it if that is up to you, wait a minute, and run again: nothing is published twice."

    #[cfg(feature = "handle")]
    HandleRefused "handle_refused" Input Invalid "The handle does not follow the grammar, or is reserved." "Use 1 to 32 lower-case letters, digits, - and _, with a letter or digit at both ends."
    #[cfg(feature = "handle")]
    HandleTaken "handle_taken" Input Invalid "The handle belongs to somebody else, or did once: handles are never given again." "Choose another handle."
    #[cfg(feature = "handle")]
    HandleUnknown "handle_unknown" Proof Invalid "The chat server knows no such handle." "Check the spelling, and ask the person which server they use."
    #[cfg(feature = "handle")]
    HandleUnproven "handle_unproven" Proof Invalid "The chat server's record of a handle is not signed by the key that stands for its identity, or is of another handle or server." "Do not write to this handle: the server may put itself in between."
    #[cfg(feature = "handle")]
    ContactChanged "contact_changed" Proof Invalid "The handle names another identity than it did before." "Compare safety numbers with the person before you write."
    #[cfg(feature = "handle")]
    DevicesChanged "devices_changed" Proof Invalid "The devices of a person whom you verified have changed." "Compare safety numbers again, then confirm with `kez chat verify`."
    #[cfg(feature = "handle")]
    AuthMissing "auth_missing" Input Invalid "The request is not signed." "Sign it with the key of a device, as SPEC.md says."
    #[cfg(feature = "handle")]
    AuthRefused "auth_refused" Crypto Invalid "The request's signature is wrong, was used before, is too old, or is of a device that may not do this." "Set the clock; if that does not help, see whether the device was revoked."
    #[cfg(feature = "handle")]
    CertificateRefused "certificate_refused" Crypto Invalid "The events that should vouch for a device do not." "Do not trust the device; its owner should add it again."
    #[cfg(feature = "handle")]
    DeviceRevoked "device_revoked" Proof Revoked "The device was revoked on its owner's sigchain, or its time is over." "Add a new device with a fresh key."
    #[cfg(feature = "handle")]
    BundleRefused "bundle_refused" Crypto Invalid "A device's bundle is not signed by the device, is out of date, or is of another device." "The device should publish a new one."
    #[cfg(feature = "handle")]
    KeyPackageRefused "key_package_refused" Crypto Invalid "A key package is malformed, out of date, or not of the device that it should be of." "Ask the server for another; if that does not help, the person should come online once."
    #[cfg(feature = "handle")]
    KeyPackagesSpent "key_packages_spent" Network Unreachable "The person has no device that can be reached now." "Ask the person to come online once."
    #[cfg(feature = "handle")]
    WelcomeRefused "welcome_refused" Crypto Invalid "An invitation to a conversation cannot be opened, or does not keep the rules." "Ask the person to invite you again."
    #[cfg(feature = "handle")]
    CommitRefused "commit_refused" Crypto Invalid "A change of a conversation is forged, or one that its author may not make." "Nothing is to be done: it has no effect."
    #[cfg(feature = "handle")]
    CommitConflict "commit_conflict" Network Unreachable "Others changed the conversation at the same time." "Try again; this happens by itself."
    #[cfg(feature = "handle")]
    MessageRefused "message_refused" Crypto Invalid "A message cannot be decrypted: it was altered, repeated, or belongs to another conversation." "Ask the person to send it again."
    #[cfg(feature = "handle")]
    MessageMissing "message_missing" Network Unreachable "Messages of a conversation are missing: the server withholds or has lost them." "Ask the person to send them again, and tell the operator."
    #[cfg(feature = "handle")]
    ConversationUnknown "conversation_unknown" Input Invalid "There is no such conversation, or you are not in it." "List them with `kez chat list`."
    #[cfg(feature = "handle")]
    SealedRefused "sealed_refused" Crypto Invalid "A sealed envelope cannot be opened with this device's keys." "Ask the person to send it again."
    #[cfg(feature = "handle")]
    StateRefused "state_refused" Storage Invalid "The stored state of chat is damaged, of another version or device, or was moved elsewhere." "Go on where the device was moved to; if it was not, remove it and add a new one."
    #[cfg(feature = "handle")]
    QuotaExceeded "quota_exceeded" Network Unreachable "A limit of the server is reached." "Remove what is not needed any more, or try again later."
}

impl Code {
    /// The code of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|c| c.as_str() == name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// A failure: a stable [`Code`] and, where it helps, what it is about.
///
/// The context never holds a secret; it may hold text from a remote party, so a terminal must
/// filter it before printing.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    context: Option<Box<str>>,
}

impl Error {
    /// An error that says what it is about.
    #[must_use]
    pub fn about(code: Code, context: impl fmt::Display) -> Self {
        Self { code, context: Some(context.to_string().into_boxed_str()) }
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The code and what it is about, without the sentence.
    pub(crate) fn brief(&self) -> String {
        match &self.context {
            Some(context) => format!("{} ({context})", self.code),
            None => self.code.as_str().into(),
        }
    }

    /// What the error is about: a member's name, a line, a URL.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref()
    }
}

impl From<Code> for Error {
    fn from(code: Code) -> Self {
        Self { code, context: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.summary())?;
        match &self.context {
            Some(context) => write!(f, " ({context})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.brief())
    }
}

impl core::error::Error for Error {}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = core::result::Result<T, E>;
