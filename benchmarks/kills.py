"""Kills training runs at every kind of point, resumes them, and compares how they end with a run that never stopped.

    python benchmarks/kills.py                                   everything: about 20 minutes on two cores
    python benchmarks/kills.py --scripts chars,words --random 3
    python benchmarks/kills.py --scripts text_gan --fresh 50     50 straight runs and 50 killed ones, in new processes

Points are training steps, validation, and the stages of each write: before the file is opened, within the write,
before fsync, before the rename, and after it. At each point a run is killed by SIGKILL, at some also by SIGINT and
SIGTERM, and at each write the disk fills up. A chain kills one run several times, each time at another point, before it
lets the run end. Equal means: the same bits in all arrays of the weights and the training state, and the same scores in
history.csv and eval.json. The table is written to --out after each chain.

Processes are forked from this one after its imports, so that none has to start TensorFlow; each initializes it for
itself. "Within the write" and the full disk are limits on the size of a file that the system enforces.
"""

import argparse
import collections
import csv
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import common
from scriptorium.command_line import command
from scriptorium.text_gan import evaluation
from scriptorium.training import callbacks, run, storage
from scriptorium.training.history import History

import chars
import names_vae
import sentences
import text_gan
import transformer_vae
import words

SCRIPTS = {m.SCRIPT: m for m in (chars, words, sentences, names_vae, transformer_vae, text_gan)}
EPOCHS = 6
GAN = "-m 8 -E 8 -L 8 --num-heads 2 --critic-embedding-dim 4 --B_gen 1 --O_gen 1 --M_gen 1 --B_disc 1 --O_disc 1"
GAN += " --level space --critic-warmup 2 -b 40 -o 0"
CASES = {  # name -> script, options; the first case of a script gets every point, the others every third
    "chars": ("chars", "-L 8 -E 4 -b 16 --window 12 -g 5 -o 1"),
    "chars --windows": ("chars", "-L 8 -E 4 -b 16 --window 30 --windows -o 0"),
    "words": ("words", "-L 8 -E 8 -b 30 -o 0"),
    "words --stream --ema": ("words", "-L 8 -E 8 -b 10 --stream --window 20 --ema 0.9 -o 0"),
    "words --embeddings": ("words", "-L 8 -E 8 -b 30 -o 0 --embeddings {folder}/vectors.txt"),
    "sentences": ("sentences", "-L 8 -E 8 -H 4 --encoder-units 6 -b 40 -g 8 -o 0"),
    "sentences --aggressive-encoder": (
        "sentences", "-L 8 -E 8 -H 4 --encoder-units 6 -b 40 -g 8 -o 0 --aggressive-encoder",
    ),
    "sentences --pretrain-epochs": (
        "sentences", "-L 8 -E 8 -H 4 --encoder-units 6 -b 40 -g 8 -o 0 --pretrain-epochs 2",
    ),
    "names_vae": ("names_vae", "-L 8 --num-heads 2 --num-layers 1 -H 4 --prior-units 8 -m 30 -b 40 -o 0"),
    "transformer_vae": (
        "transformer_vae",
        "-L 8 --num-heads 2 --decoder-layers 1 -H 4 --latent-tokens 3 -m 12 --level space -b 40 -o 0",
    ),
    "text_gan": ("text_gan", f"{GAN} --pretrain-epochs 3"),
    "text_gan --mode diffusion": ("text_gan", f"{GAN} --pretrain-epochs 2 --mode diffusion"),
}  # fmt: skip
ALL_STAGES = ("last.safetensors", "best.safetensors")  # the other files are written by the same function
LIMIT = 100  # bytes of a file that fit on a full disk, and that are written before a kill within a write


class Points:
    """Counts the points that a training process passes, and acts at one of them.

    Args:
        root: folder of the runs; files outside do not count.
        plan: None, or (point, action): what to do when the point is passed for the first time. The actions are "kill",
            "within" (kill within the write that begins), "full" (the disk is full from this write on), and names of
            signals.
    """

    def __init__(self, root, plan):
        self.root, self.plan, self.passed, self.renamed = str(root), plan, [], None
        sys.addaudithook(self.watch)
        self.before(callbacks.Checkpoint, "on_train_batch_end", "step")
        self.before(callbacks.Progress, "on_test_batch_end", "validation")
        self.before(run.Run, "load_best", "end of training")

    def before(self, owner, name, point):
        real = getattr(owner, name)

        def passing(*args, **kwargs):
            self.passing(point)
            return real(*args, **kwargs)

        setattr(owner, name, passing)

    def watch(self, event, args):
        if event not in ("open", "os.rename", "os.mkdir") or isinstance(args[0], (int, bytes)):
            return
        path = str(args[1] if event == "os.rename" else args[0])
        if not path.startswith(self.root):
            return
        name = Path(path).name
        if event == "os.mkdir":
            self.passing("new folder: before it is made")
        elif event == "os.rename" and Path(args[0]).name.startswith(".new-"):
            self.passing("new folder: before the rename")
        elif event == "os.rename":
            self.renamed = name
            self.passing(f"{name}: before the rename")
        elif args[2] & (os.O_WRONLY | os.O_RDWR):
            name = name.partition("-")[2].partition("-")[2] if name.startswith(storage.TEMPORARY) else name
            name = "TensorBoard" if ".tfevents." in name else name
            if name != "lock":
                self.passing(f"{name}: before the {'write' if args[2] & (os.O_CREAT | os.O_TRUNC) else 'fsync'}")
        elif self.renamed and Path(path).is_dir():
            name, self.renamed = self.renamed, None
            self.passing(f"{name}: after the rename")

    def passing(self, point):
        self.passed.append(point)
        if not self.plan or self.plan[0] != point:
            return
        action, self.plan = self.plan[1], None
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action in ("within", "full"):
            if action == "within":
                signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
        else:
            os.kill(os.getpid(), getattr(signal, action))


