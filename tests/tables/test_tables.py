"""Tables of small, made-up runs: every expected number is worked by hand."""

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest
from helpers.config import ROOT
from helpers.made_up import add_run

from oodbench import tables
from oodbench.storage import write_json
from oodbench.tables import load_published, load_runs, tables_of, to_latex, to_markdown, write_tables
from oodbench.tables.render import latex
from oodbench.tables.results import flatten

PUBLISHED = ROOT / "results" / "published.csv"


def sections(results: Path, fpr: str = "idpos", detectors: tuple[str, ...] = ("ood_score",)) -> list[tables.Table]:
    return tables_of(load_runs(results)[0], [], fpr, detectors)


def column(table: tables.Table, *header: str) -> list[str]:
    where = [i for i, names in enumerate(table.columns) if names == (header if len(header) == 2 else ("", *header))]
    return [row[where[0]] for row in table.rows]


def test_mean_sample_deviation_and_n(tmp_path: Path) -> None:
    for seed, accuracy in enumerate(
        (0.90, 0.92, 0.97)
    ):  # mean .93; deviations -.03 -.01 .04 -> sqrt(.0026 / 2) = .03606
        add_run(tmp_path, seed=seed, accuracy=accuracy)
    add_run(tmp_path, "other", accuracy=0.91)
    (table,) = sections(tmp_path)
    assert column(table, "Loss") == ["other", "plain"]
    assert column(table, "n") == ["1", "3"]
    assert column(table, "Accuracy ↑") == ["91.00", "**93.00 ± 3.61**"]


def test_best_is_by_unrounded_mean_and_direction_and_ties_are_all_bold(tmp_path: Path) -> None:
    for loss, auroc in {"a": 0.900001, "b": 0.900002, "c": 0.900002}.items():
        add_run(tmp_path, loss, ood={"svhn": {"ood_score": auroc}})
    (table,) = sections(tmp_path)
    assert column(table, "svhn (far)", "AUROC ↑") == ["90.00", "**90.00**", "**90.00**"]
    assert column(table, "svhn (far)", "FPR@95 idpos ↓") == ["10.00", "**10.00**", "**10.00**"]


def test_equal_seeds_tie_with_a_single_one(tmp_path: Path) -> None:
    for seed in range(3):
        add_run(tmp_path, seed=seed)  # the mean of three times .05 is not .05 in floating point
    add_run(tmp_path, "other")
    (table,) = sections(tmp_path)
    assert column(table, "ECE ↓") == ["**5.00**", "**5.00 ± 0.00**"]


def test_a_single_row_is_not_bold(tmp_path: Path) -> None:
    add_run(tmp_path)
    assert "**" not in to_markdown("cifar10", sections(tmp_path))


def test_rows_are_losses_with_their_scores_and_accuracy_stands_once(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"cifar100": {"ood_score": 0.8, "msp": 0.7}})
    (table,) = sections(tmp_path, detectors=("ood_score", "msp"))
    assert column(table, "Score") == ["ood_score", "msp"]
    assert column(table, "Accuracy ↑") == ["90.00", ""]
    assert column(table, "cifar100 (near)", "AUROC ↑") == ["**80.00**", "70.00"]


def test_a_score_that_does_not_apply_is_a_dash_with_its_reason_beneath(tmp_path: Path) -> None:
    reasons = {"vim": "needs a linear head; this loss has none"}
    for loss in ("other", "plain"):
        for seed in (0, 1):
            add_run(tmp_path, loss, seed, ood={"svhn": {"ood_score": 0.8}}, not_applicable=reasons)
    add_run(tmp_path, "third", ood={"svhn": {"ood_score": 0.7, "vim": 0.9}}, not_applicable={})
    (table,) = sections(tmp_path, detectors=("ood_score", "vim"))
    assert column(table, "svhn (far)", "AUROC ↑") == ["80.00 ± 0.00", "—", "80.00 ± 0.00", "—", "70.00", "**90.00**"]
    notes = [note for note in table.notes if note.startswith("—")]
    assert notes == ["— `vim` needs a linear head; this loss has none: `other`, `plain`."]
    assert not any(note.startswith("—") for note in sections(tmp_path)[0].notes)


