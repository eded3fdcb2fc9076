"""Walks through a latent space whose texts are known, and the command line on a tiny run of sentences.py."""

import io
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

from scriptorium import UserError
from scriptorium.command_line import ADDED
from scriptorium.data import corpora
from scriptorium.data.vocabulary import Vocabulary
from scriptorium.training import finding, storage
from scriptorium.vae import paths

import numpy as np
import pytest
from helpers import run_here, write_weights
from line_script import TEXTS, Line, LineCodec, make_run

import homotopy


@pytest.fixture
def script(monkeypatch):
    fake = Line()
    monkeypatch.setitem(sys.modules, "names_vae", fake)
    return fake


@pytest.fixture
def walk(script, tmp_path, monkeypatch, capsys):
    """Runs the command in this process: returns what is on stdout and on stderr."""
    make_run(tmp_path)

    def run(*argv, typed=None):
        if typed is not None:
            monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        homotopy.main(homotopy.parse_args([*argv, "--logdir", str(tmp_path)]))
        return tuple(capsys.readouterr())

    return run


def test_points_between_two_texts(walk, script):
    out, err = walk(TEXTS[0], TEXTS[4], "-n", "3")
    assert out.splitlines() == [
        ">    -1.00   a cat sees me .",
        ">   -10.00 * a cat sees you .",
        ">    -9.00 * a dog sees you .",
        ">    -8.00 * a dog likes you .",
        ">    -2.00 * the dog likes you .",
    ]
    assert "names_vae/line, trained on toy texts" in err
    z, settings = script.asked[0]
    np.testing.assert_allclose(z, [[1, 1], [2, 1], [3, 1]])
    assert settings["temperature"] == 0 and settings["beam"] == 1 and settings["scores"]


def test_the_ends_are_shown_as_given_and_equal_words_are_no_change(walk):
    out, _ = walk("A cat  sees me.", TEXTS[1], "-n", "2")
    assert [line[11:] for line in out.splitlines()] == [
        "  A cat  sees me.",
        "  a cat sees me .",
        "* a cat sees you .",
        "  a cat sees you .",
    ]


def test_collapse_counts_equal_neighbours_and_keeps_the_ends(walk):
    out, _ = walk("A cat sees me.", "A cat sees you.", "-n", "4", "--collapse")
    assert [line[11:] for line in out.splitlines()] == ["  A cat sees me.  (x3)", "* A cat sees you.  (x3)"]
    out, _ = walk(TEXTS[0], TEXTS[0], "-n", "2", "--collapse")
    assert [line[11:] for line in out.splitlines()] == [f"  {TEXTS[0]}  (x4)"]


def test_arc_keeps_lengths_and_goes_token_by_token(script, walk, monkeypatch):
    walk(TEXTS[0], TEXTS[2], "-n", "1", "--mode", "slerp")
    ends = np.array([[0, 1], [2, 1]], "float32")
    np.testing.assert_allclose(script.asked[-1][0], paths.slerp(*ends, [0.5]), rtol=1e-6)

    tokens = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
    monkeypatch.setattr(LineCodec, "encode", lambda codec, texts: (tokens, None))
    monkeypatch.setattr(
        LineCodec, "decode", lambda codec, z, **_: (codec.asked.append((z, _)), (["a"] * len(z), [0.0] * len(z)))[1]
    )
    walk(TEXTS[0], TEXTS[2], "-n", "2", "--mode", "slerp")
    each = np.stack([paths.slerp(*tokens[:, i], [1 / 3, 2 / 3]) for i in range(3)], axis=1)
    np.testing.assert_allclose(script.asked[-1][0], each, rtol=1e-5)


def test_draws_at_each_point(walk, script):
    out, _ = walk(TEXTS[0], TEXTS[4], "-n", "2", "--samples", "3", "--top-k", "5", "--seed", "4")
    z, settings = script.asked[0]
    np.testing.assert_allclose(z[:, 0], np.repeat([4 / 3, 8 / 3], 3), rtol=1e-6)
    assert (settings["temperature"], settings["top_k"], settings["seed"]) == (1.0, 5, 4)
    assert [line[0] for line in out.splitlines()] == [">", ">", " ", " ", ">", " ", " ", ">"]
    walk(TEXTS[0], TEXTS[4], "--beam", "4", "--gen-length", "7")
    assert script.asked[1][1] | {"beam": 4, "max_length": 7, "temperature": 0.0} == script.asked[1][1]


def test_beam_search_is_as_wide_as_for_the_samples_of_the_run(walk, script, tmp_path):
    make_run(tmp_path, name="wide", beam=3)
    walk(TEXTS[0], TEXTS[4], "--run", "wide")
    walk(TEXTS[0], TEXTS[4], "--run", "wide", "--beam", "1")
    walk(TEXTS[0], TEXTS[4], "--run", "wide", "--temperature", "0.5")
    assert [settings["beam"] for _, settings in script.asked] == [3, 1, 1]


