//! `kez doctor` and `kez watch`: what is wrong with the own identity, and what will be.

use crate::{
    args::{DoctorArgs, Own, WatchArgs},
    home::storage,
    host::{Access, Net},
    output::{Out, clean, json_text},
    places::Places,
    publish::{self, Wish},
    run::Context,
    sigchain,
};
use kez_core::{Chain, Code, Error, Identity, Kind, Result, Status, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Severity {
    /// Others see it wrong now.
    Broken,
    /// It will be, unless something is done.
    Soon,
    /// It could be better.
    Advice,
}

/// What is the matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Problem {
    /// A verification does not end well.
    Proof(Code),
    /// Another identity has a valid proof of the same account.
    Contested,
    /// A claim is about to end.
    ExpiresSoon,
    /// A device is about to end.
    DeviceExpiresSoon,
    /// A place has not all events of the chain.
    CopyBehind,
    /// A place cannot be asked, or has something else.
    Copy(Code),
    /// No place has the chain.
    PublishedNowhere,
    /// The chain does not commit to its next key.
    NextUncommitted,
}

impl Problem {
    const fn name(self) -> &'static str {
        match self {
            Self::Proof(code) | Self::Copy(code) => code.as_str(),
            Self::Contested => "contested",
            Self::ExpiresSoon => "expires_soon",
            Self::DeviceExpiresSoon => "device_expires_soon",
            Self::CopyBehind => "copy_behind",
            Self::PublishedNowhere => "published_nowhere",
            Self::NextUncommitted => "next_uncommitted",
        }
    }

    const fn summary(self) -> &'static str {
        match self {
            Self::Proof(code) | Self::Copy(code) => code.summary(),
            Self::Contested => "Another identity has a valid proof of this account too.",
            Self::ExpiresSoon => "The claim is about to expire.",
            Self::DeviceExpiresSoon => "The device's key is about to expire.",
            Self::CopyBehind => {
                "This copy of the sigchain lacks events, so that others do not see what you did last."
            }
            Self::PublishedNowhere => {
                "The sigchain is published nowhere, so that others see no revocation."
            }
            Self::NextUncommitted => {
                "The sigchain does not commit to its next key, so that a thief of the current one could take it over."
            }
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::Proof(code) | Self::Copy(code) => code.remedy(),
            Self::Contested => {
                "Remove the proof that is not yours from the account. If you did not put it there, secure the account first."
            }
            Self::ExpiresSoon | Self::CopyBehind => "Run `kez doctor --fix`.",
            Self::DeviceExpiresSoon => "Add a device with a fresh key.",
            Self::PublishedNowhere => {
                "Name sigchain servers in config.toml, and run `kez publish sigserver`."
            }
            Self::NextUncommitted => {
                "Run `kez key new --next`, keep what it prints on paper, and it is committed to with the next event."
            }
        }
    }
}

/// What can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fix {
    Publish(Identity),
    Copies,
    None,
}

struct Finding {
    about: String,
    severity: Severity,
    problem: Problem,
    status: Status,
    detail: Option<String>,
    /// When it breaks.
    at: Option<Timestamp>,
    fix: Fix,
    fixed: bool,
}

impl Finding {
    const fn new(about: String, severity: Severity, problem: Problem, fix: Fix) -> Self {
        let status = match (severity, problem) {
            (Severity::Broken, Problem::Proof(code) | Problem::Copy(code)) => code.status(),
            (Severity::Broken, _) => Status::Unreachable,
            _ => Status::Valid,
        };
        Self { about, severity, problem, status, detail: None, at: None, fix, fixed: false }
    }

    fn is(&self, other: &Self) -> bool {
        self.about == other.about && self.problem == other.problem
    }

    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "about": self.about,
            "severity": self.severity,
            "problem": self.problem.name(),
            "summary": self.problem.summary(),
            "remedy": self.problem.remedy(),
            "detail": self.detail,
            "at": self.at,
            "fixed": self.fixed,
        })
    }

    fn text(&self) -> String {
        let state = match self.severity {
            _ if self.fixed => "fixed",
            Severity::Broken => "broken",
            Severity::Soon => "soon",
            Severity::Advice => "advice",
        };
        let at = self.at.map(|at| format!(" ({at})")).unwrap_or_default();
        let mut text = format!(
            "{state:<7} {}: {}{at} [{}]",
            clean(&self.about),
            self.problem.summary(),
            self.problem.name()
        );
        if let Some(detail) = &self.detail {
            text.push_str(&format!("\n        {}", clean(detail)));
        }
        if !self.fixed {
            text.push_str(&format!("\n        {}", self.problem.remedy()));
        }
        text
    }
}