def test_a_score_that_applies_to_no_run_is_not_unknown(tmp_path: Path) -> None:
    add_run(tmp_path, not_applicable={"vim": "needs a linear head; this loss has none"})
    write_tables(tmp_path, load_runs(tmp_path)[0], PUBLISHED, "idpos", ["ood_score", "vim"])
    assert "— `vim` needs a linear head" in (tmp_path / "cifar10.md").read_text()
    assert "--- \\texttt{vim} needs a linear head" in (tmp_path / "cifar10.tex").read_text()


def test_columns_are_near_sets_first_and_one_fpr_convention(tmp_path: Path) -> None:
    add_run(tmp_path, ood={"a_far": {"ood_score": 0.9}, "cifar100": {"ood_score": 0.8}})
    (table,) = sections(tmp_path, fpr="oodpos")
    assert table.columns[5:] == [
        ("cifar100 (near)", "AUROC ↑"),
        ("cifar100 (near)", "FPR@95 oodpos ↓"),
        ("a_far (far)", "AUROC ↑"),
        ("a_far (far)", "FPR@95 oodpos ↓"),
    ]
    assert column(table, "a_far (far)", "FPR@95 oodpos ↓") == ["50.00"]


def test_missing_numbers_are_a_dash_and_missing_seeds_are_shown(tmp_path: Path) -> None:
    add_run(tmp_path, seed=0, ood={"svhn": {"ood_score": 0.9}, "cifar100": {"ood_score": 0.8}})
    add_run(tmp_path, seed=1, ood={"svhn": {"ood_score": 0.9}})
    add_run(tmp_path, "other", ood={"svhn": {"ood_score": 0.9}})
    (table,) = sections(tmp_path)
    assert column(table, "cifar100 (near)", "AUROC ↑") == ["—", "80.00 (n=1)"]
    assert column(table, "svhn (far)", "AUROC ↑") == ["**90.00**", "**90.00 ± 0.00**"]


def test_ood_sets_of_different_size_are_different_columns(tmp_path: Path) -> None:
    add_run(tmp_path, seed=0, ood={"svhn": {"ood_score": 0.9}}, images=26_032)
    add_run(tmp_path, seed=1, ood={"svhn": {"ood_score": 0.5}}, images=1_580)
    (table,) = sections(tmp_path)
    assert column(table, "svhn (far), 26,032 images", "AUROC ↑") == ["90.00 (n=1)"]
    assert column(table, "svhn (far), 1,580 images", "AUROC ↑") == ["50.00 (n=1)"]


def test_hyperparameters_that_differ_stand_in_the_label(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config={"loss": {"smoothing": 0.1}})
    add_run(tmp_path, config={"loss": {"smoothing": 0.1}, "recipe": {"warmup_epochs": 1}})
    add_run(tmp_path, "other", config={"recipe": {"clip_grad_norm": 1.0}})
    (table,) = sections(tmp_path)
    assert column(table, "Loss") == [
        "other",
        "plain (smoothing=0, recipe.warmup_epochs=0)",
        "plain (smoothing=0.1, recipe.warmup_epochs=0)",
        "plain (smoothing=0.1, recipe.warmup_epochs=1)",
    ]
    assert "`other`: smoothing=0; recipe: warmup_epochs=0, clip_grad_norm=1." in table.notes


def test_configurations_that_differ_elsewhere_are_not_merged(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config={"dataset": {"crop": False}})
    (table,) = sections(tmp_path)
    labels = column(table, "Loss")
    assert len(set(labels)) == 2
    assert all(re.fullmatch(r"plain \[[0-9a-f]{8}\]", label) for label in labels)


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": {"limit": 1000}},
        {"dataset": {"limit_test": 1000}},
        {"recipe": {"epochs": 2}},
        {"backbone": {"width": 8}},
    ],
)
def test_another_protocol_is_another_section(tmp_path: Path, other: dict[str, dict[str, Any]]) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config=other)
    assert [len(table.rows) for table in sections(tmp_path)] == [1, 1]


