#!/bin/sh
# What every kind of evidence is worth with the reader: held-out manuals of 10, 100 and 1,000 parts, three seeds each.
#   tests/reader/measure.sh BUILD READER.gguf ADAPTER.gguf FOLDER [QUESTIONS of a seed; 500]
# Leaves one JSON file per row in FOLDER.
set -eu
build=$1 reader=$2 adapter=$3 folder=$4 most=${5:-500}
for parts in 10 100 1000; do
  manuals=$((250 / parts)) && [ $manuals -gt 0 ] || manuals=1
  for seed in 1 2 3; do
    "$build/tests/write_manuals" "$folder/$parts" $parts $manuals $((500 / manuals)) $seed
  done
  questions="$folder/$parts/questions-1.jsonl,$folder/$parts/questions-2.jsonl,$folder/$parts/questions-3.jsonl"
  measure() {  # NAME OPTION…
    name=$1 && shift
    "$build/bin/longleaf-cli" --library "$folder/library" --device cpu --json --model "$reader" --adapter "$adapter" \
      eval qa --questions "$questions" --documents "$folder/$parts" --most "$most" --max-tokens 48 \
      --evidence-tokens 1000 "$@" > "$folder/$parts-$name.json"
  }
  for evidence in exact leaf_kv memory_tokens memory_tokens+leaf_kv quote; do measure $evidence --evidence $evidence; done
  for routing in gold random; do measure "memory_tokens-$routing" --evidence memory_tokens --memory-routing $routing; done
  for k in 1 2 8 16; do measure "memory_tokens-k$k" --evidence memory_tokens --children $k; done
done
