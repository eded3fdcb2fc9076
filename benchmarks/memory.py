"""Trains a script on a large text file and reports the peak resident memory and the speed.

python benchmarks/memory.py [--script sentences] [--megabytes 1000] [--steps 100]
"""

import argparse
import random
import resource
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


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--script", choices=("sentences", "chars", "words"), default="sentences")
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1000])
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    started, rows = time.monotonic(), []
    for megabytes in sorted(args.megabytes):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "large.txt"
            write_text(path, megabytes * 10**6)
            where = ["-D", path, "-T", folder, "--name", "large"]
            seconds = common.run_script(f"{args.script}.py", *where, "-e", 1, "--max-steps", args.steps, "-o", 0)
            history = (Path(folder) / args.script / "large" / "history.csv").read_text().splitlines()
            speed = float(dict(zip(history[0].split(","), history[-1].split(","), strict=True))["tokens_per_second"])
        # The peak of all children so far: the texts are sorted by size. ru_maxrss is in KiB on Linux.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        rows.append(
            {
                "text (MB)": megabytes,
                "steps": args.steps,
                "peak resident (GiB)": round(peak, 2),
                "tokens/s": f"{speed:,.0f}",
                "seconds": round(seconds),
            }
        )
    title = f"Memory: {args.script}.py on a large text file"
    common.append(title, common.table(rows), time.monotonic() - started)


if __name__ == "__main__":
    main()
