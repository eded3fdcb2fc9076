"""Each script in a process of its own, as its user runs it; most other tests run scripts in their own process."""

import pytest
from helpers import run_script

# Lines of the older scripts, at tiny sizes.
TINY = {
    "chars": "-m 1000 -L 8 -E 6 -b 4 -m 10",
    "words": "-m 20 -L 8 -E 6 -b 4",
    "sentences": "-b 1024 -l 1e-2 -L 8 -E 6 -H 3 -b 4",
    "names_vae": "-L 16 -H 8 --prior-units 16 --num-layers 1 -b 4 -m 9",
    "transformer_vae": "syntax tenth_5_tkn batch_large 30Seq eval -L 12 --num-heads 3 -H 4 --decoder-layers 1 -b 4 -m 9"
    " --level word --code point",
    "text_gan": "-m 9 -E 8 -L 8 -b 4 --B_gen 1 --O_gen 0 --M_gen 1 --mode mle",
}


@pytest.mark.parametrize("script", TINY)
def test_training(script, tmp_path):
    texts = {f"the {a} saw the {b} ." for a in ("cat", "dog", "bird", "king") for b in "abcdefghijklmnop"}
    if script == "names_vae":
        texts = {a + b + c + "a" for a in "abcd" for b in "efgh" for c in "ijkl"}
    (tmp_path / "texts.txt").write_text("\n".join(sorted(texts)), encoding="utf-8")
    where = ["-D", tmp_path / "texts.txt", "-T", tmp_path / "runs"]
    done = run_script(f"{script}.py", *where, *TINY[script].split(), "--dry-run")
    assert not done.stderr and "nothing is kept" in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("script", "argv"), [("chars", ["--eval", "none"]), ("demo", ["--run", "none"])])
def test_what_is_wrong_is_one_line(script, argv, tmp_path):
    done = run_script(f"{script}.py", *argv, "-T", tmp_path, status=2)
    assert done.stderr.startswith(f"{script}.py: error: ") and done.stderr.count("\n") == 1 and not done.stdout