/// Whether publishing again helps against a reason.
const fn is_mendable(code: Code) -> bool {
    // The proof is behind newer items, and becomes the newest one.
    matches!(code, Code::SearchIncomplete)
        || !matches!(
            code,
            Code::IdentityNotFound
                | Code::HandleMismatch
                | Code::AccountChanged
                | Code::Forked
                | Code::BeaconMismatch
                | Code::KeyCompromised
                | Code::NoChannel
        ) && !matches!(code.status(), Status::Unreachable | Status::Fork)
}

/// The other identities that have a valid proof of an account, if there are any.
fn contested(subject: &Identity, others: &[Identity]) -> Option<Finding> {
    let names: Vec<&str> = others.iter().map(Identity::as_str).collect();
    let about = subject.to_string();
    let finding = Finding::new(about, Severity::Broken, Problem::Contested, Fix::None);
    (!names.is_empty()).then(|| Finding { detail: Some(names.join(", ")), ..finding })
}

/// Looks at everything that others see of a chain.
async fn examine(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &Chain,
    places: &Places,
    within: i64,
) -> Result<Vec<Finding>> {
    let now = context.host.now();
    let soon = |end: Timestamp| end.seconds() - now.seconds() <= within;
    let mut findings = Vec::new();
    for subject in publish::in_force(chain) {
        let (report, others) = publish::check_all(context, out, &subject, chain.name()).await?;
        findings.extend(contested(&subject, &others));
        let fix = Fix::Publish(subject.clone());
        let about = subject.to_string();
        match report.reason {
            // A key has no place of its own.
            Some(Code::NoChannel) => {}
            Some(reason) => {
                let fix = if is_mendable(reason) { fix } else { Fix::None };
                let problem = Problem::Proof(reason);
                let finding = Finding::new(about, Severity::Broken, problem, fix);
                findings.push(Finding { detail: report.detail, at: report.retry_at, ..finding });
            }
            None if report.expires_at.is_some_and(soon) => {
                let finding = Finding::new(about, Severity::Soon, Problem::ExpiresSoon, fix);
                findings.push(Finding { at: report.expires_at, ..finding });
            }
            None => {}
        }
    }
    for device in chain.devices().filter(|device| device.revoked.is_none()) {
        if device.not_after.is_some_and(soon) {
            let about = device.key.to_string();
            let problem = Problem::DeviceExpiresSoon;
            let finding = Finding::new(about, Severity::Soon, problem, Fix::None);
            findings.push(Finding { at: device.not_after, ..finding });
        }
    }
    for (place, missing) in places.missing(context, chain).await {
        let (problem, detail, fix) = match missing {
            Ok(0) => continue,
            Ok(count) => {
                let detail = format!("{count} of {} events", chain.events().len());
                (Problem::CopyBehind, Some(detail), Fix::Copies)
            }
            Err(error) => {
                (Problem::Copy(error.code()), error.context().map(String::from), Fix::None)
            }
        };
        let finding = Finding::new(place, Severity::Broken, problem, fix);
        findings.push(Finding { detail, ..finding });
    }
    let mut advise = |problem| {
        let about = chain.name().to_string();
        findings.push(Finding::new(about, Severity::Advice, problem, Fix::None));
    };
    if places.is_empty() {
        advise(Problem::PublishedNowhere);
    }
    if chain.next().is_none() {
        advise(Problem::NextUncommitted);
    }
    Ok(findings)
}

/// The chain that is meant, and where it is published.
fn patient(context: &Context<'_, impl Net>, own: &Own) -> Result<(Chain, Places)> {
    if context.global.offline {
        return Err(Code::Offline.into());
    }
    let chain = sigchain::own_chain(context, own)?;
    let places = Places::configured(context, &chain)?;
    Ok((chain, places))
}

pub(super) async fn run(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    args: DoctorArgs,
) -> Result<u8> {
    // What is mended is written, so nobody else may write meanwhile.
    let _lock = args.fix.then(|| context.home.lock()).transpose()?;
    let (mut chain, places) = patient(context, &args.own)?;
    let mut findings = examine(context, out, &chain, &places, args.within).await?;
    let conflict = Problem::Copy(Code::HeadConflict);
    if args.fix && findings.iter().any(|finding| finding.problem == conflict) {
        out.hint(
            "kez: nothing is mended, since another machine has published events that are not here",
        );
    } else if args.fix && findings.iter().any(|finding| finding.fix != Fix::None) {
        mend(context, out, &mut chain, &places, &findings).await?;
        let left = examine(context, out, &chain, &places, args.within).await?;
        findings.retain(|old| !left.iter().any(|finding| finding.is(old)));
        for finding in &mut findings {
            finding.fixed = true;
        }
        findings.extend(left);
    }
    tell(out, &chain, &findings);
    Ok(exit_code(&findings))
}

