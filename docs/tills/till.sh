#!/bin/bash
# A till for facepay terminals with mosquitto_pub, mosquitto_sub, jq and openssl 3. Contract: ../reference/till-contract.md
# Use: FACEPAY_TERMINAL_KEY=terminal.pem bash till.sh PHOTO       (settings below)
set -u
broker=(${FACEPAY_MOSQUITTO_OPTIONS:--h 127.0.0.1 -p 1883}) # in a shop: -h HOST -p 8884 --cafile … --cert … --key …
site=${FACEPAY_SITE:-demo} terminal=${FACEPAY_TERMINAL:-terminal-1} till=${FACEPAY_TILL:-till-1}
ttl_ms=${FACEPAY_TTL_MS:-8000} sign_key=${FACEPAY_SIGN_KEY:-} test_mode=${FACEPAY_CONFORMANCE:-}
base=facepay/v1/$site/$terminal
receiver= tmp=$(mktemp -d) && trap 'rm -rf "$tmp"; kill $receiver $(jobs -p) 2>/dev/null' EXIT
cp "$FACEPAY_TERMINAL_KEY" "$tmp/key.pem" # from `facepay keys show`, pinned out of band

now_ms() { local up; read -r up _ </proc/uptime; echo "$((10#${up/./} * 10))"; } # monotonic, unlike the time of day
b64url() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
unb64url() { local t; t=$(tr -- '-_' '+/'); while ((${#t} % 4)); do t+==; done; base64 -d <<<"$t" 2>/dev/null; }
sha256() { sha256sum | cut -d' ' -f1; }
key_id() { openssl pkey "$@" -pubout -outform DER | tail -c 32 | sha256 | cut -c1-16; } # of the 32 bytes of the public key

verified() { # KIND KEY < envelope: the text, or failure when the signature is not that of the key
  local envelope jws header
  envelope=$(cat) && jws=$(jq -er .jws <<<"$envelope") || return 1
  [[ $jws =~ ^([A-Za-z0-9_-]+)\.\.([A-Za-z0-9_-]+)$ ]] || return 1
  header=$(printf %s "${BASH_REMATCH[1]}" | unb64url)
  jq -e --arg typ "facepay-$1+jws" --arg kid "$(key_id -pubin -in "$2")" \
    '.alg == "Ed25519" and .typ == $typ and .kid == $kid' >/dev/null 2>&1 <<<"$header" || return 1
  printf %s "${BASH_REMATCH[2]}" | unb64url >"$tmp/signature"
  jq -ej --arg kind "$1" '.[$kind]' <<<"$envelope" >"$tmp/text" || return 1
  { printf '%s.' "${BASH_REMATCH[1]}" && b64url <"$tmp/text"; } >"$tmp/signed"
  openssl pkeyutl -verify -pubin -inkey "$2" -rawin -in "$tmp/signed" -sigfile "$tmp/signature" >/dev/null 2>&1 || return 1
  cat "$tmp/text"
}

send() { # KIND MESSAGE [EXPIRY_S]: signed where the till has a key; the sent bytes are in $tmp/KIND
  local kind=$1 text header expiry=()
  text=$(jq -c --arg s "$site" --arg t "$terminal" '. + {site: $s, terminal: $t}' <<<"$2")
  if [[ $sign_key ]]; then
    header=$(jq -nc --arg typ "facepay-$kind+jws" --arg kid "$(key_id -in "$sign_key")" '{alg: "Ed25519", $typ, $kid}' | tr -d '\n' | b64url)
    { printf '%s.' "$header" && printf %s "$text" | b64url; } >"$tmp/signed"
    openssl pkeyutl -sign -inkey "$sign_key" -rawin -in "$tmp/signed" -out "$tmp/signature"
    text=$(jq -nc --arg kind "$kind" --arg text "$text" --arg jws "$header..$(b64url <"$tmp/signature")" '{($kind): $text, $jws}')
  fi
  printf %s "$text" >"$tmp/$kind"
  [[ ${3:-} ]] && expiry=(-D publish message-expiry-interval "$3")
  [[ $kind == request ]] && must=$(jq -c --arg sha "$(sha256 <"$tmp/request")" '. + {request_sha256: $sha}' <<<"$must")
  timeout 5 mosquitto_pub -V 5 "${broker[@]}" -q 1 -t "$base/verify/$till/$kind" -f "$tmp/$kind" ${expiry[@]+"${expiry[@]}"}
}

ask() { # REFERENCE: the enrolled photo as the JSON of the contract
  must=$(jq -nc --arg id "$(cat /proc/sys/kernel/random/uuid)" --arg nonce "$(openssl rand -hex 16)" --arg epoch "$epoch" \
    --arg till "$till" --arg site "$site" --arg terminal "$terminal" '{request_id: $id, $nonce, $epoch, $till, $site, $terminal}')
  cancelled= deadline_ms=$(($(now_ms) + ttl_ms)) # before sending
  send request "$(jq -c --argjson ttl "$ttl_ms" --argjson sent "$(date +%s%3N)" --slurpfile reference <(printf %s "$1") \
    'del(.site, .terminal) + {schema: "facepay.request/1", transaction_id: ("sale-" + .request_id), ttl_ms: $ttl,
     sent_at_ms: $sent, reference: $reference[0]}' <<<"$must")" $(((ttl_ms + 999) / 1000))
}

cancel() {
  cancelled=1
  send cancel "$(jq -c '{schema: "facepay.cancel/1", request_id}' <<<"$must")"
}

get_state() { mosquitto_pub -V 5 "${broker[@]}" -q 1 -t "$base/verify/$till/get_state" -m '{}'; }

acknowledge() { send ack "$(jq -nc --arg id "$1" '{schema: "facepay.ack/1", result_id: $id}')"; }

end() { # DECISION REASON [RESULT_ID]: one outcome for each request: a repeat finds no open request
  must='{}'
  [[ $test_mode ]] || { kill "$timer"; echo "$1/${2//[^a-z_]/}"; } # an event is not signed: one word of its text
  [[ ! ${3:-} ]] || acknowledge "$3" # after the payment: an ack can be slow or fail
  [[ $test_mode ]] || { [[ $1 == match ]]; exit; }
}

here() { jq -e --arg s "$site" --arg t "$terminal" '.site == $s and .terminal == $t' >/dev/null <<<"$1"; }

on_state() { # only the signed text counts: a broker could write another epoch beside it
  local statement state key=$tmp/key.pem
  if statement=$(jq -ce '.state | fromjson | .key.rotation // empty' <<<"$1" | verified rotation "$tmp/key.pem") && here "$statement"; then
    jq -r .new_key <<<"$statement" >"$tmp/new.pem" && key=$tmp/new.pem # the old key signed the new key
  fi
  state=$(verified state "$key" <<<"$1") && here "$state" || return
  touch "$tmp/has_state"
  epoch=$(jq -r .epoch <<<"$state")
  if [[ $key == "$tmp/new.pem" ]]; then
    mv "$tmp/key.pem" "$tmp/old.pem" && mv "$key" "$tmp/key.pem"
    old_until_ms=$(($(now_ms) + 600000)) new_epochs=
  fi
  new_epochs+=" $epoch "
  [[ $test_mode || ! ${photo:-} || ! $(jq -r .status <<<"$state") =~ ^(online|degraded)$ ]] || { ask "$photo"; photo=; }
}

on_event() {
  local id
  if id=$(jq -er 'select(.refusal == "result_expired") | .result_id' <<<"$1"); then acknowledge "$id"; fi
  [[ $(jq -r .event <<<"$1") != guidance ]] || jq -r '.hint[]' <<<"$1" >&2
  if jq -e --argjson must "$must" '.event == "refused" and (.request_id == null or .request_id == $must.request_id)' >/dev/null <<<"$1"; then
    get_state # request_stale: perhaps the newest state was lost
    end undecided "$(jq -r .refusal <<<"$1")"
  fi
}

on_result() {
  local result decision id
  if ! result=$(verified result "$tmp/key.pem" <<<"$1"); then # perhaps stored before a rotation
    (($(now_ms) < ${old_until_ms:-0})) && result=$(verified result "$tmp/old.pem" <<<"$1") || return
    [[ $new_epochs != *" $(jq -r .epoch <<<"$result") "* ]] || return
  fi
  jq -e --arg s "$site" --arg t "$terminal" --arg till "$till" '.site == $s and .terminal == $t and .till == $till' >/dev/null <<<"$result" || return
  local ours=1
  jq -e --argjson must "$must" '. as $r | $must != {} and all($must | to_entries[]; $r[.key] == .value)' >/dev/null <<<"$result" || ours=
  decision=$(jq -r 'if .decision == "match" or .decision == "no_match" then .decision else "undecided" end' <<<"$result")
  (($(now_ms) <= ${deadline_ms:-0})) && [[ ! ${cancelled:-} ]] || decision=undecided
  if [[ $ours && $decision == match && $test_mode ]]; then
    mosquitto_pub "${broker[@]}" -q 1 -t "$base/conformance/$till/paid" -m "$(jq -c '{request_id}' <<<"$result")"
  fi
  id=$(jq -r .result_id <<<"$result")
  if [[ $ours ]]; then end "$decision" "$(jq -r .reason <<<"$result")" "$id"; else acknowledge "$id"; fi # repeats and late results, too
}

must='{}' epoch= new_epochs= photo=
mkfifo "$tmp/never" # for pauses without a process
while read -rt 5 <>"$tmp/never" || kill -0 $$; do [[ -e $tmp/has_state ]] || get_state; done 2>/dev/null & # a message can be lost
if [[ ! $test_mode ]]; then
  photo=$(base64 -w0 "$1" | jq -Rc --arg sha "$(sha256 <"$1")" '{image_b64: ., sha256: $sha}')
  { read -rt "$((ttl_ms / 1000 + 5))" <>"$tmp/never"; echo "undecided/no answer"; kill $$; } & timer=$!
fi
test_photo=$(printf 'a photo' | base64 -w0 | jq -Rc --arg sha "$(printf 'a photo' | sha256)" '{image_b64: ., sha256: $sha}')
receive() { # a line for each message, the payload in hexadecimal digits: a payload can contain line ends
  trap 'kill $sub; exit' TERM
  while kill -0 $$; do # mosquitto_sub ends when its connection is cut
    stdbuf -oL mosquitto_sub -d -V 5 "${broker[@]}" -q 1 -F '%r %t %x' -t "$base/state" -t "$base/verify/$till/state_copy" \
      -t "$base/verify/$till/event" -t "$base/verify/$till/result" ${test_mode:+-t "$base/conformance/$till/do"} & sub=$!
    wait $sub
    sleep 0.2
  done 2>/dev/null
}
exec 3< <(receive) && receiver=$!
while read -r retained topic payload <&3; do
  # -d also prints its steps; after each subscription ask for the state: the broker may retain none
  [[ $retained != Subscribed ]] || { rm -f "$tmp/has_state"; get_state; }
  [[ $retained == [01] ]] || continue
  payload=$(printf %b "$(sed 's/../\\x&/g' <<<"$payload")" | tr -d '\0')
  jq -e 'type == "object"' >/dev/null 2>&1 <<<"$payload" || continue
  case ${topic##*/} in
    state | state_copy) on_state "$payload" ;;
    event) on_event "$payload" ;;
    result) [[ $retained != 0 ]] || on_result "$payload" ;; # never act on a retained result
    do) [[ $test_mode ]] && case $(jq -r .do <<<"$payload") in restart) exit ;; cancel) cancel ;; *) ask "$test_photo" ;; esac ;;
  esac
done
