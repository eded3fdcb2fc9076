"""Finds runs: the newest one, one by its name or path, or one of those that are bundled with the project."""

import difflib
from pathlib import Path

from scriptorium import ROOT, UserError
from scriptorium.streams import note
from scriptorium.training.console import readable

# Bundled runs hold only their weights, in half precision.
PRETRAINED = ROOT / "pretrained"
RUNS = str(ROOT / "runs")  # the default folder of runs
FORMAT = 1  # of a saved run; increased when older runs can no longer be opened
BEST, LAST = "best.safetensors", "last.safetensors"


def bundled(scripts=None):
    """Returns the directories of the bundled runs, in the order of `scripts`; None for all."""
    return [path.parent for script in scripts or ["*"] for path in sorted(PRETRAINED.glob(f"{script}/*/config.json"))]


def newest_first(logdir, scripts=None):
    """Returns the directories of the runs in `logdir`, newest first."""
    runs = []
    if scripts is None:
        scripts = sorted(p.name for p in Path(logdir).iterdir()) if Path(logdir).is_dir() else []
    for script in scripts:
        runs += (path.parent for path in (Path(logdir) / script).glob("[!.]*/config.json"))
    return sorted(runs, key=lambda path: (path / "config.json").stat().st_mtime_ns, reverse=True)


def find(which, logdir, scripts=None, to_use=False):
    """Returns the directory of a run.

    Args:
        which: path or name of the run; empty or None for the newest.
        logdir: folder of the runs.
        scripts: names of the scripts to look for; None for any.
        to_use: if there is no run, fall back to a bundled one, and say so on stderr.

    Raises:
        UserError: there is no such run; the message lists the runs.
    """
    runs, ready = newest_first(logdir, scripts), bundled(scripts) if to_use else []
    if not which:
        if runs:
            return runs[0]
        if ready:
            say_bundled(ready[0], logdir)
            return ready[0]
        kind = f" of {' or '.join(f'{s}.py' for s in scripts)}" if scripts else ""
        raise UserError(f"There is no run{kind} in {readable(logdir)} yet.")
    if (Path(which) / "config.json").is_file():
        return Path(which)
    for path in [*(p for p in [*runs, *ready] if p.name == which), Path(logdir) / which]:
        if (path / "config.json").is_file():
            return path
    names = [path.name for path in (*runs, *ready)]
    close = difflib.get_close_matches(str(which), names, 1)
    hint = f" Did you mean {close[0]}?" if close else ""
    own = ", ".join(names[: min(10, len(runs))]) or "none"
    packed = f"; bundled: {', '.join(path.name for path in ready)}" if ready else ""
    raise UserError(
        f"There is no run {which}.{hint} Runs in {readable(logdir)}: {own}{', ...' * (len(runs) > 10)}{packed}."
    )


def say_bundled(directory, logdir):
    """Says on stderr that a bundled run is used."""
    note(f"There is no run of your own in {readable(logdir)} yet; using the bundled {readable(directory)}.")


def say_opened(run):
    """Says on stderr which run was opened, and what it was trained on."""
    note(f"{readable(run.directory)}, trained on {run.config['corpus'].get('description')}")


def say_unfinished(run):
    """Says on stderr how far a run was trained if it was stopped before its end."""
    done, epochs = run.config.get("epochs_done"), run.config.get("epochs_asked", run.options.get("epochs"))
    if isinstance(done, int) and isinstance(epochs, int) and done < epochs and not run.is_packed:
        others = [path.name for path in bundled((run.script,))]
        other = f" The bundled run {others[0]} is trained in full." if others else ""
        note(f"{readable(run.directory)} was trained for {done} of {epochs} epochs.{other}")


def another_format(config):
    """Returns the end of a message about a run in another format."""
    return f"was saved by another version of the scripts (format {config.get('format', 0)}, not {FORMAT})"
