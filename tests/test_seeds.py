"""The command lines of the projects that this one succeeds, run as they were written, at tiny sizes."""

import functools

import pytest
from helpers import run_here

import homotopy
import sentences
import transformer_vae

VAELM = (
    "--embedding_size 350 --num_units 200 --learning_rate 2e-4 --latent_dim 13 --batch_size 64 --max_steps 1000000"
    " --annealing_pivot 600000"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    lines = sorted(
        f"the {a} saw a {b} {c} ." for a in ("cat", "dog", "man") for b in "abcdefgh" for c in ("now", "then")
    )
    (tmp_path / "data" / "ptb").mkdir(parents=True)
    for place, split in enumerate(("train", "valid", "test")):
        (tmp_path / "data" / "ptb" / f"ptb.{split}.txt").write_text("\n".join(lines[place::3]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_vae_language_model_and_its_homotopy(folder):
    sizes = "--embedding_size 8 --num_units 8 --latent_dim 3 --batch_size 4 --max_steps 3 -T runs"
    run = functools.partial(run_here, sentences)
    done = run(*f"{VAELM} --keep_prob 0.75 --data_dir ./data/ptb --save {sizes}".split())
    assert "as given" in done.stdout and "perplexity" in done.stdout
    # To sample, the original takes the same line, with all words kept.
    shown = run(*f"{VAELM} --keep_prob 1.0 ./data/ptb --eval {sizes}".split()).stdout
    assert "test split of" in shown
    walk = f"{VAELM} --keep_prob 1.0 ./data/ptb {sizes}".split()
    done = run_here(homotopy, *walk, text="the cat saw a b now .\nthe dog saw a c then .\n3\n")
    assert done.stdout.count("\n") == 3 + 5


def test_lines_about_other_corpora_parse():
    args = transformer_vae.parse_args(["semantics", "tenth_5_tkn", "batch_large", "30Seq", "eval"])
    assert (args.experiment, args.task, args.batch_size, args.max_length) == ("semantics", "headlines", 128, 30)
    line = "mnist_base tenth_5_tkn grad_check_pnt batch_small window200 funnel_small"
    args = transformer_vae.parse_args(line.split())
    assert (args.experiment, args.task, args.units, args.decoder_layers) == ("mnist", "digits", 768, 12)
    assert (args.latent_tokens, args.latent_dim, args.recompute, args.batch_size) == (5, 77, 3, 16)
    assert (args.attention_window, args.funnel) == (200, "2_2_2")
    args = transformer_vae.parse_args(["mnist_small", "tenth_5_tkn", "batch_small", "eval"])
    assert (args.experiment, args.units, args.num_heads, args.latent_dim) == ("mnist", 512, 8, 77)
    with pytest.raises(SystemExit):
        transformer_vae.parse_args(["mnist_huge"])
