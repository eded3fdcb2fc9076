"""compare.py on runs that are written here, without training: lists, sorts, sets side by side, draws."""

import json
import math
import os

from scriptorium import UserError
from scriptorium.training import overview, storage
from scriptorium.training.finding import FORMAT

import pytest

import compare


def write(logdir, script, name, *, options=(), changed=(), history=(), test=None, done=3):
    """Writes the folder of a run; `history` holds (neg_elbo, kl, perplexity) of validation, epoch by epoch."""
    directory = logdir / script / name
    directory.mkdir(parents=True)
    config = {
        "format": FORMAT, "script": script, "seed": 1, "dtype": "float32", "corpus": {"name": "toy"},
        "options": {"epochs": 3, "units": 8} | dict(options), "argv": ["-L", "8", "--name", name, "-T", "/secret"],
        "parameters": 12_345, "minutes": 2.5, "epochs_done": done, "epochs_asked": 4,
    }  # fmt: skip
    if changed is not None:
        config["changed"] = dict(changed)
    storage.write_json(directory / "config.json", config)
    rows = [",".join(map(str, (epoch, *scores))) for epoch, scores in enumerate(history, 1)]
    heads = "epoch,val_neg_elbo,val_kl,val_perplexity"
    (directory / "history.csv").write_text("\n".join([heads, *rows]) + "\n", "utf-8")
    if test is not None:
        storage.write_json(directory / "eval.json", test | {"split": "test", "seconds": 1.0})
    return directory


@pytest.fixture
def logdir(tmp_path):
    first = {
        "options": {"units": 8},
        "changed": {"no_latent": True},
        "history": [(9.0, 1.0, 5.0), (7.0, 2.0, 6.0), (8.0, 3.0, 7.0)],
    }
    write(tmp_path, "sentences", "low", **first, test={"neg_elbo": 7.5, "bleu_4": 0.25})
    second = {"options": {"units": 16}, "changed": {"units": 16, "data": "/secret/t.txt"}, "history": [(6.0, 4.0, 9.0)]}
    write(tmp_path, "sentences", "high", **second, test={"neg_elbo": 6.5, "bleu_4": 0.125})
    write(tmp_path, "words", "stopped", changed=None, done=0)
    return tmp_path


def run(capsys, logdir, *argv):
    compare.main(compare.parse_args([*map(str, argv), "-T", str(logdir)]))
    return capsys.readouterr().out


