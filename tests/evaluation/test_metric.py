"""A metric is added by one record in one file; runs that were scored before show a dash for it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.config import ROOT

from oodbench.evaluation.metric import NATS, SHARE, arrays_key, key_of
from oodbench.evaluation.metrics import ID_METRICS

FPR80 = '''
"""FPR when 80 % of ID are accepted."""

import numpy as np

from oodbench.evaluation.arrays import checked
from oodbench.evaluation.metric import SHARE, OODMetric
from oodbench.evaluation.weighted import rank_of


def fpr80(id_scores, ood_scores):
    ids, oods = np.sort(checked("ID scores", id_scores)), checked("OOD scores", ood_scores)
    return float(np.mean(oods <= ids[-(-80 * len(ids) // 100) - 1]))


def _fpr80(resamples):
    last_id = rank_of(resamples.id_sums, -(-80 * resamples.id_images // 100))
    return resamples.ood_sums[resamples.order.ood_upto_id[last_id], resamples.columns] / resamples.ood_images


FPR80 = OODMetric(
    name="fpr80",
    function=fpr80,
    resampled=RESAMPLED,
    higher_is_better=False,
    unit=SHARE,
    heading="FPR@80",
    definition="the share of OOD images accepted when 80 % of the ID images are accepted",
    source="",
)
'''
LABEL_ERROR = """
import numpy as np

from oodbench.evaluation.arrays import checked_log_probs
from oodbench.evaluation.metric import SQUARED_ERROR, IDMetric, Means


def _each(log_probs, labels):
    return (1 - np.exp(checked_log_probs(log_probs, labels)[np.arange(len(labels)), labels])) ** 2


def label_error(log_probs, labels):
    return float(np.mean(_each(log_probs, labels)))


LABEL_ERROR = IDMetric(
    name="label_error",
    function=label_error,
    resampled=RESAMPLED,
    higher_is_better=False,
    unit=SQUARED_ERROR,
    heading="label error",
    definition="mean (1 - p of the label)^2",
    source="",
    calibration=True,
)
"""
FORMS = {"fpr80": "_fpr80", "label_error": "Means(lambda p, y: _each(p, y)[None], lambda means: means[0])"}
MODULES = {"fpr80": FPR80, "label_error": LABEL_ERROR}
USE = """
import json, sys
from pathlib import Path

import numpy as np
from helpers.made_up import NOISE, RESAMPLES, CALIBRATION, add_run, alter_metrics

from oodbench import detectors
from oodbench.evaluation.evaluate import evaluate, intervals
from oodbench.outputs import Outputs
from oodbench.storage import read_json, save_arrays
from oodbench.tables.comparison import compare_runs, load_side, pairs_of
from oodbench.tables import write
from oodbench.tables.comparison_text import report as compared
from oodbench.tables.load import load_runs
from oodbench.runs.terminal import every_number

results, published = map(Path, sys.argv[1:])
random = np.random.default_rng(0)

def outputs(scale):
    z = scale * random.normal(size=(300, 10))
    log_probs = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    labels = (z + random.gumbel(size=z.shape)).argmax(1)
    return Outputs(z.astype(np.float32), z.astype(np.float32), log_probs, -log_probs.max(1), labels)

some = {"ood_score": detectors.ood_score, "msp": detectors.msp}
numbers, resamples = evaluate(outputs(3), {"svhn": outputs(2)}, some, None)
folders = [add_run(results, "old", seed, ood={"svhn": {"ood_score": 0.9, "msp": 0.8}}, noise=NOISE) for seed in (0, 1)]
new = add_run(results, "new", ood={"svhn": {"ood_score": 0.9, "msp": 0.8}}, noise=NOISE, calibration=CALIBRATION)

def scored(content):
    content.update(numbers, intervals=intervals(numbers, resamples))