def test_the_caption_says_what_the_numbers_are(tmp_path: Path) -> None:
    add_run(tmp_path, config={"dataset": {"limit": 10_000, "limit_test": 2_000}})
    (table,) = sections(tmp_path, detectors=("ood_score", "msp"))
    text = " ".join([table.title, *table.notes])
    for part in (
        "resnet18 (width=64), recipe short, 10 epochs, 10,000 training images (subset), 2,000 test images (subset)",
        "FPR@95 is `fpr95_idpos`: the share of OOD images accepted when 95 % of the ID images are accepted.",
        "epochs=10, batch_size=128, optimizer=SGD, optimizer.lr=0.1, warmup_epochs=0, clip_grad_norm=null.",
        "trained on a class-balanced subset of 10,000 of the training images",
        "tested on a subset of 2,000 of the test images",
        "OOD images: cifar100 100, svhn 100.",
        "15 equal-width bins (lo, hi]",
        "sample standard deviation over n training seeds",
        "`ood_score` (the loss's own), `msp` (minus the largest class probability)",
        "`plain`: smoothing=0.",
    ):
        assert part in text
    (table,) = sections(tmp_path, fpr="oodpos")
    assert (
        "FPR@95 is `fpr95_oodpos`: the share of ID images flagged when 95 % of the OOD images are caught."
        in table.notes
    )


def test_flatten() -> None:
    nested = {
        "_target_": "x.Y",
        "a": 1.0,
        "b": None,
        "c": {"_target_": "x.Y", "_partial_": True, "d": [1, 2], "e": "f"},
    }
    assert flatten(nested) == {"a": "1", "b": "null", "c": "Y", "c.d": "[1, 2]", "c.e": "f"}


def test_unfinished_runs_are_counted_and_in_no_table(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, "other", finished=False)
    runs, unfinished = load_runs(tmp_path)
    assert [run.loss for run in runs] == ["plain"]
    assert unfinished == 1


def test_a_number_that_was_edited_is_not_tabulated(tmp_path: Path) -> None:
    file = add_run(tmp_path) / "metrics.json"
    file.write_text(file.read_text().replace("0.05", "0.06"))
    with pytest.raises(ValueError, match=r"metrics\.json was altered"):
        load_runs(tmp_path)


@pytest.mark.parametrize(
    ("file", "damage", "complaint"),
    [
        ("metrics.json", lambda text: text[:50], "cannot be read"),
        ("metrics.json", lambda text: text.replace("ece", "ecce"), "lacks the key 'ece'"),
        ("metrics.json", lambda text: text.replace("aupr_in", "aupr"), "lacks the key 'aupr_in'"),
        ("metrics.json", lambda text: text.replace('"test"', '"tast"'), "lacks the key 'test'"),
        ("metrics.json", lambda text: text.replace("0.05", "NaN"), "ece is nan, not a number"),
        (
            "metrics.json",
            lambda text: text.replace('"auroc": 0.9', '"auroc": null'),
            "auroc of ood_score on svhn is None",
        ),
        ("metrics.json", lambda text: "[]", "cannot be read"),
        ("config.yaml", lambda text: text.replace("seed: 0", "seed: 1"), "it is the configuration of"),
        ("config.yaml", lambda text: text.replace("lr: 0.1", "lr: 0.2"), "it is the configuration of"),
        ("config.yaml", lambda text: text + "\n}", "cannot be read"),
        ("config.yaml", lambda text: text.replace("near", "nearby"), "it is the configuration of"),
        ("config.yaml", lambda text: "", "cannot be read"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path, file: str, damage: Any, complaint: str) -> None:
    folder = add_run(tmp_path)
    damaged = damage((folder / file).read_text())
    try:
        write_json(folder / file, {key: value for key, value in json.loads(damaged).items() if key != "sha256"})
    except (ValueError, AttributeError):  # not what the seal is for
        (folder / file).write_text(damaged)
    with pytest.raises(ValueError, match=re.escape(complaint)) as error:
        load_runs(tmp_path)
    assert str(folder / file) in str(error.value)


def test_a_missing_config_is_an_error_that_names_it(tmp_path: Path) -> None:
    (path := add_run(tmp_path) / "config.yaml").unlink()
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_runs(tmp_path)


def test_the_same_run_twice_is_an_error(tmp_path: Path) -> None:
    folder = add_run(tmp_path)
    folder.with_name("seed0_copy").mkdir()
    for file in folder.iterdir():
        (folder.with_name("seed0_copy") / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match=r"seed0_copy.*it is the configuration of"):
        load_runs(tmp_path)


def test_no_finished_run_is_an_error_that_says_where_it_looked(tmp_path: Path) -> None:
    add_run(tmp_path, finished=False)
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "runs"))):
        load_runs(tmp_path)


