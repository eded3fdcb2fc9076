"""LSTM, GRU, the softmax likelihood and Adam against Keras's own."""

import importlib.util
import os
import subprocess
import sys

from scriptorium.data.vocabulary import PAD
from scriptorium.nn import fast, recurrent
from scriptorium.nn.compiled import Compiled, add_in_order, build_by_calling, in_halves, xla_fused
from scriptorium.nn.fast import SGD, Adam, Dropout, softmax_nll
from scriptorium.nn.recurrent import GRU, LSTM

import keras
import numpy as np
import pytest
from keras import ops

BACKEND = keras.backend.backend()
ON_TENSORFLOW = BACKEND == "tensorflow"
KINDS = ("LSTM", "GRU")
BATCH, TIME, FEATURES, UNITS = 5, 6, 4, 3
LENGTHS = np.array([6, 1, 3, 0, 5])
MASKS = {
    "none": None,
    "right": np.arange(TIME) < LENGTHS[:, None],
    "gaps": np.random.default_rng(4).random((BATCH, TIME)) < 0.6,
}
if ON_TENSORFLOW:
    from scriptorium.nn.recurrence import on_tensorflow
tensorflow_only = pytest.mark.skipif(not ON_TENSORFLOW, reason="gradients are taken with a TensorFlow tape")


