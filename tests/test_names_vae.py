"""The attention VAE of names: weights, causality, its bound, what is drawn from it, and its command line."""

import functools
import json
from types import SimpleNamespace

from scriptorium import UserError
from scriptorium.data import alphabets
from scriptorium.data.batches import encode_texts
from scriptorium.data.vocabulary import SPECIAL_TOKENS, START, Vocabulary
from scriptorium.names_vae import codec
from scriptorium.names_vae import scores as name_scores
from scriptorium.training import storage
from scriptorium.training.opening import open_for_use
from scriptorium.vae import inference

import keras
import numpy as np
import pytest
from helpers import run_here
from keras import ops

import homotopy
import names_vae

NAMES = ["anna", "bo", "carla", "dan", "emil", "fay", "gregor", "ada", "bea", "cem"] * 3
LABELS = {"language": ["da", "en", "it"], "kind": ["f", "m"]}


def options_of(*argv, labels=LABELS):
    args = names_vae.parse_args(["-L", "16", "-H", "8", "--prior-units", "20", "-m", "9", *argv])
    return {k: v for k, v in vars(args).items() if k not in ("given", "groups", "flags", "argv")} | {"labels": labels}


def made(*argv, labels=LABELS):
    keras.utils.set_random_seed(1)
    vocabulary = Vocabulary.build(NAMES, "char")
    model = names_vae.build(options_of(*argv, labels=labels), vocabulary)
    random = np.random.default_rng(2)
    for weight in model.trainable_variables:
        weight.assign(weight.numpy() + random.normal(0, 0.2, weight.shape).astype("float32"))
    classes = np.stack([random.integers(0, 1 + len(kind), len(NAMES)) for kind in labels.values()] or [[0] * 30], 1)
    return model, vocabulary, encode_texts(NAMES, vocabulary, labels=classes.astype("int32"))


@pytest.fixture(scope="module")
def vae():
    return made()


def draws(model, n, seed=1):
    return np.random.default_rng(seed).normal(size=(n, *model.latent_shape)).astype("float32")


@pytest.mark.parametrize("tokens, longest", [(47, 25), (30, 20)])
def test_weights_of_the_reference(tokens, longest):
    args = ["-L", "64", "-H", "64", "-m", str(longest)]
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *map(chr, range(97, 93 + tokens))], "char")
    model = names_vae.build(options_of(*args, labels={}), vocabulary)
    width, positions = 64, longest + 1
    reads = tokens * width + positions * width + 2 * (12 * width**2 + 13 * width) + 2 * width
    assert model.encoder.count_params() == model.prefix_encoder.count_params() == reads + 4 * width**2
    # Ours are the positions of the keys, and the path from a position's own latents.
    added = positions * width + 2 * width**2
    assert model.decoder.count_params() - added == reads + 10 * width**2 + 11 * width + 2 * width + width * tokens


def test_a_name_is_written_in_one_alphabet():
    letters = ["a", "b", "б", "д", "-", "\u0301", "あ", "ア", "漢"]
    assert [alphabets.alphabet(c) for c in letters] == ["LATIN"] * 2 + ["CYRILLIC"] * 2 + [""] * 2 + ["JAPANESE"] * 3
    vocabulary = Vocabulary([*SPECIAL_TOKENS, *letters], "char")
    for one in (True, False):
        options = options_of("-L", "8", "-m", "12", labels={}) | {"one_alphabet": one}
        model = names_vae.build(options, vocabulary)
        names_codec = codec_of(model, vocabulary, **options)
        z = draws(model, 200)
        names = names_codec.decode(z, temperature=1.0)
        assert (max(len(alphabets.alphabets(name)) for name in names) == 1) == one
        # What is asked for comes first, whatever its alphabet; then the name keeps to it.
        names = names_codec.decode(z, temperature=1.0, prefix="-б")
        assert all(name.startswith("-б") for name in names)
        assert all(alphabets.alphabets(name) == {"CYRILLIC"} for name in names) == one
        mixed = names_codec.decode(z, temperature=1.0, prefix="aб")
        assert all(name.startswith("aб") for name in mixed)


