"""Kills a training run at random moments, resumes it each time, and compares its weights with a run that never stopped.

python benchmarks/resume.py [--runs 5] [--kills 3]
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
from scriptorium.training import storage

import numpy as np

SMALL = ["-I", 400_000, "-e", 3, "-E", 32, "-L", 48, "-H", 8, "-w", 2000, "-b", 32, "-o", 0, "--save-minutes", 0.02]


def train(folder, name, *argv, wait=None):
    """Runs sentences.py, and kills it with SIGKILL after `wait` seconds. Returns whether it finished."""
    command = [sys.executable, "sentences.py", "-T", str(folder), *map(str, argv), *(["--name", name] if name else [])]
    with subprocess.Popen(command, cwd=common.ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            status = process.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
            return False
    if status:
        raise SystemExit(f"{' '.join(command)} ended with status {status}")
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="number of runs to kill")
    parser.add_argument("--kills", type=int, default=3, help="number of times to kill each")
    args = parser.parse_args()
    started, chance, rows = time.monotonic(), random.Random(1), []
    folder = Path(tempfile.mkdtemp())
    whole = time.monotonic()
    train(folder, "whole", *SMALL)
    whole = time.monotonic() - whole
    expected = storage.load_arrays(folder / "sentences" / "whole" / "last.safetensors")[1]
    for number in range(args.runs):
        name, kills, ended = f"killed-{number}", [], False
        while not ended:
            exists = (folder / "sentences" / name / "last.safetensors").exists()
            if not exists:
                shutil.rmtree(folder / "sentences" / name, ignore_errors=True)
            wait = chance.uniform(0.25, 0.75) * whole if len(kills) < args.kills else None
            ended = train(folder, None if exists else name, *(["--resume", name] if exists else SMALL), wait=wait)
            kills += [] if ended else [round(wait, 1)]
        got = storage.load_arrays(folder / "sentences" / name / "last.safetensors")[1]
        equal = got.keys() == expected.keys() and all(np.array_equal(got[key], expected[key]) for key in expected)
        rows.append({"run": name, "killed after (s)": " ".join(map(str, kills)) or "-", "bitwise equal": equal})
    shutil.rmtree(folder)
    common.append(
        "Resume: runs killed with SIGKILL against one never stopped", common.table(rows), time.monotonic() - started
    )
    sys.exit(not all(row["bitwise equal"] for row in rows))


if __name__ == "__main__":
    main()
