"""Digests of code: of a loss, a network, a detector, a metric."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.config import CONF, configuration

from oodbench.evaluation.metrics import METRICS
from oodbench.runs import code
from oodbench.runs.code import (
    changed_parts,
    code_digest,
    code_of,
    detector_code,
    joined_code,
    metric_code,
    remember_code,
)

LOSS = '''"""A loss."""

class Mine:
    """It has a margin."""

    def loss(self, z):
        return z.mean()  # of a batch
'''


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a loss of one's own and return its digest."""
    monkeypatch.setattr(code, "PROJECT", tmp_path)
    (tmp_path / "losses").mkdir()
    (tmp_path / "losses" / "another.py").write_text("class Another:\n    pass\n")

    def digest(text: str) -> str:
        (tmp_path / "losses" / "mine.py").write_text(text)
        code_digest.cache_clear()
        return code_digest("oodbench.losses.Mine")

    return digest


@pytest.fixture(autouse=True)
def _forgotten() -> None:
    code_digest.cache_clear()


def test_a_statement_counts(written: Callable[[str], str]) -> None:
    digests = {written(LOSS), written(LOSS.replace("mean", "sum")), written(LOSS.replace("z.mean()", "-z.mean()"))}
    assert len(digests) == 3
    assert all(len(digest) == 12 for digest in digests)


QUOTES = """
class Mine:
    def loss(self, z, *a: int, b=1):
        return f"{z!r}, {', '.join(a)}" if z else None
"""
WORDS = [
    *[("of a batch", "!"), ("A loss.", "x"), ("a margin", "none"), ("z.mean()", "(z).mean()"), ('"""A loss."""\n', "")],
    *[('    """It has a margin."""\n', ""), ("        return z", '        """(B, K) -> ()"""\n        return z')],
]


@pytest.mark.parametrize(("old", "new"), WORDS)
def test_a_word_about_it_does_not(written: Callable[[str], str], old: str, new: str) -> None:
    assert old in LOSS
    assert written(LOSS) == written(LOSS.replace(old, new))


def test_the_digest_is_that_of_every_version_of_python(written: Callable[[str], str]) -> None:
    """The text that Python writes of a tree is not: quotes in f-strings, fields of a class."""
    assert written(QUOTES) == "391d885bda20"  # by Python 3.11, 3.12 and 3.13


def test_what_is_not_there_has_none(written: Callable[[str], str]) -> None:
    written(LOSS)
    others = ("oodbench.losses.Other", "oodbench.nowhere.Mine", "mine.losses.Mine", "torch.nn.Linear", "Mine", "None")
    for target in others:
        assert code_digest(target) == ""


@pytest.mark.parametrize("node", [None, 3, [], "abc", {}, {"_target_": None}, {"_target_": "oodbench./etc.Mine"}])
def test_what_anybody_may_have_written_has_none(node: Any) -> None:
    assert code_of({"loss": node, "backbone": node}) == {"loss": "", "backbone": ""}
    assert detector_code({"mine": node}) == {"mine": ""}


def test_everything_that_can_be_chosen_has_one() -> None:
    files = [file for group in ("loss", "backbone", "image_detector") for file in (CONF / group).glob("*.yaml")]
    targets = [
        re.findall(r"_target_: (oodbench\.(?:losses|backbones|detectors)\.\S+)", file.read_text()) for file in files
    ]
    assert all(len(of_file) == 1 for of_file in targets)
    assert all(len(code_digest(target)) == 12 for (target,) in targets)


def test_parts_that_changed_are_named() -> None:
    now = code_of(configuration())
    assert changed_parts(now, now) == changed_parts({}, now) == changed_parts(None, now) == ""
    assert changed_parts([1], now) == ""
    assert changed_parts({"loss": "x", "backbone": "y"}, now) == "loss and backbone"
    assert changed_parts(now | {"backbone": "y"}, now) == "backbone"


DETECTORS = """
SCALE = 2

def helper(x):
    return SCALE * x

def mine(test):
    return helper(test)

def other(test):
    return test
"""


@pytest.mark.parametrize(
    ("old", "new", "changes"), [("2", "3", True), ("SCALE * x", "x", True), ("return test", "return -test", False)]
)
def test_a_detector_is_its_function_and_what_that_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, changes: bool
) -> None:
    monkeypatch.setattr(code, "PROJECT", tmp_path)
    (tmp_path / "detectors").mkdir()
    found = []
    for text in (DETECTORS, DETECTORS.replace(old, new)):
        (tmp_path / "detectors/mine.py").write_text(text)
        code_digest.cache_clear()
        found.append(detector_code({"mine": {"_target_": "oodbench.detectors.mine"}})["mine"])
    assert len(found[0]) == 12
    assert (found[0] != found[1]) == changes


