#!/bin/bash
# Holds three implementations against each other: what one writes the others read, with the same ids,
# verdicts and bytes. `kez` is the native command, `npm` the package's, `other` the independent one in
# crosstest/, written from SPEC.md. Prints a table; the exit code is the verdict. With -v it echoes every
# command and proof. Run by `cargo xtask crosstest`.
#
#     crosstest.sh [-v] <kez> <node>
set -uo pipefail
cd "$(dirname "$0")"
verbose=; [ "$1" = -v ] && { verbose=1; shift; }
native=$1 node=$2 failed=0 passed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset KEZ_HOME
say() { [ -z "$verbose" ] || echo "    $*" >&2; }
other() { say other "$@"; "$node" --disable-warning=ExperimentalWarning crosstest/src/cli.ts "$@"; }
# A kez command in a home of its own: kez <implementation> <home> <argument>…
kez() {
  local which=$1 home=$2; shift 2
  say "$which" "$@"
  if [ "$which" = kez ]; then KEZ_HOME=$work/$home "$native" "$@" 2>>"$work/stderr"
  else KEZ_HOME=$work/$home "$node" npm/dist/cli.js "$@" 2>>"$work/stderr"; fi
}
field() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p"; }
check() { # name, wanted, got
  if [ -n "$2" ] && [ "$2" = "$3" ]; then
    passed=$((passed + 1)); printf '  %-64s same\n' "$1"
  else
    failed=$((failed + 1)); printf '  %-64s DIFFERS\n    %s\n    %s\n' "$1" "$2" "$3"
  fi
}

# Throw-away keys that all three share: 32 bytes of one value.
secret() { printf "%0.s$1" {1..32}; echo; }
owner=$(secret 11) device=$(secret 22) next=$(secret 33)

# --- What every implementation can do, by one name.

new_home() { # which, home, type
  kez "$1" "$2" key import --name me --type "$3" --no-passphrase <<<"$owner" >/dev/null
  kez "$1" "$2" key import --name device --type ed25519 --no-passphrase <<<"$device" >/dev/null
  kez "$1" "$2" key import --name next --type "$3" --no-passphrase <<<"$next" >/dev/null
}

write_claim() { # which, type, subject, form: the text
  if [ "$1" = other ]; then other claim "$2" "$3" "$4" <<<"$owner"; return; fi
  [ -d "$work/$1-$2" ] || new_home "$1" "$1-$2" "$2"
  kez "$1" "$1-$2" --offline claim create "$3" --format "$4" --key me
}

read_proof() { # which: the id (for a pointer, the primary) of the proof on stdin
  if [ "$1" = other ]; then other read; return; fi
  local text; text=$(cat)
  if [[ $text == *' TXT '* ]]; then text=$(grep -o '"[^"]*"' <<<"$text" | tr -d '"\n'); fi
  local shown=(); [[ $text == kez:nostr:* || $text == kez:ed25519:* ]] && shown=(--as dns:example.com)
  kez "$1" reader --json verify file - "${shown[@]}" <<<"$text" >"$work/report"
  local id; id=$(field claim <"$work/report"); echo "${id:-$(field primary <"$work/report")}"
}

build_chain() { # which, type, what: the bundle
  if [ "$1" = other ]; then printf '%s\n' "$owner" "$([ "$3" = devices ] && echo "$device" || echo "$next")" | other chain "$2" "$3"; return; fi
  local home=$1-$2-$3
  rm -rf "${work:?}/$home"; new_home "$1" "$home" "$2"
  local run=(kez "$1" "$home")
  "${run[@]}" --offline claim create dns:example.com --key me >/dev/null
  "${run[@]}" --offline claim create github:jason --key me >/dev/null
  if [ "$3" = rotate ]; then
    # The commitment that `kez key new --next` leaves; the key itself is known here.
    other commitment "$2" <<<"$next" >"$work/$home/next-key"
  fi
  "${run[@]}" sigchain add dns:example.com --key me >/dev/null
  case $3 in
  three) "${run[@]}" sigchain add github:jason >/dev/null; "${run[@]}" sigchain revoke github:jason >/dev/null ;;
  devices)
    "${run[@]}" sigchain add-device device --cap chat/1 >/dev/null
    "${run[@]}" sigchain revoke-device "$("${run[@]}" --json key show device | field identity)" >/dev/null ;;
  rotate) "${run[@]}" sigchain rotate --to next >/dev/null; "${run[@]}" sigchain add github:jason >/dev/null ;;
  esac
  "${run[@]}" sigchain export
}

show_chain() { # which: "<seq> <id>" of the bundle on stdin, or the code that refuses it
  if [ "$1" = other ]; then other show; return; fi
  local got; got=$(kez "$1" reader --json sigchain verify -)
  case $got in
  *'"code"'*) field code <<<"$got" ;;
  *) sed 's/.*"head":{\([^}]*\)}.*/\1/; s/.*"id":"\([0-9a-f]*\)".*"seq":\([0-9]*\).*/\2 \1/; s/.*"seq":\([0-9]*\).*"id":"\([0-9a-f]*\)".*/\1 \2/' <<<"$got" ;;
  esac
}

