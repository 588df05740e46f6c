"""The card of a run: what it says, when it is written, and that nothing in it is more than text."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import HALO, Finished, numbers_in, script, started
from helpers.config import configuration, names
from helpers.made_up import NOISE, add_run, alter_metrics
from helpers.report import HOSTILE, add_hostile_run, add_odd_provenance

from oodbench.cli.configuration import compose, resolve
from oodbench.report.card import card, cost_of, escaped, fenced
from oodbench.runs.folder import open_run
from oodbench.runs.identity import config_hash
from oodbench.runs.lock import run_lock
from oodbench.scoring.rescore import rescore
from oodbench.storage import UnwritableError
from oodbench.tables.names import licence


def text_of(folder: Path) -> str:
    return (folder / "README.md").read_text("utf-8")


def test_a_finished_run_has_a_card_of_its_record(finished: Finished) -> None:
    text = text_of(finished.folder)
    assert text == card(finished.folder)
    accuracy = finished.metrics["accuracy"]
    low, high = finished.metrics["intervals"]["accuracy"]
    assert f"| Accuracy ↑ | {100 * accuracy:.2f} % [{100 * low:.1f}, {100 * high:.1f}] |" in text
    for ood, name in (("unseen_digits", "Digits 8 and 9, near"), ("photo_patches", "Photo patches, far")):
        auroc = finished.metrics["ood"][ood]["ood_score"]["auroc"]
        assert re.search(rf"\| {name}, \d+ images \| own \| {100 * auroc:.2f} % \[", text)
    assert f"threads: {finished.metrics['provenance']['threads']}" in text
    assert "CC BY 2.0" in text
    assert "HALO-Loss" in text


def test_its_command_gives_the_run(finished: Finished) -> None:
    """Also where the card was written amid a run, by a process in which Hydra is at work"""
    (command,) = re.findall(r"^python train\.py (.*)$", text_of(finished.folder), re.MULTILINE)
    assert config_hash(resolve(compose(shlex.split(command)))) == open_run(finished.folder)[0].run.hash


def test_its_code_loads_the_run(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", text_of(finished.folder), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(finished.folder)
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["run"].numbers["accuracy"] == finished.metrics["accuracy"]


def test_the_next_start_writes_a_card_that_is_missing(again: Finished) -> None:
    text = text_of(again.folder)
    (again.folder / "README.md").unlink()
    (again.folder / ".README.md.half").write_text("what a killed process left")
    started(*HALO, f"results_dir={again.results}")
    assert text_of(again.folder) == text
    assert not list(again.folder.glob(".README*"))


def test_without_a_card_a_locked_run_says_its_numbers(again: Finished) -> None:
    (again.folder / "README.md").unlink()
    with run_lock(again.folder):
        assert "finished" in started(*HALO, f"results_dir={again.results}")
    assert not (again.folder / "README.md").exists()


def test_scoring_again_writes_it_again(again: Finished) -> None:
    before = text_of(again.folder)
    rescore(again.folder, configuration("detector=[gen]")["detector"], {})
    after = text_of(again.folder)
    assert "gen" in numbers_in(again.folder)["ood"]["photo_patches"]
    assert after != before
    assert re.search(r"Further scores in metrics\.json: .*gen", after)


def test_none_stands_beside_another_record(again: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("oodbench.scoring.score.write_card", die)
        with pytest.raises(KeyboardInterrupt):
            rescore(again.folder, configuration("detector=[gen]")["detector"], {})
    assert not (again.folder / "README.md").exists()
    assert started(*HALO, f"results_dir={again.results}").startswith("finished already")


def test_a_folder_in_its_place_is_named_before_anything_changes(again: Finished) -> None:
    (again.folder / "README.md").unlink()
    (again.folder / "README.md").mkdir()
    with pytest.raises(UnwritableError, match=r"cannot write .*README\.md: .*moved away"):
        rescore(again.folder, configuration("detector=[gen]")["detector"], {})
    assert numbers_in(again.folder) == again.metrics


def test_a_published_run_has_one_that_says_what_it_lacks(finished: Finished, tmp_path: Path) -> None:
    script("scripts/publish.py", f"results_dir={finished.results}", "--target", tmp_path)
    copy = tmp_path / finished.folder.relative_to(finished.results)
    assert "neither weights nor outputs" in text_of(copy)
    assert "neither weights nor outputs" not in text_of(finished.folder)
    assert len(text_of(copy).encode()) < 5000


def test_means_over_sets_stand_there_with_intervals(tmp_path: Path) -> None:
    ood = {name: {"ood_score": 0.8} for name in ("svhn", "mnist")}
    text = card(add_run(tmp_path, ood=ood, noise=NOISE))
    assert re.search(r"\| far mean \| own \| 80\.00 % \[78\.\d, 81\.\d\] \|", text)
    assert "| MNIST, far, 100 images | own |" in text


def test_a_run_without_intervals_and_command_has_a_card(tmp_path: Path) -> None:
    text = card(add_run(tmp_path, config={"name": {"loss": "unheard_of"}}))
    assert "| Accuracy ↑ | 90.00 % |" in text
    assert "No command of this version" in text


def test_what_a_run_says_is_text_and_nothing_more(tmp_path: Path) -> None:
    folder = add_hostile_run(tmp_path)
    text = card(folder)
    assert "alert" in text
    assert not re.search(r"(?<!\\)<(?!br>)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    alter_metrics(folder, lambda content: content["provenance"].update(device="a\n# title\n|`x`|"))
    assert r"- device: a # title |\`x\`|" in card(folder)


def test_a_provenance_of_other_types_is_printed(tmp_path: Path) -> None:
    folder = add_run(tmp_path)
    add_odd_provenance(folder)
    assert "- wall time: long" in card(folder)


def test_cost_is_in_units_a_reader_knows() -> None:
    cost = dict(cost_of({"wall_time_s": 7230.0, "images_per_second": 812.6, "device": "cpu", "more": 1}))
    assert cost == {"wall time": "120.5 min", "images per second": "813", "device": "cpu"}


def test_a_fence_is_longer_than_what_it_holds() -> None:
    assert fenced("a ```` b") == "`````\na ```` b\n`````"
    assert escaped(HOSTILE).startswith(r"\<script\>")


@pytest.mark.parametrize("group", ["dataset", "ood"])
def test_every_published_set_has_a_licence(group: str) -> None:
    custom = {"folder", "parquet", "imglist", "openood"}
    assert [name for name in names(group) if name not in custom and not licence(name)] == []
    assert licence("../dataset/cifar10") == licence("nothing") == ""
