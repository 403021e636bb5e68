//! Times: RFC 3339 in UTC, whole seconds, `Z`, and nothing else (SPEC.md, "Times").

use crate::{Code, Error, Result};
use alloc::{format, string::String};
use core::fmt;

/// A moment in whole seconds since 1970-01-01T00:00:00Z, from year 1970 to 9999.
///
/// ```
/// use kez_core::Timestamp;
/// let t: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
/// assert_eq!(t.seconds(), 1_795_262_400);
/// assert_eq!(t.to_string(), "2026-11-21T12:00:00Z");
/// assert!("2026-11-21T12:00:00+00:00".parse::<Timestamp>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "types", derive(ts_rs::TS), ts(type = "string"))]
pub struct Timestamp(i64);

/// How far ahead of the verifier's clock a signed time may lie: 10 minutes.
pub const MAX_SKEW: i64 = 600;
const MAX: i64 = 253_402_300_799;

impl Timestamp {
    /// From seconds since 1970; clamped to the years 1970 to 9999.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        if seconds < 0 {
            Self(0)
        } else if seconds > MAX {
            Self(MAX)
        } else {
            Self(seconds)
        }
    }

    /// From what a clock says has passed since 1970; parts of a second are cut off.
    #[must_use]
    pub fn since_epoch(passed: core::time::Duration) -> Self {
        Self::from_seconds(i64::try_from(passed.as_secs()).unwrap_or(MAX))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// This moment moved by some seconds.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self::from_seconds(self.0.saturating_add(seconds))
    }

    /// Whether this lies further ahead of `now` than [`MAX_SKEW`] allows.
    #[must_use]
    pub const fn is_future(self, now: Self) -> bool {
        self.0 > now.0 + MAX_SKEW
    }
}

// The civil-date conversions are the well-known era arithmetic on a year that starts in March.
fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let year_of_era = y - era * 400;
    let day_of_year = (153 * (m + if m > 2 { -3 } else { 9 }) + 2) / 5 + d - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(m <= 2), m, doy - (153 * mp + 2) / 5 + 1)
}

impl core::str::FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || Error::about(Code::TimeRefused, text);
        let b = text.as_bytes();
        if b.len() != 20 {
            return Err(refused());
        }
        let number = |from: usize, to: usize| -> Result<i64> {
            b[from..to].iter().try_fold(0, |n, &d| match d {
                b'0'..=b'9' => Ok(n * 10 + i64::from(d - b'0')),
                _ => Err(refused()),
            })
        };
        let (y, m, d) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (h, min, s) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let moment = Self(days_from_civil(y, m.clamp(1, 12), d) * 86_400 + h * 3600 + min * 60 + s);
        // A date that does not exist, a leap second or another separator prints differently.
        if y < 1970 || moment.0 > MAX || format!("{moment}") != text {
            return Err(refused());
        }
        Ok(moment)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, m, d) = civil_from_days(self.0.div_euclid(86_400));
        let s = self.0.rem_euclid(86_400);
        write!(f, "{y:04}-{m:02}-{d:02}T{:02}:{:02}:{:02}Z", s / 3600, s / 60 % 60, s % 60)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// An age or a span in the largest unit that fits: `3 days`, `1 hour`, `12 seconds`.
#[must_use]
pub fn human_span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (n, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..31_536_000 => (seconds / 86_400, "day"),
        _ => (seconds / 31_536_000, "year"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}
