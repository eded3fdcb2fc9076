"""Classifies digits that a model wrote as text, and draws walks between them."""

from scriptorium.data.digits import from_text
from scriptorium.nn.device import one_device

import keras
import numpy as np


class Classifier:
    """A small convolutional network that classifies digits, trained on texts drawn as pictures.

    Args:
        texts, labels: lists of str.
        seed: int.
        epochs: passes over the texts.
    """

    def __init__(self, texts, labels, seed=1, epochs=8):
        kept = [
            (picture, label)
            for text, label in zip(texts, labels, strict=True)
            if (picture := from_text(text)) is not None and label
        ]
        pictures, labels = (list(column) for column in zip(*kept, strict=True))
        self.classes = sorted(set(labels))
        self.side = len(pictures[0])
        y = np.array([self.classes.index(label) for label in labels])
        keras.utils.set_random_seed(seed)
        with one_device():
            self.model = self.build()
            self.model.fit(np.stack(pictures)[..., None], y, epochs=epochs, batch_size=64, verbose=0)

    def build(self):
        """Returns the untrained network: pictures (batch, side, side, 1) -> probabilities (batch, classes)."""
        layers = keras.layers
        hidden = [layers.Conv2D(32, 3, padding="same", activation="relu") for _ in range(2 if self.side < 20 else 3)]
        pools = [layers.MaxPooling2D() for _ in hidden]
        parts = [layer for pair in zip(hidden, pools, strict=True) for layer in pair]
        classes = layers.Dense(len(self.classes), activation="softmax", dtype="float32")
        parts += [layers.Flatten(), layers.Dropout(0.3), layers.Dense(128, activation="relu"), classes]
        model = keras.Sequential([layers.Input((self.side, self.side, 1), dtype="float32"), *parts])
        model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy")
        return model

    def classify(self, texts):
        """Returns the most likely label of each text and its probability: list of str, float (n,).

        A text that is no picture of the right size gets the label "" and the probability 0.
        """
        pictures = [from_text(text) for text in texts]
        good = [i for i, picture in enumerate(pictures) if picture is not None and len(picture) == self.side]
        labels, probabilities = [""] * len(texts), np.zeros(len(texts))
        if good:
            readable = np.stack([pictures[i] for i in good])[..., None]
            with one_device():
                predicted = self.model.predict(readable, batch_size=256, verbose=0)
            for i, row in zip(good, predicted, strict=True):
                labels[i], probabilities[i] = self.classes[int(row.argmax())], float(row.max())
        return labels, probabilities


def strip(walks):
    """Draws walks between digits, one per row, as a `matplotlib.figure.Figure`.

    Args:
        walks: list of lists of (text, title); a text that is no picture is left empty.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(walk) for walk in walks)
    figure = Figure((columns * 0.9, len(walks) * 1.15), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(walks), columns, squeeze=False)
    for row, walk in zip(axes, walks, strict=True):
        for cell, (text, title) in zip(row, walk, strict=False):
            picture = from_text(text)
            cell.imshow(np.zeros((2, 2)) if picture is None else picture, cmap="gray", vmin=0, vmax=1)
            cell.set_title(title, fontsize=8)
        for cell in row:
            cell.set_axis_off()
    return figure
