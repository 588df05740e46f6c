"""The file of other people's rows."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers.config import ROOT
from helpers.made_up import add_run

from oodbench.tables.load import load_run
from oodbench.tables.published import Number, Published, load_published
from oodbench.tables.published_table import is_of

PUBLISHED = ROOT / "results" / "published.yaml"


@pytest.fixture(scope="module")
def rows() -> list[Published]:
    return load_published(PUBLISHED)


def test_the_numbers_are_those_of_the_source(rows: list[Published]) -> None:
    """HALO's two tables."""
    halo = [row for row in rows if row.source.startswith("HALO")]
    assert [(row.dataset, row.loss, *(number.value for number in row.numbers.values())) for row in halo] == [
        ("cifar10", "CCE+LS", *map(pytest.approx, [0.9630, 0.0798, 0.9251, 0.2208, 0.8283, 0.4894])),
        ("cifar10", "HALO", *map(pytest.approx, [0.9653, 0.0151, 0.9808, 0.1027, 0.9172, 0.3763])),
        ("cifar100", "CCE+LS", *map(pytest.approx, [0.8094, 0.1102, 0.8101, 0.8100, 0.7975, 0.7677])),
        ("cifar100", "HALO", *map(pytest.approx, [0.8080, 0.0283, 0.8691, 0.6370, 0.8100, 0.7538])),
    ]


def test_means_are_those_of_the_sets(rows: list[Published]) -> None:
    """Near and far means of a source are those of the numbers by set, of the same or of another source."""
    by_set = {(row.dataset, row.loss, row.score): row for row in rows if "mnist.auroc" in row.numbers}
    compared = 0
    for row in rows:
        sets = by_set.get((row.dataset, row.loss, row.score))
        if sets is None or not row.protocol or "near.auroc" not in row.numbers:
            continue
        for group, of in (("near", row.protocol.near[row.dataset]), ("far", row.protocol.far)):
            mean = np.mean([sets.numbers[f"{name}.auroc"].value for name in of])
            assert row.numbers[f"{group}.auroc"].value == pytest.approx(mean, abs=0.00011), (row, group)
            compared += 1
    assert compared == 2 * (7 + 2 + 2)  # by set; T2FNorm's in its own table and on the leaderboard, for both sets


def test_a_deviation_is_read_where_there_is_one(rows: list[Published]) -> None:
    by_name = {(row.dataset, row.loss, row.score): row for row in rows if "leaderboard" in row.source}
    vim = by_name["cifar100", "CrossEntropy", "VIM"].numbers["near.auroc"]
    assert vim == Number(pytest.approx(0.7498), pytest.approx(0.0013))
    assert by_name["cifar10", "PALM", "MDS"].numbers["near.auroc"].deviation is None
    assert by_name["cifar10", "PALM", "MDS"].numbers.keys() == {"near.auroc", "far.auroc"}


def test_sets_have_bounds_and_scores_detectors(rows: list[Published]) -> None:
    of_openood = next(row.protocol for row in rows if row.protocol and row.protocol.name == "openood")
    assert of_openood.bounds("cifar10", "tiny_imagenet") == (7000, 8000)
    assert of_openood.bounds("cifar100", "tiny_imagenet") == (6000, 7000)
    assert of_openood.bounds("cifar100", "svhn") == (26032, np.inf)
    assert of_openood.bounds("cifar10", "places365") == (35000, np.inf)
    assert of_openood.bounds("cifar10", "another") == of_openood.bounds("another", "tiny_imagenet") == (0, np.inf)
    detectors = {row.score: row.detectors for row in rows}
    assert (detectors["not stated"], detectors["MSP"], detectors["RotPred"]) == (("ood_score", "msp"), ("msp",), ())


def test_every_number_is_a_share(rows: list[Published]) -> None:
    numbers = [number for row in rows for number in row.numbers.values()]
    assert all(0 < number.value < 1 for number in numbers)
    assert all(0 <= (number.deviation or 0) < 0.2 for number in numbers)


@pytest.mark.parametrize(
    ("command", "loss"),
    [
        (("experiment=halo_blog", "loss=halo"), "HALO"),
        (("experiment=halo_blog", "loss=ce_smooth"), "CCE+LS"),
        (("experiment=openood", "loss=ce"), "CrossEntropy"),
        (("experiment=openood_cifar100", "loss=logitnorm"), "LogitNorm (tau .04)"),
        (("experiment=openood", "loss=t2fnorm"), "T2FNorm"),
        (("experiment=logitnorm_paper", "loss=logitnorm", "loss.tau=0.01"), "LogitNorm (tau .01)"),
        (("experiment=logitnorm_paper", "loss=ce"), "CrossEntropy"),
    ],
)
def test_a_documented_command_makes_a_comparable_run(
    tmp_path: Path, rows: list[Published], command: tuple[str, ...], loss: str
) -> None:
    """Every key of the command's backbone, recipe and loss is named in the file, with the command's value."""
    run = load_run(add_run(tmp_path, follows=command))
    dataset = "cifar100" if "cifar100" in command[0] else "cifar10"
    of_protocol = [row for row in rows if row.protocol and row.protocol.name in command[0] and row.dataset == dataset]
    assert {row.loss for row in of_protocol if is_of(run, row)} == {loss}


def test_every_protocol_names_a_recipe_of_conf(rows: list[Published]) -> None:
    recipes = {row.protocol.runs["recipe"] for row in rows if row.protocol}
    assert recipes <= {file.stem for file in (ROOT / "conf" / "recipe").glob("*.yaml")}


def test_every_score_is_one_of_conf() -> None:
    known = {file.stem for group in ("detector", "image_detector") for file in (ROOT / "conf" / group).glob("*.yaml")}
    scores = yaml.safe_load(PUBLISHED.read_text("utf-8"))["scores"].values()
    assert {name for names in scores for name in (names if isinstance(names, list) else [names])} <= known


def test_every_loss_is_one_of_conf() -> None:
    ours = yaml.safe_load(PUBLISHED.read_text("utf-8"))["losses"].values()
    for loss in ours:
        settings = yaml.safe_load((ROOT / "conf" / "loss" / f"{loss['loss']}.yaml").read_text("utf-8"))
        settings = settings.get("loss", settings).keys() - {"_target_"}
        assert {key.removeprefix("loss.") for key in loss if key.startswith("loss.")} == settings


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("96.30,", "high,", "could not convert string to float"),
        ("protocol: halo_blog", "protocol: unheard_of", "lacks the key 'unheard_of'"),
        ("svhn.fpr95_unstated", "svhn.fpr95", "column svhn.fpr95: fpr95 is no metric of an OOD set"),
        ("accuracy,ece", "precision,ece", "column precision: precision is no metric"),
        ("verified: true", "checked: true", "lacks the key 'verified'"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    text = PUBLISHED.read_text("utf-8")
    assert old in text
    (path := tmp_path / "published.yaml").write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ValueError, match=re.escape(str(path))) as error:
        load_published(path)
    assert complaint in str(error.value)


def test_a_number_that_is_no_share_keeps_its_unit(tmp_path: Path) -> None:
    text = PUBLISHED.read_text("utf-8").replace("accuracy,ece,", "accuracy,nll,", 1)
    (path := tmp_path / "published.yaml").write_text(text, "utf-8")
    numbers = load_published(path)[0].numbers
    assert (numbers["accuracy"].value, numbers["nll"].value) == (pytest.approx(0.963), 7.98)
