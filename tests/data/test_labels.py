"""Labels of texts: classes, and what is unknown."""

from types import SimpleNamespace

from scriptorium import UserError
from scriptorium.data import corpora
from scriptorium.data.labels import Labels
from scriptorium.names_vae.layers import LabelHead, label_loss
from scriptorium.names_vae.scores import training_names

import numpy as np
import pytest


def test_classes_of_two_kinds():
    labels = Labels.of(["it\tf", "", "en\tm", "it\t"])
    assert labels.kinds == {"label_1": ["en", "it"], "label_2": ["f", "m"]}
    assert [labels.encode(label) for label in ("it\tf", "", "fr\tm", "en")] == [[2, 1], [0, 0], [0, 2], [1, 0]]
    assert labels.text([2, 1]) == "it\tf" and labels.text([0, 2]) == "\tm"
    np.testing.assert_array_equal(labels.encode_all(["it\tf", "en\tm"], 2), [[2, 1], [1, 2]])
    np.testing.assert_array_equal(labels.encode_all(None, 2), np.zeros((2, 2)))


def test_empty_columns_of_labels_are_unknown(tmp_path):
    names = [f"name{i}" for i in range(20)]
    file = tmp_path / "names.txt"
    file.write_text("\tf\tanna\nit\t\tada\nit\tf\t\nbea\n" + "".join(f"de\tm\t{name}\n" for name in names))
    corpus = corpora.load(path=file, level="char", labeled=True)
    found = {
        name: label
        for split in corpora.SPLITS
        for name, label in zip(getattr(corpus, split), corpus.labels[split], strict=True)
    }
    assert found == {"anna": "\tf", "ada": "it\t", "bea": "", **dict.fromkeys(names, "de\tm")}
    assert "1 row(s) without a text left out" in corpus.description
    labels = Labels.of(found.values())
    assert labels.kinds == {"label_1": ["de", "it"], "label_2": ["f", "m"]} and labels.encode(found["anna"]) == [0, 1]


def test_labels_are_no_part_of_the_names_that_a_run_has_seen(tmp_path):
    file = tmp_path / "names.txt"
    file.write_text("".join(f"de\tname{i}\n" for i in range(40)))
    corpus = {"fingerprint": corpora.load(path=file, level="char", labeled=True).fingerprint}
    for options in ({"labels": {"label_1": ["de"]}}, {"labeled": True}):
        options = {"data": str(file), "level": "char", **options}
        known = training_names(SimpleNamespace(options=options, config={"corpus": corpus}))
        assert known.seen <= {f"name{i}" for i in range(40)} and len(known.seen) == 36
        assert known.describe([known.names[0]]) == [f"{known.names[0]}  (seen)"]


def test_what_is_asked_for():
    labels = Labels.of(["it\tf", "en\tm"])
    assert labels.parse("it") == [2, 0] and labels.parse("m, en") == [1, 2]
    with pytest.raises(UserError, match="en, it, f, m"):
        labels.parse("fr")


def test_texts_without_labels():
    labels = Labels.of(None)
    assert labels.kinds == {} and labels.encode("x") == [0] and labels.encode_all(None, 3).shape == (3, 1)
    with pytest.raises(UserError, match="without labels"):
        labels.parse("it")


def test_telling_labels_against_numpy():
    head, random = LabelHead([["a", "b"], ["f", "m", "x"]]), np.random.default_rng(1)
    values, mask = random.normal(size=(3, 4, 5)).astype("float32"), np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    found = [np.asarray(part) for part in head(values, mask)]
    assert [part.shape for part in found] == [(3, 3), (3, 4)]
    mean = (values * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.concatenate(found, 1), mean @ head.classes.kernel.numpy(), atol=1e-5)
    labels = np.array([[1, 0], [0, 3], [2, 0]], "int32")
    loss, right = (float(x) for x in label_loss(found, labels))
    log_p = [part - np.log(np.exp(part).sum(axis=1, keepdims=True)) for part in found]
    assert loss == pytest.approx(-(log_p[0][0, 1] + log_p[0][2, 2]) / 2 - log_p[1][1, 3], rel=1e-5)
    hits = [found[0][0].argmax() == 1, found[0][2].argmax() == 2, found[1][1].argmax() == 3]
    assert right == pytest.approx(np.mean(hits))
    assert [float(x) for x in label_loss(found, 0 * labels)] == [0, 0]


def test_one_kind_of_label():
    logits = LabelHead([["a", "b"]], units=4)(np.ones((2, 3, 5), "float32"), np.ones((2, 3)))
    assert [part.shape for part in logits] == [(2, 3)]
