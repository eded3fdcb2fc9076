"""share.py: a folder that anybody can use, and that tells nothing about the machine."""

import json

from scriptorium import UserError
from scriptorium.training import storage, trained
from scriptorium.training.finding import BEST

import numpy as np
import pytest
from helpers import run_here

import sentences
import share

VERBS = ("sees it", "eats", "ran")
TEXTS = [f"the {noun} {verb} ." for noun in ("cat", "dog", "bird", "man", "girl") for verb in VERBS]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny run of sentences.py on a file, and the folder of runs."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "my texts.txt").write_text("\n".join(TEXTS * 2) + "\n", "utf-8")
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
    assert "-D 'my texts.txt'" in config["command"]
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
    assert "unknown" in share.copies_in_words(None) and share.copies_in_words([True, False]).startswith("1 of them")


def test_lines_of_a_running_text_are_counted():
    import chars

    codec = trained.load("chars", "/nowhere")
    assert share.copied(codec.run, ["x"]) in (None, [False])  # other docstrings on another machine
    assert chars.SCRIPT in share.RUNNING_TEXT


@pytest.mark.parametrize(("value", "kept"), [
    ("/home/me/a b.txt", "a b.txt"), ("--data=/home/me/t.txt", "--data=t.txt"), ("plain", "plain"), (0.5, 0.5),
    (["-D", "x/y.csv", "-e", "3"], ["-D", "y.csv", "-e", "3"]), ("--embeddings=v.txt", "--embeddings=v.txt"),
])  # fmt: skip
def test_of_a_path_only_the_name_is_kept(value, kept):
    assert share.without_paths(value) == kept


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
