"""The files that are written, and where."""

import json
import re
import runpy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.config import ROOT
from helpers.made_up import CALIBRATION, NOISE, RESAMPLES, add_run, add_taus, alter_metrics

from oodbench.runs import folder as folder_module
from oodbench.tables.load import load_runs
from oodbench.tables.paper.style import Style
from oodbench.tables.write import chosen_detectors, default_detectors, write_by, write_matrix, write_paper, write_tables

PUBLISHED = ROOT / "results" / "published.yaml"


def written(results: Path, fpr: str = "idpos") -> dict[str, str]:
    found = load_runs(results)
    write_tables(results, found.runs, PUBLISHED, fpr, ["ood_score", "msp"], found.unreadable)
    return {path.name: path.read_text() for path in results.iterdir() if path.is_file()}


def test_a_score_that_applies_to_no_run_is_not_unknown(tmp_path: Path) -> None:
    add_run(tmp_path, not_applicable={"vim": "needs a linear head; this loss has none"})
    write_tables(tmp_path, load_runs(tmp_path).runs, PUBLISHED, "idpos", ["ood_score", "vim"])
    assert "— `vim` needs a linear head" in (tmp_path / "cifar10.md").read_text()
    assert "--- \\texttt{vim} needs a linear head" in (tmp_path / "cifar10.tex").read_text()


def test_runs_without_an_ood_set_have_rows(tmp_path: Path) -> None:
    for loss in "ab":
        alter_metrics(add_run(tmp_path, loss), lambda content: content.update(ood={}))
    runs = load_runs(tmp_path).runs
    scores = default_detectors(runs)
    assert chosen_detectors(runs, None) == scores
    write_tables(tmp_path, runs, PUBLISHED, "idpos", scores)
    write_paper(tmp_path, runs, "idpos", scores, Style())
    table = (tmp_path / "cifar10.md").read_text()
    assert "| a |  | 1 | **90.00** | **5.00** |" in table
    assert "OOD images: none." in table
    assert "Score: " not in table
    assert r"\lossA{} & 90.00 & 5.00" in (tmp_path / "cifar10.paper.tex").read_text()


def test_the_scores_of_a_page_are_some_that_runs_have(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"svhn": {"knn": 0.9}})
    assert chosen_detectors(load_runs(tmp_path).runs, None) == ["knn"]


def test_an_unknown_detector_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    add_run(tmp_path)
    with pytest.raises(ValueError, match="no run has the detector mspp; the runs have msp, ood_score"):
        write_tables(tmp_path, load_runs(tmp_path).runs, PUBLISHED, "idpos", ["ood_score", "mspp"])
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_files_are_deterministic_and_the_csv_is_long(tmp_path: Path) -> None:
    files = []
    for folder, seeds in {tmp_path / "a": (2, 10), tmp_path / "b": (10, 2)}.items():
        for seed in seeds:
            add_run(folder, seed=seed, accuracy=seed / 30)
        files.append(written(folder))
    first, second = files
    assert first == second
    assert sorted(first) == ["cifar10.md", "cifar10.tex", "means.csv", "runs.csv"]
    lines = first["runs.csv"].splitlines()
    header = "dataset,backbone,loss,recipe,hash,epochs,train_limit,test_limit,"
    header += "train_images,held_out,test_images,test_digest,test_split,precision,backbone.width,loss.smoothing,"
    header += "recipe.batch_size,recipe.optimizer,recipe.optimizer.lr,recipe.warmup_epochs,recipe.clip_grad_norm,"
    header += "seed,kind,images,images_digest,ood_settings,detector_settings,ood,detector,metric,value,low,high"
    assert lines[0] == header
    assert len(lines) == 1 + 2 * (4 + 2 * 2 * 5)  # runs x (metrics + sets x detectors x metrics)
    run = load_runs(tmp_path / "a").runs[0]
    row = (
        f"cifar10,resnet18,plain,short,{run.hash},10,,,50000,0,10000,,test,bf16,64,0,128,SGD,0.1,0,,2,,,,,,,,accuracy,"
    )
    row += "0.06666666666666667,,"
    assert lines[1] == row  # no interval over images: scored without resamples
    assert len(first["means.csv"].splitlines()) == 1 + 4 + 2 * 2 * 5


def test_the_two_conventions_have_files_of_their_own(tmp_path: Path) -> None:
    add_run(tmp_path, config={"loss": {"tau": 1}})
    idpos, runs = written(tmp_path), load_runs(tmp_path).runs
    both = written(tmp_path, "oodpos")
    assert sorted(both.keys() - idpos.keys()) == ["cifar10.oodpos.md", "cifar10.oodpos.tex"]
    assert {name: both[name] for name in idpos} == idpos
    assert "`python scripts/tables.py --fpr oodpos`" in both["cifar10.oodpos.md"]
    write_by(tmp_path, runs, "oodpos", ["msp"], ["loss.tau"])
    write_matrix(tmp_path, runs, "oodpos", ["msp"])
    names = {path.name for path in tmp_path.glob("*.md")}
    assert names == {"cifar10.md", *(f"cifar10.oodpos{end}.md" for end in ("", ".by-loss.tau", ".matrix"))}