export_chain() { # which: the bundle on stdin, as this implementation writes it
  if [ "$1" = other ]; then other export; return; fi
  rm -rf "$work/export"
  kez "$1" export sigchain import - >/dev/null && kez "$1" export sigchain export
}

merge_chains() { # which, file, file: "same" or "forked <seq>"
  if [ "$1" = other ]; then other merge "$2" "$3"; return; fi
  rm -rf "$work/merge"
  kez "$1" merge sigchain import "$2" >/dev/null
  local got; got=$(kez "$1" merge --json sigchain import "$3")
  case $got in *'"code":"forked"'*) sed 's/.*from event \([0-9]*\) on.*/forked \1/' <<<"$got" ;; *'"head"'*) echo same ;; *) echo "$got" ;; esac
}

# --- The table.

echo "test vectors"
"$node" --disable-warning=ExperimentalWarning crosstest/src/vectors.ts kez-core/vectors || failed=$((failed + 1))

implementations="kez npm other"
for type in nostr ed25519; do
  for writer in $implementations; do
    for form in json compact markdown dns pointer; do
      write_claim $writer $type dns:example.com $form >"$work/claim-$writer-$type-$form"
      [ -z "$verbose" ] || cat "$work/claim-$writer-$type-$form" >&2
    done
    for what in three devices rotate; do build_chain $writer $type $what >"$work/chain-$writer-$type-$what"; done
    # The old key signs nothing new, and two continuations of one chain are a fork.
    { echo "$owner"; cat "$work/chain-$writer-$type-rotate"; } | other append $type github:late >"$work/late-$writer-$type"
    { echo "$owner"; head -n 2 "$work/chain-$writer-$type-three"; } | other append $type github:twin >"$work/twin-$writer-$type"
  done
done
for writer in $implementations; do
  for reader in $implementations; do
    [ $writer = $reader ] && continue
    echo "$writer writes, $reader reads"
    for type in nostr ed25519; do
      for form in json compact markdown dns pointer; do
        claim=$work/claim-$writer-$type-$form
        check "$type claim as $form" "$(read_proof $writer <"$claim")" "$(read_proof $reader <"$claim")"
      done
      for what in three devices rotate; do
        chain=$work/chain-$writer-$type-$what
        check "$type chain: $what" "$(show_chain $writer <"$chain")" "$(show_chain $reader <"$chain")"
        check "$type chain: $what, exported again to the byte" "$(sha256sum <"$chain")" "$(export_chain $reader <"$chain" | sha256sum)"
      done
      check "$type chain: the old key's event is refused" chain_signer "$(show_chain $reader <"$work/late-$writer-$type")"
      check "$type chain: a fork is told" "forked 3" "$(merge_chains $reader "$work/chain-$writer-$type-three" "$work/twin-$writer-$type")"
    done
  done
done

echo "kez and npm, the same words"
at='--at 2030-01-01T00:00:00Z' # the two may not run within one second
same() { # arguments
  local a b
  a=$(kez kez words "$@" 2>&1; echo "exit $?"; cat "$work/stderr"); : >"$work/stderr"
  b=$(kez npm words "$@" 2>&1; echo "exit $?"; cat "$work/stderr"); : >"$work/stderr"
  check "kez $*" "$(sha256sum <<<"$a")" "$(sha256sum <<<"$b")"
  [ "$a" = "$b" ] || diff <(echo "$a") <(echo "$b") | head -5
}
new_home kez words nostr
: >"$work/stderr"
cp "$work/claim-kez-nostr-markdown" "$work/claim.md"
for words in --version --help 'key --help' 'claim create --help' 'verify --help' 'sigchain --help' 'sigchain rotate --help' man \
  'completions bash' 'completions zsh' 'completions fish' explain 'explain rollback' 'explain no-such' 'no-such-command' 'key' \
  'key list' '--json key list' 'key show no-such' 'key new --name a/b --no-passphrase' "$at verify file $work/claim.md" \
  "$at --json verify file $work/claim.md" 'verify file /no/such' '--json verify file /no/such' "verify file $work" \
  'verify id nonsense' '--json verify id nonsense' "$at --offline --json verify id bücher.example" "$at --offline id github:jason" \
  "$at --offline --json graph github:jason" "$at --offline graph github:jason --format svg" 'sigchain show' 'sigchain publish' \
  "$at --json sigchain revoke github:jason" "$at --json claim create github:jason --expires 1y" "sigchain verify $work/chain-other-nostr-devices" \
  "--json sigchain verify $work/late-kez-nostr"; do
  # shellcheck disable=SC2086
  same $words
done
echo "crosstest: $passed passed, $failed failed"
[ "$failed" = 0 ]