def normal(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def pair(kind, features=FEATURES, **arguments):
    """The same layer from Keras and from here, with the same random weights."""
    peers = [getattr(module, kind)(UNITS, **arguments) for module in (keras.layers, recurrent)]
    for peer in peers:
        peer.build((None, None, features))
    weights = [normal(*weight.shape, seed=i) for i, weight in enumerate(peers[0].get_weights())]
    for peer in peers:
        peer.set_weights(weights)
    return peers


def states_of(kind, batch=BATCH):
    return [ops.convert_to_tensor(normal(batch, UNITS, seed=8 + i)) for i in range(2 if kind == "LSTM" else 1)]


def values_and_gradients(layer, x, mask=None, states=None):
    """Everything the layer returns, and the gradients of a random weighting of it by inputs, states and weights."""
    if BACKEND == "torch":
        return values_and_torch_gradients(layer, x, mask, states)
    if BACKEND == "jax":
        return values_and_jax_gradients(layer, x, mask, states)
    import tensorflow as tf

    sources = [tf.constant(x), *(states or [])]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        results = layer(sources[0], initial_state=sources[1:] or None, mask=mask)
        results = list(results) if isinstance(results, (list, tuple)) else [results]
        weighted = [tf.reduce_sum(tf.cast(r, tf.float32) * normal(*r.shape, seed=i)) for i, r in enumerate(results)]
        loss = tf.add_n(weighted)
    gradients = tape.gradient(loss, sources + [variable.value for variable in layer.trainable_variables])
    return [ops.convert_to_numpy(ops.cast(value, "float32")) for value in results + gradients]


def values_and_jax_gradients(layer, x, mask, states):
    import jax

    def weighted(sources, weights):
        others = [variable.value for variable in layer.non_trainable_variables]
        given = {"initial_state": sources[1:] or None, "mask": mask}
        results, _ = layer.stateless_call(weights, others, sources[0], **given)
        results = list(results) if isinstance(results, (list, tuple)) else [results]
        return sum((r.astype("float32") * normal(*r.shape, seed=i)).sum() for i, r in enumerate(results)), results

    weights = [variable.value for variable in layer.trainable_variables]
    sources = [ops.convert_to_tensor(value) for value in (x, *(states or []))]
    gradients, results = jax.grad(weighted, argnums=(0, 1), has_aux=True)(sources, weights)
    return [ops.convert_to_numpy(ops.cast(value, "float32")) for value in [*results, *gradients[0], *gradients[1]]]


def values_and_torch_gradients(layer, x, mask, states):
    import torch

    sources = [torch.tensor(np.asarray(value)).requires_grad_() for value in (x, *(states or []))]
    mask = None if mask is None else ops.convert_to_tensor(mask)
    results = layer(sources[0], initial_state=sources[1:] or None, mask=mask)
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    loss = sum((r.float() * torch.tensor(normal(*r.shape, seed=i))).sum() for i, r in enumerate(results))
    gradients = torch.autograd.grad(loss, sources + [variable.value for variable in layer.trainable_variables])
    return [ops.convert_to_numpy(ops.cast(value.detach(), "float32")) for value in [*results, *gradients]]


def assert_equal(ours, theirs, tolerance=1e-5):
    assert len(ours) == len(theirs)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("given_states", [False, True])
def test_values_and_gradients_are_those_of_keras(kind, mask, backwards, sequences, given_states):
    keras_layer, layer = pair(kind, return_state=True, return_sequences=sequences, go_backwards=backwards)
    arguments = normal(BATCH, TIME, FEATURES), MASKS[mask], states_of(kind) if given_states else None
    assert layer._runs_own_loop() == (BACKEND != "torch")
    assert_equal(values_and_gradients(layer, *arguments), values_and_gradients(keras_layer, *arguments))


@tensorflow_only
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mask", MASKS)
def test_steps_fused_by_xla(kind, mask, monkeypatch):
    fused = []
    monkeypatch.setattr(on_tensorflow, "has_xla", lambda: fused.append(True) or True)
    keras_layer, layer = pair(kind, return_state=True, return_sequences=True)
    arguments = normal(BATCH, TIME, FEATURES), MASKS[mask], states_of(kind)
    expected = values_and_gradients(keras_layer, *arguments)
    assert_equal(values_and_gradients(layer, *arguments), expected)
    assert not fused  # such small states are faster without
    monkeypatch.setattr(on_tensorflow, "FUSED_FROM", 1)
    assert_equal(values_and_gradients(layer, *arguments), expected)
    assert fused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch", "time"), [(1, 1), (1, 4), (2, 1), (7, 3)])
def test_odd_sizes(kind, batch, time):
    keras_layer, layer = pair(kind, return_state=True, return_sequences=True, use_bias=batch != 7)
    x = normal(batch, time, FEATURES)
    mask = np.ones((batch, time), bool) if BACKEND != "torch" else None
    states = states_of(kind, batch)
    expected = values_and_gradients(keras_layer, x, mask, states)
    assert_equal(values_and_gradients(layer, x, mask, states), expected)


@tensorflow_only
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_by_finite_differences(kind):
    import tensorflow as tf

    layer = pair(kind, return_sequences=True)[1]
    x, mask, weighting = normal(2, 3, FEATURES), np.array([[1, 1, 0], [1, 1, 1]], bool), normal(2, 3, UNITS, seed=5)
    direction = normal(2, 3, FEATURES, seed=6)

    def loss(step):
        return tf.reduce_sum(layer(tf.constant(x + step * direction), mask=mask) * weighting)

    with tf.GradientTape() as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        total = tf.reduce_sum(layer(inputs, mask=mask) * weighting)
    along = float(tf.reduce_sum(tape.gradient(total, inputs) * direction))
    assert along == pytest.approx(float(loss(3e-3) - loss(-3e-3)) / 6e-3, rel=3e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_equal_the_sequence(kind):
    layer = pair(kind, return_sequences=True, return_state=True)[1]
    x, states = normal(BATCH, TIME, FEATURES), states_of(kind)
    outputs, *last = layer(ops.convert_to_tensor(x), initial_state=states)
    for t in range(TIME):
        output, states = layer.step(x[:, t], states)
        np.testing.assert_allclose(ops.convert_to_numpy(output), ops.convert_to_numpy(outputs)[:, t], atol=1e-5)
    assert_equal([ops.convert_to_numpy(s) for s in states], [ops.convert_to_numpy(s) for s in last])


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_gives_the_weights_of_keras(kind):
    weights = []
    for module in (keras.layers, recurrent):
        keras.utils.set_random_seed(7)
        layer = getattr(module, kind)(UNITS)
        layer.build((None, None, FEATURES))
        weights.append(layer.get_weights())
    assert_equal(*weights, tolerance=0)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_files_are_exchanged_with_keras(kind, tmp_path):
    models = [keras.Sequential([keras.Input((None, FEATURES)), layer]) for layer in pair(kind)]
    models[0].save_weights(tmp_path / "keras.weights.h5")
    models[1].set_weights([0 * weight for weight in models[1].get_weights()])
    models[1].load_weights(tmp_path / "keras.weights.h5")
    models[1].save_weights(tmp_path / "ours.weights.h5")
    models[0].set_weights([0 * weight for weight in models[0].get_weights()])
    models[0].load_weights(tmp_path / "ours.weights.h5")
    x = normal(BATCH, TIME, FEATURES)
    assert_equal(models[1].get_weights(), models[0].get_weights(), tolerance=0)
    assert np.abs(models[0].get_weights()[0]).max() > 0
    np.testing.assert_allclose(models[1].predict(x, verbose=0), models[0].predict(x, verbose=0), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_configuration_round_trip(kind):
    layer = getattr(recurrent, kind)(UNITS, return_sequences=True, go_backwards=True, kernel_initializer="he_normal")
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert again.go_backwards and again.return_sequences and again.units == UNITS


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sequences", [False, True])
def test_bidirectional(kind, sequences):
    peers = [
        keras.layers.Bidirectional(getattr(module, kind)(UNITS, return_sequences=sequences, return_state=True))
        for module in (keras.layers, recurrent)
    ]
    x = ops.convert_to_tensor(normal(BATCH, TIME, FEATURES))
    mask = ops.convert_to_tensor(MASKS["right"])
    for peer in peers:
        peer.build(x.shape)
    peers[1].set_weights(peers[0].get_weights())
    assert isinstance(peers[1].backward_layer, getattr(recurrent, kind))
    assert_equal(*[[ops.convert_to_numpy(value) for value in peer(x, mask=mask)] for peer in reversed(peers)])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("own", [True, False])
def test_padding_is_read_without_a_mask(kind, backward, own, monkeypatch):
    reference, layer = pair(kind, return_sequences=True, go_backwards=backward)
    if not own:
        monkeypatch.setattr(layer, "_runs_own_loop", lambda: False)
        monkeypatch.setattr(layer, "inner_loop", no_mask(layer.inner_loop))
    x, lengths = normal(BATCH, TIME, FEATURES), np.array([6, 1, 3, 2, 5])
    outputs, last = recurrent.read_padded(layer, *map(ops.convert_to_tensor, (x, np.arange(TIME) < lengths[:, None])))
    for row, length in enumerate(lengths):
        wanted = ops.convert_to_numpy(reference(ops.convert_to_tensor(x[row : row + 1, :length])))[0]
        np.testing.assert_allclose(ops.convert_to_numpy(last)[row], wanted[-1], atol=1e-5)
        in_order = wanted[::-1] if backward else wanted
        np.testing.assert_allclose(ops.convert_to_numpy(outputs)[row, :length], in_order, atol=1e-5)


def no_mask(inner_loop):
    def run(sequences, initial_state, mask, training=False):
        assert mask is None
        return inner_loop(sequences, initial_state, mask, training)

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_near_float32(kind):
    arguments = {"return_state": True, "return_sequences": True}
    reference = pair(kind, **arguments)[0]
    layer = getattr(recurrent, kind)(UNITS, dtype="mixed_bfloat16", **arguments)
    layer.build((None, None, FEATURES))
    layer.set_weights(reference.get_weights())
    x = normal(BATCH, TIME, FEATURES)
    assert keras.backend.standardize_dtype(layer(ops.convert_to_tensor(x))[0].dtype) == "bfloat16"
    mask = MASKS["right"] if BACKEND != "torch" else None
    for ours, theirs in zip(
        values_and_gradients(layer, x, mask), values_and_gradients(reference, x, mask), strict=True
    ):
        assert np.linalg.norm(ours - theirs) < 0.05 * np.linalg.norm(theirs)


@tensorflow_only
@pytest.mark.parametrize("arguments", [{"dropout": 0.5}, {"recurrent_dropout": 0.5}, {"activation": "relu"}])
def test_what_is_left_to_keras(arguments):
    keras_layer, layer = pair("LSTM", **arguments)
    assert not layer._runs_own_loop()
    x = normal(BATCH, TIME, FEATURES)
    np.testing.assert_allclose(layer(x), keras_layer(x), atol=1e-6)
    # The gate that decides which loop runs: an ordinary layer does take its own.
    assert pair("LSTM")[1]._runs_own_loop() and not pair("GRU", reset_after=False)[1]._runs_own_loop()


@tensorflow_only
def test_training_does_not_retrace_for_each_width():
    traces = []

    class Counting(keras.Model):
        def __init__(self):
            super().__init__()
            self.embedding = keras.layers.Embedding(9, FEATURES)
            self.ahead, self.back = LSTM(UNITS), GRU(UNITS, go_backwards=True)
            self.decoder = LSTM(UNITS, return_sequences=True)
            self.bias = self.add_weight(shape=(9,))

        def call(self, ids):
            traces.append(1)
            x, mask = self.embedding(ids), ids != PAD
            ahead, back = self.ahead(x, mask=mask), self.back(x, mask=mask)
            return self.decoder(x, initial_state=[ahead, back])

        def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
            embeddings = self.embedding.embeddings[:, :UNITS]
            return ops.sum(softmax_nll(y_pred, embeddings, self.bias, x, x != PAD, transposed=True))

    class Batches(keras.utils.PyDataset):
        sizes = ((4, 3), (4, 5), (2, 7), (1, 4), (3, 9), (4, 2), (5, 8), (1, 1))

        def __len__(self):
            return len(self.sizes)

        def __getitem__(self, index):
            ids = np.random.default_rng(index).integers(1, 9, self.sizes[index]).astype("int32")
            return ids, ids

    keras.utils.set_random_seed(1)
    model = Counting()
    model.compile(Adam(0.05))
    history = model.fit(Batches(), epochs=1, verbose=0).history["loss"]
    first = len(traces)
    history += model.fit(Batches(), epochs=8, verbose=0).history["loss"]
    assert len(traces) == first <= 4
    assert history[-1] < 0.8 * history[0]


def reference_nll(hidden, kernel, bias, targets):
    logits = hidden.astype("float64") @ kernel.astype("float64") + (0 if bias is None else bias)
    logits -= logits.max(-1, keepdims=True)
    chosen = np.take_along_axis(logits, targets[..., None], -1)[..., 0]
    return np.log(np.exp(logits).sum(-1)) - chosen


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("scale", [1, 60])  # at 60 most probabilities underflow
def test_softmax_nll_values(transposed, masked, with_bias, scale):
    hidden, kernel = scale * normal(3, 4, 6), normal(6, 20, seed=2)
    bias, targets = normal(20, seed=3) if with_bias else None, np.random.default_rng(4).integers(0, 20, (3, 4))
    mask = np.arange(4) < np.array([[4], [1], [0]]) if masked else None
    given = [ops.convert_to_tensor(value) for value in (hidden, kernel.T if transposed else kernel)]
    nll = softmax_nll(*given, bias, ops.convert_to_tensor(targets), mask, transposed)
    expected = reference_nll(hidden, kernel, bias, targets) * (1 if mask is None else mask)
    assert keras.backend.standardize_dtype(nll.dtype) == "float32"
    np.testing.assert_allclose(ops.convert_to_numpy(nll), expected, rtol=1e-5, atol=1e-5)


@tensorflow_only
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_softmax_nll_gradients(transposed, masked, dtype, tolerance):
    import tensorflow as tf

    kernel = normal(20, 6) if transposed else normal(6, 20)
    n = 200  # so many that some rows which do not count are left out and others fill up
    sources = [tf.constant(normal(n, 6)), tf.constant(kernel), tf.constant(normal(20))]
    targets, upstream = np.random.default_rng(4).integers(0, 20, n), np.random.default_rng(5).random(n, "float32")
    mask = np.random.default_rng(6).random(n) < 0.4 if masked else np.ones(n, bool)

    def ours(hidden, kernel, bias):
        return softmax_nll(tf.cast(hidden, dtype), kernel, bias, targets, mask if masked else None, transposed)

    def plain(hidden, kernel, bias):
        logits = tf.matmul(hidden, kernel, transpose_b=transposed) + bias
        return tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits) * mask.astype("float32")

    results = []
    for function in (tf.function(ours), plain):
        with tf.GradientTape() as tape:
            tape.watch(sources)
            loss = tf.reduce_sum(function(*sources) * upstream)
        results.append([loss, *tape.gradient(loss, sources)])
    for our, their in zip(*results, strict=True):
        assert np.linalg.norm(our - their) < tolerance * np.linalg.norm(their)


def trained(optimizer):
    keras.utils.set_random_seed(3)
    stack = [
        keras.Input((6,)),
        keras.layers.Dense(5, activation="tanh", name="inner"),
        keras.layers.Dense(1, name="outer"),
    ]
    model = keras.Sequential(stack, name="model")
    model.compile(optimizer, "mse")
    x = normal(64, 6)
    model.fit(x, x.sum(1) ** 2, batch_size=8, epochs=2, verbose=0)
    return model


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"learning_rate": 0.01, "global_clipnorm": 0.5},
        {"learning_rate": 0.01, "global_clipnorm": 20.0},
        {"learning_rate": keras.optimizers.schedules.CosineDecay(0.01, 20), "weight_decay": 0.1},
        {"use_ema": True, "ema_overwrite_frequency": 3, "gradient_accumulation_steps": 2},
        {"amsgrad": True},
    ],
)
def test_adam_is_that_of_keras(arguments):
    ours, theirs = trained(Adam(**arguments)), trained(keras.optimizers.Adam(**arguments))
    assert_equal(ours.get_weights(), theirs.get_weights(), tolerance=2e-6)
    assert [v.name for v in ours.optimizer.variables] == [v.name for v in theirs.optimizer.variables]
    states = [[ops.convert_to_numpy(v) for v in model.optimizer.variables] for model in (ours, theirs)]
    assert_equal(*states)


