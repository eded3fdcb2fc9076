"""Damages the files of tiny trained runs in absurd ways and opens them, for fuzz.py: no damage may pass unnoticed."""

import contextlib
import importlib
import io
import json
import math
import os
import shutil
from unittest import mock

import common  # noqa: F401 (says where the package is)
import scriptorium
from scriptorium import UserError
from scriptorium.training import fit, storage, trained
from scriptorium.training import run as runs

import fuzz
import fuzz_flags
import numpy as np
from safetensors import numpy as safe

import homotopy

WHOLE = 0.02  # share of the inputs that use a run to the end
VALUES = [
    None, True, False, 0, 1, 2, 3, -1, 7, 100, 4096, 5000, 10**6, 2**31 - 1, 2**31, 2**63, 2**70, 10**400, 0.5,
    -0.5, 1e-300, 1e308, math.nan, math.inf, -math.inf, "", "a", "é", "1", "lstm", "none", "float8", "\ud83d",
    "../..", "/etc/passwd", "/dev/zero", "x" * 5000, [], [1], [None], ["a", "b"], [[]], {}, {"a": 1},
    {"label_1": ["a"]}, {"label_1": "a"}, {"label_1": [1, 2]},
]  # fmt: skip
ACTIONS = ("sample", "eval", "resume", "homotopy", "load")


