"""The text GAN: what its parts must and must not see, and its gradients."""

import types

from scriptorium.data.batches import Sequences
from scriptorium.data.vocabulary import EOS, PAD, SPECIAL_TOKENS, START, Vocabulary
from scriptorium.decoding import sampling
from scriptorium.nn import compiled
from scriptorium.text_gan import diffusion, feedback, players
from scriptorium.text_gan.counts import init_from_counts, ppmi_vectors
from scriptorium.text_gan.evaluation import against_real_texts, gap_to_curve
from scriptorium.text_gan.feedback import sentence_mask
from scriptorium.text_gan.noise import numpy_noise, tensor_noise

import keras
import numpy as np
import pytest
from keras import ops

import text_gan

SIZES = ["-m", "7", "-E", "8", "-L", "8", "--num-heads", "2", "--critic-embedding-dim", "4", "--dtype", "float32"]
SIZES += ["--B_gen", "1", "--O_gen", "1", "--M_gen", "1", "--B_disc", "1", "--O_disc", "1"]
TOKENS = [*SPECIAL_TOKENS, *"abcdefgh"]
pytestmark = pytest.mark.usefixtures("one_part")


def options_of(*argv):
    args = text_gan.parse_args([*SIZES, *argv])
    return {name: value for name, value in vars(args).items() if name not in ("given", "groups", "flags", "argv")}


