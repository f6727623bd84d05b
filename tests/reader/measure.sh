#!/bin/sh
# What every kind of evidence is worth with the reader: held-out manuals of 10, 100 and 1,000 parts, three seeds each.
#   [FACTS=6 CHILDREN=0] tests/reader/measure.sh BUILD READER.gguf FOLDER QUESTIONS [ADAPTER.gguf [OTHER.gguf…]]
# About FACTS in a part; QUESTIONS of a seed, 500 at most; with an adapter, memory tokens too, of CHILDREN per node (0: as
# it was trained); and with others, theirs beside them: of files whose names begin with hmt, the recurrent memory. Prints
# a line per row, and leaves JSON in FOLDER.
set -eu
build=$1 reader=$2 folder=$3 most=$4 adapter=${5:-}
if [ $# -gt 4 ]; then shift 5; else shift 4; fi
measure() {  # NAME EVIDENCE OPTION…
  name=$1 evidence=$2 && shift 2
  "$build/bin/longleaf-cli" --library "$folder/library" --device cpu --json --model "$reader" \
    ${adapter:+--adapter "$adapter"} eval qa --questions "$questions" --documents "$folder/$parts" --most "$most" \
    --max-tokens 48 --evidence-tokens 1000 --evidence "$evidence" "$@" > "$folder/$parts-$name.json"
  echo "$parts parts, $name:" $(grep -E '"(exact_match|exact_match_spread|f1|gold_leaves_survive|ttft_ms|memory_tokens|bytes_kept)"' "$folder/$parts-$name.json")
}
for parts in 10 100 1000; do
  manuals=$((250 / parts))
  [ $manuals -gt 0 ] || manuals=1
  for seed in 1 2 3; do
    "$build/tests/write_manuals" "$folder/$parts" $parts $manuals $((500 / manuals)) $seed held-out "${FACTS:-6}"
  done
  questions="$folder/$parts/questions-1.jsonl,$folder/$parts/questions-2.jsonl,$folder/$parts/questions-3.jsonl"
  # First what encodes the documents: evidence of all kinds is then found the same way.
  for evidence in leaf_kv exact quote; do measure $evidence $evidence; done
  [ -n "$adapter" ] || continue
  k=${CHILDREN:-0}
  for evidence in memory_tokens memory_tokens+leaf_kv; do measure $evidence $evidence --children "$k"; done
  for routing in learned gold random; do
    measure memory_tokens-$routing memory_tokens --children "$k" --memory-routing $routing
  done
  for k in 1 2 4 8 16; do measure memory_tokens-k$k memory_tokens --children $k --memory-routing learned; done
  first=$adapter
  for adapter in "$@"; do
    title=$(basename "$adapter" .gguf)
    case $title in
      hmt*)
        measure "$title" hmt
        for routing in gold random; do measure "$title-$routing" hmt --memory-routing $routing; done ;;
      *) measure "memory_tokens-$title" memory_tokens --memory-routing learned ;;
    esac
  done
  adapter=$first
done