def train(case, folder, name, resume, plan=None):
    """Runs a script in this process, which ends with it; the points passed are written to a file."""
    script, options = CASES[case]
    argv = f"--resume {name}" if resume else f"-D {folder}/text.txt -e {EPOCHS} --name {name} {options}"
    argv = [*argv.format(folder=folder).split(), "-T", str(folder / name), "--save-minutes", "0.001"]
    argv += ["--dtype", "float32"]
    sys.argv = [f"{script}.py", *argv]
    evaluation.VALIDATION_SAMPLES, evaluate = 60, evaluation.evaluate
    evaluation.evaluate = lambda *args: evaluate(*args[:4], 60, args[5])
    if case != "chars":
        History.draw = lambda self: None  # it takes longer than all else
    points, status = Points(folder / name, plan), 0
    try:
        command(SCRIPTS[script].main, SCRIPTS[script].parse_args)
    except SystemExit as stopped:
        status = stopped.code or 0
    except BaseException:
        traceback.print_exc()
        status = 99
    if not plan:
        (folder / f"{name}.points").write_text(json.dumps(points.passed))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def forked(case, folder, name, resume, plan=None, wait=None):
    """Calls `train` in a child process and kills it after `wait` seconds; returns its exit status and its stderr."""
    pipes = [os.pipe() for _ in range(2)]
    child = os.fork()
    if not child:
        for stream, (_, into) in enumerate(pipes, 1):
            os.dup2(into, stream)
        train(case, folder, name, resume, plan)
    for _, into in pipes:
        os.close(into)
    watcher = None
    if wait:
        watcher = os.fork()
        if not watcher:
            time.sleep(wait)
            os.kill(child, signal.SIGKILL)
            os._exit(0)
    said = {out: b"" for out, _ in pipes}
    _drain(said)
    _, status = os.waitpid(child, 0)
    if watcher:
        os.kill(watcher, signal.SIGKILL)
        os.waitpid(watcher, 0)
    return os.waitstatus_to_exitcode(status), said[pipes[1][0]].decode(errors="replace")


