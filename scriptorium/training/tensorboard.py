"""Writes TensorBoard logs."""

import os
import time

from scriptorium.training import storage

import numpy as np


class Board:
    """The TensorBoard logs of a run: one event file per directory (`train`, `validation`), opened at first use.

    Events are written by the calling thread, and `flush` returns when they are in the file. A full disk loses events,
    but does not stop training.

    Args:
        directory: Path of the run.
        console: `Console`, for one line if events are lost.
        first_epoch: events for this epoch (from 1) and later ones, written before an interruption, are hidden.
        first_step: the same for events under "steps", which are numbered by training steps.
    """

    def __init__(self, directory, console, first_epoch=None, first_step=None):
        self.directory, self.console, self.first_epoch, self.first_step = directory, console, first_epoch, first_step
        self.writers, self.opened, self.failed = {}, 0, False

    def _open(self, split):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder = self.directory / split
        folder.mkdir(exist_ok=True)
        self.opened += 1
        # Files are named by the second, so two of the same second need different suffixes.
        writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{self.opened}")
        first = self.first_step if split == "steps" else self.first_epoch
        if first is not None:
            writer.write_event(Event(step=first, session_log=SessionLog(status=SessionLog.START)))
        return writer

    def add(self, split, summary, step):
        """Writes a TensorBoard summary."""
        from tensorboardX.proto.event_pb2 import Event

        try:
            if split not in self.writers:
                self.writers[split] = self._open(split)
            self.writers[split].write_event(Event(wall_time=time.time(), step=int(step), summary=summary))
        except OSError as error:
            self._lost(split, error)

    def _lost(self, split, error):
        # Nothing after a partial record can be read: the next event starts a new file.
        self.writers.pop(split, None)
        if not self.failed:
            self.console.say(f"TensorBoard's files could not be written ({error}); the run goes on without them.")
        self.failed = True

    def scalar(self, split, tag, value, step):
        from tensorboardX import summary

        self.add(split, summary.scalar(tag, float(value)), step)

    def text(self, split, tag, text, step):
        from tensorboardX import summary

        written = summary.text(tag, text)
        # tensorboardX adds a word to the tag.
        written.value[0].tag = tag
        self.add(split, written, step)

    def histogram(self, split, tag, values, step):
        from tensorboardX import summary

        values = np.asarray(values, "float32").ravel()
        values = values[np.isfinite(values)]
        if len(values):
            self.add(split, summary.histogram(tag, values, bins=40), step)

    def figure(self, split, tag, figure, step):
        """Writes a matplotlib figure made by `figure_of`."""
        from tensorboardX import summary

        figure.canvas.draw()
        picture = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        self.add(split, summary.image(tag, picture, dataformats="HWC"), step)

    def hparams(self, options, scores):
        """Writes the options of the run and its final scores, for TensorBoard's table of runs."""
        from tensorboardX import summary

        plain = {k: v if isinstance(v, (bool, int, float, str)) else str(v) for k, v in options.items()}
        numbers = {name: value for name, value in scores.items() if not isinstance(value, str)}
        named = {f"score/{name}": float(value) for name, value in numbers.items()}
        for part in summary.hparams(plain, named):
            self.add("train", part, 0)
        for tag, value in named.items():
            self.scalar("train", tag, value, 0)

    def projector(self, vectors, labels, classes=None):
        """Writes points (n, dimensions), labels and classes, which TensorBoard reads when it first sees the run."""
        try:
            self._write_projector(self.directory / "train", vectors, labels, classes)
        except OSError as error:
            self._lost(None, error)

    def _write_projector(self, folder, vectors, labels, classes):
        folder.mkdir(exist_ok=True)
        rows = ("\t".join(f"{value:.6g}" for value in row) for row in np.asarray(vectors, "float32"))
        storage.write_text(folder / "vectors.tsv", "\n".join(rows) + "\n")
        lines = [" ".join(label.split()) or "-" for label in labels]
        if classes is not None:
            # With two columns, the first line names them.
            lines = [
                "text\tclass",
                *(f"{line}\t{' '.join(c.split()) or '-'}" for line, c in zip(lines, classes, strict=True)),
            ]
        storage.write_text(folder / "labels.tsv", "\n".join(lines) + "\n")
        # TensorBoard only follows paths inside the directory of the event file.
        storage.write_text(
            folder / "projector_config.pbtxt",
            'embeddings {\n  tensor_name: "z_mean"\n  tensor_path: "vectors.tsv"\n  metadata_path: "labels.tsv"\n}\n',
        )

    def flush(self):
        for split, writer in list(self.writers.items()):
            try:
                writer.flush()
            except OSError as error:
                self._lost(split, error)

    def close(self):
        for split, writer in list(self.writers.items()):
            try:
                writer.close()
            except OSError as error:
                self._lost(split, error)
        self.writers = {}
