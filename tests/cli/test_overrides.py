"""Overrides are checked against conf/: keys and choices, each with what is available instead."""

import pytest
from helpers.overrides import check_text

from oodbench.cli.errors import UsageError
from oodbench.cli.overrides import parse, quote

pytestmark = pytest.mark.usefixtures("hydra_initialised")

KEYS = [
    ("loss.gama=1", "loss has no gama; did you mean loss.gamma? available: gamma"),
    ("lr=1", "the configuration has no lr; did you mean recipe.optimizer.lr? available:"),
    ("+lr=1", "the configuration has no lr"),
    ("+recipe.warmup=3", "recipe has no warmup; did you mean recipe.warmup_epochs?"),
    ("recipe.epoch=3", "did you mean recipe.epochs?"),
    ("wandb.mod=offline", "did you mean wandb.mode?"),
    ("recipe.optimizer.betta=1", "recipe.optimizer has no betta"),
    ("ood.leaves.path=/x", "ood has no leaves; to add one, put + before it: +ood.leaves.path=... ; available: noise, "),
    ("detector.knn.k=3", "detector has no knn; to choose it: detector=[knn]; chosen: energy, maxlogit, msp, ood_score"),
    ("seed.x=1", None),
]


@pytest.mark.parametrize(("text", "says"), KEYS)
def test_a_key_that_is_not_there_names_its_neighbours(text: str, says: str | None) -> None:
    if says is None:
        check_text(text)  # below what is no group: Hydra itself says so
        return
    with pytest.raises(UsageError) as error:
        check_text(text)
    assert str(error.value).startswith(text + ": ")
    assert says in str(error.value)


CHOICES = [
    ("loss=hallo", "loss hallo is not available; did you mean halo? available: ce, "),
    ("experiment=smal", "experiment smal is not available; available: ablation_circle"),
    ("detector=null", "a list is needed; detector=[] for none"),
    ("recipe=[short,smok]", "recipe smok is not available; did you mean smoke?"),
    ("detector=[knnn]", "detector knnn is not available; did you mean knn? available: all, ash_b"),
    ("detector=knnn", "did you mean knn?"),
    ("ood=[foo]", "ood foo is not available; available: cifar10, "),
    ("ood@validation.ood=foo", "ood foo is not available"),
    ("detector=[odin]", "odin reads images: image_detector=[odin]"),
    ("image_detector=[knn]", "knn reads stored outputs: detector=[knn]"),
    ("hydra/launcher=slurn", "did you mean slurm?"),
]


@pytest.mark.parametrize(("text", "says"), CHOICES)
def test_a_choice_that_is_not_there_lists_what_is(text: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        check_text(text)
    assert str(error.value).startswith(text + ": ")
    assert says in str(error.value)


@pytest.mark.parametrize(
    "text", ["loss=halo", "experiment=null", "detector=[all]", "detector=all", "ood=[]", "ood=noise"]
)
def test_a_choice_that_is_there_is_taken(text: str) -> None:
    check_text(text)


@pytest.mark.parametrize(
    "argument",
    ["seed=1", "loss=ce,halo", "ood=[ä,ö]", "note='ü'", "-m", "note=${oc.env:Ü}", "ü", "--config-dir=/ü", "a=/x/y 1"],
)
def test_what_hydra_can_read_is_left_as_it_is(argument: str) -> None:
    assert quote(argument) == argument


@pytest.mark.parametrize("path", ["/x/über", "/x/my (1)", "/x/lr=0.1", "/x/bob's", "my (1)", "/x/a 'b' c"])
def test_a_path_that_hydra_cannot_read_is_quoted(path: str) -> None:
    assert quote(f"results_dir={path}") != f"results_dir={path}"
    (override,) = parse([quote(f"results_dir={path}")])
    assert override.value() == path