def test_ends_from_the_prior_depend_on_the_seed_alone(walk):
    def first(*argv):
        return walk("--random", "-n", "1", "--json", *argv)[0]

    assert first() == first() != first("--seed", "2")
    assert len(json.loads(first())["walk"]) == 3


def test_json_is_one_object_a_walk(walk):
    out, _ = walk("--json", typed=f"{TEXTS[0]}\n{TEXTS[1]}\n1\n{TEXTS[4]}\n{TEXTS[4]}\n\n")
    short, long = map(json.loads, out.splitlines())
    assert short["mode"] == "linear" and short["run"].endswith("line")
    assert [row["share"] for row in short["walk"]] == [0, 0.5, 1]
    row = {"point": 1, "share": 0.5, "text": TEXTS[0], "log_prob": -10.0, "changed": False, "times": 1}
    assert short["walk"][1] == row
    assert len(long["walk"]) == 7  # an empty line for the number leaves it at 5
    assert {row["text"] for row in long["walk"]} == {TEXTS[4]}


def test_a_piped_conversation_reads_as_if_typed(walk):
    out, _ = walk(typed=f"{TEXTS[0]}\n{TEXTS[2]}\n1\n{TEXTS[2]}\n{TEXTS[2]}\n1\n\n")
    assert out.splitlines() == [
        f"[1]> {TEXTS[0]}",
        f"[2]> {TEXTS[2]}",
        "NUM > 1",
        f">    -1.00   {TEXTS[0]}",
        f">   -10.00 * {TEXTS[1]}",
        f">    -2.00 * {TEXTS[2]}",
        f"[1]> {TEXTS[2]}",
        f"[2]> {TEXTS[2]}",
        "NUM > 1",
        f">    -1.00   {TEXTS[2]}",
        f">   -10.00   {TEXTS[2]}",
        f">    -2.00   {TEXTS[2]}",
    ]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("\na\n3\n", "The text is empty"),
        ("a\n  \n3\n", "The text is empty"),
        ("a\na\nzero\n", "'zero' is not a number of points"),
        ("a\na\n0\n", "'0' is not a number of points"),
        ("a\na\n10001\n", "from 1 to 10000"),
        ("a\na\n" + 5000 * "9", "from 1 to 10000"),
        ("a\n", "ends within a walk"),
        ("a\na\n", "ends within a walk"),
    ],
)
def test_a_piped_line_that_is_wrong(walk, typed, said):
    with pytest.raises(UserError, match=said):
        walk(typed=typed)


def test_a_typed_line_that_is_wrong_is_asked_for_again(walk, monkeypatch, capsys):
    lines = iter(["", "a cat sees me .", "a", "-1", "1"])
    prompts = []

    def answer(prompt):
        prompts.append(prompt)
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", answer)
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(isatty=lambda: True))
    out, err = walk()
    assert prompts == ["[1]> ", "[1]> ", "[2]> ", "NUM > ", "NUM > ", "[1]> "]
    assert len(out.splitlines()) == 3
    assert "The text is empty" in err and "'-1' is not a number of points" in err


def test_unknown_words_are_named_in_one_line(walk):
    out, err = walk("a xylophone sees a yak .", TEXTS[1], "-n", "1")
    assert [line for line in err.splitlines() if "xylophone" in line] == [
        "not in the vocabulary, read as <unk>: xylophone yak"
    ]
    assert out.splitlines()[0].endswith("a xylophone sees a yak .")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["a"], "two texts, not 1"),
        (["a", "b", "c"], "two texts, not 3"),
        (["a", ""], "The text is empty"),
        (["a", "\udcff"], "not valid UTF-8"),
        (["a", "b", "--random"], "--random samples both ends"),
        (["-n", "0"], "-n/--points: 0 is not from 1 to 10000"),
        (["-n", "20000"], "-n/--points: 20000 is not from 1 to 10000"),
        (["-n", "x"], "argument -n/--points: invalid integer value"),
        (["--samples", "0"], "--draws-per-point: 0 is not from 1"),
        (["--temperature", "nan"], "nan is not 0, or from 0.001 to 1000"),
        (["--top-p", "1.5"], "--top-p: 1.5 is not from 1e-06 to 1"),
        (["--samples", "2", "--temperature", "0"], "--temperature 0 is greedy"),
        (["--samples", "2", "--beam", "2"], "--beam does not sample"),
        (["--plot", "walk.exe"], "a picture must be named"),
        (["--plot", "nowhere/walk.png"], "the folder nowhere does not exist"),
        (["--mode", "zigzag"], "invalid choice"),
        (["--run", "none"], "There is no run none"),
    ],
)
def test_impossible_options(walk, argv, said, capsys):
    with pytest.raises((UserError, SystemExit)) as refused:
        walk(*argv)
    assert re.search(said, f"{refused.value} {capsys.readouterr().err}")


