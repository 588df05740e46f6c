"""Names of rows and of tables."""

from pathlib import Path

from helpers.made_up import add_run

from oodbench.tables.labels import numerically, protocol, row_of
from oodbench.tables.load import load_runs
from oodbench.tables.sections import section


def test_hyperparameters_that_differ_stand_in_the_label(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config={"loss": {"smoothing": 0.1}})
    add_run(tmp_path, config={"loss": {"smoothing": 0.1}, "recipe": {"warmup_epochs": 1}})
    add_run(tmp_path, "other", config={"recipe": {"clip_grad_norm": 1.0}})
    table = section(load_runs(tmp_path).runs, "idpos", ["ood_score"])
    assert [row[0] for row in table.rows] == [
        "other",
        "plain (smoothing=0, recipe.warmup_epochs=0)",
        "plain (smoothing=0.1, recipe.warmup_epochs=0)",
        "plain (smoothing=0.1, recipe.warmup_epochs=1)",
    ]
    assert "`other`: smoothing=0." in table.notes


def test_a_row_is_all_that_the_seeds_share(tmp_path: Path) -> None:
    for seed in (0, 1):
        add_run(tmp_path, seed=seed)
    first, second = load_runs(tmp_path).runs
    assert row_of(first) == row_of(second)
    for field in ("dataset", "backbone", "loss", "recipe", "hash"):
        assert row_of(first) != row_of(second._replace(**{field: "another"})), field
    assert row_of(first, ["seed"]) != row_of(second, ["seed"])


def test_the_protocol_names_subsets_and_an_unknown_length(tmp_path: Path) -> None:
    add_run(tmp_path, config={"dataset": {"limit": 10_000}})
    (run,) = load_runs(tmp_path).runs
    expected = "resnet18 (width=64), recipe short, 10 epochs, 10,000 training images (subset), 10,000 test images, bf16"
    assert protocol(run) == expected
    assert "epochs unknown" in protocol(run._replace(epochs=None))
    assert "recipe" not in protocol(run, ["recipe", "recipe.epochs"])


def test_images_of_another_size_are_another_protocol(tmp_path: Path) -> None:
    for size in (32, 64):
        add_run(tmp_path, config={"dataset": {"size": size}})
    small, large = sorted(map(protocol, load_runs(tmp_path).runs), key=len)
    assert "pixels" not in small
    assert large == small.replace("bf16", "images of 64 x 64 pixels, bf16")


def test_values_are_sorted_as_numbers_before_words() -> None:
    assert sorted(["null", "10", "2", "0.5", "a"], key=numerically) == ["0.5", "2", "10", "a", "null"]
