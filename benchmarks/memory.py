"""Trains a script on a large text file and reports the peak resident memory and the speed.

python benchmarks/memory.py [--script sentences] [--megabytes 1000] [--steps 100] [--prepared]
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common


def write_text(path, size):
    """Writes about `size` bytes of distinct lines: words drawn by Zipf's law, 5 to 25 per line."""
    chance = random.Random(1)
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u", "ai", "or") for c in "lmnrstxyz "]
    words = [word.strip() for word in words] * 8
    words = [f"{word}{'' if i < 756 else i // 756}" for i, word in enumerate(words)]
    weights = [1 / (rank + 10) for rank in range(len(words))]
    written = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < size:
            drawn = chance.choices(words, weights, k=150_000)
            lines, start = [], 0
            while start < len(drawn):
                length = chance.randint(5, 25)
                lines.append(" ".join(drawn[start : start + length]) + " .\n")
                start += length
            written += file.write("".join(lines))


def measured(script, folder, name, argv):
    """Trains a script; returns its peak memory, its speed and the seconds that it took, as a row of a table."""
    started = time.monotonic()
    command = [sys.executable, common.ROOT / f"{script}.py", *argv, "--name", name]
    process = subprocess.Popen(list(map(str, command)), cwd=common.ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{script}.py failed")
    history = (folder / script / name / "history.csv").read_text().splitlines()
    last = dict(zip(history[0].split(","), history[-1].split(","), strict=True))
    return {
        "peak resident (GiB)": round(usage.ru_maxrss / 2**20, 2),  # ru_maxrss is in KiB on Linux
        "tokens/s": f"{float(last['tokens_per_second']):,.0f}",
        "seconds": round(time.monotonic() - started),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--script", choices=("sentences", "chars", "words"), default="sentences")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1000])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--prepared", action="store_true", help="start twice, the second time from the prepared text")
    args = parser.parse_args()
    started, rows = time.monotonic(), []
    for megabytes in args.megabytes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.txt"
            write_text(path, megabytes * 10**6)
            given = ["-D", path, "-T", folder, "-e", 1, "--max-steps", args.steps, "-o", 0]
            ready = ["--prepared", Path(folder) / "ready"] if args.prepared else []
            for start in ("first", "prepared")[: 1 + args.prepared]:
                about = {"text (MB)": megabytes, "start": start, "steps": args.steps}
                rows.append(about | measured(args.script, Path(folder), start, [*given, *ready]))
    title = f"Memory: {args.script}.py on a large text file"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