def test_what_a_detector_uses_of_other_files_is_part_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "PROJECT", tmp_path)
    (folder := tmp_path / "detectors").mkdir()
    (folder / "mine.py").write_text(
        "from oodbench.detectors.shared import twice as helper\ndef mine(x): return helper(x)"
    )
    found = []
    for text in ("return 2 * x", "return 2 * x\ndef unused(x): pass", "return 3 * x", "return other(x)"):
        (folder / "shared.py").write_text(f"from oodbench.detectors.mine import mine as other\ndef twice(x): {text}")
        code_digest.cache_clear()
        found.append(detector_code({"mine": {"_target_": "oodbench.detectors.mine"}})["mine"])
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_digests_are_of_the_code_that_was_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "PROJECT", tmp_path)
    (tmp_path / "detectors").mkdir()
    (file := tmp_path / "detectors/mine.py").write_text(DETECTORS)
    code_digest.cache_clear()
    detectors = {"mine": {"_target_": "oodbench.detectors.mine"}}
    remember_code({"loss": {}, "backbone": {}, "detector": {}, "image_detector": detectors})
    file.write_text(DETECTORS.replace("2", "3"))
    remembered = detector_code(detectors)
    code_digest.cache_clear()
    assert remembered != detector_code(detectors)
    code_digest.cache_clear()


def test_code_of_two_steps_is_joined_where_it_was_edited() -> None:
    assert joined_code({"loss": "a", "backbone": "b"}, {"loss": "c", "backbone": "b"}) == {
        "loss": "a, c",
        "backbone": "b",
    }
    assert joined_code({"loss": "a, c"}, {"loss": "a"}) == {"loss": "a, c"}
    assert joined_code(None, {"loss": "c"}) == joined_code({"loss": ""}, {"loss": "c"}) == {"loss": "c"}


def test_every_metric_has_a_digest_of_its_own() -> None:
    digests = metric_code()
    assert digests.keys() == METRICS.keys()
    assert {len(digest) for digest in digests.values()} == {12}
    assert len(set(digests.values())) == len(digests)


def digests_that_change(root: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str) -> set[str]:
    shutil.copytree(code.PROJECT / "evaluation", root / "evaluation")
    monkeypatch.setattr(code, "PROJECT", root)
    code_digest.cache_clear()
    before = metric_code()
    text = (root / file).read_text()
    assert text.count(old) == 1
    (root / file).write_text(text.replace(old, new))
    code_digest.cache_clear()
    now = metric_code()
    code_digest.cache_clear()
    return {name for name in now if now[name] != before[name]}


def test_a_metric_is_its_function_and_what_that_uses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = "evaluation/metrics/detection.py", "-(-95 * len(id_scores)", "-(-90 * len(id_scores)"
    assert digests_that_change(tmp_path, monkeypatch, *edit) == {"fpr95_idpos", "fpr95_oodpos"}


@pytest.mark.parametrize(
    ("old", "new", "edited"),
    [
        (
            "under = np.zeros(id_sums.shape[1])",
            "under = np.ones(id_sums.shape[1])",
            {"auroc"},
        ),  # its form for resamples
        ('heading="AUROC"', 'heading="Area under ROC"', set()),
        (
            "    resampled=_aupr_in,\n    higher_is_better=True",
            "    resampled=_aupr_in,\n    higher_is_better=False",
            {"aupr_in"},
        ),
    ],
)
def test_all_that_makes_a_metrics_numbers_is_in_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, edited: set[str]
) -> None:
    assert edited == digests_that_change(tmp_path, monkeypatch, "evaluation/metrics/detection.py", old, new)


def test_an_edited_detector_is_named_where_the_earlier_one_is_known() -> None:
    detectors = {
        "energy": {"_target_": "oodbench.detectors.energy"},
        "odin": {"_target_": "oodbench.detectors.network.odin"},
    }
    now = detector_code(detectors)
    assert {len(digest) for digest in now.values()} == {12}
    assert changed_parts({"energy": "another", "odin": now["odin"]}, now) == "energy"
    assert changed_parts({}, now) == ""
