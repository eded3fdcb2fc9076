"""share.py: a folder that anybody can use, and that tells nothing about the machine."""

import json
import shlex

from scriptorium import UserError
from scriptorium.training import storage, trained
from scriptorium.training.finding import BEST

import numpy as np
import pytest
from helpers import run_here

import chars
import names_vae
import sentences
import share
import text_gan
import transformer_vae
import words

VERBS = ("sees it", "eats", "ran")
TEXTS = [f"the {noun} {verb} ." for noun in ("cat", "dog", "bird", "man", "girl") for verb in VERBS]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run of sentences.py on a file, and the folder of runs."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "my texts.txt").write_text("\n".join(TEXTS * 2) + "\n", "utf-8")
    (folder / "secret.pdf").write_text("x", "utf-8")
    small = ["-E", 4, "-L", 8, "--encoder-units", 4, "-H", 2, "-b", 4, "-e", 1, "--name", "small"]
    run_here(sentences, "-D", folder / "my texts.txt", "-T", folder / "runs", *small)
    return folder / "runs" / "sentences" / "small"


def test_a_shared_run_is_small_and_writes_the_same(run, tmp_path, capsys):
    folder = tmp_path / "shared"
    share.main(share.parse_args([str(run), str(folder), "--samples", "30", "--license", "mit"]))
    out, err = capsys.readouterr()
    names = {path.name for path in folder.iterdir()}
    assert names == {BEST, "config.json", "vocab.json", "history.csv", "eval.json", "samples.txt", "README.md"}
    assert f"sentences.py --sample {folder}" in out and "30 samples" in err
    everything = "".join(path.read_text("utf-8") for path in folder.iterdir() if path.name != BEST)
    assert str(run.parents[2]) not in everything and str(tmp_path) not in everything
    config = storage.read_json(folder / "config.json")
    assert config["options"]["data"] == "my texts.txt" and config["changed"]["units"] == 8 and config["packed"]
    assert "--data 'my texts.txt'" in config["command"] and "-T" not in config["command"].split()
    assert "not read" not in everything and "secret" not in everything
    theirs, mine = trained.load(folder), trained.load(run)
    assert theirs.run.config["dtype"] == "float32"
    z = np.zeros((1, 2), "float32")
    np.testing.assert_allclose(theirs.score(TEXTS[:1], z), mine.score(TEXTS[:1], z), rtol=0.02)
    assert theirs.sample(30, seed=1, temperature=0.5) == (folder / "samples.txt").read_text("utf-8").splitlines()


def test_the_card_has_the_metadata_the_scores_and_the_samples(run, tmp_path):
    share.main(share.parse_args([str(run), str(tmp_path / "shared")]))
    card = (tmp_path / "shared" / "README.md").read_text("utf-8")
    block = dict(line.split(": ", 1) for line in card.split("---\n")[1].splitlines())
    assert json.loads(block["tags"]) == ["scriptorium", "sentences"] and "license" not in block
    score = storage.read_json(run / "eval.json")["neg_elbo"]
    assert f"| neg_elbo | {score:,.4g} |" in card
    samples = (tmp_path / "shared" / "samples.txt").read_text("utf-8").splitlines()
    assert len(samples) == 100 and all(f"    {text}".rstrip() in card for text in samples[:10])


def test_training_texts_among_the_samples_are_counted(run):
    codec = trained.load(run)
    assert share.copied(codec.run, ["the dog zooms .", "The cat  eats ."]) == [False, True]
    codec.run.config["corpus"]["fingerprint"] = "another text"
    assert share.copied(codec.run, ["the cat eats ."]) is None
    words = [share.copies_in_words(copies, "words") for copies in (None, [False], [True, False], [True, True])]
    beginnings = ("Whether some", "None of them is a training", "One of them is a training", "2 of them are training")
    assert all(text.startswith(beginning) for text, beginning in zip(words, beginnings, strict=True))


