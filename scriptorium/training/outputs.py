"""The outputs of a run: console, samples.txt, eval.json, figures and TensorBoard."""

from scriptorium.pictures import bars
from scriptorium.training import storage


class Outputs:
    """The outputs of a `Run`, which has a `directory`, a `console`, and, while it trains, a `board` (else None)."""

    def write_json(self, name, values):
        """Writes a JSON file into the directory, whole or not at all."""
        storage.write_json(self.directory / name, values)

    def log_texts(self, title, lines, epoch, **settings):
        """Prints lines of text under a title; while training, also writes them to samples.txt and TensorBoard.

        Args:
            title: such as "samples" or "reconstructions".
            lines: list of str.
            epoch: int from 1, also the step in TensorBoard.
            settings: settings that produced the lines, such as temperature=1.0.
        """
        described = ", ".join(f"{name} {value}" for name, value in settings.items())
        self.console.say(f"  {title}{f' ({described})' if described else ''}", *(f"    {line}" for line in lines))
        if self.board is None:
            return
        try:
            with open(self.directory / "samples.txt", "a", encoding="utf-8", newline="\n") as file:
                file.write(
                    "\n".join([f"[epoch {epoch}] {title}{f' ({described})' if described else ''}", *lines, "", ""])
                )
        except OSError as error:
            self.console.say(f"samples.txt could not be written ({error}).")
        # TensorBoard renders Markdown, where four spaces mark a literal line.
        self.board.text("train", title, "\n".join(f"    {line}" for line in lines), epoch)

    def scalars(self, split, values, step):
        """Writes numbers to TensorBoard; the same tag in both splits gives two curves in one chart.

        Args:
            split: "train" or "validation".
            values: dict of tag -> number.
            step: the epoch, from 1, here and below.
        """
        if self.board:
            for tag, value in values.items():
                self.board.scalar(split, tag, value, step)

    def histogram(self, tag, values, step):
        """Writes the distribution of an array of numbers to TensorBoard."""
        if self.board:
            self.board.histogram("train", tag, values, step)

    def bars(self, tag, values, step):
        """Writes a bar chart of `values` (n,) to TensorBoard, such as the KL of each dimension."""
        if self.board:
            self.board.figure("train", tag, bars(f"{tag}, epoch {step}", values), step)

    def hparams(self, options, scores):
        """Writes the options (dict) and final scores (dict of numbers) to TensorBoard's table of runs."""
        if self.board:
            self.board.hparams(options, scores)

    def figure(self, tag, figure, step):
        """Writes a matplotlib figure to TensorBoard and, as a PNG file, to the directory."""
        if self.board:
            self.board.figure("train", tag, figure, step)
            try:
                with storage.replacing(self.directory / f"{tag}.png") as temporary:
                    figure.savefig(temporary, format="png")
            except OSError as error:
                self.console.say(f"A figure could not be written ({error}).")

    def projector(self, vectors, labels, classes=None):
        """Writes points (n, dimensions), labels and classes for TensorBoard's projector; call it before `fit`."""
        if self.board:
            self.board.projector(vectors, labels, classes)

    def save_scores(self, title, scores, seconds):
        """Prints scores under a title, writes them to eval.json, and returns them.

        Args:
            title: what was scored.
            scores: dict of name -> number or str.
            seconds: time that scoring took.
        """
        widest = 2 + max(map(len, scores), default=0)
        shown = {n: f"{value:,.5g}" if isinstance(value, float) else value for n, value in scores.items()}
        self.console.say(title, *(f"{name:>{widest}}  {value}" for name, value in shown.items()))
        if not self.dry_run:
            self.write_json("eval.json", scores | {"split": "test", "seconds": round(seconds, 1)})
        return scores
