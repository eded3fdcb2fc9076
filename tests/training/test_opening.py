import json
import os
from pathlib import Path

from scriptorium import UserError
from scriptorium.nn import device
from scriptorium.training import storage
from scriptorium.training.opening import open_for_use, open_run

import keras
import pytest
import tiny_script
from tiny_script import arguments


@pytest.fixture(autouse=True)
def plain_policy():
    yield
    keras.config.set_dtype_policy("float32")


def test_given_are_the_options_on_the_command_line():
    args = tiny_script.parse_args(["-e", "3", "--learn-rate", "0.5", "--resume"])
    assert args.given == {"epochs", "learning_rate", "resume"}
    assert (args.epochs, args.batch_size, args.learning_rate, args.resume) == (3, 4, 0.5, "")
    assert tiny_script.parse_args([]).epochs == 3


@pytest.mark.parametrize("argv", [["-e", "-1"], ["-b", "0"], ["-l", "0"], ["-l", "nan"], ["--eval", "--sample"]])
def test_impossible_options_are_refused(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        tiny_script.parse_args(argv)
    assert stopped.value.code == 2 and "error: argument" in capsys.readouterr().err


def test_a_resumed_run_brings_its_options(tmp_path):
    tiny_script.main(arguments(tmp_path, "--name", "mine", "-L", "4", "-e", "1", "-r", "5"))
    args = tiny_script.parse_args(
        ["-T", str(tmp_path), "--resume", "mine", "-e", "7", "--save-minutes", "2", "-L", "4"]
    )
    run = open_run("tiny", args)
    assert (args.units, args.epochs, args.seed, args.save_minutes, args.dtype) == (4, 7, 5, 2, "float32")
    assert not run.is_new and run.seed == 5 and run.vocabulary.level == "space"
    contradictions = {
        "--units 8 contradicts mine, which was trained with --units 4.": ["-L", "8"],
        "--seed 1 contradicts mine, which was trained with --seed 5.": ["--random-seed", "1"],
        "--batch-size 5 contradicts mine, which was trained with --batch-size 4.": ["-b", "5"],
    }
    for message, argv in contradictions.items():
        with pytest.raises(UserError, match=f"^{message}$"):
            open_run("tiny", arguments(tmp_path, "--resume", "mine", *argv))


def test_a_run_with_other_text_is_refused(tmp_path):
    tiny_script.main(arguments(tmp_path, "-e", "1"))
    with pytest.raises(UserError, match="was trained on another text"):
        tiny_script.start(arguments(tmp_path, "--resume"), tiny_script.corpus(seed=1))


def test_a_missing_run_is_answered_with_those_there_are(tmp_path):
    with pytest.raises(UserError, match=r"no run of tiny\.py"):
        open_run("tiny", arguments(tmp_path, "--resume"))
    tiny_script.start(arguments(tmp_path, "--name", "one"))[0].close()
    with pytest.raises(UserError, match=r"There is no run two.*: one"):
        open_run("tiny", arguments(tmp_path, "--eval", "two"))
    with pytest.raises(UserError, match=r"one already exists.*--resume one"):
        open_run("tiny", arguments(tmp_path, "--name", "one"))
    for name in ("a/b", "..", ".hidden", ""):
        with pytest.raises(UserError, match="not a valid folder name"):
            open_run("tiny", arguments(tmp_path, "--name", name))


def test_runs_are_found_by_name_path_and_age(tmp_path):
    for script, name in (("tiny", "one"), ("tiny", "two"), ("other", "three")):
        run, _, _ = tiny_script.start(arguments(tmp_path, "--name", name))
        run.close()
        path = run.directory
        config = {**json.loads((path / "config.json").read_text()), "script": script}
        target = tmp_path / script / name
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
        storage.write_json(target / "config.json", config)
    for number, name in enumerate(("tiny/two", "tiny/one", "other/three")):
        os.utime(tmp_path / name / "config.json", (1e9 + number, 1e9 + number))
    assert open_for_use(None, tmp_path).name == "three"
    assert open_for_use(None, tmp_path, ("tiny",)).name == "one"
    assert open_for_use("two", tmp_path).name == "two"
    assert open_for_use(str(tmp_path / "tiny" / "two"), "nowhere").name == "two"
    with pytest.raises(UserError, match=r"a run of other\.py"):
        open_run("tiny", arguments(tmp_path, "--resume", str(tmp_path / "other" / "three")))


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"script": "tiny", "options": 3}', "\0\xff"])
def test_a_damaged_config_is_named(tmp_path, content):
    run, _, _ = tiny_script.start(arguments(tmp_path, "--name", "mine"))
    run.close()
    (run.directory / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json is damaged"):
        open_run("tiny", arguments(tmp_path, "--resume", "mine"))


def test_a_run_with_a_link_in_it_is_refused(tmp_path):
    run, _, _ = tiny_script.start(arguments(tmp_path, "--name", "mine"))
    run.close()
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "folder").mkdir()
    for name in ("samples.txt", "lock", "history.csv", "best.safetensors", "train", "train/events", "x"):
        for target in ("theirs", "folder", "nothing"):
            link, kept = run.directory / name, tmp_path / "kept"
            if link.exists():
                link.rename(kept)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(tmp_path / target)
            for open_it in (
                lambda: open_run("tiny", arguments(tmp_path, "--resume", "mine")),
                lambda: open_run("tiny", arguments(tmp_path, "--eval", "mine")),
                lambda: open_for_use("mine", tmp_path),
            ):
                with pytest.raises(UserError, match=rf"{name} is a link; .*\.$"):
                    open_it()
            link.unlink()
            if kept.exists():
                kept.rename(link)
    assert (tmp_path / "theirs").read_text() == "theirs" and list((tmp_path / "folder").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_run_with_a_pipe_in_it_is_refused(tmp_path):
    run, _, _ = tiny_script.start(arguments(tmp_path, "--name", "mine"))
    run.close()
    for name in ("samples.txt", "last.safetensors", "vocab.json"):
        (run.directory / name).unlink(missing_ok=True)
        os.mkfifo(run.directory / name)
        with pytest.raises(UserError, match=f"{name} is not a regular file"):
            open_run("tiny", arguments(tmp_path, "--resume", "mine"))
        (run.directory / name).unlink()
    os.mkfifo(run.directory / "pipe.json")
    with pytest.raises(UserError, match="not a regular file"):
        storage.read_json(run.directory / "pipe.json")


def test_a_folder_that_is_a_link_to_a_run_is_that_run(tmp_path):
    run, _, _ = tiny_script.start(arguments(tmp_path, "--name", "mine"))
    run.close()
    (tmp_path / "tiny" / "latest").symlink_to(run.directory)
    assert open_for_use("latest", tmp_path).seed == run.seed


def test_a_run_brings_no_action(tmp_path):
    run, _, _ = tiny_script.start(arguments(tmp_path, "--name", "mine"))
    run.close()
    config = json.loads((run.directory / "config.json").read_text())
    config["options"] |= {"score": "/etc/passwd", "interactive": True}
    storage.write_json(run.directory / "config.json", config)
    args = arguments(tmp_path, "--eval", "mine")
    args.score, args.interactive = None, False
    open_run("tiny", args)
    assert args.score is None and args.interactive is False


def test_two_runs_of_one_second_have_two_names(tmp_path):
    runs = [tiny_script.start(arguments(tmp_path))[0] for _ in range(3)]
    assert len({run.directory for run in runs}) == 3
    for run in runs:
        run.close()


def test_nothing_is_on_disk_before_the_start(tmp_path):
    open_run("tiny", arguments(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


def test_a_negative_seed_draws_one(tmp_path):
    args = arguments(tmp_path, "-r", "-1")
    run = open_run("tiny", args)
    assert args.seed == run.seed == run.options["seed"] >= 0


def test_options_of_a_run_are_plain(tmp_path):
    args = arguments(tmp_path)
    args.data = Path("somewhere")
    run = open_run("tiny", args)
    json.dumps(run.config)
    assert run.options["data"] == "somewhere" and "given" not in run.options


@pytest.mark.parametrize(
    ("flags", "dtype"), [("fpu avx512_bf16", "mixed_bfloat16"), ("amx_bf16", "mixed_bfloat16"), ("fpu", "float32")]
)
def test_the_dtype_follows_the_processor(monkeypatch, flags, dtype):
    monkeypatch.setattr(device, "_gpu", lambda: None)
    monkeypatch.setattr(Path, "read_text", lambda self, **_: f"flags\t: {flags}\n")
    assert "bfloat16 natively" in device.set_dtype("auto")
    assert keras.config.dtype_policy().name == dtype


@pytest.mark.parametrize(("capability", "dtype"), [((8, 0), "mixed_bfloat16"), ((7, 5), "float32"), (None, "float32")])
def test_the_dtype_follows_the_gpu(monkeypatch, capability, dtype):
    monkeypatch.setattr(device, "_gpu", lambda: ("A GPU", capability))
    device.set_dtype("auto")
    assert keras.config.dtype_policy().name == dtype
    assert device.device() == "GPU (A GPU)"
