"""Near, far and shifted ID."""

from pathlib import Path

import pytest
from helpers.made_up import add_run, alter_metrics
from omegaconf import OmegaConf

from oodbench.report.card import card
from oodbench.tables import Style, load_runs
from oodbench.tables.kinds import SHIFTED_BY, Kind, is_shifted
from oodbench.tables.means import FAR, common_means, with_means
from oodbench.tables.overview import overview
from oodbench.tables.paper import paper
from oodbench.tables.sections import section
from oodbench.targets import allowed

CONF = Path(__file__).parents[2] / "conf"
AUROC = {"cifar100": 0.8, "fog": 0.5, "mnist": 0.9, "svhn": 0.96}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = add_run(tmp_path, ood={name: {"ood_score": auroc} for name, auroc in AUROC.items()})
    of = {name: {"_target_": f"oodbench.data.{name}"} for name in AUROC} | {"fog": {"_target_": SHIFTED_BY[0]}}
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


def test_the_readers_of_corrupted_sets_are_there() -> None:
    assert {*SHIFTED_BY} <= allowed("data").keys()
    names = {f.stem for f in (CONF / "ood").glob("*.yaml") if is_shifted(OmegaConf.to_container(OmegaConf.load(f)))}
    assert names == {"cifar10c", "cifar100c"}