def test_pictures_of_walks(walk, script, tmp_path, monkeypatch, capsys):
    path = tmp_path / "toy.txt"
    path.write_text("\n".join(f"{text} {i}" for i, text in enumerate(TEXTS * 40)), encoding="utf-8")
    corpus = corpora.load(path=path)
    corpus = {"name": corpus.name, "fingerprint": corpus.fingerprint, "description": corpus.description}
    make_run(tmp_path, name="newer", corpus=corpus, data=str(path), max_length=50)
    typed = f"{TEXTS[0]}\n{TEXTS[4]}\n3\n{TEXTS[4]}\n{TEXTS[4]}\n2\n"
    _, err = walk("--plot", str(tmp_path / "walk.png"), str(path), typed=typed)
    for name in ("walk.png", "walk-2.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert "is not the text" not in err
    path.write_text(path.read_text() + "\nanother text\n")
    _, err = walk("--random", "--plot", str(tmp_path / "walk.svg"))
    assert "toy.txt is not the text that newer was trained on" in err
    assert (tmp_path / "walk.svg").read_text().lstrip().startswith("<?xml")


# Through the command line, with a run of sentences.py ----------------------------------------------------------------


CHINESE = ["我很傻，是不是？", "他又高兴，为什么？"]


@pytest.fixture(scope="module")
def chinese_runs(tmp_path_factory):
    """A logdir with an untrained run of sentences.py, whose vocabulary is Chinese signs."""
    import sentences

    logdir = tmp_path_factory.mktemp("runs")
    args = sentences.parse_args(["-D", "toy", "-E", "8", "-L", "8", "-H", "3", "-g", "12"])
    options = {name: value for name, value in vars(args).items() if name not in ADDED}
    vocabulary = Vocabulary.build(CHINESE, "char", language="zh")
    directory = make_run(logdir, "sentences", "zh", vocabulary=vocabulary)
    config = storage.read_json(directory / "config.json") | {"options": options}
    storage.write_json(directory / "config.json", config)
    model = sentences.build(config["options"], vocabulary)
    write_weights(directory, model)
    return logdir


def command(*argv, typed=b"", **environment):
    path = Path(homotopy.__file__)
    done = subprocess.run(
        [sys.executable, path, *argv], input=typed, capture_output=True, timeout=300, env=os.environ | environment
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_chinese_through_a_pipe(chinese_runs):
    typed = f"{CHINESE[0]}\n{CHINESE[1]}\n2\n".encode()
    status, out, err = command("--logdir", chinese_runs, typed=typed, LC_ALL="C")
    assert status == 0, err
    lines = out.splitlines()
    assert lines[:3] == [f"[1]> {CHINESE[0]}", f"[2]> {CHINESE[1]}", "NUM > 2"]
    assert lines[3].endswith(f"   {CHINESE[0]}") and lines[6].endswith(CHINESE[1]) and len(lines) == 7
    assert not any(" " in line[13:] for line in lines[3:])
    assert "Traceback" not in err


def test_the_options_of_a_training_choose_the_run(chinese_runs):
    options = "--embedding_size {} --num_units 8 --learning_rate {} --latent_dim 3 --keep_prob 1.0 {}"
    rate = json.loads((chinese_runs / "sentences" / "zh" / "config.json").read_text())["options"]["learning_rate"]
    argv = options.format(8, rate, "--json --random").split()
    found = json.loads(run_here(homotopy, *argv, "--logdir", chinese_runs).stdout)
    assert found["run"].endswith("zh") and len(found["walk"]) == 7
    assert all(np.isfinite(row["log_prob"]) and row["log_prob"] <= 0 for row in found["walk"])
    argv = "--embedding_size 350 --num_units 200 --learning_rate 2e-4 --latent_dim 13 --batch_size 64"
    argv += " --max_steps 1000000 --annealing_pivot 600000 --keep_prob 1.0"
    status, out, err = command(*argv.split(), chinese_runs, "--logdir", chinese_runs)
    assert (status, out) == (2, "")
    assert err == f"homotopy.py: error: No run in {chinese_runs} matches: zh has embedding_dim 8, not 350.\n"


def test_without_a_run_it_takes_one_that_comes_with_the_project(tmp_path):
    done = run_here(homotopy, "it is a list .", "it returns a new string .", "-n", "2", "--logdir", tmp_path)
    assert done.stdout.count("\n") == 4 and "using the bundled pretrained/sentences/pydocs" in done.stderr
    done = run_here(homotopy, "a", "b", "-L", "7", "--logdir", tmp_path, status=2)
    assert done.stdout == "" and done.stderr.count("\n") == 1 and "pydocs has units 256, not 7" in done.stderr


def test_without_any_run_it_says_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "PRETRAINED", tmp_path)
    args = homotopy.parse_args(["a", "b", "--logdir", str(tmp_path)])
    with pytest.raises(UserError, match=r"no run .* yet: `python sentences\.py -e 20` trains one"):
        homotopy.main(args)
