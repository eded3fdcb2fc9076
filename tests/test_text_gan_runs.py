"""The command line of the text GAN: a run from its training to its use, stopped and resumed, and wrong input."""

import json

from scriptorium import UserError
from scriptorium.data.vocabulary import read_vocabulary
from scriptorium.text_gan import evaluation
from scriptorium.text_gan.samples import as_text, load_likelihood_generator, write
from scriptorium.training import storage
from scriptorium.training.opening import open_for_use

import numpy as np
import pytest
from helpers import run_here
from test_text_gan import SIZES

import text_gan

RANDOM = np.random.default_rng(5)
LINES = [" ".join(f"w{word}" for word in RANDOM.integers(0, 9, RANDOM.integers(4, 8))) for _ in range(320)]


def test_spellings_of_the_original():
    argv = "--M_gen 3 --B_gen 4 --O_gen 5 --T_disc 2 --B_disc 3 --O_disc 4 --embedding_size_gen 16 --hiddenSize 32"
    argv += " --embedding_size_disc 8 --batchSize 9 --sequence_length 10 --num_heads 4 --noiseDist uniform --alpha 1e-3"
    argv += " --pooling max --Beta1 0.1 --Beta2 0.8 --n_D 2 --Lambda 3 --dynamic_n True --Lambda_n 4 --HideAfterEnd no"
    args = text_gan.parse_args(argv.split())
    found = (args.mapping_layers, args.backbone_blocks, args.output_blocks, args.critic_layers, args.critic_blocks)
    assert found == (3, 4, 5, 2, 3)
    found = (args.critic_output_blocks, args.embedding_dim, args.units, args.critic_embedding_dim, args.batch_size)
    assert found == (4, 16, 32, 8, 9)
    found = (args.max_length, args.num_heads, args.noise, args.adversarial_rate, args.pooling, args.beta_1, args.beta_2)
    assert found == (10, 4, "uniform", 1e-3, "max", 0.1, 0.8)
    found = (args.critic_steps, args.gp_weight, args.dynamic_critic_steps, args.dynamic_weight, args.hide_after_end)
    assert found == (2, 3.0, True, 4.0, False)
    reference = text_gan.parse_args(["--preset", "reference", "--B_gen", "2"])
    assert (reference.backbone_blocks, reference.output_blocks, reference.positions) == (2, 6, 64)
    for wrong in (["--num-heads", "5"], ["--HideAfterEnd", "maybe"], ["--mode", "vae"], ["--pretrain-epochs", "-1"]):
        with pytest.raises(SystemExit):
            text_gan.parse_args(wrong)


