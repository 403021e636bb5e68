#!/bin/bash
# Holds the implementations of SPEC.md against each other: what one writes the other reads, with the same
# ids, verdicts and bytes. Prints a table; the exit code is the verdict. Run by `cargo xtask crosstest`.
#
#     crosstest.sh <kez> <node>
set -uo pipefail
cd "$(dirname "$0")"
kez=$1 node=$2 failed=0
other() { "$node" --disable-warning=ExperimentalWarning crosstest/src/cli.ts "$@"; }
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export KEZ_HOME=$home/kez
field() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p"; }
check() { # name, wanted, got
  if [ -n "$2" ] && [ "$2" = "$3" ]; then
    printf '  %-58s same\n' "$1"
  else
    printf '  %-58s DIFFERS\n    %s\n    %s\n' "$1" "$2" "$3"
    failed=1
  fi
}

echo "test vectors"
"$node" --disable-warning=ExperimentalWarning crosstest/src/vectors.ts kez-core/vectors || failed=1

for type in ed25519 nostr; do
  echo "$type"
  export KEZ_HOME=$home/$type
  "$kez" key new --name me --type $type --no-passphrase >/dev/null 2>&1
  # The secret of this throw-away key as hex: nsec would need a decoder here.
  secret=$(sed -n 's/.*"plain": "\([0-9a-f]*\)".*/\1/p' "$KEZ_HOME/keys/me.json")
  for format in json compact markdown dns; do
    made=$("$kez" --json --offline claim create dns:example.com --format $format --out "$home/proof" 2>/dev/null)
    check "kez writes $format, the other reads it" "$(field id <<<"$made")" "$(other read <"$home/proof")"
  done
  primary=$("$kez" --json key show me | field identity)
  check "kez writes a pointer, the other reads it" "$primary" \
    "$("$kez" claim create dns:example.com --offline --format pointer 2>/dev/null | other read)"
  for subject in dns:example.com github:jason ap:jason@social.example; do
    other claim $type $subject <<<"$secret" >"$home/proof"
    check "the other claims $subject, kez verifies it" "valid $(other read <"$home/proof")" \
      "$("$kez" --json verify file "$home/proof" | sed 's/.*"status":"\([a-z]*\)".*"claim":"\([0-9a-f]*\)".*/\1 \2/')"
  done
  # A chain with every operation, continued by the other and taken over again.
  "$kez" sigchain add dns:example.com >/dev/null 2>&1
  "$kez" key new --name phone --no-passphrase >/dev/null 2>&1
  "$kez" sigchain add-device phone --cap chat/1 >/dev/null 2>&1
  "$kez" sigchain revoke dns:example.com >/dev/null 2>&1
  "$kez" sigchain revoke-device "$("$kez" --json key show phone | field identity)" >/dev/null 2>&1
  "$kez" sigchain export --out "$home/bundle" >/dev/null
  head() { "$kez" --json sigchain show | sed 's/.*"head":{"id":"\([0-9a-f]*\)","seq":\([0-9]*\)}.*/\2 \1/'; }
  check "kez writes a chain, the other replays it" "$(head)" "$(other replay <"$home/bundle")"
  { echo "$secret"; cat "$home/bundle"; } | other append $type github:jason >"$home/longer"
  "$kez" sigchain import "$home/longer" >/dev/null
  check "the other appends, kez takes it over" "$(other replay <"$home/longer")" "$(head)"
  "$kez" key new --name next --type $type --no-passphrase >/dev/null 2>&1
  "$kez" sigchain rotate --to next >/dev/null 2>&1
  "$kez" sigchain export --out "$home/bundle" >/dev/null
  check "kez rotates, the other replays it" "$(head)" "$(other replay <"$home/bundle")"
  # The old key signs nothing new, on either side.
  { echo "$secret"; cat "$home/bundle"; } | other append $type github:late >"$home/late"
  check "both refuse the old key's event" "$(other replay <"$home/late")" \
    "$("$kez" --json sigchain verify "$home/late" | field code)"
done
exit $failed