@tensorflow_only
@pytest.mark.parametrize(("ours", "theirs"), [(Adam, keras.optimizers.Adam), (SGD, keras.optimizers.SGD)])
@pytest.mark.parametrize("on_cpu", [True, False])
def test_gradients_of_a_token_that_occurs_twice_are_added_up(ours, theirs, on_cpu, monkeypatch):
    import tensorflow as tf

    monkeypatch.setattr(fast, "on_tensorflow_cpu", lambda: on_cpu)
    after, settings = [], {"learning_rate": 0.1, "global_clipnorm": 2.0}
    for sparse in (False, True):
        table = keras.Variable(normal(4, 2))
        gradient = tf.IndexedSlices(tf.constant([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), tf.constant([1, 1, 3]), (4, 2))
        optimizer = (ours if sparse else theirs)(**settings)
        optimizer.apply([gradient if sparse else tf.convert_to_tensor(gradient)], [table])
        after.append([ops.convert_to_numpy(v) for v in [table, *optimizer.variables]])
    assert_equal(*after)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    if importlib.util.find_spec(backend) is None or keras.backend.backend() == backend:
        pytest.skip(f"{backend} is not installed, or is what these tests run on")
    arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not other_backends", __file__]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    result = subprocess.run(arguments, env=environment, capture_output=True, text=True, cwd=os.path.dirname(__file__))
    assert result.returncode == 0, result.stdout[-2000:]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_dropout(rate, dtype):
    x = ops.cast(np.full((7, 501), 2.0, "float32"), dtype)
    layer = Dropout(rate, seed=1, dtype=dtype)
    assert np.all(np.asarray(ops.cast(layer(x), "float32")) == 2)
    first, second = (np.asarray(ops.cast(layer(x, training=True), "float32")) for _ in range(2))
    share = 3 * np.sqrt(rate * (1 - rate) / first.size)
    for result in (first, second):
        assert np.unique(result[result > 0]) == pytest.approx(
            [2 / (1 - rate)], rel=1e-4 if dtype == "float32" else 4e-3
        )
        assert np.mean(result == 0) == pytest.approx(rate, abs=share)
    assert rate == 0 or np.any(first != second)
    again = Dropout(rate, seed=1, dtype=dtype)(x, training=True)
    assert np.array_equal(first, np.asarray(ops.cast(again, "float32")))


def test_halves_of_few_rows_are_the_whole():
    def double(inputs):
        ids, x = inputs["ids"], inputs["x"]
        # A reshape like that of attention heads, which fails for an empty part.
        return {"x": 2 * ops.reshape(x, (-1, ops.shape(x)[1], 2, 2)), "ids": ids + 1}

    function = Compiled(lambda inputs: in_halves(double, inputs))
    for rows in (1, 2, 3, 5):
        x, ids = np.arange(rows * 12, dtype="float32").reshape(rows, 3, 4), np.arange(rows, dtype="int32")
        found = function.predict_on_batch({"ids": ids, "x": x})
        assert np.array_equal(found["x"], 2 * x.reshape(rows, 3, 2, 2)) and np.array_equal(found["ids"], ids + 1)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="only JAX compiles for each shape")
