#!/usr/bin/env bash
# Kills imports at random moments, the program or one of its readers, and checks the library after each.
# [SEED=N] kill_bench.sh BIN TIMES FILE… (BIN: the folder of the programs). Exit status 1 when the library was damaged, when the
# import did not complete afterwards as it does undisturbed, or when a reader was left behind.
set -u
bin=$1 times=$2
shift 2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
RANDOM=${SEED:-7}
cli() { "$bin/longleaf-cli" --library "$1" "${@:2}"; }
facts() { cli "$1" list --json | grep -E '"(id|pages|sections|leaves|ready)"'; }

start=$(date +%s%N)
cli "$work/whole" import "$@" >"$work/log" || exit 1
whole_ms=$((($(date +%s%N) - start) / 1000000))
damaged=0 programs=0 readers=0 ended=0
for ((i = 0; i < times; i++)); do
  "$bin/longleaf-cli" --library "$work/killed" import "$@" >"$work/log" 2>&1 &
  pid=$!
  delay=$((RANDOM * whole_ms / 32767))
  sleep "$(printf '%d.%03d' $((delay / 1000)) $((delay % 1000)))"
  reader=$(pgrep -P $pid longleaf-pdf | head -n 1)
  if ((RANDOM % 3 == 0)) && [ -n "$reader" ]; then
    kill -9 "$reader" && readers=$((readers + 1))
    wait $pid
  elif kill -9 $pid 2>/dev/null; then
    programs=$((programs + 1))
    wait $pid 2>/dev/null
  else
    ended=$((ended + 1))
  fi
  cli "$work/killed" check >"$work/log" || { damaged=$((damaged + 1)); cat "$work/log"; }
  if [ "$(cli "$work/killed" list --json | grep -c '"ready": true')" = $# ]; then
    for id in $(cli "$work/killed" list | cut -d' ' -f1); do cli "$work/killed" delete "$id" >/dev/null; done
  fi
done
cli "$work/killed" import "$@" >"$work/log" 2>&1
completes=1
diff <(facts "$work/whole" | sort) <(facts "$work/killed" | sort) >"$work/diff" || { completes=0; cat "$work/diff"; }
sleep 1
left=$(pgrep -cx longleaf-pdf)
echo "$times rounds: program killed $programs times, a reader $readers times, ended before $ended times"
echo "library damaged: $damaged; import completes as undisturbed: $completes; readers left behind: $left"
[ "$damaged" = 0 ] && [ "$completes" = 1 ] && [ "$left" = 0 ]
