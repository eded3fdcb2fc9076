"""Whether a text that was read is the one that a run was trained on, and what to do if it is not, or not there."""

import contextlib

from scriptorium import UserError
from scriptorium.streams import note
from scriptorium.training import storage
from scriptorium.training.overview import ABOUT


def show_scores_of_packed(run, reason):
    """Prints the scores that are stored with a packed run, and exits; `reason` says why it is not scored again."""
    if not (run.directory / "eval.json").exists():
        raise UserError(f"{reason}, and it came without scores.")
    scores = storage.read_json(run.directory / "eval.json")
    note(f"{reason}; these are the scores that it came with.")
    shown = {name: value for name, value in scores.items() if name not in ABOUT}
    run.print_scores(f"test split of {run.name}", shown)
    raise SystemExit(0)


@contextlib.contextmanager
def text_may_be_missing(run):
    """If the block, which reads the text of a packed run to score it, cannot read it: shows the scores it came with."""
    try:
        yield
    except UserError as error:
        if not (run.for_use and run.is_packed) or run.text_given:
            raise
        show_scores_of_packed(run, f"The text of {run.name} cannot be read here ({str(error).rstrip('.')})")


def check_text(run, name, fingerprint):
    """Compares a text that was read with the text that an existing run was trained on.

    To score a run, another text may be named on the command line. A bundled run whose text cannot be made again, such
    as docstrings of other versions, shows the scores that it came with, and the process ends.

    Args:
        run: `Run`.
        name, fingerprint: of the text.

    Raises:
        UserError: it is another text.
    """
    if run.is_new or fingerprint == run.config["corpus"].get("fingerprint"):
        return
    if run.for_use and run.text_given:
        run.scores_are_its_own = False
        note(
            f"{name} is not the text that {run.name} was trained on: its test split is scored with the vocabulary of"
            " the run, and eval.json stays as it is."
        )
    elif run.for_use and run.is_packed:
        show_scores_of_packed(run, f"The text of {run.name} differs on this machine ({name})")
    else:
        raise UserError(
            f"{name} is not the text that {run.name} was trained on ({run.config['corpus'].get('description')}):"
            " use the same text, or start a new run."
        )
