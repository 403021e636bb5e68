//! The command line. Style: names are the field's terms, help is lower-case sentences, data goes
//! to stdout, everything else to stderr.

use clap::{Args, Parser, Subcommand, ValueEnum};
use kez_core::{
    DEFAULT_ACCOUNTS, Identity, Timestamp,
    channel::{ap, bluesky, dns, github, nostr},
    chat::Handle,
    import::Source,
    proof::Form,
};
use std::path::PathBuf;

/// Say "these accounts, keys and domains are all me", and check who says so.
#[derive(Debug, Parser)]
#[command(name = "kez", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  kez key new --name me
  kez claim create github:jason --format markdown
  kez verify id dns:example.com
  kez id @alice@fosstodon.org

Exit codes: 0 valid, 1 invalid, 2 usage, 3 revoked, 4 expired, 5 unreachable, 6 fork")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print one JSON object (NDJSON for lists) instead of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Use cached answers only; fetch nothing
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// Use cached answers up to this age, as in 10m, 2h, 7d (none: ask again)
    #[arg(long, global = true, value_name = "AGE", default_value = "0s", value_parser = span)]
    pub(crate) max_age: i64,
    /// Verify as of this time, as in 2026-11-21T12:00:00Z
    #[arg(long, global = true, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// A further source of sigchains: a file, an https URL of a bundle, or a wss URL of a relay
    #[arg(long, global = true, value_name = "SOURCE")]
    pub(crate) source: Vec<String>,
    /// Print without colour (also: NO_COLOR)
    #[arg(long, global = true)]
    pub(crate) no_color: bool,
    /// Read the passphrase of keys from this file instead of the terminal
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Tests only: allow plain http and servers on this machine
    #[arg(long, global = true, hide_short_help = true)]
    pub(crate) danger_allow_loopback: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, list, import and export keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make claims
    #[command(subcommand)]
    Claim(ClaimCommand),
    /// Verify an identity's proof, a file, or a list
    #[command(subcommand)]
    Verify(VerifyCommand),
    /// Show the whole identity behind a key, handle, URL or domain, every claim verified
    Id {
        /// Anything that names an identity
        identity: String,
        /// Check up to this many accounts; the budget of requests, hosts and seconds grows with it
        #[arg(long, value_name = "ACCOUNTS", default_value_t = DEFAULT_ACCOUNTS)]
        limit: usize,
    },
    /// Draw an identity
    Graph {
        /// Anything that names an identity
        identity: String,
        /// The form of the drawing
        #[arg(long, default_value = "dot")]
        format: GraphFormat,
        /// Check up to this many accounts, as `kez id` does
        #[arg(long, value_name = "ACCOUNTS", default_value_t = DEFAULT_ACCOUNTS)]
        limit: usize,
        /// Write to this file instead of stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Say what a reason code means and what to do (all codes without an argument)
    Explain {
        /// A code as printed in a report
        code: Option<String>,
    },
    /// Keep your sigchain: the signed history of your claims, keys and devices
    #[command(subcommand)]
    Sigchain(SigchainCommand),
    /// Publish your proofs and your sigchain where they belong
    Publish(PublishArgs),
    /// Read what you have said of your accounts elsewhere, and offer to make it KEZ proofs
    Import(ImportArgs),
    /// Check your proofs, your keys and every copy of your sigchain, and say what will break soon
    Doctor(DoctorArgs),
    /// Check them again and again, and tell when something has changed
    Watch(WatchArgs),
    /// Keep the tokens and passwords with which you publish
    #[command(subcommand)]
    Auth(AuthCommand),
    /// Chat with people whose identity you can check, end to end encrypted
    #[command(subcommand)]
    Chat(ChatCommand),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// Write the pages of all commands into this directory instead
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum KeyType {
    Ed25519,
    Nostr,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key
    New {
        /// The kind of key
        #[arg(long = "type", default_value = "ed25519", value_name = "TYPE")]
        kind: KeyType,
        /// The key's name
        #[arg(long, default_value = "default")]
        name: String,
        /// Make the next key for rotation: it is printed once, for paper, and not stored; your
        /// sigchain will commit to it with the next event
        #[arg(long, conflicts_with = "name")]
        next: bool,
        /// Replace a next key that your sigchain has not committed to yet: its paper becomes void
        #[arg(long, requires = "next")]
        replace: bool,
        /// Store the key unencrypted: anybody who reads the file can act as you
        #[arg(long)]
        no_passphrase: bool,
    },
    /// List the stored keys
    List,
    /// Show one stored key's public identity
    Show {
        /// The key's name
        #[arg(default_value = "default")]
        name: String,
    },
    /// Import a secret key (nsec or 64 hex digits) from a file or stdin
    Import {
        /// The file, or - for stdin
        #[arg(default_value = "-")]
        file: PathBuf,
        /// The kind of key, for hex digits
        #[arg(long = "type", default_value = "ed25519", value_name = "TYPE")]
        kind: KeyType,
        /// The key's name
        #[arg(long, default_value = "default")]
        name: String,
        /// Store the key unencrypted: anybody who reads the file can act as you
        #[arg(long)]
        no_passphrase: bool,
    },
    /// Print a secret key to stdout, for a backup
    Export {
        /// The key's name
        name: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Json,
    Compact,
    Markdown,
    Dns,
    Pointer,
}

impl From<Format> for Form {
    fn from(format: Format) -> Self {
        match format {
            Format::Json => Self::Json,
            Format::Compact => Self::Compact,
            Format::Markdown => Self::Markdown,
            Format::Dns => Self::Dns,
            Format::Pointer => Self::Pointer,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClaimCommand {
    /// Sign a claim of an account, and say where to publish it
    Create {
        /// The account, domain or key that you claim
        subject: Identity,
        /// Let the claim expire after this time, as in 90d
        #[arg(long, value_name = "AGE", value_parser = span)]
        expires: Option<i64>,
        /// The form to print; chosen by the channel if not given
        #[arg(long)]
        format: Option<Format>,
        /// Write to this file instead of stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The platform's own id of the account (looked up if not given)
        #[arg(long, value_name = "ID")]
        account: Option<String>,
        /// A URL where your sigchain is served, kept in the claim (up to 8)
        #[arg(long, value_name = "URL")]
        chain_url: Vec<String>,
        /// Leave your sigchain's head out of the claim
        #[arg(long)]
        no_head: bool,
        /// The signing key's name
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum VerifyCommand {
    /// Look an identity up on its platform and verify the proof there
    Id {
        /// The identity
        identity: String,
        /// Verify for this owner only, and ignore proofs by others
        #[arg(long, value_name = "KEY")]
        by: Option<Identity>,
    },
    /// Verify a proof from a file, offline, in any encoding
    File {
        /// The file, or - for stdin
        file: PathBuf,
        /// The account that shows the proof
        #[arg(long = "as", value_name = "IDENTITY")]
        shown_by: Option<Identity>,
    },
    /// Verify a list of identities from stdin, one a line; prints NDJSON
    #[command(name = "-")]
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    Dot,
    Mermaid,
    Svg,
    Json,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Own {
    /// Which of your chains, by its primary (needed only if you have several)
    #[arg(long, value_name = "PRIMARY")]
    pub(crate) chain: Option<Identity>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ReasonArg {
    Superseded,
    Retired,
    Compromised,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SigchainCommand {
    /// List a claim on your chain (the first event starts the chain)
    Add {
        /// The claimed subject, a claim's id, or a file with the claim
        claim: String,
        /// Where the proof was published
        #[arg(long)]
        url: Option<String>,
        /// The name of the key that starts a new chain
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        #[command(flatten)]
        own: Own,
    },
    /// End a claim by its id, or every claim of a subject
    Revoke {
        /// The subject, or the claim's id
        target: String,
        /// Why
        #[arg(long, default_value = "retired")]
        reason: ReasonArg,
        /// A public note
        #[arg(long)]
        text: Option<String>,
        #[command(flatten)]
        own: Own,
    },
    /// Replace the chain's key
    Rotate {
        /// The stored key to rotate to; if your chain has committed to a paper key, leave this
        /// out and give that key on stdin or at the prompt
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
        /// The name under which the paper key is stored from now on
        #[arg(long, value_name = "NAME", default_value = "rotated", conflicts_with = "to")]
        name: String,
        /// Why
        #[arg(long, default_value = "superseded")]
        reason: ReasonArg,
        /// Declare what the old key signed from this event on void
        #[arg(long, value_name = "SEQ")]
        compromised_since: Option<u64>,
        /// Store the paper key unencrypted
        #[arg(long)]
        no_passphrase: bool,
        #[command(flatten)]
        own: Own,
    },
    /// Add a device, by a stored ed25519 key that signs along
    AddDevice {
        /// The stored key's name
        device: String,
        /// What it may do, as in chat/1
        #[arg(long)]
        cap: Vec<String>,
        /// Until when, as in 365d
        #[arg(long, value_name = "AGE", value_parser = span)]
        not_after: Option<i64>,
        /// A name, which is public for ever
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        own: Own,
    },
    /// End a device for good
    RevokeDevice {
        /// The device's key
        device: Identity,
        /// Why
        #[arg(long, default_value = "retired")]
        reason: ReasonArg,
        #[command(flatten)]
        own: Own,
    },
    /// Show your chain
    Show {
        #[command(flatten)]
        own: Own,
    },
    /// Print your chain as a bundle, or the evidence of other histories of it
    Export {
        /// Write to this file instead of stdout
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Export what sigchain servers have of other histories of your chain: fork objects, one a
        /// line, which anyone can check offline with `kez sigchain verify`
        #[arg(long)]
        evidence: bool,
        /// Ask this sigchain server, instead of those in config.toml (may be given several times)
        #[arg(long, value_name = "URL", requires = "evidence")]
        server: Vec<String>,
        #[command(flatten)]
        own: Own,
    },
    /// Take over a bundle as your chain, if it continues the one you have
    Import {
        /// The file, or - for stdin
        file: PathBuf,
    },
    /// Verify a bundle, or fork objects, from a file, offline
    Verify {
        /// The file, or - for stdin
        file: PathBuf,
    },
    /// Publish your chain
    Publish {
        /// A `.well-known` directory that a web server serves
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// A nostr relay
        #[arg(long, value_name = "URL")]
        relay: Vec<String>,
        /// A sigchain server
        #[arg(long, value_name = "URL")]
        server: Vec<String>,
        /// The nostr key that signs the carrying events (the chain's key, if it is one)
        #[arg(long, value_name = "NAME")]
        nostr_key: Option<String>,
        /// Give sigchain servers your history although they have another one: everyone who asks them
        /// then sees that the chain is forked. For a stolen key; it cannot be undone
        #[arg(long, conflicts_with_all = ["dir", "relay", "nostr_key"])]
        evidence: bool,
        #[command(flatten)]
        own: Own,
    },
}

/// Where to publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// A public gist
    Github,
    /// A record in the account's repository
    Bluesky,
    /// A field of the profile (Mastodon and others)
    Ap,
    /// An event on relays
    Nostr,
    /// A TXT record, by dynamic update if its key is stored, else added by yourself
    Dns,
    /// Your sigchain, in a directory that a web server serves
    WellKnown,
    /// Your sigchain, at sigchain servers
    Sigserver,
    /// Every proof that your sigchain lists, and your sigchain
    All,
}

impl Service {
    /// The scheme of its accounts, if it has such.
    pub(crate) const fn scheme(self) -> Option<&'static str> {
        match self {
            Self::Github => Some(github::SCHEME),
            Self::Bluesky => Some(bluesky::SCHEME),
            Self::Ap => Some(ap::SCHEME),
            Self::Nostr => Some(nostr::SCHEME),
            Self::Dns => Some(dns::SCHEME),
            Self::WellKnown | Self::Sigserver | Self::All => None,
        }
    }

    /// The one of an account, if proofs can be published there.
    pub(crate) fn of(account: &Identity) -> Option<Self> {
        let all = Self::value_variants().iter().copied();
        all.into_iter().find(|service| service.scheme() == Some(account.scheme()))
    }
}

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    /// Where
    pub(crate) service: Service,
    /// The account (needed unless your sigchain lists it, or its token is stored)
    pub(crate) account: Option<Identity>,
    /// Tell what would be done, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read the token or app password from this file, or - for stdin, instead of a stored one
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Let a new claim expire after this time, as in 90d
    #[arg(long, value_name = "AGE", value_parser = span)]
    pub(crate) expires: Option<i64>,
    /// How long to wait until the proof can be read back (none for what you publish yourself)
    #[arg(long, value_name = "AGE", value_parser = span)]
    pub(crate) wait: Option<i64>,
    /// A `.well-known` directory that a web server serves, for your sigchain
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// A sigchain server for your sigchain, instead of the configured ones
    #[arg(long, value_name = "URL")]
    pub(crate) server: Vec<String>,
    /// The name of the key that starts a new chain
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
    /// For nostr: also name the GitHub accounts of your sigchain as clients do which do not know
    /// KEZ (NIP-39), each with a gist
    #[arg(long)]
    pub(crate) nip39: bool,
    #[command(flatten)]
    pub(crate) own: Own,
}

impl PublishArgs {
    /// The proof of one account, with nothing special.
    pub(crate) const fn of(service: Service, account: Identity, own: Own) -> Self {
        Self {
            service,
            account: Some(account),
            dry_run: false,
            token_file: None,
            expires: None,
            wait: None,
            dir: None,
            server: Vec::new(),
            key: None,
            nip39: false,
            own,
        }
    }
}

/// What is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Elsewhere {
    /// A Keyoxide profile: an OpenPGP key or an Ariadne signature profile
    Keyoxide,
    /// Keybase's record of a user, from a file
    Keybase,
    /// The external identities of a nostr key
    Nip39,
    /// The rel=me links of a page or profile
    RelMe,
}

impl From<Elsewhere> for Source {
    fn from(from: Elsewhere) -> Self {
        match from {
            Elsewhere::Keyoxide => Self::Keyoxide,
            Elsewhere::Keybase => Self::Keybase,
            Elsewhere::Nip39 => Self::Nip39,
            Elsewhere::RelMe => Self::RelMe,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// What
    pub(crate) from: Elsewhere,
    /// keyoxide: aspe:host:ID, an OpenPGP fingerprint, a mail address or a file; keybase: the file
    /// of https://keybase.io/_/api/1.0/user/lookup.json?usernames=NAME; nip39: an npub (your own
    /// nostr key if not given); rel-me: a URL, a domain, or a fediverse or GitHub account
    pub(crate) what: Option<String>,
    /// Publish a KEZ proof at each account, as `kez publish` does
    #[arg(long)]
    pub(crate) publish: bool,
    #[command(flatten)]
    pub(crate) own: Own,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Publish again what is missing, changed or about to end
    #[arg(long)]
    pub(crate) fix: bool,
    /// What ends within this time ends soon, as in 30d
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = span)]
    pub(crate) within: i64,
    #[command(flatten)]
    pub(crate) own: Own,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    /// How often
    #[arg(long, value_name = "AGE", default_value = "6h", value_parser = span)]
    pub(crate) every: i64,
    /// Run this program on a change, with the findings as JSON on its stdin, and go on; without
    /// it a change ends the command
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) hook: Option<PathBuf>,
    /// Check once: the exit code says whether something has changed since the last time
    #[arg(long)]
    pub(crate) once: bool,
    /// What ends within this time ends soon, as in 30d
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = span)]
    pub(crate) within: i64,
    #[command(flatten)]
    pub(crate) own: Own,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Store a token, encrypted by your key: a GitHub token with the scope `gist`, a Bluesky app
    /// password, for the fediverse what your server gives once you have allowed it there, for a
    /// domain a TSIG key, as in hmac-sha256:name:base64, or for nostr the bunker:// URL of a signer
    Add {
        /// The account, as in github:alice
        account: Identity,
        /// Read the token or app password from this file, or - for stdin
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// The name server that takes a domain's updates, as in 192.0.2.53:53
        #[arg(long, value_name = "ADDRESS")]
        server: Option<String>,
        /// For GitHub: allow it in a browser instead, for the OAuth app with this client id (also:
        /// `github_client` in config.toml)
        #[arg(long, value_name = "ID", conflicts_with = "token_file")]
        client: Option<String>,
        /// For Bluesky: allow it in a browser on this machine instead, for the one record that is
        /// written, and for two weeks at most
        #[arg(long, conflicts_with = "token_file")]
        browser: bool,
        /// The name of the key that encrypts it
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        /// Store it in the keyring of your system instead of a file
        #[arg(long, conflicts_with = "key")]
        keyring: bool,
    },
    /// List the accounts whose tokens are stored
    List,
    /// Give access back, where the platform allows it, and remove the token
    Revoke {
        /// The account
        account: Identity,
    },
}

#[derive(Debug, Args)]
pub(crate) struct WithAccount {
    /// Which of your accounts, as in alice@chat.example (needed only if you have several)
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) account: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ChatCommand {
    /// Register a handle at a chat server, with this machine as a device; the device is added to
    /// your sigchain
    Register {
        /// The handle
        handle: Handle,
        /// The server's URL, as in https://chat.example
        #[arg(long, value_name = "URL")]
        server: String,
        /// The name under which the device's key is stored
        #[arg(long, value_name = "NAME", default_value = "chat")]
        device: String,
        /// Let the device's key expire after this time, as in 365d
        #[arg(long, value_name = "AGE", value_parser = span)]
        not_after: Option<i64>,
        /// The name of the key that starts a new chain
        #[arg(long, value_name = "NAME")]
        key: Option<String>,
        /// Store the device's key unencrypted: anybody who reads the file can read your messages
        #[arg(long)]
        no_passphrase: bool,
        #[command(flatten)]
        own: Own,
    },
    /// List your devices, or somebody's
    Devices {
        /// A handle; yours if not given
        handle: Option<Handle>,
        #[command(flatten)]
        account: WithAccount,
    },
    /// Write to somebody
    Send {
        /// A handle, or the start of a conversation's name
        to: String,
        /// The text (from stdin if not given)
        text: Option<String>,
        #[command(flatten)]
        account: WithAccount,
    },
    /// Print what comes in, as it comes
    Listen {
        /// Print what waits, and end
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        account: WithAccount,
    },
    /// List your conversations
    List {
        #[command(flatten)]
        account: WithAccount,
    },
    /// Print the history of a conversation
    History {
        /// A handle, or the start of a conversation's name
        with: String,
        /// The last so many entries only
        #[arg(long, value_name = "COUNT")]
        last: Option<u64>,
        #[command(flatten)]
        account: WithAccount,
    },
    /// Show the safety number with somebody; compare it with them by another way
    Verify {
        /// The handle
        handle: Handle,
        /// The number that the other side has: if it is the same, changes of their devices have
        /// to be confirmed from now on
        #[arg(long, value_name = "NUMBER")]
        number: Option<String>,
        /// Take that back: changes of their devices are told, and stop nothing
        #[arg(long, conflicts_with = "number")]
        forget: bool,
        #[command(flatten)]
        account: WithAccount,
    },
    /// Begin a group
    Group {
        /// Its name, which its members see
        name: String,
        /// The handles of those who are in it from the start
        handles: Vec<Handle>,
        #[command(flatten)]
        account: WithAccount,
    },
    /// Add somebody to a group
    Add {
        /// The start of the group's name among `kez chat list`
        group: String,
        /// The handle
        handle: Handle,
        #[command(flatten)]
        account: WithAccount,
    },
    /// Leave a group, with all devices; its last admin makes somebody else one before
    Leave {
        /// The start of the group's name among `kez chat list`
        group: String,
        #[command(flatten)]
        account: WithAccount,
    },
    /// Remove somebody from a group
    Remove {
        /// The start of the group's name among `kez chat list`
        group: String,
        /// The handle
        handle: Handle,
        #[command(flatten)]
        account: WithAccount,
    },
    /// Block a handle: its messages and invitations no longer reach your inbox, and it is not told
    Block {
        /// The handle; without one, list the blocked handles
        handle: Option<Handle>,
        #[command(flatten)]
        account: WithAccount,
    },
    /// Unblock a handle. Messages that were refused meanwhile may arrive when its owner retries
    Unblock {
        /// The handle
        handle: Handle,
        #[command(flatten)]
        account: WithAccount,
    },
    /// End this device, and write all of it into a file for another machine, encrypted with a
    /// passphrase
    Export {
        /// The file; it must not be there
        file: PathBuf,
        #[command(flatten)]
        account: WithAccount,
    },
    /// Take a device up that was exported on another machine; once, for one that lives twice loses
    /// messages
    Import {
        /// The file
        file: PathBuf,
        /// The name under which the device's key is stored
        #[arg(long, value_name = "NAME", default_value = "chat")]
        device: String,
        /// Store the device's key unencrypted: anybody who reads the file can read your messages
        #[arg(long)]
        no_passphrase: bool,
    },
}

/// Seconds from `90d`, `2h`, `10m`, `30s` or `0`.
fn span(text: &str) -> Result<i64, String> {
    let wrong = || "a number with s, m, h or d, as in 90d".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|n| *n <= 3_155_760_000).ok_or_else(wrong)
}
