//! Lower-case hex of fixed length, the only hex that the wire knows.

use alloc::string::String;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Lower-case hex.
///
/// ```
/// assert_eq!(kez_core::hex::encode(&[0, 255]), "00ff");
/// ```
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for b in bytes {
        out.push(char::from(DIGITS[usize::from(b >> 4)]));
        out.push(char::from(DIGITS[usize::from(b & 15)]));
    }
    out
}

/// Exactly `N` bytes from `2 N` lower-case digits; nothing else is accepted.
///
/// ```
/// assert_eq!(kez_core::hex::decode::<2>("00ff"), Some([0, 255]));
/// assert_eq!(kez_core::hex::decode::<2>("00FF"), None);
/// ```
#[must_use]
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |d: u8| match d {
        b'0'..=b'9' => Some(d - b'0'),
        b'a'..=b'f' => Some(d - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(out)
}