class Runs:
    """Makes one tiny run of each script, and draws damage to copies of them.

    Args:
        folder: Path of a folder to make.
    """

    def __init__(self, folder):
        flags = fuzz_flags.Flags(folder / "texts")
        self.texts, self.runs = flags.folder / "texts.txt", {}
        for script in trained.SCRIPTS:
            argv = [
                "-T",
                str(folder),
                "-D",
                str(self.texts),
                "--name",
                script,
                "-e",
                "2",
                "--max-steps",
                "20",
                "-o",
                "0",
            ]
            argv += ["--dtype", "float32", *fuzz_flags.TINY[script].split()]
            made = fuzz.run_main(importlib.import_module(script), argv)
            if made is not True:
                raise RuntimeError(f"{script}.py cannot be trained: {made}")
            self.runs[script] = folder / script / script

    def input(self, random, folder):
        """Copies a run into a folder and damages it; returns a description, and a function that opens it."""
        script = random.choice(list(self.runs))
        run = folder / "runs" / script / "a"
        run.parent.mkdir(parents=True)
        shutil.copytree(self.runs[script], run)
        kinds = [self.config, self.config, self.vocabulary, self.weights, self.weights, self.kind_of_file]
        damages = [random.choice(kinds) for _ in range(random.choice([1, 1, 1, 2]))]
        about = [damage(random, run) for damage in damages]
        action = random.choice([a for a in ACTIONS if script in trained.VAES or a != "homotopy"])
        whole = random.random() < WHOLE
        told = f"{script}, {action}{', to the end' * whole}: {'; '.join(about)}"
        return told, lambda: self.check(script, run, action, whole)

    # Damage -----------------------------------------------------------------------------------------------------------

    def config(self, draw, run):
        """Changes values of config.json, or its text."""
        path = run / "config.json"
        try:
            config = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return "nothing more"
        kind = draw.random()
        if kind < 0.1:
            return self.bytes_of(draw, path)
        inner = config
        if kind < 0.75 and isinstance(config.get("options"), dict):
            inner = config["options"]
        elif kind < 0.82 and isinstance(config.get("corpus"), dict):
            inner = config["corpus"]
        if kind > 0.95:
            text = '{"format": 1, "options": ' + draw.choice(["[" * 200_000, '{"a":' * 100_000, "9" * 10_000, "1e9999"])
            path.write_text(text + draw.choice(["", "}"]), "utf-8")
            return "config.json is deep or long"
        name = draw.choice(sorted(inner) or ["a"])
        how = draw.random()
        if how < 0.1:
            inner.pop(name, None)
            change = f"{name} is missing"
        elif how < 0.15:
            inner[draw.choice(["extra", "", "é", "given", "parser", "argv", "__class__"])] = draw.choice(VALUES)
            change = "an extra key"
        else:
            old = inner.get(name)
            near = (
                [old + 1, old - 1, 2 * old, -old, float(old), str(old), 1000 * old] if type(old) in (int, float) else []
            )
            inner[name] = draw.choice([*VALUES, *near, *near, *near])
            change = f"{name} = {str(inner[name])[:50]!r}"
        path.write_text(json.dumps(config), "utf-8", "surrogatepass")
        return f"config.json: {change}"

    def vocabulary(self, draw, run):
        """Changes vocab.json."""
        path = run / "vocab.json"
        if draw.random() < 0.2:
            return self.bytes_of(draw, path)
        try:
            values = json.loads(path.read_text("utf-8"))
            tokens = list(values["tokens"])
        except (OSError, ValueError, KeyError, TypeError):
            return "nothing more"
        kind = draw.randrange(8)
        if kind == 0 and tokens:
            tokens[draw.randrange(len(tokens))] = draw.choice([*VALUES, *tokens])
        elif kind == 1:
            tokens += draw.choice([["new"], ["a", "a"], [None], ["\ud800"], ["ab"], [str(i) for i in range(50_000)]])
        elif kind == 2:
            tokens = draw.choice([tokens[:-1], [], tokens[1:], tokens[::-1], "abc", {"a": 1}, None, 3])
        elif kind == 3:
            values.pop(draw.choice(sorted(values)))
            path.write_text(json.dumps(values), "utf-8", "surrogatepass")
            return "vocab.json lacks a key"
        else:
            name = draw.choice(["level", "language", "special", "merges", "tokens"])
            value = draw.choice([*VALUES, "char", "byte", "bpe", "word", "zh", "ja", [["a", "b"]], ["<pad>"] * 4])
            path.write_text(json.dumps(values | {name: value}), "utf-8", "surrogatepass")
            return f"vocab.json: {name} = {str(value)[:50]!r}"
        path.write_text(json.dumps(values | {"tokens": tokens}), "utf-8", "surrogatepass")
        return f"vocab.json: other tokens ({kind})"

    def weights(self, draw, run):
        """Changes a safetensors file."""
        path = run / draw.choice([runs.BEST, runs.BEST, runs.LAST, runs.PREVIOUS])
        if not path.is_file() or draw.random() < 0.6:
            return self.bytes_of(draw, path)
        facts, arrays = storage.load_arrays(path) if _intact(path) else ({}, {})
        name = draw.choice(sorted(arrays) or ["a"])
        kind, array = draw.randrange(9), arrays.get(name, np.zeros(3, "float32"))
        if kind == 0:
            arrays[name] = draw.choice([array[:-1] if array.ndim else array[None], array[None], array.T[..., None]])
        elif kind == 1:
            arrays.pop(name, None)
        elif kind == 2:
            arrays[draw.choice(["new", "", "model/new", "é", name + "/x"])] = array
        elif kind == 3:
            kinds = ["float16", "float64", "int32", "bool", "uint8"]
            arrays[name] = array.astype(draw.choice(kinds))
        elif kind == 4:
            facts = draw.choice([{}, {**facts, "epoch": draw.choice(VALUES)}, {**facts, "step": draw.choice(VALUES)}])
        elif kind == 5:
            facts = {**facts, draw.choice(sorted(facts) or ["a"]): draw.choice(VALUES)}
        elif kind == 6:
            path.write_bytes(safe.save(arrays, {"facts": json.dumps(facts)}))
            return f"{path.name} has no checksum"
        elif kind == 7:
            arrays[name] = np.full_like(array, draw.choice([np.nan, np.inf]) if array.dtype.kind == "f" else 0)
        else:
            header = draw.choice(
                [b"{}", b"", b"[" * 100_000, b'{"a":{"dtype":"F32","shape":[9999999999],"data_offsets":[0,4]}}']
            )
            size = draw.choice([len(header), 2**63, 0, 2**64 - 1])
            path.write_bytes(size.to_bytes(8, "little") + header + b"\0" * 4)
            return f"{path.name}: wrong header"
        try:
            storage.save_arrays(path, facts, arrays)
        except (ValueError, TypeError, storage.safetensors.SafetensorError):
            return "nothing more"
        return f"{path.name}: kind {kind}, {name}"

    def bytes_of(self, draw, path):
        """Changes the bytes of a file."""
        if not path.is_file():
            return "nothing more"
        data, kind = bytearray(path.read_bytes()), draw.random()
        if not data:
            return "nothing more"
        place = draw.randrange(len(data)) if draw.random() < 0.6 else draw.randrange(min(len(data), 3000))
        if kind < 0.6:
            data[place] ^= 1 << draw.randrange(8)
            change = f"bit of byte {place}"
        elif kind < 0.8:
            del data[place:]
            change = f"cut after {place} bytes"
        elif kind < 0.9:
            data += draw.choice([b"\0", b"a", b"\0" * 1000])
            change = "longer"
        else:
            del data[place]
            change = f"without byte {place}"
        path.write_bytes(data)
        return f"{path.name}: {change}"

    def kind_of_file(self, draw, run):
        """Replaces a file by something else, or adds something."""
        names = ["config.json", "vocab.json", runs.BEST, runs.LAST, runs.PREVIOUS]
        names += ["history.csv", "eval.json", "samples.txt", "lock", "train", "new"]
        path, kind = (
            run / draw.choice(names),
            draw.choice(["missing", "folder", "pipe", "link", "loop", "device", "empty"]),
        )
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "link":
            path.symlink_to(self.runs[run.parent.name] / path.name)
        elif kind in ("loop", "device"):
            path.symlink_to(path.name if kind == "loop" else "/dev/zero")
        elif kind == "empty":
            path.write_bytes(b"")
        return f"{path.name}: {kind}"

    # Checks -----------------------------------------------------------------------------------------------------------

    def check(self, script, run, action, whole):
        """Opens a run; returns whether it was accepted, or what is wrong."""
        patches = [] if whole else [
            mock.patch.object(runs.Run, "load_model", _then_stop(runs.Run.load_model)),
            mock.patch.object(fit, "_fit_epoch", mock.Mock(side_effect=fuzz.Opened)),
        ]  # fmt: skip
        before = {name: _intact(run / name) for name in (runs.BEST, runs.LAST, runs.PREVIOUS)}
        with fuzz.all_of(patches):
            if action == "load":
                try:
                    with contextlib.redirect_stderr(io.StringIO()):
                        scriptorium.load(run)
                except fuzz.Opened:
                    found = True
                except UserError as error:
                    return error
                else:
                    found = True
            elif action == "homotopy":
                found = fuzz.run_main(homotopy, ["the cat", "the dog", "--run", str(run), "-T", str(run.parents[1])])
            else:
                argv = [f"--{action}", str(run), "-T", str(run.parents[1])]
                argv += ["--max-steps", "1000"] if action == "resume" else []
                found = fuzz.run_main(importlib.import_module(script), argv, "the cat\n")
        if found is True and action != "resume" and before[runs.BEST] is False:
            return "damaged weights were loaded"
        if (
            found is True
            and action == "resume"
            and False in (before[runs.LAST], before[runs.PREVIOUS] or before[runs.LAST])
        ):
            return True if before[runs.PREVIOUS] else "training continues from a damaged save"
        return found


def _intact(path):
    """Whether a file of arrays has its checksum; None if it is missing."""
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        return False
    try:
        storage.load_arrays(path)
        return True
    except FileNotFoundError:
        return None
    except (UserError, OSError):
        return False


def _then_stop(method):
    """Returns a method that does the same, and then raises `Opened`."""

    def wrapped(self, *args, **settings):
        method(self, *args, **settings)
        raise fuzz.Opened

    return wrapped
