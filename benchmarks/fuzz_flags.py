"""Absurd command lines for all scripts, made from the flags and types of their own parsers, for fuzz.py."""

import argparse
import contextlib
import importlib
import os
import shlex
from unittest import mock

import common

import fuzz

ANY_NUMBER = [
    "0", "1", "2", "3", "7", "-1", "0.5", "-0.5", "1e-9", "1e-40", "1e9", "1e308", "1e400", "nan", "inf", "-inf",
]  # fmt: skip
ANY_NUMBER += [
    str(2**31 - 1), str(2**31), str(2**63), "9" * 5000, "0x10", "1_0", "٣", " 5 ", "+4", "1.0", "-0", "00", "1e3",
]  # fmt: skip
ANY_TEXT = [
    "", " ", "-", "--", "a", "é", "\ud83d", "\udcff", "a\nb", "a\0b", "\u202e", "x" * 300, "x" * 5000, "%s", "{0}",
    "~", "*",
]  # fmt: skip
ANY_TEXT += [
    ".", "..", "/", "/dev/null", "/dev/zero", "/dev/stdin", "/proc/self/mem", "/proc/self/maps", "/root/x", "none",
]  # fmt: skip
ANY_TEXT += ["a/b", "a\\b", "$HOME", "`id`", "None", "[]", "true", "=", "a=b", "-5", "<unk>", "a,b,,c"]
FILES = ["texts.txt", "folder", "pipe", "loop", "empty", "latin", "zeros.npz", "broken.json", "one.txt", "numbers.txt"]
SMALL = ["0", "1", "2", "3", "4", "6", "8", "12", "0.1", "0.5", "0.9", "1.0", "17"]
TINY = {
    "chars": "-L 8 -E 6 -b 4 -m 10",
    "words": "-L 8 -E 6 -b 4",
    "sentences": "-L 8 -E 6 -H 3 -b 4",
    "names_vae": "-L 16 -H 8 --prior-units 16 --num-layers 1 -b 4 -m 40",
    "transformer_vae": "-L 12 --num-heads 3 -H 4 --decoder-layers 1 -b 4 -m 9 --level word --code point",
    "text_gan": "-m 9 -E 8 -L 8 -b 4 --B_gen 1 --O_gen 0 --M_gen 1 --mode mle",
    "homotopy": "",
    "demo": "",
}
WHOLE = 0.002  # share of the inputs that run a script to its end
HEAVY = ("aggressive", "lm_samples", "eval_samples", "epochs", "pretrain_epochs", "port", "host")


