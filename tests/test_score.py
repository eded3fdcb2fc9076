"""score.py: any file of texts against real ones, and what it refuses."""

import json
import random
import types

from scriptorium import UserError
from scriptorium.data import scenes
from scriptorium.scores import lstm

import pytest

import score


def write(path, texts):
    path.write_text("".join(f"{text}\n" for text in texts), "utf-8")
    return str(path)


def sentences(count, seed):
    draw = random.Random(seed)
    return [f"{draw.choice(['A man', 'The dog', 'She'])} {draw.choice(['sees', 'eats'])} it ." for _ in range(count)]


@pytest.fixture
def files(tmp_path):
    texts = {"real.txt": sentences(120, 1), "good.txt": sentences(60, 2), "bad.txt": ["it it it ."] * 60}
    return {name: write(tmp_path / name, some) for name, some in texts.items()}


def run(capsys, *argv):
    score.main(score.parse_args([*map(str, argv)]))
    return capsys.readouterr().out


def test_good_samples_are_near_real_texts_and_bad_ones_are_not(files, capsys, tmp_path):
    argv = (files["good.txt"], files["bad.txt"], "--reference", files["real.txt"])
    found = json.loads(run(capsys, *argv, "--json", "--plot", tmp_path / "f.png"))
    good, bad, real = found["scores"].values()
    assert list(found["scores"])[2] == score.REAL
    assert abs(good["kl_samples"]["value"]) < 0.1 and bad["kl_samples"]["value"] > 1
    assert abs(good["accuracy"]["value"] - 0.5) < 0.2 and bad["accuracy"]["value"] == 1
    assert bad["unique"]["value"] == pytest.approx(1 / 60) and bad["self_bleu_3"]["value"] == pytest.approx(1)
    assert all(three["low"] - 1e-9 <= three["value"] <= three["high"] + 1e-9 for three in real.values())
    assert found["signature"].startswith("score.py:1|texts:60|tokens:word|order:5|folds:5|vocabulary:")
    assert (tmp_path / "f.png").stat().st_size > 10_000
    text = run(capsys, *argv)
    assert text.splitlines()[0].split() == ["good.txt", "bad.txt", "real", "texts"]
    assert text.splitlines()[-1] == found["signature"]
    assert text == run(capsys, *argv)


def test_with_training_texts_copies_are_counted(files, capsys, tmp_path):
    train = write(tmp_path / "train.txt", [*sentences(60, 3), "it it it ."])
    argv = (files["bad.txt"], "--reference", files["real.txt"], "--train", train, "--json")
    bad, real = json.loads(run(capsys, *argv))["scores"].values()
    assert bad["copies"]["value"] == 1 and real["copies"]["value"] > 0.9


