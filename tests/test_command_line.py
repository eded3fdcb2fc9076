"""Options: their types, hints for mistyped ones, options without effect, and the checks of saved options."""

import argparse
import functools
import json
import re

from scriptorium import UserError
from scriptorium.command_line import Parser, bounded, command, one_line, seed, temperature

import pytest

import chars
import homotopy
import names_vae
import sentences
import text_gan
import transformer_vae
import words

SCRIPTS = (chars, words, sentences, names_vae, transformer_vae, text_gan)


def refused(parse, argv, capsys):
    """Returns the one line with which a command line is refused."""
    with pytest.raises(SystemExit) as stopped:
        parse(argv)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and error.count("\n") == 1
    return error


@pytest.mark.parametrize("script", [*SCRIPTS, homotopy])
def test_a_mistyped_flag_gets_a_hint(script, capsys):
    assert "there is no option --learningrate; did you mean --learning-rate?" in refused(
        script.parse_args, ["--learningrate", "1"], capsys
    )
    assert "no option --zzz; see --help" in refused(script.parse_args, ["--zzz=4"], capsys)
    # A hint for an older spelling names the current one.
    assert "did you mean --seed?" in refused(script.parse_args, ["--random-sead", "1"], capsys)


@pytest.mark.parametrize("script", [*SCRIPTS, homotopy])
def test_help_fits_two_screens_and_shows_one_spelling(script, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def shown(*argv):
        with pytest.raises(SystemExit):
            script.parse_args(["--help", *argv])
        return capsys.readouterr().out

    short, full = shown(), shown("all")
    assert short.count("\n") <= 64 and max(map(len, short.splitlines())) < 80
    assert f"usage: {script.__name__}.py [options]" in short and "--help all shows all" in short
    shown_flags = set(re.findall(r"(?<=[ (])--[\w-]+", full))
    if script is not homotopy:
        parser = script.parse_args([]).parser
        visible = {a.option_strings[-1] for a in parser._actions if a.option_strings and a.help != argparse.SUPPRESS}
        assert visible <= shown_flags and not shown_flags & set(parser.older) and len(visible) > 30


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(
    "argv", ["-l inf", "-l 1e400", "-b 99999999999", "-r 99999999999", "-e -1", "-e nan", "-I 0.5"]
)
def test_absurd_numbers_are_refused(script, argv, capsys):
    assert "error: argument" in refused(script.parse_args, argv.split(), capsys)


def test_numbers_have_bounds():
    assert bounded(float, 0)("1e30") == 1e30 and bounded(int, 1, 3)("3") == 3 and seed("-5") == -5
    assert [temperature(text) for text in ("0", "0.001", "1000")] == [0, 0.001, 1000]
    for text in ("1e-40", "-1", "inf", "nan", "1001", "0.0009"):
        with pytest.raises(Exception, match=r"is not 0, or from 0.001 to 1000"):
            temperature(text)


@pytest.mark.parametrize(
    ("script", "argv", "needed"),
    [
        (words, "--window 12", "--stream"),
        (words, "--eval --cache 500", "--stream"),
        (words, "--stream --cache-share 0.2", "--cache"),
        (chars, "--independent-windows --reset-probability 0.1", "a carried state"),
        (sentences, "--no-latent --free-bits 3", "z; leave out --no-latent"),
        (sentences, "--kl-schedule none --annealing-epochs 3", "--kl-schedule"),
        (sentences, "--iw-samples 9", "--eval"),
        (names_vae, "--anchor Anna", "--sample"),
        (names_vae, "--sample --radius 2", "--anchor"),
        (names_vae, "--freeze encoder", "--init"),
        (text_gan, "--style-seed 3", "--sample"),
        (chars, "--eval --devices 2", "training"),
        (text_gan, "--gumbel-temperature 2", "--feedback gumbel"),
    ],
)
def test_an_option_without_effect_is_refused(script, argv, needed):
    args = script.parse_args(argv.split())
    with pytest.raises(UserError, match=f"has no effect without {needed}"):
        args.parser.check_requirements(args)


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_a_script_saves_is_what_it_accepts(script):
    args = script.parse_args([])
    options = json.loads(json.dumps({name: getattr(args, name) for name in args.parser.names if hasattr(args, name)}))
    assert args.parser.invalid(options) is None
    numbers = {"batch_size", "learning_rate", "seed", "num_samples"} & options.keys()
    for name, value in [
        *((name, wrong) for name in numbers for wrong in (None, "8", -(2**70), True, {}, [1])),
        ("learning_rate", float("nan")),
        ("batch_size", 8.5),
        ("dry_run", "yes"),
        ("task", 3),
        ("dtype", "float8"),
        ("name", 5),
    ]:
        assert args.parser.invalid(options | {name: value}) == name


def test_errors_are_one_line(capsys):
    assert one_line("a\nb \x1b[31m \u200b c") == r"a b \x1b[31m \u200b c"

    def fail(error, args):
        raise error

    for error in (UserError("one\ntwo"), OSError(28, "No space left on device"), MemoryError("x")):
        refused(lambda argv, error=error: command(functools.partial(fail, error), lambda: None), [], capsys)
    with pytest.raises(ZeroDivisionError):
        command(functools.partial(fail, ZeroDivisionError()), lambda: None)


def test_older_spellings_are_hidden(capsys):
    parser = Parser("x.py", "Doc.")
    parser.group("g")("--units", type=int, default=3, help="width", older=["--num_units"])
    assert parser.parse(["--num_units=4"]).units == 4
    assert "num_units" not in parser.format_help() and "(default: 3)" in parser.format_help()
