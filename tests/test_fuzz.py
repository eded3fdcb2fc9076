"""A few of the absurd inputs of benchmarks/fuzz.py: each is read as meant, or refused in one line."""

import random
import sys

from scriptorium import ROOT, UserError

import pytest

sys.path.append(str(ROOT / "benchmarks"))

import fuzz
import fuzz_corpora
import fuzz_flags


def wrong(maker, kind, count, tmp_path):
    campaign = fuzz.Campaign(kind, maker, 1, tmp_path / "inputs")
    found = [campaign.one(number) for number in range(count)]
    assert campaign.counts["accepted"] > count // 10 and campaign.counts["refused"] > count // 10
    return [one for one in found if one[0] == "failed"]


def test_texts_are_read_as_written_or_refused(tmp_path):
    assert wrong(fuzz_corpora.Corpora(), "corpora", 100, tmp_path) == []


def test_command_lines_are_taken_or_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz_flags, "WHOLE", 0)
    assert wrong(fuzz_flags.Flags(tmp_path / "files"), "flags", 50, tmp_path) == []


def test_inputs_depend_on_their_number_alone(tmp_path):
    drawn = []
    for name, number in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        about = fuzz_corpora.Corpora().input(random.Random(number), tmp_path / name)[0]
        paths = sorted((tmp_path / name).rglob("*"))
        drawn.append((about, [path.read_bytes() for path in paths if path.is_file()]))
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    "told", ["", "other.py: error: x\n", "text_gan.py: error: x\ny\n", "Traceback\ntext_gan.py: error: x\n"]
)
def test_only_one_line_counts_as_a_refusal(told):
    def main(_):
        print(told, end="", file=sys.stderr)
        raise SystemExit(2)

    class Script:
        __name__ = "text_gan"
        parse_args = staticmethod(lambda: None)

    Script.main = staticmethod(main)
    assert isinstance(fuzz.run_main(Script(), []), str)
    told = "text_gan.py: error: x\n"
    assert isinstance(fuzz.run_main(Script(), []), UserError)
