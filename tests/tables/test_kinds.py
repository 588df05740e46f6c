"""Near, far and shifted ID."""

from pathlib import Path

import pytest
from helpers.made_up import add_run, add_with_shifted, alter_metrics
from omegaconf import OmegaConf

from oodbench.report.card import card
from oodbench.tables.kinds import CORRUPTED, Kind, is_shifted
from oodbench.tables.load import load_runs
from oodbench.tables.means import FAR, common_means, with_means
from oodbench.tables.overview import overview
from oodbench.tables.paper import paper
from oodbench.tables.paper.style import Style
from oodbench.tables.sections import section
from oodbench.targets import allowed

CONF = Path(__file__).parents[2] / "conf"
FOG = {"fog": {"_target_": "oodbench.data.cifar10c"}}
TEST = {"_target_": "oodbench.data.cifar10"}
AUROC = {"cifar100": 0.8, "fog": 0.5, "mnist": 0.9, "svhn": 0.96}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    ood = {name: {"ood_score": auroc} for name, auroc in AUROC.items()}
    path = add_run(tmp_path, ood=ood, config={"dataset": {"test": TEST}})
    of = {name: {"_target_": f"oodbench.data.{name}"} for name in AUROC} | FOG
    alter_metrics(path, lambda content: content["provenance"].update(ood=of))
    return tmp_path


def test_shifted_sets_count_in_no_mean(results: Path) -> None:
    (run,) = load_runs(results).runs
    (run,) = with_means([run], common_means([run]))
    assert run.numbers[FAR, "ood_score", "auroc"] == pytest.approx((0.9 + 0.96) / 2)
    assert [run.kind(ood) for ood in AUROC] == [Kind.NEAR, Kind.SHIFTED, Kind.FAR, Kind.FAR]


def test_every_table_says_shifted(results: Path) -> None:
    (run,) = load_runs(results).runs
    table = section([run], "idpos", ["ood_score"])
    groups = list(dict.fromkeys(group for group, _ in table.columns if group))
    assert groups == ["cifar100 (near)", "far mean", "mnist (far)", "svhn (far)", "fog (shifted ID)"]
    assert "Shifted ID" in paper([run], "idpos", ["ood_score"], Style())
    assert "shifted ID" in overview([run])
    assert "fog, shifted ID, 100 images" in card(run.folder).replace("\\", "")


def test_no_end_of_a_shifted_column_is_marked(tmp_path: Path) -> None:
    add_with_shifted(tmp_path, "a", {"svhn": 0.9, "fog": 0.5})
    add_with_shifted(tmp_path, "b", {"svhn": 0.8, "fog": 0.7})
    runs = load_runs(tmp_path).runs
    table = section(runs, "idpos", ["ood_score"])
    of_sets = [(ood, text) for row in table.rows for (ood, _), text in zip(table.columns, row, strict=True) if ood]
    assert {ood for ood, text in of_sets if "*" in text} == {"svhn (far)"}
    assert {ood for ood, _ in of_sets} == {"svhn (far)", "fog (shifted ID)"}
    assert any(note.startswith("Shifted ID, fog: ") for note in table.notes)
    text = paper(runs, "idpos", ["ood_score"], Style(columns=("svhn:auroc", "fog:auroc")))
    assert "textbf{90.00}" in text
    assert "textbf{70.00}" not in text
    assert "70.00" in text


def test_the_readers_of_corrupted_sets_are_there() -> None:
    assert {*CORRUPTED, *CORRUPTED.values()} <= allowed("data").keys()
    of = {file.stem: OmegaConf.to_container(OmegaConf.load(file)) for file in (CONF / "ood").glob("*.yaml")}
    for dataset in ("cifar10", "cifar100"):
        test = {"_target_": f"oodbench.data.{dataset}"}
        assert [name for name, configured in of.items() if is_shifted(configured, test)] == [f"{dataset}c"]


def test_corrupted_images_of_other_classes_are_ood(tmp_path: Path) -> None:
    config = {"dataset": {"test": {"_target_": "oodbench.data.cifar100"}}}
    path = add_run(tmp_path, ood={"fog": {"ood_score": 0.8}}, config=config)
    alter_metrics(path, lambda content: content["provenance"].update(ood=FOG))
    (run,) = load_runs(tmp_path).runs
    assert run.kind("fog") == Kind.FAR