alter_metrics(new, scored)
run = read_json(new / "metrics.json")["run"]
save_arrays(new / RESAMPLES, resamples, run=run, numbers="made up")
found = load_runs(results)
assert not found.unreadable
write.write_tables(results, found.runs, published, "idpos", ["ood_score", "msp"])
write.write_matrix(results, found.runs, "idpos", ["ood_score", "msp"])
write.write_calibration(results, found.runs)
write.write_by(results, found.runs, "idpos", ["ood_score"], ["loss.smoothing"])
pairs = pairs_of(load_side(new), load_side(folders[0]))
files = {path.name: path.read_text() for path in results.iterdir() if path.is_file()}
terminal = [every_number(numbers), compared(pairs, "msp", "msp", compare_runs(pairs, "msp", "msp"), [])]
print(json.dumps({"files": files, "terminal": terminal, "intervals": intervals(numbers, resamples)}))
"""


def in_a_copy(tmp_path: Path, modules: dict[str, str], *command: str) -> subprocess.CompletedProcess:
    """Run Python where the repository has these metrics more."""
    for folder in ("src", "tests/helpers", "tests/evaluation/metrics"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, module in modules.items():
        (tmp_path / f"src/oodbench/evaluation/metrics/{name}.py").write_text(module)
    path = f"{tmp_path / 'src'}:{tmp_path / 'tests'}"
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True)


def modules(*, resampled: bool) -> dict[str, str]:
    return {name: text.replace("RESAMPLED", FORMS[name] if resampled else "None") for name, text in MODULES.items()}


def cells(table: str, row: str) -> list[str]:
    """The cells of the first row in a Markdown table that begins so"""
    line = next(line for line in table.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


@pytest.mark.parametrize("resampled", [True, False])
def test_a_record_in_a_new_file_is_all(tmp_path: Path, resampled: bool) -> None:
    arguments = str(tmp_path / "results"), str(ROOT / "results" / "published.yaml")
    done = in_a_copy(tmp_path, modules(resampled=resampled), "-c", USE, *arguments)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    files = made["files"]
    main = files["cifar10.md"].split("\n## ")[1]
    for name, heading in (("fpr80", "svhn (far)<br>FPR@80 ↓"), ("label_error", "label error ↓")):
        where = cells(main, "Loss").index(heading)
        assert cells(main, "old")[where] == "—"
        assert re.fullmatch(r"\**[0-9.]+( \[.*\])?\**", cells(main, "new")[where])
        assert ("[" in cells(main, "new")[where]) == resampled
        short = heading.rpartition(">")[2][:-2]
        assert f"— under {short}: scored without this metric, score them again" in main
        assert heading in files["cifar10.by-loss.smoothing.md"]
        assert f",{name}," in files["runs.csv"]
        assert all(name in text for text in made["terminal"])
    assert "predictive<br>label error ↓" in files["cifar10.calibration.md"]
    assert ("label_error" in made["intervals"], "fpr80" in made["intervals"]["ood"]["svhn"]["msp"]) == (resampled,) * 2
    matrix = files["cifar10.matrix.md"].split("\n## ")[1]
    assert matrix.startswith("AUROC ↑ / FPR@95 (95 % of ID accepted) ↓ / FPR@80 ↓, svhn")
    assert cells(matrix, "own")[2].endswith(" / —")  # of the older loss


def test_a_new_metric_meets_the_contract(tmp_path: Path) -> None:
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir", str(tmp_path)]
    command = ["-m", "pytest", *options, "tests/evaluation/metrics/test_contract.py"]
    right = modules(resampled=True)
    done = in_a_copy(tmp_path, right, *command)
    assert done.returncode == 0, done.stdout
    wrong = {name: text.replace("-80 * resamples.id", "-70 * resamples.id") for name, text in right.items()}
    done = in_a_copy(tmp_path / "wrong", wrong, *command)
    assert done.returncode == 1
    assert "test_the_resampled_form_is_that_of_repeated_images[4-fpr80]" in done.stdout


def test_one_metric_more_leaves_the_others_resamples(tmp_path: Path) -> None:
    """The resamples are equal to the bit, although all means of a module come from one matrix product."""
    code = (
        "import sys, numpy as np; from oodbench.evaluation.bootstrap import resampled_id; "
        "z = np.random.default_rng(0).normal(size=(333, 7)); z -= np.logaddexp.reduce(z, axis=1, keepdims=True); "
        "values = resampled_id(z, z.argmin(1) % 5, 50); "
        "print(sorted(values), *(values[n].tobytes().hex() for n in ('accuracy', 'ece', 'nll', 'brier')))"
    )
    names, *more = in_a_copy(tmp_path, modules(resampled=True), "-c", code).stdout.rsplit(" ", 4)
    assert "label_error" in names
    plain = in_a_copy(tmp_path / "plain", {}, "-c", code)
    assert plain.stdout.rsplit(" ", 4)[1:] == more


@pytest.mark.parametrize("name", ["auroc", "not-a-name"])
def test_a_name_that_is_taken_or_no_identifier_is_refused(tmp_path: Path, name: str) -> None:
    module = modules(resampled=False)["fpr80"].replace('name="fpr80"', f'name="{name}"')
    done = in_a_copy(tmp_path, {"another": module}, "-c", "import oodbench.evaluation.metrics")
    assert f"the metric's name '{name}' is taken or no identifier" in done.stderr


def test_a_unit_prints_numbers_and_their_intervals() -> None:
    assert SHARE.text(0.93126) == "93.13"
    assert SHARE.ends((0.9, 0.95555)) == "[90.0, 95.6]"
    assert NATS.text(0.93126) == "0.931"
    assert NATS.ends((0.9, 0.95555)) == "[0.900, 0.956]"


def test_resamples_are_named_by_what_they_are_of() -> None:
    assert arrays_key("", "", "accuracy") == "accuracy"
    assert arrays_key("svhn", "msp", "auroc") == "svhn/msp/auroc"
    assert all(key_of(arrays_key(*key)) == key for key in (("", "", "accuracy"), ("svhn", "msp", "auroc")))


def test_the_interval_of_ece_is_reflected_at_its_value() -> None:
    ece, accuracy, inside = ID_METRICS["ece"], ID_METRICS["accuracy"], np.linspace(0.40, 0.60, 1001)
    assert accuracy.interval(0.45, inside) == pytest.approx((0.405, 0.595))
    assert ece.interval(0.45, inside) == pytest.approx((0.305, 0.495))
    assert ece.interval(0.01, np.linspace(0, 0.1, 1001)) == pytest.approx((0, 0.0175))  # no ECE is negative
    assert ece.interval(0.95, np.linspace(0.7, 0.9, 1001)) == (1, 1)
    assert ID_METRICS["nll"].interval(3.0, np.linspace(2, 4, 1001)) == pytest.approx((2.05, 3.95))  # has no largest
    assert np.isnan(accuracy.interval(0.5, np.array([0.5, np.nan]))).all()  # not an interval that looks like one