def _drain(said):
    """Reads pipes to their ends: a dict of file descriptor -> bytes, which are appended to; closes them."""
    import selectors

    with selectors.DefaultSelector() as selector:
        for out in said:
            selector.register(out, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 65536)
                said[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
                    os.close(key.fd)


def started_anew(case, folder, name, resume, plan=None, wait=None):
    """Like `forked`, but in a process that imports everything itself; without a plan."""
    argv = [sys.executable, __file__, "--train", case, str(folder), name, "resume" if resume else "new"]
    with subprocess.Popen(argv, cwd=common.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
        try:
            error = child.communicate(timeout=wait)[1]
        except subprocess.TimeoutExpired:
            child.kill()
            error = child.communicate()[1]
    return child.returncode, error


def directory_of(case, folder, name):
    return folder / name / CASES[case][0] / name


def differences(case, folder, name):
    """Returns what differs between a run and the one called "straight", a list of str."""
    ends = [end_of(directory_of(case, folder, name)) for name in ("straight", name)]
    return [key for key in sorted(ends[0].keys() | ends[1].keys()) if ends[0].get(key) != ends[1].get(key)]


def end_of(directory):
    """Returns everything that two equal runs share: a dict of name -> bytes or scores."""
    end = {}
    for file in (*ALL_STAGES, "likelihood.safetensors"):
        if (directory / file).exists():
            facts, arrays = storage.load_arrays(directory / file)
            end |= {f"{file} facts": facts} | {f"{file} {key}": array.tobytes() for key, array in arrays.items()}
    with open(directory / "history.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            end |= {f"history {row['epoch']} {key}": value for key, value in row.items() if key not in UNEQUAL}
    scores = json.loads((directory / "eval.json").read_text(encoding="utf-8"))
    return end | {f"eval.json {key}": value for key, value in scores.items() if key not in UNEQUAL}


UNEQUAL = ("seconds", "tokens_per_second")


def chain(case, folder, name, plans, run_one=forked):
    """Stops a run once for each plan, (point, action) or seconds, and then lets it end.

    Returns:
        list of (plan, outcome), where the outcome is "equal", "not reached" or what went wrong.
    """
    outcomes, ended = [], False
    for plan in [*plans, None]:
        resume = (directory_of(case, folder, name) / "config.json").exists()
        timed = isinstance(plan, float)
        settings = {"wait": plan} if timed else {"plan": plan}
        status, error = run_one(case, folder, name, resume, **settings)
        ended = status == 0
        expected = {"kill": -signal.SIGKILL, "within": -signal.SIGXFSZ, "full": 2, "SIGINT": 130, "SIGTERM": 143}
        wanted = -signal.SIGKILL if timed else expected[plan[1]] if plan else 0
        lines = error.splitlines()
        if status == 0 and plan:
            # A log or a picture is lost on a full disk, and training continues.
            outcome = "equal" if not timed and plan[1] == "full" else "not reached"
        elif status != wanted or "Traceback" in error or (status == 2 and len(lines) != 1):
            outcome = f"status {status}, not {wanted}: {lines[-1] if lines else 'nothing on stderr'}"
        else:
            outcome = "equal"
        if plan:
            outcomes.append((plan, outcome))
        elif outcome != "equal":
            outcomes.append((("end", "end"), outcome))
    if ended:
        found = differences(case, folder, name)
        if not plans:
            outcomes = [(("straight", "not killed"), "equal")]
        if found:
            outcomes = [
                (plan, outcome if outcome != "equal" else f"different: {found[:3]}") for plan, outcome in outcomes
            ]
    return outcomes


def plans_of(case, passed, thorough, chance):
    """Returns chains of plans for the points that a straight run has passed, a list of lists."""
    first, last = passed.index("step"), passed.index("end of training")
    spans = {"start": passed[:first], "middle": passed[first:last], "end": passed[last:]}
    plans, seen = {}, set()
    for span, points in spans.items():
        plans[span] = []
        for point in dict.fromkeys(points):
            file, _, stage = point.partition(": ")
            every = file in ALL_STAGES or not stage or span == "start"
            if point in seen or not (every or stage in ("before the write", "after the rename")):
                continue
            seen.add(point)
            plans[span].append((point, "kill"))
            if stage == "before the write":
                plans[span] += [(point, "within"), (point, "full")]
            if point in (
                "step",
                "validation",
                "last.safetensors: before the write",
                "best.safetensors: before the rename",
            ):
                plans[span] += [(point, "SIGINT"), (point, "SIGTERM")]
        chance.shuffle(plans[span])
        plans[span] = plans[span] if thorough else plans[span][::3]
    chains, length = [], EPOCHS - 2
    count = max(len(plans["start"]), len(plans["end"]), -(-len(plans["middle"]) // length))
    for i in range(count):
        middle = plans["middle"][i * length : (i + 1) * length]
        # A signal lets a save and its epoch end, a full disk may; so these come last.
        middle.sort(key=lambda plan: plan[1] == "full")
        chains.append([*plans["start"][i : i + 1], *middle, *plans["end"][i : i + 1]])
    return chains


def corpus(folder):
    """Writes the text of all runs, and word vectors for a few of its words."""
    chance, lines = random.Random(1), set()
    while len(lines) < 240:
        lines.add(" ".join(chance.choice(["a", "be", "cat", "do", "egg", "fa"]) for _ in range(chance.randint(3, 7))))
    (folder / "text.txt").write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")
    vectors = [" ".join([word, *(f"{chance.uniform(-1, 1):.3f}" for _ in range(8))]) for word in ("a", "cat", "egg")]
    (folder / "vectors.txt").write_text("\n".join(vectors) + "\n", encoding="utf-8")


class Table:
    """Tries by script, mode and kind of point; written to a file after each chain."""

    def __init__(self, path):
        self.path, self.counts, self.wrong = path, collections.defaultdict(collections.Counter), []
        self.missed = []  # (case, plan) of the points that a run did not reach before it ended

    def add(self, case, outcomes):
        script, _, mode = case.partition(" ")
        for plan, outcome in outcomes:
            if outcome == "not reached":
                self.missed.append((case, plan))
                continue
            kind = ("at random", "kill") if isinstance(plan, (float, str)) else plan
            counts = self.counts[script, mode, f"{kind[0]}, {kind[1]}"]
            kind = "equal" if outcome == "equal" else "different"
            counts["tries"] += 1
            counts[kind] += 1
            if kind == "different":
                self.wrong.append(f"{case}, {plan}: {outcome}")
        self.path.write_text(f"{self}\n", encoding="utf-8")

    def __str__(self):
        names = ("tries", "equal", "different")
        rows = [
            {"script": script, "mode": mode, "point": point} | {name: counts[name] for name in names}
            for (script, mode, point), counts in sorted(self.counts.items())
        ]
        return "\n".join([common.table(rows) if rows else "", "", *self.wrong])


def side_by_side(jobs, width, table):
    """Calls functions in processes of their own, `width` at a time; they return (case, outcomes)."""
    running = {}
    for job in [*jobs, None]:
        while running and (job is None or len(running) >= width):
            pid, status = os.waitpid(-1, 0)
            file, label = running.pop(pid)
            if status:
                table.add(label, [(("chain", "error"), f"status {status}")])
            else:
                table.add(*json.loads(Path(file.name).read_text(encoding="utf-8"), object_hook=None))
            file.close()
            print(f"{label}: done, {len(table.wrong)} different so far", flush=True)
        if job is None:
            continue
        file = tempfile.NamedTemporaryFile(suffix=".json")  # noqa: SIM115 (read when the job is done)
        pid = os.fork()
        if not pid:
            try:
                Path(file.name).write_text(json.dumps(job.call()), encoding="utf-8")
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        running[pid] = file, job.case


class Job:
    """A chain of kills, to be called in a process of its own."""

    def __init__(self, case, folder, name, plans, run_one=forked):
        self.case, self.folder, self.name, self.plans, self.run_one = case, folder, name, plans, run_one

    def call(self):
        outcomes = chain(self.case, self.folder, self.name, self.plans, self.run_one)
        if all(outcome in ("equal", "not reached") for _, outcome in outcomes):
            shutil.rmtree(self.folder / self.name, ignore_errors=True)
        return self.case, [(plan if isinstance(plan, float) else list(plan), outcome) for plan, outcome in outcomes]


class Straight(Job):
    """A run that is never stopped, to compare with."""

    def __init__(self, case, folder, run_one=forked):
        super().__init__(case, folder, "straight", [], run_one)

    def call(self):
        began = time.monotonic()
        status, error = self.run_one(self.case, self.folder, "straight", False)
        if status:
            raise SystemExit(f"{self.case}: status {status}: {error}")
        (self.folder / "seconds").write_text(str(time.monotonic() - began))
        return self.case, []


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--scripts", default=",".join(CASES), help="scripts or cases, separated by commas")
    parser.add_argument("--random", type=int, default=2, help="runs per case that are killed twice at random times")
    parser.add_argument("--fresh", type=int, default=0, help="instead: N straight and N killed runs per case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("kills.md"), help="file of the table")
    parser.add_argument("--train", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        case, folder, name, how = args.train
        train(case, Path(folder), name, how == "resume")
    wanted, began = args.scripts.split(","), time.monotonic()
    found = (case for name in wanted for case, (script, _) in CASES.items() if name in (script, case))
    cases = list(dict.fromkeys(found))
    base, table, chance = Path(tempfile.mkdtemp()), Table(args.out), random.Random(args.seed)
    folders = {case: base / case.replace(" ", "") for case in cases}
    for folder in folders.values():
        folder.mkdir()
        corpus(folder)
    one = started_anew if args.fresh else forked
    side_by_side([Straight(case, folder, one) for case, folder in folders.items()], args.processes, table)
    jobs = []
    for case, folder in folders.items():
        whole = float((folder / "seconds").read_text())
        if args.fresh:
            chains = [[]] * args.fresh + [[chance.uniform(0.3, 0.9) * whole] for _ in range(args.fresh)]
        else:
            passed = json.loads((folder / "straight.points").read_text())
            chains = plans_of(case, passed, case in SCRIPTS, chance)
            chains += [[chance.uniform(0.1, 0.7) * whole for _ in range(2)] for _ in range(args.random)]
        jobs += [Job(case, folder, f"run{i}", plans, one) for i, plans in enumerate(chains)]
    side_by_side(jobs, args.processes, table)
    # A run that ended before it reached a point is tried again with this point alone.
    again, table.missed = table.missed, []
    jobs = [Job(case, folders[case], f"again{i}", [plan], one) for i, (case, plan) in enumerate(again)]
    side_by_side(jobs, args.processes, table)
    table.wrong += [f"{case}, {plan}: never reached" for case, plan in table.missed if not isinstance(plan, float)]
    if not table.wrong:
        shutil.rmtree(base, ignore_errors=True)
    print(
        table,
        f"\n{time.monotonic() - began:.0f} s; table in {args.out}",
        "" if not table.wrong else f"; runs in {base}",
    )
    sys.exit(bool(table.wrong))


if __name__ == "__main__":
    main()
