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
    let (declared, header) = check_header(frame).map_err(refused)?;
    check_blocks(&frame[header..]).map_err(refused)?;
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

/// Whether bytes begin a zstd frame and end before its last block does.
pub(crate) fn is_truncated(frame: &[u8]) -> bool {
    match check_header(frame) {
        Ok((_, header)) => check_blocks(&frame[header..]) == Err(CUT),
        Err(why) => why == CUT,
    }
}

/// Why a frame is refused that ends too early.
const CUT: &str = "the end is missing";

/// Takes bytes off the front.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], &'static str> {
    let (head, tail) = rest.split_at_checked(count).ok_or(CUT)?;
    *rest = tail;
    Ok(head)
}

/// A number of little-endian bytes.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte))
}

/// Walks over the blocks of a frame for the reserved bits inside them, which decoders pass over
/// (RFC 8878, sections 3.1.1.2 and 3.1.1.3).
fn check_blocks(mut rest: &[u8]) -> Result<(), &'static str> {
    loop {
        let header = number(take(&mut rest, 3)?);
        let (last, kind, size) = (header & 1 == 1, header >> 1 & 3, header >> 3);
        match kind {
            0 => drop(take(&mut rest, size)?),
            1 => drop(take(&mut rest, 1)?),
            2 => check_sequences(take(&mut rest, size)?)?,
            _ => return Err("a reserved type of block"),
        }
        if last {
            return Ok(());
        }
    }
}

/// Checks the modes of the sequences in a compressed block, behind its literals.
fn check_sequences(mut block: &[u8]) -> Result<(), &'static str> {
    let broken = |_| "a block";
    let first = usize::from(*block.first().ok_or("a block")?);
    let (kind, format) = (first & 3, first >> 2 & 3);
    let literals = if kind < 2 {
        // Raw and run-length literals: a size of 5, 12 or 20 bits.
        let (length, shift) = [(1, 3), (2, 4), (1, 3), (3, 4)][format];
        let size = number(take(&mut block, length).map_err(broken)?) >> shift;
        if kind == 0 { size } else { 1 }
    } else {
        // Compressed literals: two sizes of 10, 14 or 18 bits, of which the second counts.
        let (length, bits) = [(3, 10), (3, 10), (4, 14), (5, 18)][format];
        let sizes = take(&mut block, length).map_err(broken)?;
        let sizes = sizes.iter().rev().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        usize::try_from(sizes >> (4 + bits) & ((1 << bits) - 1)).map_err(|_| "a block")?
    };
    take(&mut block, literals).map_err(broken)?;
    // The number of sequences takes one to three bytes.
    let count = usize::from(take(&mut block, 1).map_err(broken)?[0]);
    let more = [0, 1, 2][usize::from(count >= 128) + usize::from(count == 255)];
    take(&mut block, more).map_err(broken)?;
    if count > 0 && take(&mut block, 1).map_err(broken)?[0] & 3 != 0 {
        return Err("a reserved bit of a block");
    }
    Ok(())
}

/// Checks the frame header by our own few lines, since decoders differ on what they let pass.
/// Returns the declared content size, if any, and the header's length.
fn check_header(frame: &[u8]) -> Result<(Option<u64>, usize), &'static str> {
    let rest = frame.strip_prefix(&MAGIC).ok_or(if MAGIC.starts_with(frame) {
        CUT
    } else {
        "no zstd frame"
    })?;
    let (&descriptor, rest) = rest.split_first().ok_or(CUT)?;
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
        let (&window, rest) = rest.split_first().ok_or(CUT)?;
        (Some(window), rest)
    };
    let field = rest.get(..size_bytes).ok_or(CUT)?;
    let length = frame.len() - rest.len() + size_bytes;
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
    if window > MAX_WINDOW { Err("the window is too large") } else { Ok((declared, length)) }
}