def test_an_unknown_detector_is_an_error_and_nothing_is_written(tmp_path: Path) -> None:
    add_run(tmp_path)
    with pytest.raises(ValueError, match="no run has the detector mspp; the runs have msp, ood_score"):
        write_tables(tmp_path, load_runs(tmp_path)[0], PUBLISHED, "idpos", ["ood_score", "mspp"])
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_files_are_deterministic_and_the_csv_is_long(tmp_path: Path) -> None:
    names = ["cifar10.md", "cifar10.tex", "runs.csv"]
    written = []
    for results, seeds in {tmp_path / "a": (2, 10), tmp_path / "b": (10, 2)}.items():
        for seed in seeds:
            add_run(results, seed=seed, accuracy=seed / 30)
        runs, _ = load_runs(results)
        write_tables(results, runs, PUBLISHED, "idpos", ["ood_score", "msp"])
        assert sorted(path.name for path in results.iterdir()) == sorted([*names, "runs"])
        written.append([(results / name).read_bytes() for name in names])
    first, second = written
    assert first == second
    lines = first[2].decode().splitlines()
    header = "dataset,backbone,loss,recipe,hash,seed,epochs,train_limit,test_limit,ood,detector,metric,value,low,high"
    assert lines[0] == header + ",seeds,mean,deviation,mean_low,mean_high"
    assert len(lines) == 1 + 2 * (4 + 2 * 2 * 5)  # runs x (metrics + sets x detectors x metrics)
    row, over = lines[1].split(",,,2,")  # no interval over images: scored without resamples
    assert row == f"cifar10,resnet18,plain,short,{runs[0].hash},2,10,,,,,accuracy,0.06666666666666667"
    mean, deviation = 0.2, 0.1885618083  # of 1/15 and 1/3: (1/3 - 1/15) / sqrt(2)
    half = 12.7062047362 * deviation / 2**0.5  # t_{.975, 1}
    assert [float(x) for x in over.split(",")] == pytest.approx([mean, deviation, mean - half, mean + half])


def test_published_rows_are_a_block_of_their_own(tmp_path: Path) -> None:
    add_run(tmp_path)
    ours, theirs = tables_of(load_runs(tmp_path)[0], load_published(PUBLISHED), "idpos", ["ood_score"])
    assert theirs.title == "Published rows"
    assert theirs.columns[2:] == [
        ("", "Accuracy ↑"),
        ("", "ECE ↓"),
        ("cifar100 (near)", "AUROC ↑"),
        ("cifar100 (near)", "FPR@95† ↓"),
        ("svhn (far)", "AUROC ↑"),
        ("svhn (far)", "FPR@95† ↓"),
    ]
    assert theirs.rows == [
        ["CCE+LS", "ResNet-18", "96.30", "7.98", "82.83", "48.94", "92.51", "22.08"],
        ["HALO", "ResNet-18", "96.53", "1.51", "91.72", "37.63", "98.08", "10.27"],
    ]
    assert any("https://www.pisoni.ai/posts/halo" in note for note in theirs.notes)
    assert any("convention not stated" in note for note in theirs.notes)
    assert not any("†" in name for _, name in ours.columns)


def test_published_numbers_are_the_sources_for_cifar100() -> None:
    rows = [row for row in load_published(PUBLISHED) if row.dataset == "cifar100"]
    assert [list(row.numbers.values()) for row in rows] == [
        [0.8094, 0.1102, 0.8101, 0.8100, 0.7975, 0.7677],
        [0.8080, 0.0283, 0.8691, 0.6370, 0.8100, 0.7538],
    ]


