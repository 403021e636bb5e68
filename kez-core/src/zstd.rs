//! One plain zstd frame, and nothing that two decoders could read differently
//! (RFC 8878; SPEC.md, "Compact form").

use crate::{Code, Error, Result};
use alloc::vec::Vec;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const MAX_WINDOW: u64 = 128 * 1024;

/// Compresses into one frame.
pub(crate) fn compress(data: &[u8]) -> Vec<u8> {
    compress_to_vec(data, CompressionLevel::Fastest)
}

/// Decompresses exactly one frame that eats all input, to at most `limit` bytes.
///
/// # Errors
/// `zstd_refused` for anything but one plain frame, `too_large` for more than `limit` bytes.
pub(crate) fn decompress(frame: &[u8], limit: usize) -> Result<Vec<u8>> {
    let refused = |why| Error::about(Code::ZstdRefused, why);
    let declared = check_header(frame).map_err(refused)?;
    if declared.is_some_and(|size| size > limit as u64) {
        return Err(Code::TooLarge.into());
    }
    let mut rest = frame;
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW);
    decoder.init(&mut rest).map_err(|_| refused("the header"))?;
    // The decoder keeps a window that can be collected only at the end, so the output is bounded
    // by stopping as soon as what it has decoded passes the limit.
    let mut out = Vec::new();
    while !decoder.is_finished() {
        decoder
            .decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1))
            .map_err(|_| refused("a block"))?;
        if let Some(mut part) = decoder.collect() {
            out.append(&mut part);
        }
        if decoder.blocks_decoded() > MAX_BLOCKS {
            return Err(refused("more than 64 blocks"));
        }
        if out.len() > limit {
            return Err(Code::TooLarge.into());
        }
    }
    if let Some(mut part) = decoder.collect() {
        out.append(&mut part);
    }
    if out.len() > limit {
        return Err(Code::TooLarge.into());
    }
    if !rest.is_empty() {
        return Err(refused("bytes follow the frame"));
    }
    if declared.is_some_and(|size| size != out.len() as u64) {
        return Err(refused("the declared size is wrong"));
    }
    if decoder.get_checksum_from_data().is_some()
        && decoder.get_checksum_from_data() != decoder.get_calculated_checksum()
    {
        return Err(refused("the checksum is wrong"));
    }
    Ok(out)
}

/// One block may decode to 128 KiB, so a frame of our sizes needs few; more are padding.
const MAX_BLOCKS: usize = 64;

/// Checks the frame header by our own few lines, since decoders differ on what they let pass.
/// Gives the declared content size, if any.
fn check_header(frame: &[u8]) -> Result<Option<u64>, &'static str> {
    let rest = frame.strip_prefix(&MAGIC).ok_or("no zstd frame")?;
    let (&descriptor, rest) = rest.split_first().ok_or("the header is cut off")?;
    if descriptor & 0b11 != 0 {
        return Err("a dictionary");
    }
    if descriptor & 0b1_1000 != 0 {
        return Err("a reserved bit");
    }
    let single_segment = descriptor & 0b10_0000 != 0;
    let size_bytes = match (descriptor >> 6, single_segment) {
        (0, false) => 0,
        (0, true) => 1,
        (1, _) => 2,
        (2, _) => 4,
        _ => 8,
    };
    let (window, rest) = if single_segment {
        (None, rest)
    } else {
        let (&window, rest) = rest.split_first().ok_or("the header is cut off")?;
        (Some(window), rest)
    };
    let field = rest.get(..size_bytes).ok_or("the header is cut off")?;
    let mut size = field.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b));
    if size_bytes == 2 {
        size += 256;
    }
    let declared = (size_bytes > 0).then_some(size);
    let window = match window {
        Some(w) => {
            let base = 1_u64 << (10 + u32::from(w >> 3));
            base + base / 8 * u64::from(w & 7)
        }
        None => size,
    };
    if window > MAX_WINDOW { Err("the window is too large") } else { Ok(declared) }
}