class Flags:
    """Draws command lines, and runs the scripts with them until a model would be built.

    Args:
        folder: Path of a folder to make, for the files that the command lines name.
    """

    def __init__(self, folder):
        self.folder, self.parsers = folder, {}
        folder.mkdir(parents=True)
        self.write_files()
        for name in TINY:
            module = importlib.import_module(name)
            # The scripts make their parsers inside a function: the first one that parses is theirs.
            remembering = mock.patch.object(argparse.ArgumentParser, "parse_known_args", self.remember(name))
            with remembering, contextlib.suppress(StopIteration):
                module.parse_args([])

    def remember(self, name):
        def parse_known_args(parser, *_):
            self.parsers[name] = parser
            raise StopIteration

        return parse_known_args

    def write_files(self):
        texts = sorted({f"the {a} saw the {b} ." for a in ("cat", "dog", "bird", "king") for b in "abcdefghijklmnop"})
        (self.folder / "texts.txt").write_text("\n".join(texts), "utf-8")
        (self.folder / "folder").mkdir()
        (self.folder / "folder" / "train.txt").write_text("\n".join(texts), "utf-8")
        (self.folder / "folder" / "test.txt").write_text("the cat saw .\n", "utf-8")
        os.mkfifo(self.folder / "pipe")
        (self.folder / "loop").symlink_to("loop")
        (self.folder / "empty").write_bytes(b"")
        (self.folder / "latin").write_bytes("é\n".encode("latin-1") * 99)
        (self.folder / "zeros.npz").write_bytes(b"PK\x03\x04" + b"\0" * 99)
        (self.folder / "broken.json").write_text('[{"text": "a"', "utf-8")
        (self.folder / "one.txt").write_text("a\n", "utf-8")
        (self.folder / "numbers.txt").write_text("".join(f"{word} 0.1 0.2\n" for word in ("the", "cat", ".")), "utf-8")

    def value(self, draw, action, careful):
        """Returns a value for a flag."""
        if careful:
            if action.choices:
                return str(draw.choice(list(action.choices)))
            return draw.choice(SMALL) if action.type else str(self.folder / draw.choice(FILES))
        kind = draw.random()
        if action.choices and kind < 0.6:
            return str(draw.choice(list(action.choices)))
        if action.type and kind < 0.8:
            return draw.choice(ANY_NUMBER + SMALL)
        return str(self.folder / draw.choice(FILES)) if kind < 0.9 else draw.choice(ANY_TEXT)

    def flag(self, draw, parser, careful):
        """Returns a flag with its value, list of str; with mistakes unless careful."""
        others = parser if careful or draw.random() < 0.9 else draw.choice(list(self.parsers.values()))
        action = draw.choice(
            [action for action in others._actions if not (careful and action.dest in (*HEAVY, "help"))]
        )
        names = list(action.option_strings) + [old for old, new in others.older.items() if new in action.option_strings]
        name = draw.choice(names) if names else ""
        if not careful and name and draw.random() < 0.08:
            place = draw.randrange(len(name))
            name = draw.choice(
                [name[:place] + name[place + 1 :], name[:place] + "x" + name[place:], name.upper(), name[:-1]]
            )
        if action.nargs == 0 and (careful or draw.random() < 0.9):
            return [name]
        value = self.value(draw, action, careful)
        if not careful and draw.random() < 0.05:
            return [name]
        return (
            [value]
            if not name
            else [f"{name}={value}"]
            if name.startswith("--") and draw.random() < 0.3
            else [name, value]
        )

    def input(self, random, folder):
        """Returns a command line, and a function that runs it."""
        script = random.choice(list(TINY))
        whole = random.random() < WHOLE and script not in ("homotopy", "demo")
        careful = whole or random.random() < 0.35
        argv = [*TINY[script].split(), "-T", str(folder / "runs")]
        if script not in ("homotopy", "demo"):
            argv += ["-D", str(self.folder / "texts.txt"), *(["--dry-run"] if whole or random.random() < 0.2 else [])]
        for _ in range(random.choice([1, 1, 2, 3, 5]) if not whole else random.choice([1, 2, 3])):
            argv += self.flag(random, self.parsers[script], careful)
        typed = random.choice(["", "the cat\n", "\n\n", "é\0\n", "the cat\nthe dog\n3\n"])
        return f"{script}.py {shlex.join(argv)} <<< {typed!r}", lambda: self.check(script, argv, typed, folder, whole)

    def files(self):
        """Returns the files that command lines could make next to the run, without hidden ones, a set of paths."""
        return {*self.folder.rglob("*"), *common.ROOT.glob("[!._]*")}

    def check(self, script, argv, typed, folder, whole):
        """Runs a script; returns whether the command line was accepted, or what is wrong."""
        module = importlib.import_module(script)
        before = self.files()

        def opened(*_, **__):
            raise fuzz.Opened

        replaced = [] if whole else [name for name in ("build", "listen") if hasattr(module, name)]
        patches = [mock.patch.object(module, name, opened) for name in replaced]
        patches += [mock.patch("scriptorium.training.opening.open_for_use", opened)] if script == "homotopy" else []
        with fuzz.all_of(patches):
            found = fuzz.run_main(module, argv, typed)
        made = [path for path in folder.rglob("*") if path.is_file()]
        if found is not True and made:
            return f"refused, but {made[0]} was made: {found}"
        if self.files() != before:
            return f"made elsewhere: {', '.join(map(str, self.files() ^ before))}"
        return found