@pytest.mark.parametrize("argv", [(), ("--prior", "normal"), ("--no-latent",)])
def test_writing_step_by_step_equals_teacher_forcing(argv):
    model, _, sequences = made(*argv)
    z = draws(model, len(sequences))
    wanted = inference.nll_of_each(model, sequences, z)
    for i in (0, 1, 6):
        forced = np.zeros((1, model.latent_shape[0]), "int32")
        given = {"z": z[i : i + 1], "labels": sequences.labels[i : i + 1], "forced": forced}
        state, token, total = model.start(given), START, 0.0
        for character in sequences[i].tolist():
            logits, state = model.step(np.array([token], "int32"), state)
            total -= float(ops.log_softmax(logits, axis=-1)[0, character])
            token = character
        assert wanted[i] == pytest.approx(total, rel=1e-4)


def test_no_logit_sees_what_comes_later(vae):
    model, _, _ = vae
    random = np.random.default_rng(3)
    ids, labels = random.integers(4, 12, (1, 8)).astype("int32"), np.ones((1, 2), "int32")
    z = draws(model, 1)[:, :8]
    base = ops.convert_to_numpy(model.decoder(ids, z, labels))
    for place in range(8):
        other_ids, other_z = ids.copy(), z.copy()
        other_ids[0, place] = 4 + (other_ids[0, place] - 3) % 8
        other_z[0, place] += 1
        by_id = np.abs(ops.convert_to_numpy(model.decoder(other_ids, z, labels)) - base).max(axis=(0, 2)) > 1e-6
        by_z = np.abs(ops.convert_to_numpy(model.decoder(ids, other_z, labels)) - base).max(axis=(0, 2)) > 1e-6
        np.testing.assert_array_equal(by_id, np.arange(8) > place)
        np.testing.assert_array_equal(by_z, np.arange(8) >= place)


