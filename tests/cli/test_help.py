"""--help shows the comments of conf/ beside the keys."""

import re

import pytest
from helpers.cli import script

from oodbench.cli.errors import UsageError
from oodbench.cli.help import WIDTH, annotated, choices, comments, help_text, paths


def test_keys_are_dotted_by_their_depth() -> None:
    lines = ["a: 1", "b:", "  c:", "    d: 2  # two", "  - 3", "  e: 4", "f: 5"]
    assert [key for _, key, _ in paths(lines)] == ["a", "b", "b.c", "b.c.d", "b.e", "f"]


def test_comments_follow_the_choices() -> None:
    assert comments({})["seed"].startswith("of the weights' initialisation")
    assert comments({"loss": "halo"})["loss.gamma"].startswith("the inverse temperature at the start")
    assert "loss.gamma" not in comments({"loss": "ce"})
    assert comments({"recipe": "short"})["recipe.crop_fill"].startswith("around the image")  # of openood100, its base


def test_only_keys_with_a_comment_change() -> None:
    seed, mine, loss, gamma = annotated("seed: 0\nmine: 1\nloss:\n  gamma: null\n", {"loss": "halo"}).splitlines()
    assert seed.startswith("seed: 0                        # of the weights")
    assert gamma.startswith("  gamma: null                  # the inverse temperature")
    assert (mine, loss) == ("mine: 1", "loss:")


def test_help_follows_the_arguments() -> None:
    text = help_text(["--help", "loss=ce", "seed=3"])
    assert "\nseed: 3 " in text
    assert "smoothing: 0.0" in text
    assert help_text(["-m", "--help", "loss=ce,focal", "seed=range(3)"]) == help_text(["--help"])
    with pytest.raises(UsageError, match="nonsense"):
        help_text(["nonsense=1"])


def test_help_follows_what_an_experiment_chooses() -> None:
    text = help_text(["--help", "experiment=fast"])
    assert re.search(r"lr: 0\.085 +# of filters, there 0\.24", text)
    assert re.search(r"final: 0\.0$", text, re.MULTILINE)  # and not the comment of another recipe


def test_choices_are_the_files_of_conf() -> None:
    lines = choices().splitlines()
    assert "dataset: cifar10, cifar100, digits, folder, parquet" in lines
    assert any(line.startswith("detector: all, ash_b, ") for line in lines)
    assert max(map(len, lines)) <= WIDTH
    assert not any(line.startswith("hydra") for line in lines)


def test_help_has_keys_commands_and_comments() -> None:
    printed = script("train.py", "--help")
    assert "\nthreads: null                  # of the CPU; null: what trains fastest" in printed
    assert "python train.py -m experiment=fast" in printed
    assert choices() in printed
