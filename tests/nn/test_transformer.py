"""Blocks of a transformer: weights, masks, and writing step by step."""

from scriptorium.nn import transformer

import keras
import numpy as np
import pytest
from keras import ops
from keras.ops import convert_to_numpy as array


def test_weights_of_the_blocks():
    block, cross = transformer.Block(12, 3), transformer.CrossBlock(12, 3, 0.0, 12)
    x = np.zeros((2, 5, 12), "float32")
    block(x, transformer.causal_mask(5))
    cross(x, x, x, transformer.causal_mask(5))
    assert block.count_params() == 12 * 12**2 + 13 * 12
    assert cross.count_params() == 10 * 12**2 + 11 * 12


def test_attention_against_numpy():
    random = np.random.default_rng(1)
    query, key, value = (random.normal(size=(2, 4, 6)).astype("float32") for _ in range(3))
    mask = np.tril(np.ones((1, 4, 4), bool))
    found = array(transformer.attend(query, key, value, 2, mask))
    for head in range(2):
        part = slice(3 * head, 3 * head + 3)
        scores = query[..., part] @ key[..., part].transpose(0, 2, 1) / np.sqrt(3)
        scores = np.where(mask, np.exp(scores), 0)
        wanted = scores / scores.sum(axis=-1, keepdims=True) @ value[..., part]
        np.testing.assert_allclose(found[..., part], wanted, atol=1e-5)


def test_steps_with_caches_equal_the_whole_at_once():
    keras.utils.set_random_seed(1)
    block, random = transformer.Block(12, 3), np.random.default_rng(1)
    x = random.normal(size=(2, 5, 12)).astype("float32")
    whole, caches = array(block(x, transformer.causal_mask(5))), block.caches(2, 7)
    for i in range(5):
        step, caches = block.step(ops.convert_to_tensor(x[:, i]), caches, ops.full((2,), i, "int32"))
        np.testing.assert_allclose(array(step), whole[:, i], atol=1e-5)


def test_a_width_that_the_heads_do_not_divide():
    with pytest.raises(ValueError, match="5 heads"):
        transformer.Block(12, 5)