fn exit_code(findings: &[Finding]) -> u8 {
    let left = findings.iter().filter(|finding| !finding.fixed);
    left.map(|finding| finding.status.exit_code()).max().unwrap_or(0)
}

fn to_json(chain: &Chain, findings: &[Finding]) -> serde_json::Value {
    serde_json::json!({
        "schema": "kez.doctor/1",
        "chain": chain.name(),
        "head": chain.head(),
        "findings": findings.iter().map(Finding::to_json).collect::<Vec<_>>(),
    })
}

fn tell(out: &Out<'_>, chain: &Chain, findings: &[Finding]) {
    let mut lines: Vec<String> = findings.iter().map(Finding::text).collect();
    if findings.iter().all(|finding| finding.severity == Severity::Advice) {
        let count = publish::in_force(chain).len();
        lines.insert(0, format!("{}: {count} claims, nothing wrong", chain.name()));
    }
    out.result(&to_json(chain, findings), &lines.join("\n"));
}

/// Publishes again what helps. What cannot be mended now is told, and keeps nothing else from it.
async fn mend(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    chain: &mut Chain,
    places: &Places,
    findings: &[Finding],
) -> Result<()> {
    let mut owner = None;
    for finding in findings {
        let Fix::Publish(subject) = &finding.fix else { continue };
        let key = match owner.take() {
            Some(key) => key,
            None => sigchain::current_key(context, chain)?,
        };
        let wish = Wish::default();
        if let Err(error) = publish::place(context, out, chain, &key, places, subject, &wish).await
        {
            out.hint(&format!("kez: {subject}: {error}"));
            out.hint(&format!("kez: hint: {}", error.code().remedy()));
        }
        owner = Some(key);
    }
    if let Err(error) = places.publish_most(context, out, chain, owner.as_ref()).await {
        out.hint(&format!("kez: {error}"));
    }
    Ok(())
}

/// What was found the last time, for the next.
const STATE: &str = "watch.json";

#[derive(Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    found: BTreeSet<String>,
    /// What could not be asked the last time.
    silent: BTreeSet<String>,
}

impl Seen {
    /// What counts now: advice never, and that somebody could not be asked only the second time,
    /// since networks fail for minutes.
    fn followed_by(&self, findings: &[Finding]) -> Self {
        let mut now = Self::default();
        for finding in findings.iter().filter(|finding| finding.severity != Severity::Advice) {
            let name = format!("{} {}", finding.about, finding.problem.name());
            let network = match finding.problem {
                Problem::Proof(code) | Problem::Copy(code) => code.kind() == Kind::Network,
                _ => false,
            };
            if network {
                now.silent.insert(name.clone());
            }
            if !network || self.silent.contains(&name) {
                now.found.insert(name);
            }
        }
        now
    }
}

pub(super) async fn watch(
    context: &Context<'_, impl Net>,
    out: &Out<'_>,
    args: WatchArgs,
) -> Result<u8> {
    if args.every < 60 && !args.once && !context.config.danger_allow_loopback {
        return Err(Error::about(Code::Usage, "--every: a minute at least"));
    }
    let path = context.home.path(STATE);
    loop {
        let (chain, places) = patient(context, &args.own)?;
        let findings = examine(context, out, &chain, &places, args.within).await?;
        let before = context.home.look_up(&path, 1 << 20)?;
        let before: Seen =
            before.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let now = before.followed_by(&findings);
        if now != before {
            let text = serde_json::to_vec(&now).map_err(|_| Code::StateRefused)?;
            context.home.write(&path, &text, Access::Private)?;
        }
        if now.found != before.found {
            tell(out, &chain, &findings);
            let Some(hook) = &args.hook else {
                return Ok(exit_code(&findings));
            };
            let code = context.host.run(hook, &json_text(&to_json(&chain, &findings)));
            let code = code.map_err(storage(hook))?;
            if code != 0 {
                out.hint(&format!("kez: warning: {} ended with {code}", hook.display()));
            }
        }
        if args.once {
            return Ok(0);
        }
        let pause = u32::try_from(args.every.saturating_mul(1000)).unwrap_or(u32::MAX);
        context.net.net.pause(pause).await;
    }
}