SMALL = [*SIZES, "--level", "space", "-b", "16", "-e", "2", "--pretrain-epochs", "1", "--critic-steps", "2"]
SMALL = [*SMALL, "--critic-warmup", "2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, one_part):
    folder = tmp_path_factory.mktemp("gan")
    (folder / "lines.txt").write_text("\n".join(LINES), encoding="utf-8")
    where = ["-D", folder / "lines.txt", "-T", folder / "runs"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "VALIDATION_SAMPLES", 200)
        evaluate = evaluation.evaluate
        patch.setattr(evaluation, "evaluate", lambda *args: evaluate(*args[:4], 200, args[5]))
        run_here(text_gan, *SMALL, *where, "--name", "whole")
    return folder, where


def test_a_run_and_what_is_done_with_it(trained):
    folder, _ = trained
    directory = folder / "runs" / "text_gan" / "whole"
    scores = json.loads((directory / "eval.json").read_text())
    assert {"bleu_5", "self_bleu_5", "jsd_4", "copies", "unique", "lm_score", "reverse_lm_score"} <= scores.keys()
    for name in (
        "history.png",
        "curve.png",
        "curve.csv",
        "likelihood.safetensors",
        "best.safetensors",
        "last.safetensors",
    ):
        assert (directory / name).stat().st_size
    header = (directory / "history.csv").read_text().splitlines()[0].split(",")
    names = {"critic_loss", "generator_loss", "gradient_penalty", "mean_difference", "critic_norm", "generator_norm"}
    assert names | {"val_nll", "val_text_score"} <= set(header)
    assert list((directory / "steps").glob("*events*"))
    shown = run_here(text_gan, "--sample", "whole", "-T", folder / "runs", "--style-seed", "3").stdout
    run = open_for_use("whole", folder / "runs", ("text_gan",))
    run.model = text_gan.build(run.options, run.vocabulary)
    run.load_best(run.model)
    assert as_text(run, write(run, 20, style_seed=3))[1] == shown.splitlines()
    assert max(map(len, write(run, 20, length=3))) == 3 < max(map(len, write(run, 20)))
    assert write(run, 20, style_seed=4) != write(run, 20, style_seed=3)
    likelihood = load_likelihood_generator(run, text_gan.build)
    # The best weights are of the epoch against the critic, whatever the one before it had reached.
    best = run.model.sampling_generator.weights
    assert any(not np.array_equal(a, b) for a, b in zip(likelihood.weights, best, strict=True))


def test_scores_of_another_text_leave_those_of_the_run_alone(trained, monkeypatch):
    folder, _ = trained
    directory = folder / "runs" / "text_gan" / "whole"
    (folder / "other.txt").write_text("\n".join(f"{line} w0" for line in LINES), encoding="utf-8")
    before = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    monkeypatch.setattr(evaluation, "curve", lambda *args: [(1.0, 3.0, 4.0), (0.9, 2.9, 4.1)])
    where = ["-D", folder / "other.txt", "-T", folder / "runs", "--eval-samples", "20"]
    done = run_here(text_gan, "--eval", "whole", *where)
    assert "20 sentences of whole against the test split" in done.stdout and "eval.json stays" in done.stderr
    assert {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()} == before


def test_resumed_is_as_if_never_stopped(trained, monkeypatch):
    folder, where = trained
    # Their score chooses the best weights, so as many as in the other run.
    monkeypatch.setattr(evaluation, "VALIDATION_SAMPLES", 200)
    monkeypatch.setattr(evaluation, "evaluate", lambda *args: {})
    # In the epoch against the critic, the second one; an epoch has 17 steps.
    run_here(text_gan, *SMALL, *where, "--name", "stopped", "--max-steps", "25")
    run_here(text_gan, "--resume", "stopped", "-T", folder / "runs", "--max-steps", "1000")
    whole, again = (
        storage.load_arrays(folder / "runs" / "text_gan" / n / "last.safetensors")[1] for n in ("whole", "stopped")
    )
    assert whole.keys() == again.keys() and any(key.startswith("optimizer") for key in whole)
    for key, array in whole.items():
        assert np.array_equal(array, again[key]), key


def test_splits_without_a_known_word_are_one_line(tmp_path):
    (tmp_path / "words.txt").write_text("a\nb\n", encoding="utf-8")
    for split in ("train", "valid", "test"):
        folder = tmp_path / f"no-{split}"
        folder.mkdir()
        for name in ("train", "valid", "test"):
            (folder / f"{name}.txt").write_text("zebra\n" if name == split else "a b\n", encoding="utf-8")
        argv = ["-D", folder, "--vocab", tmp_path / "words.txt", *SMALL, "-b", "1", "-T", tmp_path / "runs"]
        done = run_here(text_gan, *argv, status=2)
        assert f"only 0 {split} texts have no unknown word" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_wrong_inputs_are_one_line(trained, tmp_path):
    _, where = trained
    (tmp_path / "few.txt").write_text("a b\nb c\nc d\nd e\n", encoding="utf-8")
    (tmp_path / "words.txt").write_text("1,zebra\n2,quagga\n", encoding="utf-8")
    (tmp_path / "unique.txt").write_text("".join(f"a{i} b{i} c\n" for i in range(60)), encoding="utf-8")
    sizes = [*SMALL, "-T", tmp_path]
    for argv in (
        ["-D", tmp_path / "unique.txt", *sizes],
        ["-D", tmp_path / "none.txt", *sizes],
        ["-D", tmp_path / "few.txt", *sizes],
        [*where[:2], *sizes, "--vocab", tmp_path / "none.txt"],
        [*where[:2], *sizes, "--vocab", tmp_path / "words.txt"],
        ["--sample", "nothing", "-T", tmp_path],
    ):
        with pytest.raises(UserError):
            text_gan.main(text_gan.parse_args([str(value) for value in argv]))
    assert not (tmp_path / "text_gan").exists()


def test_words_of_a_file(tmp_path):
    (tmp_path / "words.txt").write_text("zebra\n<unk>\nquagga\nzebra\n", encoding="utf-8")
    (tmp_path / "rows.csv").write_text("0,zebra\n1,quagga\n", encoding="utf-8")
    for name in ("words.txt", "rows.csv"):
        found = read_vocabulary(tmp_path / name, None)
        assert found.tokens[4:] == ["zebra", "quagga"] and found.level == "word"