def test_a_run_that_cannot_be_read_is_named_in_its_tables(tmp_path: Path) -> None:
    add_run(tmp_path, "good")
    add_run(tmp_path, "good", config={"name": {"dataset": "digits"}})
    bad = add_run(tmp_path, "bad")
    (bad / "metrics.json").write_text("`{é")
    files = written(tmp_path)
    assert "Finished runs that cannot be read and are left out:" in files["cifar10.md"]
    line = next(line for line in files["cifar10.md"].splitlines() if line.startswith("- `runs/"))
    assert line.startswith(f"- `{bad.relative_to(tmp_path)}/metrics.json cannot be read")
    assert str(tmp_path) not in files["cifar10.md"]
    assert f"\n% {bad.relative_to(tmp_path)}/metrics.json cannot be read" in files["cifar10.tex"]
    assert files["cifar10.tex"].isascii()
    assert "left out" not in files["digits.md"]
    assert "good" in files["cifar10.md"]


def test_a_run_cannot_make_tables_write_elsewhere(tmp_path: Path) -> None:
    results = tmp_path / "a" / "results"
    folder = add_run(results)
    add_run(results, config={"name": {"dataset": "digits"}})
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("dataset: cifar10", "dataset: ../../x"))
    written(results)
    assert {path.name for path in results.iterdir()} == {"digits.md", "digits.tex", "runs.csv", "means.csv", "runs"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_no_cell_of_the_csv_is_a_formula(tmp_path: Path) -> None:
    add_run(tmp_path)
    for i, name in enumerate(("=cmd()", "+1", "-1", "@x")):
        config = add_run(tmp_path, f"loss{i}") / "config.yaml"
        config.write_text(config.read_text().replace(f"loss: loss{i}", f"loss: '{name}'"))
        add_run(tmp_path, f"set{i}", ood={name: {"msp": 0.5}})
        add_run(tmp_path, f"detector{i}", ood={"svhn": {name: 0.5}})
    csv = written(tmp_path)["runs.csv"]
    assert not re.search(r"[,\n\"][=+@-]", csv.replace(",-0.", ",0."))
    assert {line.split(",")[2] for line in csv.splitlines()[1:]} == {"plain"}
    assert len(load_runs(tmp_path).unreadable) == 12


def test_every_file_of_a_run_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: Counter[Path] = Counter()

    def counting(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
        return lambda path: [times.update([path]), read(path)][1]

    for name in ("read_json", "load_arrays"):
        monkeypatch.setattr(folder_module, name, counting(getattr(folder_module, name)))
    folders = [add_run(tmp_path, seed=seed, noise=NOISE, calibration=CALIBRATION) for seed in (0, 1)]
    written(tmp_path)
    files = [folder / name for folder in folders for name in ("metrics.json", RESAMPLES)]
    assert times == dict.fromkeys(files, 1)


# ---- the script


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs scripts/tables.py over tmp_path."""
    main = runpy.run_path(str(ROOT / "scripts" / "tables.py"))["main"]

    def run(*options: str) -> None:
        monkeypatch.setattr("sys.argv", ["tables.py", "--results-dir", str(tmp_path), *options])
        main()

    return run


def test_the_script(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="no finished run"):
        script()
    add_run(tmp_path)
    add_run(tmp_path, "other", finished=False)
    script()
    assert "unfinished: 1" in capsys.readouterr().out
    assert "FPR@95 (95 % of ID accepted)" in (tmp_path / "cifar10.md").read_text()


def test_a_place_that_cannot_be_written_is_one_line(script: Any, tmp_path: Path) -> None:
    add_run(tmp_path)
    (tmp_path / "runs.csv").mkdir()
    with pytest.raises(SystemExit, match=r"^tables: cannot write \S+runs\.csv: "):
        script()


def test_the_script_names_what_it_left_out(script: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_run(tmp_path)
    bad = add_run(tmp_path, "bad")
    (bad / "metrics.json").write_text(json.dumps([]))
    with pytest.raises(SystemExit) as ended:
        script()
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert "finished: 1, unfinished: 0" in printed.out
    (line,) = printed.err.splitlines()
    assert line.startswith(f"left out: {bad / 'metrics.json'}")
    assert "plain" in (tmp_path / "cifar10.md").read_text()


def test_the_options_of_the_script(script: Any, tmp_path: Path) -> None:
    add_taus(tmp_path)
    script("--matrix")
    script("--by", "loss.tau", "recipe.epochs", "--fpr", "oodpos")
    assert "msp" in (tmp_path / "cifar10.matrix.md").read_text()
    by = (tmp_path / "cifar10.oodpos.by-loss.tau+recipe.epochs.md").read_text()
    assert "FPR@95 (95 % of OOD caught)" in by
    assert not (tmp_path / "cifar10.md").exists()
    with pytest.raises(SystemExit, match=r"near to it: loss\.tau"):
        script("--by", "tau")
    script()
    assert "logitnorm (tau=0.04)" in (tmp_path / "cifar10.md").read_text()