def made(*argv, fresh=False):
    """Returns a model; its softmax, which begins at 0, is at random unless it is to be fresh."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(1)
    options = options_of(*argv)
    model = text_gan.build(options, Vocabulary(TOKENS, "space"))
    text_gan.compile_for(model, options, 10)
    model.optimizer.build([])
    model.phase = "adversarial"
    if not fresh:
        model.generator.kernel.assign(np.random.default_rng(7).normal(0, 0.3, model.generator.kernel.shape))
        model.update_average(0.0)
    return model


def noise_of(model, batch, seed=0):
    random = np.random.default_rng(seed)
    shapes = model.generator.noise_shapes(batch)
    return {name: ops.convert_to_tensor(numpy_noise(shape, "normal", random)) for name, shape in shapes.items()}


def sentences(batch=6, seed=0):
    random, ids = np.random.default_rng(seed), np.full((batch, 8), PAD, "int32")
    for row in ids:
        length = random.integers(1, 8)
        row[:length], row[length] = random.integers(4, 12, length), EOS
    return ops.convert_to_tensor(ids)


def numpy(x):
    return np.array(ops.convert_to_numpy(x))


@pytest.mark.parametrize("kind", ["normal", "uniform", "truncated"])
def test_noise_has_mean_0_and_variance_1(kind):
    seed, shape = keras.random.SeedGenerator(2), (40_000,)
    for noise in (numpy_noise(shape, kind, np.random.default_rng(1)), tensor_noise(shape, kind, seed)):
        noise = numpy(noise)
        assert abs(noise.mean()) < 0.02 and noise.std() == pytest.approx(1, abs=0.02)
        assert kind == "normal" or np.abs(noise).max() < 2.3


@pytest.mark.parametrize("token_input", ["last", "noise", "constant"])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_word_at_a_time_is_all_at_once_and_sees_no_later_word(token_input, norm):
    model = made("--token-input", token_input, "--norm", norm, "--B_gen", "2")
    generator, noise, ids = model.generator, noise_of(model, 6), sentences()
    logits = numpy(generator.logits(generator.states(ids, noise)))
    state, before = generator.start(noise), ops.full((6,), START, "int32")
    for t in range(8):
        step, state = generator.step(before, state)
        np.testing.assert_allclose(numpy(step), logits[:, t], atol=2e-5)
        before = ids[:, t]
    changed = numpy(ids)
    changed[:, 4] = 4 + (changed[:, 4] + 1) % 8
    again = numpy(generator.logits(generator.states(ops.convert_to_tensor(changed), noise)))
    np.testing.assert_allclose(again[:, :5], logits[:, :5], atol=1e-6)
    assert np.abs(again[:, 5:] - logits[:, 5:]).max() > 1e-3


def test_every_kind_of_noise_changes_what_is_written():
    model = made("--token-input", "noise")
    noise, ids = noise_of(model, 6), sentences()
    before = numpy(model.generator.states(ids, noise))
    for name in ("style", "blocks", "words"):
        other = noise | {name: noise_of(model, 6, seed=1)[name]}
        assert np.abs(numpy(model.generator.states(ids, other)) - before).max() > 1e-3


@pytest.mark.parametrize("kind, through", [("argmax", False), ("draw", False), ("gumbel", True)])
def test_the_gradient_passes_through_the_feedback_or_it_does_not(kind, through):
    model = made("--token-input", "noise", "--feedback", kind)
    noise = noise_of(model, 6)
    # Places after this one see its own noise by way of the word alone that was made of it.
    ids = None if kind == "gumbel" else model.sample(noise)

    def last(words):
        written, *_ = model.critic_inputs(noise | {"words": words}, ids)
        return ops.sum(written[:, 3:] ** 2)

    def first(words):
        written, *_ = model.critic_inputs(noise | {"words": words}, ids)
        return ops.sum((written[:, :1] - 1) ** 2)

    own = numpy(players.gradient_of_sum(first, noise["words"]))
    assert np.abs(own[:, 0]).max() > 0 and not own[:, 1:].any()
    assert bool(np.abs(numpy(players.gradient_of_sum(last, noise["words"]))[:, 0]).max() > 0) == through


def test_behind_the_end_nothing_is_written_and_the_critic_sees_nothing():
    model = made()
    ids = sentences()
    there = numpy(sentence_mask(ids))
    assert (there.sum(1) == (numpy(ids) != PAD).sum(1)).all()
    after_end = ops.convert_to_tensor(np.array([[5, EOS, 6, EOS, PAD]], "int32"))
    assert numpy(sentence_mask(after_end)).tolist() == [[True, True, False, False, False]]
    embedded = numpy(model.critic.embed(ids))
    behind = embedded + 3 * ~there[..., None]
    for pooling in ("none", "average", "max"):
        for hide in ("yes", "no"):
            own = made("--hide-after-end", hide, "--pooling", pooling, "--B_disc", "2").critic
            scores = [numpy(own(ops.convert_to_tensor(x), ops.convert_to_tensor(there))) for x in (embedded, behind)]
            assert np.allclose(*scores, atol=1e-5) == (hide == "yes")
    written, *_ = model.critic_inputs(noise_of(model, 6), ids)
    np.testing.assert_allclose(numpy(written), embedded, atol=1e-6)


@pytest.mark.parametrize("space", ["rows", "words"])
def test_penalty_of_a_linear_critic(space):
    model = made("--penalty-space", space)
    weights = np.random.default_rng(1).standard_normal((8, 4)).astype("float32")
    squared, kernel = model.critic.gradient_norm_squared, numpy(model.critic.kernel)

    def score(self, x, there):
        return ops.sum(x * ops.convert_to_tensor(weights), axis=(1, 2))

    linear = type("Linear", (), {"gradient_norm_squared": staticmethod(squared), "__call__": score})()
    model.__dict__["critic"] = linear
    real, fake = (
        ops.convert_to_tensor(np.random.default_rng(i).standard_normal((6, 8, 4)).astype("float32")) for i in (2, 3)
    )
    there = ops.ones((6, 8), "bool")
    gradient = weights @ kernel.T if space == "rows" else weights
    wanted = (np.linalg.norm(gradient) - 1) ** 2
    found = float(text_gan.TextGAN.gradient_penalty(model, real, fake, there, there))
    assert found == pytest.approx(wanted, rel=1e-4)


def test_gradient_of_the_penalty_by_finite_differences():
    model, random = made(), np.random.default_rng(3)
    for variable in model.critic.trainable_variables:
        variable.assign(random.normal(0, 0.3, variable.shape))
    real, fake = (ops.convert_to_tensor(random.normal(size=(8, 8, 4)).astype("float32")) for _ in range(2))
    mask = ops.convert_to_tensor(np.ones((8, 8), bool))

    def penalty():
        model.seed.state.assign(keras.random.SeedGenerator(5).state)
        return model.gradient_penalty(real, fake, mask, mask)

    variables = [
        model.critic.position_kernel,
        model.critic.blocks[0].norms[0].beta,
        model.critic.blocks[0].norms[1].beta,
    ]
    nothing = ops.zeros(())
    _, _, gradients = players.loss_and_gradients(lambda: (penalty(), nothing), variables, players.all_variables(model))
    for variable, gradient in zip(variables, gradients, strict=True):
        before, sign = numpy(variable), np.sign(numpy(gradient))
        step = 1e-3 / np.sqrt(sign.size)
        ends = []
        for place in (before + step * sign, before - step * sign):
            variable.assign(place)
            ends.append(float(penalty()))
        variable.assign(before)
        # With the second gradient of Keras's own norm on TensorFlow it is off by 2 to 3%.
        assert np.abs(numpy(gradient)).sum() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=0.008)


def test_penalty_of_rows_is_that_of_one_hot_rows():
    model = made("--penalty-space", "rows")
    rows = ops.convert_to_tensor(np.random.default_rng(1).dirichlet(np.ones(12), (6, 8)).astype("float32"))
    there, judge = ops.ones((6, 8), "bool"), model.critic
    whole = numpy(players.gradient_of_sum(lambda rows: judge(judge.embed_rows(rows), there), rows))
    short = players.gradient_of_sum(lambda embedded: judge(embedded, there), judge.embed_rows(rows))
    np.testing.assert_allclose(numpy(judge.gradient_norm_squared(short)), (whole**2).sum((1, 2)), rtol=1e-3)


def test_the_critic_learns_to_tell_and_the_generator_to_please_it():
    model = made("--critic-rate", "3e-3", "--adversarial-rate", "1e-2", "--likelihood-weight", "0")
    real = ops.convert_to_tensor(np.array([[4, 5, 4, 5, EOS, PAD, PAD, PAD]] * 16, "int32"))
    noise = noise_of(model, 16)
    written = model.sample(noise)

    def score(ids):
        return float(ops.mean(model.critic(model.critic.embed(ids), sentence_mask(ids))))

    for _ in range(12):
        model.critic_turn(real, noise, written)
    assert score(real) > score(written) + 0.2
    before = float(ops.mean(model.critic(*model.critic_inputs(noise, written)[:2])))
    assert before == pytest.approx(score(written), abs=1e-4)
    for _ in range(8):
        model.generator_turn(real, noise, model.sample(noise))
    assert np.mean([score(model.sample(noise)) for _ in range(4)]) > before + 0.05


def test_turns():
    model, seen = made("--critic-steps", "2", "--critic-warmup", "3"), []
    model.critic_turn = lambda *_: (seen.append("critic"), model.critic_steps_done.assign(model.critic_steps_done + 1))
    model.generator_turn = lambda *_: (seen.append("generator"), model.critic_steps_done.assign(0))
    for _ in range(6):
        model.adversarial_step(sentences())
    assert seen == ["critic"] * 4 + ["generator", "critic", "critic", "generator"]


def test_dynamic_turns_go_to_the_loss_that_changes_faster():
    model, seen = made("--dynamic_n", "--Lambda_n", "2"), []

    def turn(player, losses):
        def take(*_):
            seen.append(player)
            model.track_loss(player, ops.convert_to_tensor(losses.pop(0)))

        return take

    model.critic_turn = turn(0, [1.0, 1.1, 1.2])
    model.generator_turn = turn(1, [1.0, 2.0, 2.0])
    for _ in range(5):
        model.adversarial_step(sentences())
    # The first losses of both change endlessly, from 0, then the generator's by 1 and the critic's by 0.1.
    assert seen == [0, 1, 1, 0, 1]


def test_diffusion_keeps_clear_sentences_at_depth_0_and_finds_its_depth():
    model = made("--mode", "diffusion", "--discriminator-target", "0.9")
    embedded = model.critic.embed(sentences())
    noisy, share = diffusion.diffused(model.critic, embedded, 0.0, model.seed)
    assert np.abs(numpy(noisy) - numpy(embedded)).max() < 0.05 and not numpy(share).any()
    noisy, share = diffusion.diffused(model.critic, ops.tile(embedded, (200, 1, 1)), 500.0, model.seed)
    assert 0.4 < numpy(share).mean() < 0.6
    # Where all is noise, its covariance is that of noise of one-hot rows: SIGMA^2 W^T W.
    deep = numpy(noisy)[numpy(share) > 0.95].reshape(-1, 4)
    kernel = numpy(model.critic.vectors())
    np.testing.assert_allclose(np.cov(deep.T), 0.25 * kernel.T @ kernel, atol=0.12)
    model.depth.assign(300.0)
    noise = noise_of(model, 6)
    model.critic_turn(sentences(), noise, model.sample(noise))
    assert float(model.depth) in (299.0, 301.0)


@pytest.mark.parametrize(("kind", "mode"), [("draw", "gan"), ("both", "gan"), ("gumbel", "diffusion")])
def test_likelihood_counts_in_the_generators_step(kind, mode):
    model, found = made("--feedback", kind, "--mode", mode, "--dropout", "0"), []
    model.optimizer.update = lambda name, gradients: found.append(
        np.concatenate([numpy(gradient).ravel() for gradient in gradients])
    )
    noise, seed = noise_of(model, 6), numpy(model.seed.state)
    ids = model.sample(noise)
    for weight in (0.0, 1.0):
        model.game.likelihood_weight = weight
        model.seed.state.assign(seed)
        model.generator_turn(sentences(), noise, ids)
    alone, both = found
    assert np.linalg.norm(alone) > 0 and np.linalg.norm(both - alone) > 0.1 * np.linalg.norm(both)


def test_words_learn_by_gradient_and_lengths_by_score():
    model, ids = made("--feedback", "both"), sentences()
    noise, generator = noise_of(model, 6), model.generator
    logits = numpy(sampling.mask_special_tokens(generator.logits(generator.states(ids, noise)))).astype("float64")
    ends = np.exp(logits[..., EOS]) / np.exp(logits).sum(-1)
    lengths = (numpy(ids) > EOS).sum(axis=1)
    expected = [-np.log1p(-p[:n]).sum() - np.log(p[n]) for p, n in zip(ends, lengths, strict=True)]
    *_, nll = feedback.words_and_length(generator, model.critic, noise, ids)
    np.testing.assert_allclose(numpy(nll), expected, rtol=1e-4)

    def loss(part):
        found = feedback.words_and_length(generator, model.critic, noise, ids)
        return ops.sum(found[part] if part else found[0] ** 3), ()

    variables = players.all_variables(model)
    of_words, of_length = (
        numpy(players.loss_and_gradients(lambda part=part: loss(part), [generator.kernel], variables)[2][0])
        for part in (0, 2)
    )
    most = np.abs(of_words[4:]).max()
    assert np.abs(of_words[EOS]).max() < 1e-5 * most and np.abs(of_length[EOS]).max() > 0


def test_reinforce_weighs_by_normalized_scores_and_not_by_rounding():
    nll = ops.convert_to_tensor([2.0, 4.0, 6.0])
    scores = np.array([1.0, 2.0, 6.0], "float32")
    expected = (((scores - 3) / np.sqrt(14 / 3)) * [2, 4, 6]).mean()
    assert float(feedback.reinforce_loss(ops.convert_to_tensor(scores), nll)) == pytest.approx(expected, rel=1e-3)
    alike = np.nextafter(np.full(3, 3, "float32"), np.array([4, 3, 2], "float32"))
    assert abs(float(feedback.reinforce_loss(ops.convert_to_tensor(alike), nll))) < 0.01


def test_likelihood_alone_continues_beyond_the_epochs_that_were_asked_for():
    model = made("--mode", "mle", "-e", "3")
    model.begin_epoch(5)
    assert model.phase == "likelihood" and model.reported() == ("nll",)


def test_halves_side_by_side_are_the_whole(monkeypatch):
    model, found = made("--dropout", "0", "--ema", "0"), []
    model.optimizer.update = lambda name, gradients: found.append([numpy(gradient) for gradient in gradients])
    noise, seed = noise_of(model, 6), numpy(model.seed.state)
    for parts in (1, 2):
        monkeypatch.setattr(compiled, "PARTS", parts)
        model.seed.state.assign(seed)
        found.append([numpy(model.sample(noise))])
        model.likelihood_step(sentences())
        model.generator_turn(sentences(), noise, model.sample(noise))
    for whole, halves in zip(found[:3], found[3:], strict=True):
        for a, b in zip(whole, halves, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_overfits_one_batch_by_likelihood():
    model, batch = made("--mode", "mle", "-l", "2e-2", "--decay", "none", "--dropout", "0"), sentences(4)
    model.phase = "likelihood"
    before = float(ops.mean(model.nll_of(batch, model.generator)))
    for _ in range(50):
        model.likelihood_step(batch)
    assert float(ops.mean(model.nll_of(batch, model.generator))) < before / 4


def test_ppmi_vectors_are_similar_for_words_with_the_same_neighbors():
    random = np.random.default_rng(1)
    texts = [[4 + random.integers(2), 6 + random.integers(2), 8, EOS] for _ in range(300)]  # {4, 5} {6, 7} 8
    vectors = ppmi_vectors(Sequences.from_list(texts), 12, 3)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=-1)
    assert max(distances[4, 5], distances[6, 7]) < 0.3 * min(distances[4, 6], distances[5, 7], distances[6, 8])
    assert not vectors[9:].any() or np.allclose(vectors[9], vectors[10])


def test_a_generator_begins_with_the_frequencies_of_words_and_of_lengths():
    model = made("-E", "64", fresh=True)
    texts = [[4, 4, 5, 4, EOS]] * 300 + [[4, 5, 4, 4, 5, EOS]] * 300
    init_from_counts([model.generator, model.averaged], Sequences.from_list(texts), 1)
    ids = numpy(model.sample(noise_of(model, 500)))
    assert (ids == 4).sum() / (ids == 5).sum() == pytest.approx(1800 / 900, rel=0.15)
    lengths = (ids != PAD).sum(axis=1)
    assert (lengths >= 4).mean() > 0.97 and lengths.mean() == pytest.approx(5.5, abs=0.4) and lengths.std() < 0.9


def test_the_averaged_generator_writes():
    model = made("--ema", "0.5")
    weight, average = model.generator.weights[0], model.averaged.weights[0]
    assert np.array_equal(numpy(weight), numpy(average)) and model.sampling_generator is model.averaged
    weight.assign(weight + 1.0)
    model.update_average(0.5)
    np.testing.assert_allclose(numpy(weight) - numpy(average), 0.5, atol=1e-6)
    plain = made("--ema", "0")
    assert plain.sampling_generator is plain.generator and plain.averaged is None


def test_gap_to_the_curve():
    rows = [(1.0, 4.0, 5.0), (0.5, 2.0, 6.0)]
    assert gap_to_curve(rows, 3.0, 5.0) == pytest.approx(0.5)
    assert gap_to_curve(rows, 1.0, 5.0) is None


@pytest.mark.parametrize(
    "argv",
    [
        ["--preset", "reference", "--B_gen", "1", "--O_gen", "1", "--B_disc", "1", "--O_disc", "1", "--M_gen", "1"],
        ["--feedback", "gumbel", "--mode", "diffusion", "--critic-embedding", "pca"],
        ["--feedback", "draw", "--dynamic-critic-steps", "--token-input", "constant"],
    ],
)
def test_other_ways_train(argv):
    model = made(*argv, "--critic-warmup", "0", "--critic-steps", "1")
    before = [numpy(weight) for weight in model.generator.weights]
    for _ in range(2):
        logs = model.train_on(sentences())
    assert all(np.isfinite(numpy(value)) for value in logs.values())
    assert any(not np.array_equal(a, numpy(b)) for a, b in zip(before, model.generator.weights, strict=True))


def test_samples_are_compared_with_real_texts_as_score_py_does():
    draw = np.random.default_rng(3)
    texts = [" ".join(f"w{word}" for word in draw.integers(0, 9, 6)) for _ in range(120)]
    vocabulary = Vocabulary.build(texts)
    run = types.SimpleNamespace(name="mine", seed=1, vocabulary=vocabulary)
    ids = [vocabulary.encode(text) for text in texts]
    splits = {"train": Sequences.from_list(ids[:60]), "test": Sequences.from_list(ids[60:])}
    monotonous = [[4, 4, 4, 4, 4, 4]] * 50
    found = against_real_texts(run, splits, monotonous)
    mine, real = found["mine"], found["real texts"]
    assert mine["accuracy"][0] > 0.95 and mine["kl_reference"][0] > 0.5 > abs(real["kl_reference"][0])
    assert mine["entropy_samples"][0] < 0.4 < real["entropy_samples"][0] < real["entropy_samples"][2]
    assert against_real_texts(run, splits, monotonous[:19]) == {}
