"""Gives the scripts thousands of absurd inputs: each is read as meant, or refused in one line.

    python benchmarks/fuzz.py --inputs 5000 --seed 1 [--kinds corpora,runs,flags,api] [--out FOLDER]
    python benchmarks/fuzz.py --seed 1 --only corpora:17         one input again, which is kept

Four kinds of input, each in a file of its own: text files, tables and folders (fuzz_corpora.py), damaged runs
(fuzz_runs.py), command lines (fuzz_flags.py), and requests to demo.py (fuzz_api.py). An input depends on the seed and
its number alone. It fails if it ends in a traceback, is refused in anything but one line on stderr with exit status 2,
takes more than TIMEOUT seconds or LEAP bytes of memory, or if a part of it is lost silently. The exit status is 1 if an
input failed. Inputs that fail are kept in a folder; a crash of the interpreter leaves its input there too.
"""

import argparse
import contextlib
import faulthandler
import io
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from unittest import mock

import common  # noqa: F401 (says where the package is)
from scriptorium import UserError
from scriptorium.command_line import command

import fuzz_api

TIMEOUT = 300  # seconds
MOST_MEMORY = 4 * 2**30  # bytes of addresses that all inputs together may add to the process
LEAP = 2**29  # bytes of memory that one input may add to the highest use so far
# What may be said before an error: which run was chosen, and how a text was read.
NOTES = re.compile(
    r"There is no run of your own in |seed \d+$|not in the vocabulary, read as <unk>: |.* was trained for \d+ of "
)
SHARES = {"corpora": 0.6, "flags": 0.27, "runs": 0.03, "api": 0.1}  # of the inputs


class Hang(BaseException):
    """An input takes too long."""


class Opened(BaseException):
    """Raised in place of work that takes long, once an input has passed all checks."""


def run_main(module, argv, text="", main=None):
    """Runs a script in this process.

    Args:
        module: of the script.
        argv: list of str.
        text: standard input.
        main: in place of that of the module.

    Returns:
        True if the command line was accepted, the `UserError` it was refused with, or a str that says what is wrong.
    """
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for name in ("stdin", "stdout", "stderr")}
    streams["stdin"].write(text)
    streams["stdin"].seek(0)
    status, program = 0, f"{module.__name__}.py"
    with contextlib.ExitStack() as replaced:
        for name, stream in streams.items():
            replaced.enter_context(mock.patch.object(sys, name, stream))
        replaced.enter_context(mock.patch.object(sys, "argv", [program, *argv]))
        try:
            command(main or module.main, module.parse_args)
        except SystemExit as stopped:
            status = stopped.code or 0
        except Opened:
            pass
    streams["stderr"].seek(0)
    told = streams["stderr"].read()
    if not status:
        return True
    *notes, last = told.splitlines() or [""]
    is_one_line = last.startswith(f"{program}: error: ") and told.endswith("\n") and all(map(NOTES.match, notes))
    if status != 2 or not is_one_line:
        return f"exit status {status}, stderr: {told[:2000]!r}"
    if "memory ran out" in told:
        return told
    return UserError(told)


