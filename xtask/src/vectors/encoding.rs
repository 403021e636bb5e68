//! Encodings, and proofs in text.

use super::{claim::base_claim, *};

/// A zstd frame by hand: descriptor and what follows it, then raw blocks.
fn frame(head: &[u8], blocks: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd];
    out.extend_from_slice(head);
    for (n, block) in blocks.iter().enumerate() {
        let last = u32::from(n + 1 == blocks.len());
        let header = last | u32::try_from(block.len()).unwrap_or(0) << 3;
        out.extend_from_slice(&header.to_le_bytes()[..3]);
        out.extend_from_slice(block);
    }
    out
}

pub(super) fn encodings(v: &mut Vectors) -> Result<()> {
    v.group = "enc";
    let (owner, claim) = base_claim()?;
    let signed = sign_claim(&claim, &owner)?;
    let id = signed.id().to_string();
    let json = signed.envelope().to_canonical();
    let raw = json.as_bytes();
    let encode = |frame: &[u8]| {
        format!("kez:z1:{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(frame))
    };
    let compact = proof::to_compact(signed.envelope());
    v.yields(
        "compact",
        &["ENC-02", "ENC-03"],
        "compact",
        compact.as_str(),
        id.as_str(),
        "as a writer makes it",
    );
    v.yields(
        "compact-raw",
        &["ENC-03"],
        "compact",
        encode(&frame(&[0, 0], &[raw])),
        id.as_str(),
        "one raw block: another text, the same claim",
    );
    let size = u16::try_from(raw.len() - 256)?.to_le_bytes();
    let sized = [0b0110_0000, size[0], size[1]];
    v.yields(
        "compact-sized",
        &["ENC-03"],
        "compact",
        encode(&frame(&sized, &[raw])),
        id.as_str(),
        "single segment with its size",
    );
    v.yields(
        "compact-two-blocks",
        &["ENC-03"],
        "compact",
        encode(&frame(&[0, 0], &[&raw[..9], &raw[9..]])),
        id.as_str(),
        "two blocks",
    );

    let bad =
        |v: &mut Vectors, name: &str, rule: &str, input: String, expect: &str, comment: &str| {
            v.add(name, &[rule], "compact", input, expect, comment);
        };
    bad(
        v,
        "compact-prefix",
        "ENC-02",
        compact.replace("z1", "z2"),
        "compact_syntax",
        "another version",
    );
    bad(v, "compact-padding", "ENC-02", format!("{compact}="), "compact_syntax", "padding");
    bad(
        v,
        "compact-space",
        "ENC-02",
        compact.replacen("KL", "KL ", 1),
        "compact_syntax",
        "a space",
    );
    bad(v, "compact-plus", "ENC-02", format!("{compact}+"), "compact_syntax", "the other alphabet");
    bad(
        v,
        "compact-bits",
        "ENC-02",
        "kez:z1:Zh".into(),
        "compact_syntax",
        "trailing bits that are not zero",
    );
    bad(v, "compact-empty", "ENC-03", "kez:z1:".into(), "zstd_refused", "nothing");
    bad(
        v,
        "compact-long",
        "ENC-10",
        format!("kez:z1:{}", "A".repeat(12 * 1024)),
        "too_large",
        "longer than 12 KiB",
    );
    let plain = frame(&[0, 0], &[raw]);
    let skip = [0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 0];
    let with = |before: &[u8], after: &[u8]| encode(&[before, &plain, after].concat());
    bad(v, "zstd-trailing", "ENC-03", with(&[], &[0]), "zstd_refused", "a byte after the frame");
    bad(v, "zstd-two-frames", "ENC-03", with(&plain, &[]), "zstd_refused", "two frames");
    bad(
        v,
        "zstd-skippable-before",
        "ENC-03",
        with(&skip, &[]),
        "zstd_refused",
        "a skippable frame before",
    );
    bad(
        v,
        "zstd-skippable-after",
        "ENC-03",
        with(&[], &skip),
        "zstd_refused",
        "a skippable frame after",
    );
    bad(v, "zstd-cut", "ENC-03", encode(&plain[..plain.len() - 1]), "zstd_refused", "cut off");
    bad(v, "zstd-no-magic", "ENC-03", encode(&plain[4..]), "zstd_refused", "no magic number");
    bad(
        v,
        "zstd-reserved-bit",
        "ENC-03",
        encode(&frame(&[0b1000, 0], &[raw])),
        "zstd_refused",
        "the reserved bit",
    );
    bad(
        v,
        "zstd-unused-bit",
        "ENC-03",
        encode(&frame(&[0b1_0000, 0], &[raw])),
        "zstd_refused",
        "the unused bit",
    );
    bad(
        v,
        "zstd-dictionary",
        "ENC-03",
        encode(&frame(&[1, 0, 7], &[raw])),
        "zstd_refused",
        "a dictionary id",
    );
    bad(
        v,
        "zstd-window",
        "ENC-03",
        encode(&frame(&[0, 8 << 3], &[raw])),
        "zstd_refused",
        "a window of 256 KiB",
    );
    let wrong = [0b0110_0000, size[0].wrapping_add(1), size[1]];
    bad(
        v,
        "zstd-false-size",
        "ENC-03",
        encode(&frame(&wrong, &[raw])),
        "zstd_refused",
        "the declared size is wrong",
    );
    bad(
        v,
        "zstd-huge-size",
        "ENC-03",
        encode(&frame(&[0b1010_0000, 0, 64, 0, 0], &[raw])),
        "too_large",
        "the declared size is beyond the limit",
    );
    v.add(
        "zstd-size-and-window",
        &["ENC-03", "GEN-02"],
        "compact",
        encode(&frame(&[0b1010_0000, 0, 0, 4, 0], &[raw])),
        "zstd_refused|too_large",
        "the declared size is beyond the limit of the window too",
    );
    let mut sum = frame(&[0b100, 0], &[raw]);
    sum.extend([1, 2, 3, 4]);
    bad(v, "zstd-checksum", "ENC-03", encode(&sum), "zstd_refused", "the checksum is wrong");
    // An RLE block: four bytes that mean 100 KiB.
    let mut bomb = frame(&[0, 7 << 3], &[]);
    let header = 1_u32 | 1 << 1 | (100 * 1024) << 3;
    bomb.extend_from_slice(&header.to_le_bytes()[..3]);
    bomb.push(b' ');
    bad(v, "zstd-bomb", "ENC-11", encode(&bomb), "too_large", "a few bytes that mean 100 KiB");
    let many: Vec<&[u8]> = vec![b""; 70];
    bad(
        v,
        "zstd-many-blocks",
        "ENC-03",
        encode(&frame(&[0, 0], &many)),
        "zstd_refused",
        "70 empty blocks",
    );
    let spaced = json.replacen(":", ": ", 1);
    bad(
        v,
        "not-canonical",
        "ENC-04",
        encode(&frame(&[0, 0], &[spaced.as_bytes()])),
        "json_not_canonical",
        "a space in the JSON",
    );
    bad(
        v,
        "no-json",
        "ENC-04",
        encode(&frame(&[0, 0], &[b"hello"])),
        "json_syntax",
        "no JSON at all",
    );

    let primary = name(&owner);
    v.yields(
        "pointer",
        &["ENC-07"],
        "pointer",
        proof::to_pointer(&primary),
        primary.as_str(),
        "a pointer",
    );
    v.add(
        "pointer-domain",
        &["ENC-07"],
        "pointer",
        "kez:dns:example.com",
        "pointer_syntax",
        "a domain has no chain",
    );
    v.add(
        "pointer-upper",
        &["ENC-07"],
        "pointer",
        proof::to_pointer(&primary).to_uppercase(),
        "pointer_syntax",
        "upper case",
    );
    v.add(
        "pointer-npub",
        &["ENC-07"],
        "pointer",
        format!("kez:{}", primary.value()),
        "pointer_syntax",
        "no scheme",
    );
    Ok(())
}