def test_padding_counts_nowhere(vae):
    model, _, sequences = vae
    rows = np.arange(4)
    z = ops.convert_to_tensor(draws(model, 4))
    for width in (8, 10):
        inputs = sequences.inputs(rows, width)
        found = [*model.posterior(inputs), *model.encode_prefix(inputs, ops.convert_to_tensor([1, 0, 3, 2]))]
        part = [ops.convert_to_numpy(x)[:, :3] for x in found] + [ops.convert_to_numpy(model.nll(inputs, z))]
        codes = (ops.convert_to_tensor(draws(model, 4, seed)[:, :width]) for seed in (2, 3))
        part.append(ops.convert_to_numpy(model.log_ratio(inputs, z, *codes)))
        if width == 8:
            before = part
    for a, b in zip(before, part, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_the_prefix_encoder_sees_the_beginning_only(vae):
    model, vocabulary, _ = vae
    lengths = ops.convert_to_tensor([2], "int32")
    first, other, third = (vocabulary.encode(name)[None] for name in ("carla", "cadan", "cbrla"))
    labels = np.zeros((1, 2), "int32")
    a, b, c = (
        ops.convert_to_numpy(model.encode_prefix({"ids": x, "labels": labels}, lengths)[0])
        for x in (first, other, third)
    )
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert np.abs(a - c).max() > 1e-4


def test_a_label_is_seen_at_the_last_position(vae):
    model, _, _ = vae
    ids, z = np.full((1, 10), 5, "int32"), draws(model, 1)
    found = [ops.convert_to_numpy(model.decoder(ids, z, np.array([[kind, 0]], "int32")))[0, -1] for kind in range(4)]
    assert min(np.abs(found[i] - found[j]).max() for i in range(4) for j in range(i)) > 1e-4


def test_the_bound_against_numpy(vae):
    model, _, sequences = vae
    rows = np.arange(6)
    inputs = sequences.inputs(rows)
    y_pred = model(inputs)
    for metric in model.metrics:
        metric.reset_state()
    model.compute_loss(inputs, y_pred=y_pred, training=False)
    z, mean, log_var = (ops.convert_to_numpy(y_pred[k]).astype("float64") for k in ("z", "z_mean", "z_log_var"))
    log_prior = ops.convert_to_numpy(model.prior(y_pred["z"], sequences.labels[rows]))
    log_q = -0.5 * (np.log(2 * np.pi) + log_var + (z - mean) ** 2 / np.exp(log_var)).sum(axis=-1)
    logits = ops.convert_to_numpy(ops.log_softmax(y_pred["logits"], axis=-1))
    kl, nll = np.zeros(6), np.zeros(6)
    for i, row in enumerate(rows):
        for t, character in enumerate(sequences[row]):
            kl[i] += log_q[i, t] - log_prior[i, t]
            nll[i] -= logits[i, t, character]
    assert float(model.means["kl"].result()) == pytest.approx(kl.mean(), rel=1e-4)
    assert float(model.means["nll"].result()) == pytest.approx(nll.mean(), rel=1e-4)
    assert float(model.means["neg_elbo"].result()) == pytest.approx((kl + nll).mean(), rel=1e-4)
    tokens = sequences.lengths[rows].sum()
    assert float(model.nats_per_char.result()) == pytest.approx((kl + nll).sum() / tokens, rel=1e-4)


def test_the_prior_is_told_the_latents_before(vae):
    model, _, sequences = vae
    labels, window = sequences.labels[:3], model.prior.WINDOW
    z, place = draws(model, 3), 5
    log_prior = ops.convert_to_numpy(model.prior(z, labels))
    for changed in (4, 5, 6):
        other = z.copy()
        other[:, changed] += 1
        moved = np.abs(ops.convert_to_numpy(model.prior(other, labels)) - log_prior)[:, place] > 1e-6
        assert np.all(moved == (changed <= place))
    # A draw, taken back: its numbers less their means, in their deviations, are the normal ones that it was made from.
    u = draws(model, 3, seed=4)
    nothing = np.zeros(u.shape[:2], bool)
    z = model.prior.inverse(u, labels, u, nothing)
    context = np.array(model.prior.here(labels, np.arange(z.shape[1])[None]))
    for t in range(z.shape[1]):
        for back in range(1, min(window, t) + 1):
            context[:, t] += z[:, t - back] @ ops.convert_to_numpy(model.prior.before.kernel)[window - back]
    mean, log_deviation = (ops.convert_to_numpy(a) for a in model.prior.density.mean_and_log_deviation(z, context))
    np.testing.assert_allclose((z - mean) * np.exp(-log_deviation), u, atol=2e-3)
    # What is given stays, and is gone on with.
    known = np.arange(z.shape[1])[None] < np.array([[3], [0], [z.shape[1]]])
    other = np.where(known[..., None], 7.0, u)
    np.testing.assert_allclose(model.prior.inverse(other, labels, z, known), z, atol=1e-4)


@pytest.mark.parametrize("prior", ["causal", "normal"])
def test_the_bound_of_several_draws_against_numpy(prior):
    argv = ["--prior", prior, "--train-samples", "3", "--free-bits", "0", "--kl-schedule", "none", "--supervision", "0"]
    model, _, sequences = made(*argv, "--dropout", "0", "--label-dropout", "0")
    inputs = sequences.inputs(np.arange(6))
    y_pred = model(inputs, training=True)
    loss = float(model.compute_loss(inputs, y_pred=y_pred))
    z, mean, log_var = (y_pred[k] for k in ("z", "z_mean", "z_log_var"))
    z = ops.convert_to_numpy(z)
    log_weights = np.zeros((3, 6))
    for draw in range(3):
        rows = ops.convert_to_tensor(z[draw::3])
        log_ratio = ops.convert_to_numpy(model.log_ratio(inputs, rows, mean, log_var))
        log_weights[draw] = log_ratio - ops.convert_to_numpy(model.nll(inputs, rows))
    wanted = np.log(3) - np.mean(np.logaddexp.reduce(log_weights, axis=0)) + float(model.means["prefix_kl"].result())
    assert loss == pytest.approx(wanted, rel=1e-4)
    assert np.abs(z[::3] - z[1::3]).max() > 0.1


def test_the_prior_learns_below_the_free_bits_too():
    """There the posterior is free of the KL; a prior that does not follow it is far off when the KL counts again."""
    steps = {}
    for free_bits in (0, 1e6):
        plain = ("--train-samples", "1", "--dropout", "0", "--label-dropout", "0", "--kl-schedule", "none")
        model, _, sequences = made("--free-bits", str(free_bits), "--supervision", "0", *plain)
        before = [[w.numpy().copy() for w in part.trainable_variables] for part in (model.prior, model.encoder)]
        model.compile(keras.optimizers.SGD(1e-4))
        model.train_on_batch(sequences.inputs(np.arange(10)))
        parts = zip((model.prior, model.encoder), before, strict=True)
        steps[free_bits] = [
            [w.numpy() - old for w, old in zip(part.trainable_variables, olds, strict=True)] for part, olds in parts
        ]
    (prior, encoder), (free_prior, free_encoder) = steps.values()
    for step, free in zip(prior, free_prior, strict=True):
        assert np.abs(step).max() > 1e-3
        np.testing.assert_allclose(free, step, rtol=1e-3, atol=1e-4)
    assert max(np.abs(step - free).max() for step, free in zip(encoder, free_encoder, strict=True)) > 0.1


def test_one_batch_is_learned_by_heart():
    keras.utils.set_random_seed(1)
    vocabulary = Vocabulary.build(NAMES, "char")
    argv = ["--dropout", "0", "--free-bits", "60", "--train-samples", "1", "--num-layers", "1"]
    model = names_vae.build(options_of(*argv, labels={}), vocabulary)
    ids = encode_texts(NAMES[:10], vocabulary).padded(np.arange(10))
    model.compile(keras.optimizers.Adam(1e-2))
    for _ in range(150):
        scores = model.train_on_batch(ids, return_dict=True)
        model.reset_metrics()
    assert scores["nll"] < 1


def test_scores_of_names():
    model, _, sequences = made(labels={})
    scores = name_scores.evaluate(model, sequences, 10, iw_samples=50)
    assert scores["neg_elbo"] == pytest.approx(scores["nll"] + scores["kl"], rel=1e-6)
    assert scores["iw_nll"] < scores["neg_elbo"]
    assert scores["nats_per_char"] == pytest.approx(scores["iw_nll"] * 30 / sequences.lengths.sum(), rel=1e-6)
    # With ten different names, each three times, there are no more than log(10) nats to tell.
    assert scores["mutual_information"] <= np.log(10) + 1e-6


def test_importance_weights_of_a_posterior_that_is_exact():
    """Where the decoder does not look at z and the prior is the posterior, every bound is the nll."""
    model, _, sequences = made("--prior", "normal")
    for layer in (model.encoder.to_latents, model.decoder.look_up.out, model.decoder.skip):
        for weight in layer.weights:
            weight.assign(0 * weight)
    scores = name_scores.evaluate(model, sequences, 10, iw_samples=20)
    assert scores["kl"] == pytest.approx(0, abs=1e-4)
    assert scores["iw_nll"] == pytest.approx(scores["nll"], rel=1e-4)
    assert scores["nll_from_prior"] == pytest.approx(scores["nll"], rel=1e-4)
    assert scores["mutual_information"] == pytest.approx(0, abs=1e-4) and scores["active_units"] == 0


def codec_of(model, vocabulary, **options):
    run = SimpleNamespace(model=model, vocabulary=vocabulary, options=options_of() | options, name="a")
    return codec.NamesCodec(run)


@pytest.fixture
def names_codec(vae):
    return codec_of(*vae[:2])


def test_names_begin_as_asked(names_codec):
    for prefix in ("ca", "anna", "b"):
        names = names_codec.sample(20, prefix=prefix, temperature=1.0)
        assert all(name.startswith(prefix) for name in names) and len(set(names)) > 1
    with pytest.raises(UserError, match="prefix has 10 characters"):
        names_codec.sample(2, prefix="a" * 10)


def test_the_radius_is_that_of_the_draw(names_codec):
    far = names_codec.sample(30, anchor="carla", radius=3.0)
    assert len(set(names_codec.sample(30, anchor="carla", radius=0.0))) <= 30 and len(set(far)) > 1
    # Behind the anchor, where there is no posterior, the prior is drawn from; on it, nothing moves at 0.
    z_mean, _ = names_codec.encode(["carla", "bo"])
    np.testing.assert_allclose(z_mean[:1], names_codec.encode(["carla"])[0], atol=1e-3)
    same = names_codec.sample_near(["carla"] * 2, radius=0.0)
    np.testing.assert_allclose(same[0, :6], same[1, :6], atol=1e-5)
    assert np.all(np.any(same[0, 6:] != same[1, 6:], axis=-1))


@pytest.mark.parametrize("prior", ["causal", "normal"])
def test_a_small_radius_moves_to_the_refined_code(prior):
    model, vocabulary, _ = made("--prior", prior)
    names_codec = codec_of(model, vocabulary)
    names = names_codec.read(["carla", "bo"])
    z_mean, z_log_var = inference.posteriors(model, names)
    refined = names_codec.refine_code(names, z_mean, z_log_var)
    at_mean, at_refined = (inference.nll_of_each(model, names, z) for z in (z_mean, refined))
    assert np.all(at_refined < at_mean - 0.1)
    of_one = names_codec.refine_code(names_codec.read(["bo"]), z_mean[1:], z_log_var[1:])
    np.testing.assert_allclose(of_one[0, :3], refined[1, :3], atol=1e-4)
    np.testing.assert_allclose(names_codec.sample_near(["carla"], 0.0)[:, :6], refined[:1, :6], atol=1e-4)
    for radius, wanted in ((1.0, z_mean), (0.5, (z_mean + refined) / 2)):
        middle = np.mean(names_codec.sample_near(["carla"], radius, times=4000)[:, :6], axis=0)
        np.testing.assert_allclose(middle, wanted[0, :6], atol=0.15)


def test_labels_that_are_not_asked_for_come_as_often_as_in_training(vae):
    names_codec = codec_of(*vae[:2], label_counts=[[1, 1, 10], [1, 2, 30], [3, 1, 60]])
    drawn = names_codec.draw_labels(4000, [0, 0])
    assert np.mean(np.all(drawn == [3, 1], axis=1)) == pytest.approx(0.6, abs=0.03)
    drawn = names_codec.draw_labels(4000, [1, 0])
    assert set(drawn[:, 0]) == {1} and np.mean(drawn[:, 1] == 2) == pytest.approx(0.75, abs=0.03)
    np.testing.assert_array_equal(names_codec.draw_labels(2, [2, 1]), [[2, 1]] * 2)


def test_the_scale_of_the_prior(names_codec):
    labels = [[1, 2]] * 300
    means = names_codec.sample_prior(300, labels=labels, scale=0.0)
    np.testing.assert_allclose(means, means[:1].repeat(300, 0), atol=1e-4)
    # The first number of the first position depends on no other one.
    wide, narrow = (names_codec.sample_prior(300, labels=labels, scale=scale)[:, 0, 0] for scale in (1.0, 0.5))
    np.testing.assert_allclose(narrow - means[0, 0, 0], 0.5 * (wide - means[0, 0, 0]), atol=1e-4)
    assert len(set(names_codec.sample(5, label="it,f", prior_scale=0.0, temperature=0.0))) == 1


def test_guidance(names_codec):
    labels = [[3, 1]] * 4
    z = names_codec.sample_prior(4, labels=labels)
    both = (np.array(told, "int32") for told in (labels, [[0, 0]] * 4))
    told, unknown = (ops.convert_to_numpy(names_codec.run.model.expected(z, classes)) for classes in both)
    np.testing.assert_allclose(names_codec.guide(z, labels, 0.5), z + 0.5 * (told - unknown), atol=1e-4)
    np.testing.assert_array_equal(names_codec.guide(z, labels, 0), z)
    assert np.max(np.abs(names_codec.guide(z, [[0, 0]] * 4, 2.0) - z)) < 1e-4


def test_reading_labels_and_names(names_codec):
    sequences = names_codec.read(["anna", "it\tf\tanna", "?\tm\tbo"])
    np.testing.assert_array_equal(sequences.labels, [[0, 0], [3, 1], [0, 2]])
    assert names_codec.run.vocabulary.decode(sequences[1]) == "anna"


def test_what_is_known_of_a_name():
    known = name_scores.TrainingNames(["anna", "bo", "anna"])
    assert known.describe(["bo", "anno"]) == ["bo  (seen)", "anno  (new; anna: 1)"]
    assert known.describe(["x" * 300] * 300) == [f"{'x' * 300}  (new; anna: 300)"] * 300
    assert known.describe([]) == []
    assert known.novelty(["bo", "bo", "be", "ba"]) == {"unique": 0.75, "new": 0.5}


script = functools.partial(run_here, names_vae)
SMALL = ["-L", 16, "-H", 8, "--prior-units", 16, "-b", 16, "-m", 12, "--num-layers", 1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    random = np.random.default_rng(1)
    for label, signs, ends in (("ab", "abcd", "a"), ("yz", "wxyz", "o"), ("\u03b5", "\u03b1\u03b2\u03b3", "\u03c2")):
        names = {"".join(random.choice(list(signs), 4)) + ends for _ in range(80)}
        (folder / "names").mkdir(exist_ok=True)
        (folder / "names" / f"{label}.txt").write_text("\n".join(sorted(names)), encoding="utf-8")
    done = script("-D", folder / "names", "-e", 2, *SMALL, "-T", folder / "runs", "--name", "a")
    return folder, done


def test_training_from_the_command_line(trained):
    folder, done = trained
    directory = folder / "runs" / "names_vae" / "a"
    scores = json.loads((directory / "eval.json").read_text())
    assert scores["neg_elbo"] == pytest.approx(scores["nll"] + scores["kl"], rel=1e-5)
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    assert config["options"]["labels"] == {"label_1": ["ab", "yz", "\u03b5"]}
    assert "(new;" in done.stdout and "Traceback" not in done.stderr
    script("--eval", "a", "-T", folder / "runs", "--iw-samples", 5)
    assert json.loads((directory / "eval.json").read_text())["iw_samples"] == 5


def test_names_from_the_command_line(trained):
    folder, _ = trained
    done = script("--sample", "a", "-T", folder / "runs", "--num-samples", 3, "--prefix", "xy", "--label", "yz")
    assert len(done.stdout.splitlines()) == 3
    assert all(line.startswith("xy") for line in done.stdout.splitlines())


def test_walks_between_names(trained):
    folder, _ = trained
    done = run_here(homotopy, "-T", folder / "runs", "abaca", "xyxyo", "-n", 3)
    assert len(done.stdout.splitlines()) == 5


def test_going_on_equals_never_stopping(trained, monkeypatch):
    folder, _ = trained
    monkeypatch.setattr(names_vae.report, "evaluate_and_save", lambda *args, **settings: {})  # no score is asked for
    stop = ["--max-steps", 7, "-o", 0]
    script("-D", folder / "names", "-T", folder / "runs", *SMALL, "-e", 2, "--name", "parts", *stop)
    script("--resume", "parts", "-T", folder / "runs", "--max-steps", 1000)
    last = [
        storage.load_arrays(folder / "runs" / "names_vae" / name / "last.safetensors")[1] for name in ("a", "parts")
    ]
    assert set(last[0]) == set(last[1])
    for name in last[0]:
        if name.startswith("model/"):
            np.testing.assert_array_equal(last[0][name], last[1][name])


def test_fine_tuning_with_frozen_encoders(trained, tmp_path, monkeypatch):
    folder, _ = trained
    monkeypatch.setattr(names_vae.report, "evaluate_and_save", lambda *args, **settings: {})  # no score is asked for
    names = tmp_path / "others.txt"
    names.write_text("\n".join(f"q{i % 7}\tab{'cd'[i % 2]}{'xyzw'[i % 4]}{i}" for i in range(60)), encoding="utf-8")
    where = ["-T", folder / "runs", "-b", 16]
    done = script("-D", names, "--init", "a", "--freeze", "encoder", "-e", 1, "-o", 0, *where, "--name", "tuned")
    assert "starts from a" in done.stdout
    runs = [folder / "runs" / "names_vae" / name for name in ("a", "tuned")]
    models = []
    for path in runs:
        opened = open_for_use(str(path), folder / "runs", ("names_vae",))
        models.append(names_vae.build(opened.options, opened.vocabulary))
        opened.load_best(models[-1])
    assert opened.options["labels"] == {"label_1": [f"q{i}" for i in range(7)]}
    same = [np.array_equal(*(m.encoder.blocks[0].out.kernel.numpy() for m in models))]
    same.append(np.array_equal(*(m.decoder.blocks[0].out.kernel.numpy() for m in models)))
    assert same == [True, False]
    done = script("-D", names, "--init", "a", "-L", 32, *where, status=2)
    assert "--units 32 contradicts a" in done.stderr


def test_bad_input_gets_one_line(trained, tmp_path):
    folder, _ = trained
    where = ("-T", folder / "runs")
    lines = {
        "the labels are: ab, yz": ("--sample", "a", "--label", "fr", *where),
        "the same number of labels": ("-D", tmp_path / "mixed.txt", *where),
    }
    (tmp_path / "mixed.txt").write_text("a\tb\tanna\nc\tbert\n" * 9)
    for message, argv in lines.items():
        done = script(*argv, status=2)
        assert message in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