def outcome(check):
    """Runs the check of an input.

    Returns:
        "accepted", "refused" or "failed", and what went wrong or was said.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.alarm(TIMEOUT)
    faulthandler.dump_traceback_later(3 * TIMEOUT, exit=True)
    try:
        found = check()
    except Hang:
        return "failed", f"no end after {TIMEOUT} s\n{traceback.format_exc()}"
    except Exception:
        return "failed", traceback.format_exc()
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    added = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if added > LEAP:
        return "failed", f"it took {added / 2**20:.0f} MiB of memory"
    if isinstance(found, UserError):
        return "refused", str(found)
    return ("accepted", "") if found is True else ("failed", found)


@contextlib.contextmanager
def all_of(contexts):
    """Enters several contexts."""
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


class Campaign:
    """Counts what became of the inputs of one kind.

    Args:
        kind: name of the kind.
        maker: has `input(random, folder)`, which returns a description and a function that checks the input.
        seed: int.
        out: Path of the folder for inputs that failed.
    """

    def __init__(self, kind, maker, seed, out):
        self.kind, self.maker, self.seed, self.out = kind, maker, seed, out
        self.counts = {"accepted": 0, "refused": 0, "failed": 0}

    def one(self, number, keep=False):
        """Makes and checks the input of a number."""
        folder = self.out / f"{self.kind}-{self.seed}-{number}"
        folder.mkdir(parents=True)
        about, check = self.maker.input(random.Random(f"{self.kind} {self.seed} {number}"), folder)
        result, told = outcome(check)
        self.counts[result] += 1
        if result == "failed" or keep:
            text = f"{about}\n\n{result} {told}\n"
            (folder / "what.txt").write_text(text, "utf-8", "backslashreplace")
        else:
            shutil.rmtree(folder)
        return result, about, told

    def all(self, count):
        """Makes and checks inputs, and prints those that fail."""
        for number in range(count):
            result, about, told = self.one(number)
            if result == "failed":
                print(f"{self.kind} {number}: {about}\n{told}", file=sys.stderr, flush=True)

    def requests(self, count):
        """Sends requests to demo.py, which runs in a process of its own."""
        statuses, wrong, _ = fuzz_api.measure(count, self.seed)
        self.counts["accepted"], self.counts["failed"] = statuses[200], len(wrong)
        self.counts["refused"] = statuses.total() - statuses[200] - len(wrong)
        for number, request in enumerate(wrong):
            (self.out / f"api-{self.seed}-{number}").write_bytes(request)
            print(f"api: {request[:2000]!r}", file=sys.stderr, flush=True)

    def row(self, seconds):
        """Returns a row of the table."""
        cells = (self.kind, sum(self.counts.values()), *self.counts.values(), f"{seconds:.0f}")
        return f"| {' | '.join(map(str, cells))} |"


def maker_of(kind, scratch):
    """Returns what makes the inputs of a kind; Keras is loaded only for those that need it."""
    if kind == "corpora":
        import fuzz_corpora

        return fuzz_corpora.Corpora()
    if kind == "flags":
        import fuzz_flags

        return fuzz_flags.Flags(scratch / "flags")
    import fuzz_runs

    return fuzz_runs.Runs(scratch / "runs")


def limit_memory():
    """Limits the addresses of this process, so that a model too large is an error and not the end of the machine."""
    used = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, resource.RLIM_INFINITY))


def hang(*_):
    raise Hang


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--inputs", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(SHARES))
    parser.add_argument("--only", metavar="KIND:NUMBER")
    parser.add_argument("--out", type=Path, help="folder for inputs that fail; default: a new one")
    return parser.parse_args()


def main():
    args = parse_args()
    signal.signal(signal.SIGALRM, hang)
    kinds = [args.only.partition(":")[0]] if args.only else args.kinds.split(",")
    out = args.out or Path(tempfile.mkdtemp(prefix="fuzz-"))
    out.mkdir(parents=True, exist_ok=True)
    rows, failed = [], 0
    for kind in kinds:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            campaign = Campaign(kind, None if kind == "api" else maker_of(kind, Path(scratch)), args.seed, out)
            if kind in ("flags", "runs"):
                limit_memory()
            count = round(args.inputs * SHARES[kind] / sum(SHARES[kind] for kind in kinds))
            if args.only:
                print(*campaign.one(int(args.only.partition(":")[2]), keep=True), sep="\n")
            elif kind == "api":
                campaign.requests(count)
            else:
                campaign.all(count)
        rows.append(campaign.row(time.monotonic() - began))
        failed += campaign.counts["failed"]
    print(
        "| kind | inputs | accepted | refused in one line | failed | seconds |",
        "|---|---|---|---|---|---|",
        *rows,
        sep="\n",
    )
    print(f"inputs that failed are in {out}" if failed else "no input failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