def test_all_runs_are_listed_the_newest_first(logdir, capsys):
    lines = run(capsys, logdir).splitlines()
    assert [line.split()[1] for line in lines] == ["name", "stopped", "high", "low"]
    assert lines[3].split()[:6] == ["sentences", "low", "toy", "3/4", "2.5", "12k"]
    assert "neg_elbo 7.000, kl 2.000" in lines[3] and "neg_elbo 7.500" in lines[3] and "bleu_4 0.2500" in lines[3]
    assert lines[3].endswith("no_latent") and lines[2].endswith("units 16") and lines[1].endswith("-L 8")
    assert "/secret" not in "".join(lines)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_list_fits_the_terminal(logdir, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    write(logdir, "sentences", "2026-11-27-202606-scenes-limit400000-units64-epochs2-dropout0.3")
    write(logdir, "words", "红楼梦的故事" * 4)
    text = run(capsys, logdir)
    assert max(map(compare.columns_of, text.splitlines())) <= width
    assert all(part in text for part in ("stopped", "kl 2.000", "neg_elbo 6.500", "no_latent"))


@pytest.mark.parametrize(
    ("score", "first"), [("neg_elbo", "high"), ("bleu_4", "low"), ("kl", "low"), ("perplexity", "low")]
)
def test_the_best_run_comes_first(logdir, capsys, score, first):
    names = [line.split()[1] for line in run(capsys, logdir, "--sort", score).splitlines()[1:]]
    assert names[0] == first and names[-1] == "stopped"


def test_a_score_that_no_run_has_is_refused(logdir, capsys):
    with pytest.raises(UserError, match="no run has a score loss; there are bleu_4, kl, neg_elbo, perplexity"):
        run(capsys, logdir, "--sort", "loss")


def test_named_runs_stand_side_by_side_with_what_differs(logdir, capsys):
    write(logdir, "sentences", "later", options={"units": 8, "ema": 0.999, "temperature": 0.3})
    lines = [line.split() for line in run(capsys, logdir, "low", "high", "later").splitlines()]
    assert lines[:4] == [*([f"[{i}]", f"sentences/{n}"] for i, n in ((1, "low"), (2, "high"), (3, "later"))),
                         ["[1]", "[2]", "[3]"]]  # fmt: skip
    for row in ("units 8 16 8", "ema - - 0.999", "epochs 3/4 3/4 3/4", "neg_elbo 7.000 6.000", "bleu_4 0.2500 0.1250"):
        assert row.split() in lines
    assert ["best", "epoch", "2", "1"] in lines and not any(line[:1] == ["temperature"] for line in lines)


def test_json_and_curves(logdir, capsys, tmp_path):
    rows = json.loads(run(capsys, logdir, "--script", "sentences", "--json", "--plot", tmp_path / "curves.png"))
    assert [row["name"] for row in rows] == ["high", "low"]
    assert rows[1]["validation"] == {"neg_elbo": 7, "kl": 2, "perplexity": 6} and rows[1]["best_epoch"] == 2
    assert rows[1]["test"] == {"neg_elbo": 7.5, "bleu_4": 0.25} and rows[1]["epochs_done"] == 3
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    with pytest.raises(UserError, match="none of these runs has a curve yet"):
        run(capsys, logdir, "stopped", "--plot", tmp_path / "empty.png")


@pytest.mark.parametrize(
    "change", [{"options": 3}, {"changed": ["units"]}, {"parameters": "12"}, {"corpus": None}, {"minutes": "x"}]
)
def test_a_damaged_run_is_left_out_and_said_so(logdir, capsys, change):
    path = logdir / "words" / "stopped" / "config.json"
    storage.write_json(path, storage.read_json(path) | change)
    compare.main(compare.parse_args(["-T", str(logdir)]))
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 3 and "config.json is damaged" in err


def test_a_damaged_curve_costs_only_its_rows(logdir):
    directory = write(logdir, "sentences", "torn", history=[(5.0, 1.0, 2.0)])
    with open(directory / "history.csv", "a", encoding="utf-8") as file:
        file.write(",1.0,1.0,1.0\nx,1.0,1.0,1.0\n")
    assert overview.read(directory).validation["neg_elbo"] == 5.0
    (directory / "history.csv").unlink()
    os.mkfifo(directory / "history.csv")
    assert overview.read(directory).validation == {}


def test_the_best_epoch_is_that_of_the_weights(logdir):
    directory = write(logdir, "text_gan", "gan", history=[(5.0, 1.0, 2.0), (6.0, 2.0, 3.0)])
    assert overview.read(directory).best_epoch == 1
    path = directory / "config.json"
    storage.write_json(path, storage.read_json(path) | {"best_epoch": 2})
    assert overview.read(directory).validation == {"neg_elbo": 6.0, "kl": 2.0, "perplexity": 3.0}


def test_what_a_terminal_would_obey_is_escaped(logdir, capsys):
    write(logdir, "words", "wild", changed={"level": "a\x1b[2Jb\nc"})
    assert "level a\\x1b[2Jb c" in run(capsys, logdir)


def test_a_folder_that_is_not_there_and_a_run_of_another_script_are_errors(logdir, capsys):
    with pytest.raises(UserError, match="there is no folder"):
        run(capsys, logdir / "typo")
    with pytest.raises(UserError, match=r"is a run of sentences\.py"):
        run(capsys, logdir, str(logdir / "sentences" / "low"), "--script", "words")
    compare.main(compare.parse_args(["-T", str(logdir), "--script", "chars"]))
    assert "There is no run of chars.py in" in capsys.readouterr().err


def test_bundled_runs_are_listed_where_there_are_no_others(tmp_path, capsys):
    compare.main(compare.parse_args(["-T", str(tmp_path)]))
    out, err = capsys.readouterr()
    assert "transformer_vae" in out and "bundled" in err


def test_a_run_that_is_training_is_marked(logdir):
    directory = logdir / "sentences" / "low"
    lock = storage.Lock(directory / "lock")
    assert compare.epochs(overview.read(directory)) == "3/4 now"
    lock.release()
    assert compare.epochs(overview.read(directory)) == "3/4"


def test_a_score_that_is_not_finite_is_never_the_best(logdir):
    history = [("nan", "nan", "nan"), (5.0, 1.0, 2.0), ("inf", 1.0, 2.0)]
    found = overview.read(write(logdir, "sentences", "lost", history=history, test={"neg_elbo": math.inf}))
    assert found.validation["neg_elbo"] == 5.0 and found.best_epoch == 2 and found.score("neg_elbo") is None
    json.loads(json.dumps(compare.as_json([found])), parse_constant=lambda name: pytest.fail(name))
