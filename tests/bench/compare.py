#!/usr/bin/env python3
"""Longleaf's engine and others side by side: the same model files, the same threads, alternating runs, medians.

    compare.py --ours build/cpu/bin/model_bench --peer "llama.cpp=/path/llama-bench -fa 1" [--peer …] \\
               [--threads 2] [--rounds 7] [--prefill 512] [--decode 64] MODEL.gguf …

A peer is a name and a llama-bench command line. Prints one Markdown row per model and figure: tokens per second of
each, and ours divided by each peer's.
"""
import argparse
import json
import pathlib
import re
import shlex
import statistics
import subprocess


def ours(program, model, args):
    command = [program, model, "--threads", str(args.threads), "--prefill", args.prefill, "--decode", str(args.decode),
               "--repeat", "1"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {f"{kind} {n}": float(rate) for kind, n, rate in re.findall(r"(prefill|decode) (\d+): ([\d.]+)", text)}


def peer(command, model, args):
    command = shlex.split(command) + ["-m", model, "-t", str(args.threads), "-p", args.prefill, "-n", str(args.decode),
                                      "-r", "1", "-o", "json"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = json.loads(text[text.index("["):text.rindex("]") + 1])
    return {f"prefill {row['n_prompt']}" if row["n_prompt"] else f"decode {row['n_gen']}": row["avg_ts"]
            for row in rows}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="+")
    parser.add_argument("--ours", required=True)
    parser.add_argument("--peer", action="append", default=[])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--prefill", default="512")
    parser.add_argument("--decode", type=int, default=64)
    args = parser.parse_args()
    peers = dict(text.split("=", 1) for text in args.peer)
    print("| model | figure | Longleaf |", " | ".join(f"{name} | ratio" for name in peers), "|")
    print("|---|---|---|" + "---|---|" * len(peers))
    for model in args.models:
        runs = {}
        for _ in range(args.rounds):
            for name in ["", *peers]:
                figures = ours(args.ours, model, args) if not name else peer(peers[name], model, args)
                for figure, rate in figures.items():
                    runs.setdefault(figure, {}).setdefault(name, []).append(rate)
        for figure, rates in runs.items():
            mine = statistics.median(rates[""])
            cells = [f"{statistics.median(rates[p]):.1f} | {mine / statistics.median(rates[p]):.2f}" for p in peers]
            print(f"| {pathlib.Path(model).stem} | {figure} | {mine:.1f} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