def test_what_repeats_a_running_text_is_counted(tmp_path):
    text = "".join(f"Line number {i} of a story about the sea, and nothing else. " for i in range(60))
    (tmp_path / "story.txt").write_text(text, "utf-8")
    small = ["-E", 4, "-L", 8, "--window", 20, "-b", 2, "--max-steps", 2, "-o", 0, "--name", "sentences"]
    run_here(chars, "-D", tmp_path / "story.txt", "-T", tmp_path / "runs", *small)
    # A run that has the name of a script is that run all the same.
    share.main(
        share.parse_args(["sentences", str(tmp_path / "my model"), "-T", str(tmp_path / "runs"), "--samples", "2"])
    )
    assert storage.read_json(tmp_path / "my model" / "config.json")["script"] == "chars"
    copy, other = text[103:160], "Line number 7 of a story" + " about mountains and rivers" * 2
    assert share.copied(trained.load(tmp_path / "my model").run, [copy]) is None  # its text is not here any more
    run = trained.load(tmp_path / "runs" / "chars" / "sentences").run
    assert share.copied(run, [copy, f"x {copy} y", other, "short"]) == [True, True, False, False]
    # What it was trained on is not here: the scores it came with.
    done = run_here(chars, "--eval", tmp_path / "my model")
    assert "nats_per_char" in done.stdout and "cannot be read here" in done.stderr


@pytest.mark.parametrize("script", [chars, names_vae, sentences, text_gan, transformer_vae, words])
def test_all_options_that_hold_a_path_are_known(script):
    actions = script.parse_args([]).parser._actions
    paths = {action.dest for action in actions if action.metavar in ("PATH", "FILE", "DIR")}
    assert paths - {"logdir"} <= set(share.PATHS)  # that of the runs is replaced


@pytest.mark.parametrize(("path", "name"), [
    ("/home/me/a b.txt", "a b.txt"), ("/home/a=b/t.txt", "t.txt"), ("C:\\me\\t.txt", "t.txt"), ("folder/", "folder"),
])  # fmt: skip
def test_of_a_path_only_the_name_is_kept(path, name):
    options = {"data": path, "level": "n/a", "units": 8, "embeddings": None}
    assert share.without_paths(options) == {"data": name, "level": "n/a", "units": 8, "embeddings": None}


def test_a_run_without_a_latent_space_is_a_language_model(tmp_path):
    config = {"script": "sentences", "options": {"name": "x", "no_latent": True}, "corpus": {"description": "toy"}}
    card = share.card(config | {"seed": 1, "command": "python sentences.py"}, {}, ["a"], [True])
    assert "language model" in card and "homotopy" not in card and "One of them" in card and "was not scored" in card
    lines = share.uses("sentences", True, str(tmp_path / "it's mine"))
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "python"
        if words[1] == "-c":
            compile(words[2], "command", "exec")


def test_scores_of_rounded_weights_stay_so(run, tmp_path):
    share.main(share.parse_args([str(run), str(tmp_path / "first")]))
    share.main(share.parse_args([str(tmp_path / "first"), str(tmp_path / "second")]))
    assert "before the weights were rounded" in (tmp_path / "second" / "README.md").read_text("utf-8")
    run_here(sentences, "--eval", tmp_path / "first", "--iw-samples", "2", "-D", run.parents[2] / "my texts.txt")
    share.main(share.parse_args([str(tmp_path / "first"), str(tmp_path / "third")]))
    assert "before the weights were rounded" not in (tmp_path / "third" / "README.md").read_text("utf-8")


def test_what_exists_is_never_replaced(run, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="already exists"):
        share.main(share.parse_args([str(run), str(tmp_path / "mine")]))
    with pytest.raises(UserError, match="There is no run nowhere"):
        share.main(share.parse_args(["nowhere", str(tmp_path / "new"), "-T", str(tmp_path)]))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_weight_too_large_for_half_precision_is_refused_and_nothing_is_left(run, tmp_path):
    codec = trained.load(run)
    weight = codec.run.model.trainable_weights[0]
    weight.assign(np.full(weight.shape, 1e6))
    with pytest.raises(UserError, match="does not fit half precision"):
        share.share(codec, tmp_path / "big", 2, 1, None)
    assert not list(tmp_path.iterdir())