def test_scenes_are_scored_with_their_true_probabilities(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(scenes, "SIZES", {"train": 300, "valid": 10, "test": 300})
    draw = scenes.Random(99)
    texts = [scenes.grammar().sample(draw) for _ in range(300)]
    right, wrong = write(tmp_path / "right.txt", texts), write(tmp_path / "wrong.txt", [f"{t} Xyz." for t in texts])
    argv = (right, wrong, "--reference", "scenes", "--json")
    right, wrong, real = json.loads(run(capsys, *argv))["scores"].values()
    assert right["grammatical"]["value"] == 1 and wrong["grammatical"]["value"] == 0
    assert -0.3 < right["rules_kl"]["value"] < 0.1 and -0.3 < real["rules_kl"]["value"] < 0.1
    assert right["true_nll"]["value"] == pytest.approx(real["true_nll"]["value"], abs=3)
    assert "true_nll" not in wrong


def test_an_lstm_can_judge_too(files, capsys, monkeypatch):
    monkeypatch.setattr(lstm, "EPOCHS", 12)
    argv = (files["bad.txt"], "--reference", files["real.txt"], "--lstm", "--json")
    bad, real = json.loads(run(capsys, *argv))["scores"].values()
    assert bad["lstm_samples"]["value"] > real["lstm_samples"]["value"]
    assert bad["lstm_reference"]["value"] > real["lstm_reference"]["value"] + 1


def test_characters_and_tables_are_read(capsys, tmp_path):
    draw = random.Random(1)
    texts = ["".join(draw.choices("我们在山水之间", k=6)) for _ in range(90)]
    rows = "text\n" + "\n".join(texts[:30]) + "\n"
    (tmp_path / "samples.csv").write_text(rows, "utf-8")
    real = write(tmp_path / "real.txt", texts[30:])
    out = run(capsys, tmp_path / "samples.csv", "--reference", real, "--level", "char")
    assert "|texts:30|tokens:char|" in out


def test_characters_of_chinese_are_compared_whatever_the_spaces(capsys, tmp_path):
    draw = random.Random(1)
    texts = [" ".join(draw.choices(["我们", "在", "山水", "之间", "走"], k=5)) for _ in range(90)]
    real = write(tmp_path / "real.txt", texts[30:])
    bare = write(tmp_path / "bare.txt", [text.replace(" ", "") for text in texts[:30]])
    (sample, _) = json.loads(run(capsys, bare, "--reference", real, "--json"))["scores"].values()
    assert sample["kl_samples"]["value"] < 0.3 and 0.2 < sample["accuracy"]["value"] < 0.8


def test_a_folder_gives_its_test_split(capsys, tmp_path, files):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for split, seed in (("train", 5), ("test", 6)):
        write(folder / f"{split}.txt", [*sentences(60, seed), f"only {split} ."])
    argv = (files["good.txt"], "--reference", folder, "--train", folder / "train.txt", "--json")
    assert "copies" in json.loads(run(capsys, *argv))["scores"][files["good.txt"]]
    (folder / "test.txt").rename(folder / "valid.txt")
    with pytest.raises(UserError, match="this folder has no test texts"):
        score.main(score.parse_args([*map(str, argv)]))


def test_the_tokens_of_a_task_are_its_own(capsys, tmp_path, monkeypatch):
    names = ["anna", "bert", "carla", "doris"] * 10
    corpus = types.SimpleNamespace(train=names, test=names, level="char")
    monkeypatch.setattr(score.corpora, "load", lambda name: corpus)
    found = json.loads(run(capsys, write(tmp_path / "s.txt", names), "--reference", "names", "--json"))
    assert "|tokens:char|" in found["signature"]


def test_lines_that_are_left_out_are_said(files, capsys, tmp_path):
    texts = [*sentences(30, 7), "", "  "]
    score.main(score.parse_args([write(tmp_path / "gaps.txt", texts), "--reference", files["real.txt"]]))
    assert "gaps.txt: 2 empty lines left out" in capsys.readouterr().err


def test_spaces_before_punctuation_on_one_side_alone_are_said(capsys, tmp_path):
    real = write(tmp_path / "real.txt", [text.lower() for text in sentences(120, 1)])
    mine = write(tmp_path / "mine.txt", [text.replace(" .", ".") for text in sentences(60, 2)])
    score.main(score.parse_args([mine, "--reference", real]))
    assert "--level word reads both alike" in capsys.readouterr().err


def test_what_cannot_be_scored_is_refused_in_one_line(files, tmp_path):
    few, empty = write(tmp_path / "few.txt", ["a b ."] * 5), write(tmp_path / "empty.txt", [])
    real = files["real.txt"]
    for argv, words in (
        ((few, "--reference", real), "few.txt: 5 texts; at least 20"),
        ((files["good.txt"], "--reference", few), "at least 20"),
        ((empty, "--reference", real), "this file has no text"),
        (("no.txt", "--reference", real), "no such file"),
        ((files["good.txt"], "--reference", real, "--plot", "x.doc"), "a picture must be named"),
    ):
        with pytest.raises(UserError, match=words):
            score.main(score.parse_args([*argv]))


@pytest.mark.parametrize("more", [["--seed", "-1"], ["--count", "3"], ["--level", "bpe"]])
def test_wrong_options_are_refused(files, more, capsys):
    with pytest.raises(SystemExit):
        score.parse_args([files["good.txt"], "--reference", files["real.txt"], *more])
    assert capsys.readouterr().err.count("\n") == 1


def test_the_same_file_twice_is_refused(files, capsys):
    with pytest.raises(SystemExit):
        score.parse_args([files["good.txt"], files["good.txt"], "--reference", files["real.txt"]])
    assert "the same file is given twice" in capsys.readouterr().err