def test_jax_compiles_for_few_numbers_of_rows_and_computes_nothing_op_by_op():
    import jax

    traced = []

    def cumulative(x):
        traced.append(isinstance(x, jax.core.Tracer))
        return ops.cumsum(x, axis=1), x[:, 0]

    function = Compiled(cumulative)
    for rows in (1, 2, 5, 16, 17, 100, 128, 129, 200):
        x = normal(rows, 3)
        sums, first = function.predict_on_batch(x)
        np.testing.assert_allclose(sums, np.cumsum(x, 1), atol=1e-6)
        np.testing.assert_array_equal(first, x[:, 0])
    assert traced == [True] * 4  # 1, 16, 128 and 256 rows
    function = Compiled(cumulative, same_rows=True)
    for rows in (5, 64, 5, 64):
        assert len(function.predict_on_batch(normal(rows, 3))[0]) == rows
    assert traced[4:] == [True] * 2  # as they are


def test_fused_computes_with_the_weights_of_now():
    dense = keras.layers.Dense(3)
    dense.build((None, 2))
    function = Compiled(lambda x: in_halves(xla_fused(lambda x: ops.tanh(dense(x)), dense), x), dense)
    x = np.linspace(-1, 1, 10, dtype="float32").reshape(5, 2)
    for scale in (1.0, 2.0):
        dense.kernel.assign(np.full((2, 3), scale, "float32"))
        wanted = np.tile(np.tanh(scale * x.sum(1, keepdims=True)), (1, 3))
        assert np.allclose(function.predict_on_batch(x), wanted, atol=1e-6)


