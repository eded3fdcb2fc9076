"""Writes TensorBoard logs."""

import itertools
import os
import time

from scriptorium.training import storage

import numpy as np

# Event files are named by the second. These numbers tell apart those that one process opens in the same second, and
# keep their order.
_numbers = itertools.count()


class Board:
    """The TensorBoard logs of a run: one event file per directory, opened at first use.

    `train` and `validation` hold curves, texts and pictures, `test` the row in the table of runs and the test scores.

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
        self.writers, self.failed = {}, False

    def _open(self, split):
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        folder = self.directory / split
        folder.mkdir(exist_ok=True)
        if split == "test":
            for earlier in folder.glob("events*"):
                earlier.unlink()
        writer = EventsWriter(str(folder / "events"), f".{os.getpid()}.{next(_numbers):06d}")
        first = self.first_step if split == "steps" else self.first_epoch
        if first is not None and split != "test":
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
            self.console.say(f"TensorBoard's files could not be written ({error}); the run continues without them.")
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

    def row(self, options, scores=None, page=None, step=0):
        """Writes the row of the run in TensorBoard's table of runs, in place of an earlier one.

        No row says which columns the table has: TensorBoard shows those of all rows, whatever script wrote them.

        Args:
            options: dict of name -> bool, number or str, the columns that say what the run is.
            scores: dict of name -> number, the columns that say how good it is; None while it trains.
            page: text that appears under "test", in Markdown.
            step: the step of the scores, so that they stand next to the curves of the same names.
        """
        from tensorboardX import summary

        _, start, end = summary.hparams(options, {})
        self.add("test", start, 0)
        for name, value in (scores or {}).items():
            self.scalar("test", name, value, step)
        if page is not None:
            self.text("test", "test", page, step)
        if scores is not None:
            self.add("test", end, step)
        # Closed, since a later process may replace the row.
        writer = self.writers.pop("test", None)
        if writer is not None:
            try:
                writer.close()
            except OSError as error:
                self._lost("test", error)

    def projector(self, vectors, labels, columns):
        """Writes points for the projector, which TensorBoard reads when it first sees the run.

        Args:
            vectors: float (n, dimensions).
            labels: list of n str, one for each point.
            columns: dict of name -> n numbers or texts, by which the points can be colored and searched.
        """
        try:
            self._write_projector(self.directory / "train", vectors, labels, columns)
        except OSError as error:
            self._lost(None, error)

    def _write_projector(self, folder, vectors, labels, columns):
        folder.mkdir(exist_ok=True)
        rows = ("\t".join(f"{value:.6g}" for value in row) for row in np.asarray(vectors, "float32"))
        storage.write_text(folder / "vectors.tsv", "\n".join(rows) + "\n")
        table = zip(labels, *columns.values(), strict=True)
        lines = ["\t".join(" ".join(str(cell).split()) or "-" for cell in row) for row in table]
        if columns:
            lines.insert(0, "\t".join(["text", *columns]))  # where there are several, the first line names them
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
