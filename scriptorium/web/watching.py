"""What the page shows of runs that are being trained at the moment: it reads the files that training writes."""

import contextlib

from scriptorium import UserError
from scriptorium.training import finding, overview, trained
from scriptorium.training.history import points_of
from scriptorium.training.main_scores import IN_TRAINING, main_scores

NEWEST = 30  # runs that are looked at for one in training
SAMPLES = 12  # lines of the last samples


def in_training(logdir):
    """Returns the runs that are being trained: how far they are, their curves and their last samples, a dict."""
    rows = []
    for directory in finding.newest_first(logdir, trained.SCRIPTS)[:NEWEST]:
        with contextlib.suppress(UserError, OSError):
            about = overview.read(directory)
            if about.is_training:
                rows.append(training_row(about))
    return {"training": rows}


def training_row(about):
    """Returns what the page shows of a run that is being trained."""
    curves = {}
    for name in main_scores({key.removeprefix("val_") for row in about.rows for key in row}, IN_TRAINING, 2):
        curves[name] = {"training": points_of(about.rows, name), "validation": points_of(about.rows, f"val_{name}")}
    left = about.minutes / about.done * (about.asked - about.done) if about.done else None
    row = {"label": f"{about.script}: {about.corpus}, {about.name}", "epochs": about.asked, "done": about.done}
    return row | {"minutes_left": left, "curves": curves, "samples": last_samples(about.directory / "samples.txt")}


def last_samples(path):
    """Returns the last lines of text that a training wrote, list of str."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4000))
            text = file.read().decode("utf-8", "ignore")
    except OSError:
        return []
    _, found, block = f"\n{text}".rpartition("\n[epoch ")
    return f"[epoch {block.rstrip()}".splitlines()[:SAMPLES] if found else []
