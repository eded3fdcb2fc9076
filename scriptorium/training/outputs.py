"""The outputs of a run: console, samples.txt, eval.json, figures and TensorBoard."""

import shlex

from scriptorium.data import files
from scriptorium.pictures import bars
from scriptorium.training import storage
from scriptorium.training.main_scores import ON_TEST, main_scores, tag_of
from scriptorium.training.tensorboard import Board

# Columns of TensorBoard's table of runs, for the scripts that have them.
MAIN_OPTIONS = ("units", "embedding_dim", "latent_dim", "batch_size", "learning_rate", "epochs", "seed")
TEST_SCORES = 6


def markdown(heading, rows):
    """Returns a table of two columns in Markdown; `rows` is a dict."""
    cells = {name: str(value).replace("\\", "\\\\").replace("|", "\\|") for name, value in rows.items()}
    return "\n".join([f"| {heading} | |", "|---|---|", *(f"| {name} | {value} |" for name, value in cells.items())])


def readable_scores(scores):
    """Returns scores, a dict of name -> number or str, with five digits for each float."""
    return {name: f"{value:,.5g}" if isinstance(value, float) else value for name, value in scores.items()}


class Outputs:
    """The outputs of a `Run`, which has a `directory`, a `console`, and, while it trains, a `board` (else None).

    `changed` holds the options of the run that differ from the defaults: a dict of name -> (value, default). `flags`
    has the spelling of each option.
    """

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
                self.board.scalar(split, tag_of(tag), value, step)

    def histogram(self, tag, values, step):
        """Writes the distribution of an array of numbers to TensorBoard."""
        if self.board:
            self.board.histogram("train", tag_of(tag), values, step)

    def bars(self, tag, values, step):
        """Writes a bar chart of `values` (n,) to TensorBoard.

        Args:
            tag: "<quantity>_per_<what a bar is>", such as "kl_per_dimension", which names the axes.
        """
        if self.board:
            quantity, _, axis = tag.partition("_per_")
            height = {"kl": "KL (nats)"}.get(quantity, quantity)
            self.board.figure("train", tag_of(tag), bars(f"{tag}, epoch {step}", values, axis, height), step)

    def describe(self):
        """Writes to TensorBoard what this run is: a page under "run", and its row in the table of runs."""
        config, corpus = self.config, self.config["corpus"]
        rows = {
            "command": f"`python {self.script}.py {shlex.join(config.get('argv', []))}`",
            "corpus": corpus.get("description"),
            "parameters": f"{config['parameters']:,}",
            "device": f"{config['device']}, {config['dtype']}",
            "started": config.get("started"),
        }
        for name, (value, default) in self.changed.items():
            rows[name] = f"{value} (default: {default})"
        self.board.text("train", "run", markdown(f"{self.script}: {self.name}", rows), 0)
        self.board.row(self._columns())
        self.board.flush()

    def _columns(self):
        values = {"script": self.script, "corpus": self.config["corpus"].get("name")}
        names = (*MAIN_OPTIONS, *(name for name in self.changed if name not in ("data", "task")))
        values |= {name: self.options.get(name) for name in names}
        known = {name: value for name, value in values.items() if value is not None}
        return {name: v if isinstance(v, (bool, int, float)) else files.shown(v) for name, v in known.items()}

    def log_scores(self, scores):
        """Writes test scores to TensorBoard: all of them as a page under "test", the main ones to the table of runs."""
        if self.is_packed:
            return
        board = self.board or Board(self.directory, self.console)
        main = {tag_of(name): scores[name] for name in main_scores(scores, ON_TEST, TEST_SCORES)}
        board.row(
            self._columns(), main, markdown("test split", readable_scores(scores)), self.config.get("epochs_done", 0)
        )

    def figure(self, tag, figure, step):
        """Writes a matplotlib figure to TensorBoard and, as a PNG file, to the directory."""
        if self.board:
            self.board.figure("train", tag_of(tag), figure, step)
            try:
                with storage.replacing(self.directory / f"{tag}.png") as temporary:
                    figure.savefig(temporary, format="png")
            except OSError as error:
                self.console.say(f"A figure could not be written ({error}).")

    def projector(self, vectors, labels, columns=None):
        """Writes points (n, dimensions) for TensorBoard's projector, see `Board.projector`; call it before `fit`."""
        if self.board:
            self.board.projector(vectors, labels, columns or {})

    def save_scores(self, title, scores, seconds):
        """Prints scores under a title, writes them to eval.json, and returns them.

        Args:
            title: what was scored.
            scores: dict of name -> number or str.
            seconds: time that scoring took.
        """
        self.print_scores(title, scores)
        if not self.dry_run and self.scores_are_its_own:
            self.log_scores(scores)
            about = {"split": "test", "seconds": round(seconds, 1)} | ({"rounded": True} if self.is_packed else {})
            self.write_json("eval.json", scores | about)
        return scores

    def print_scores(self, title, scores):
        """Prints scores, a dict of name -> number or str, under a title."""
        widest = 2 + max(map(len, scores), default=0)
        self.console.say(title, *(f"{name:>{widest}}  {value}" for name, value in readable_scores(scores).items()))