@tensorflow_only
def test_gradients_are_added_in_one_order_whatever_the_threads_do():
    import tensorflow as tf

    add_in_order()
    tensors = [tf.constant(normal(64, 64, seed=seed)) for seed in range(4)]

    @tf.function
    def gradient(*values):
        with tf.GradientTape() as tape:
            tape.watch(values[0])
            # Three products send gradients to the first value; further ones read the gradients of the first two.
            parts = [tf.matmul(tf.tanh(values[0] * k), value) for k, value in enumerate(values[1:], 1)]
            total = tf.add_n([tf.reduce_sum(part**2) for part in parts])
        return tape.gradient(total, values[0]), tf.add_n(parts), [tf.matmul(part, part) for part in parts[:2] * 2]

    seen = {b"".join(x.numpy().tobytes() for x in gradient(*tensors)[:2]) for _ in range(1500)}
    assert len(seen) == 1


def test_building_by_calling_makes_the_weights_that_keras_makes():
    def make():
        keras.utils.set_random_seed(2)
        block = keras.Sequential([keras.layers.Dense(3), keras.layers.LayerNormalization()])
        return keras.Sequential([keras.layers.Embedding(5, 4), block, LSTM(2)])

    plain, ours = make(), make()
    plain(np.ones((2, 3), "int32"))
    build_by_calling(ours, np.ones((2, 3), "int32"))
    assert len(plain.weights) == len(ours.weights) == 8
    for ours_weight, weight in zip(ours.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(ours_weight.numpy(), weight.numpy())
