"""chars.py from the command line."""

import functools
import json

from scriptorium import UserError
from scriptorium.data.vocabulary import Vocabulary
from scriptorium.decoding import language_model
from scriptorium.training import storage

import numpy as np
import pytest
from helpers import run_here

import chars

SMALL = ["-L", 12, "-E", 6, "-b", 4, "-m", 10, "-g", 20]


run = functools.partial(run_here, chars)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chars")
    (folder / "text.txt").write_text("the cat sat on the mat.\na dog ran home.\n" * 40, encoding="utf-8")
    where = ["-D", folder / "text.txt", "-T", folder / "runs"]
    return folder, where, run(*where, *SMALL, "-e", 2, "--name", "a")


def test_training(trained):
    folder, _, done = trained
    scores = json.loads((folder / "runs" / "chars" / "a" / "eval.json").read_text())
    assert scores["bits_per_char"] == pytest.approx(scores["nats_per_char"] / np.log(2))
    assert 0 < scores["nats_per_char"] < np.log(30)
    assert "nats_per_char" in done.stdout and "temperature 0.5" in done.stdout and not done.stderr


def test_evaluation_repeats_the_score(trained):
    _folder, where, done = trained
    again = run("--eval", "a", *where)
    line = next(line for line in done.stdout.splitlines() if line.split()[:1] == ["nats_per_char"])
    assert line in again.stdout.splitlines()


def test_averages_and_windows(trained):
    folder, where, _ = trained
    run(*where, *SMALL, "-e", 2, "--name", "averaged", "--ema", "0.9", "--weight-drop", "0.2")
    run("--eval", "averaged", "-T", folder / "runs", "--eval-window", "20")
    scores = json.loads((folder / "runs" / "chars" / "averaged" / "eval.json").read_text())
    assert scores["nats_per_char"] < scores["nats_per_char_in_windows"] < np.log(30)


def test_going_on_with_prompts(trained):
    folder, *_ = trained
    done = run("--sample", "a", "-T", folder / "runs", "-g", 25, text="the c\n\nZ\n")
    assert done.stdout.startswith("the c") and "not in the vocabulary, read as <unk>: Z" in done.stderr
    first = done.stdout.split("\n\n")[0]
    assert len(first) <= 5 + 25


def test_a_stopped_run_ends_as_one_that_never_stopped(trained):
    folder, where, _ = trained
    run(*where, *SMALL, "-e", 2, "--name", "b", "--max-steps", 30, "-o", 0)
    run("--resume", "b", *where, "--max-steps", 1000)
    ends = [storage.load_arrays(folder / "runs" / "chars" / name / "last.safetensors")[1] for name in ("a", "b")]
    assert ends[0].keys() == ends[1].keys()
    for name, array in ends[0].items():
        np.testing.assert_array_equal(array, ends[1][name], err_msg=name)


@pytest.mark.parametrize(
    "argv", [["--independent-windows"], ["--one-hot", "-R", "gru", "--num-layers", "2"], ["--level", "byte", "--tied"]]
)
def test_other_models(trained, argv):
    _, where, _ = trained
    assert "bits_per_char" in run(*where, *SMALL, *argv, "--dry-run").stdout


def test_the_command_lines_of_older_scripts():
    argv = "-e 5 -E 10 -o 2 -l 0.001 -b 20 -t alice -D a.txt -L 30 -m 50 -I 1000 -r 4 -x 2 -g 100"
    args = chars.parse_args(argv.split())
    assert (args.epochs, args.embedding_dim, args.output_every, args.units) == (5, 10, 2, 30)
    assert (args.task, args.window, args.limit, args.num_layers, args.gen_length) == ("alice", 50, 1000, 3, 100)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["-D", "nowhere.txt"], "no such file"),
        (["--tied", "--one-hot"], "--tied needs an embedding"),
        (["--eval", "nothing"], "no run"),
        (["-t", "moon"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(tmp_path, argv, said):
    done = run(*argv, "-T", tmp_path, status=2)
    assert said in done.stderr and "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_windows_are_scored_each_on_its_own():
    options = vars(chars.parse_args(["-E", "8", "-L", "12", "-b", "2", "--weight-drop", "0.5"]))
    model = chars.build(options, Vocabulary.build(["abcde"], "char"))
    ids, nll = np.random.default_rng(2).integers(4, 9, 50), []
    for start in range(0, 49 - 6, 7):
        piece = ids[start : start + 8][None].astype("int32")
        nll.append(language_model.nll_of(model, piece[:, :-1], piece[:, 1:]))
    assert chars.score_windows(model, ids, 7) == pytest.approx(float(np.mean(nll)), rel=1e-5)
    with pytest.raises(UserError, match="longer than the text"):
        chars.score_windows(model, ids, 50)
