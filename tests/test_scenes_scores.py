"""Every script scores itself on the corpus whose truth is known."""

import importlib
import re

from scriptorium.data import scenes

import pytest
from helpers import run_here

SIZES = {
    "chars": "-L 8 -E 6 -b 4 --window 10",
    "words": "-L 8 -E 6 -b 4",
    "sentences": "-L 8 -E 6 -H 3 -b 4",
    "names_vae": "-L 16 -H 8 --prior-units 16 --num-layers 1 -b 4 -m 150",
    "transformer_vae": "-L 12 --num-heads 3 -H 4 --decoder-layers 1 -b 4 --level word",
    "text_gan": "-m 40 -E 8 -L 8 -b 4",
}


@pytest.mark.parametrize("script", SIZES)
def test_a_script_on_the_scenes(script, tmp_path, monkeypatch):
    random = scenes.Random(9)
    drawn = [scenes.grammar().sample(random) for _ in range(200)]
    # All words are known.
    monkeypatch.setattr(scenes, "read", lambda: {"train": drawn, "valid": drawn[:40], "test": drawn[:40]})
    done = run_here(
        importlib.import_module(script), "-t", "scenes", "-T", tmp_path, *SIZES[script].split(), "--dry-run"
    )
    scores = dict(re.findall(r"^ +(\w+)  (-?[\d.]+)$", done.stdout, re.MULTILINE))
    # Untrained, it is far from the truth and writes no sentences.
    assert 5 < float(scores["excess_nll"]) < 1000 and float(scores["sample_grammatical"]) < 0.5
    if "vae" in script or script == "sentences":
        assert {"walk_grammatical", "walk_new", "reconstruction_grammatical", "kept", "kept_tense"} <= scores.keys()