def test_a_published_fpr_stands_only_under_its_own_convention(tmp_path: Path) -> None:
    csv = tmp_path / "published.csv"
    header = "dataset,loss,backbone,near,source,protocol,note,svhn.fpr95_idpos,svhn.fpr95_oodpos"
    csv.write_text(f"{header}\ncifar10,x,net,,paper,,,0.1,\ncifar10,y,net,,paper,,,,0.2\n")
    add_run(tmp_path)
    runs = load_runs(tmp_path)[0]
    idpos, oodpos = (tables_of(runs, load_published(csv), fpr, ["ood_score"])[1] for fpr in ("idpos", "oodpos"))
    assert column(idpos, "svhn (far)", "FPR@95 idpos ↓") == ["10.00", "—"]
    assert column(oodpos, "svhn (far)", "FPR@95 oodpos ↓") == ["—", "20.00"]
    assert "20.00" not in to_markdown("cifar10", [idpos])


def test_a_dataset_without_published_rows_has_no_block(tmp_path: Path) -> None:
    add_run(tmp_path, config={"name": {"dataset": "digits"}})
    assert len(tables_of(load_runs(tmp_path)[0], load_published(PUBLISHED), "idpos", ["ood_score"])) == 1


@pytest.mark.parametrize("change", [("0.9630", "high"), ("near", "far")])
def test_a_damaged_published_file_is_an_error_that_names_it(tmp_path: Path, change: tuple[str, str]) -> None:
    (path := tmp_path / "published.csv").write_text(PUBLISHED.read_text().replace(*change))
    with pytest.raises(ValueError, match=re.escape(str(path))):
        load_published(path)


def test_markdown_has_as_many_cells_in_every_row(tmp_path: Path) -> None:
    add_run(tmp_path, "a|b")
    add_run(tmp_path, "c")
    text = to_markdown(
        "cifar10", tables_of(load_runs(tmp_path)[0], load_published(PUBLISHED), "idpos", ["ood_score", "msp"])
    )
    blocks = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert [len({len(re.findall(r"(?<!\\)\|", line)) for line in block}) for block in blocks] == [1, 1]
    assert r"a\|b" in text


def test_latex_escapes() -> None:
    assert latex(r"a_b & 5 % {x} #1 $ ^ ~ \n") == (
        r"a\_b \& 5 \% \{x\} \#1 \$ \textasciicircum{} \textasciitilde{} \textbackslash{}n"
    )
    assert latex("**91.00 ± 0.10** `fpr95_idpos` ↑ †") == (
        r"\textbf{91.00 $\pm$ 0.10} \texttt{fpr95\_idpos} $\uparrow$ $^\dagger$"
    )


def test_latex_is_balanced_ascii_with_as_many_cells_in_every_row(tmp_path: Path) -> None:
    add_run(tmp_path, "odd_{name&", ood={"tiny_imagenet": {"ood_score": 0.9}, "cifar100": {"ood_score": 0.8}})
    add_run(tmp_path, "plain")
    text = to_latex("cifar10", tables_of(load_runs(tmp_path)[0], load_published(PUBLISHED), "idpos", ["ood_score"]))
    assert text.isascii()
    bare = re.sub(r"\\[{}&%$#_\\]", "", text)
    depth = 0
    for brace in re.findall("[{}]", bare):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    assert text.count("addlinespace") == 0  # a row a loss
    assert bare.count("$") % 2 == 0
    assert re.findall(r"\\begin{(.+?)}", text) == ["table*", "adjustbox", "tabular"] * 2
    assert re.findall(r"\\end{(.+?)}", text) == ["tabular", "adjustbox", "table*"] * 2
    labels = re.findall(r"\\label{(.+?)}", text)
    assert len(set(labels)) == 2
    for tabular in re.findall(r"\\begin{tabular}{([lr]+)}(.+?)\\end{tabular}", text, re.DOTALL):
        for line in tabular[1].splitlines():
            if line.endswith(r" \\"):
                spanned = sum(int(width) - 1 for width in re.findall(r"\\multicolumn{(\d+)}", line))
                assert len(re.findall(r"(?<!\\)&", line)) + 1 + spanned == len(tabular[0])


def test_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("script", ROOT / "scripts" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr("sys.argv", ["tables.py", "--results-dir", str(tmp_path)])
    with pytest.raises(SystemExit, match="no finished run"):
        script.main()
    add_run(tmp_path)
    add_run(tmp_path, "other", finished=False)
    script.main()
    assert "unfinished: 1" in capsys.readouterr().out
    assert "FPR@95 idpos" in (tmp_path / "cifar10.md").read_text()
