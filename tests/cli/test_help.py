"""--help shows the comments of conf/ beside the keys."""

from helpers.cli import script

from oodbench.cli.help import annotated, comments, paths


def test_keys_are_dotted_by_their_depth() -> None:
    lines = ["a: 1", "b:", "  c:", "    d: 2  # two", "  - 3", "  e: 4", "f: 5"]
    assert [key for _, key, _ in paths(lines)] == ["a", "b", "b.c", "b.c.d", "b.e", "f"]


def test_comments_follow_the_choices() -> None:
    assert comments([])["seed"].startswith("of the weights' initialisation")
    assert comments([])["loss.gamma"].startswith("the inverse temperature at the start")
    assert "loss.gamma" not in comments(["loss=ce"])
    assert comments(["recipe=short"])["recipe.crop_fill"].startswith("around the image")  # of openood100, its base


def test_only_keys_with_a_comment_change() -> None:
    text = "Groups\nloss: ce, halo\n\nseed: 0\nmine: 1\nloss:\n  gamma: null\n"
    before, seed, mine, loss, gamma = annotated(text, []).rstrip("\n").rsplit("\n", 4)
    assert before == "Groups\nloss: ce, halo\n"
    assert seed.startswith("seed: 0                        # of the weights")
    assert gamma.startswith("  gamma: null                  # the inverse temperature")
    assert (mine, loss) == ("mine: 1", "loss:")


def test_help_has_keys_commands_and_comments() -> None:
    printed = script("train.py", "--help")
    assert "\nthreads: null                  # of the CPU; null: one for each core" in printed
    assert "python train.py -m experiment=fast" in printed
