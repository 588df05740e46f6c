r"""Tables as papers print them: names, groups, marks, and a PDF by a real LaTeX."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cli import script
from helpers.made_up import NOISE, add_run

from oodbench.tables import Style, load_runs, write_paper
from oodbench.tables.paper import paper

SETS = {"cifar100": 0.8, "svhn": 0.9, "textures": 0.7}
BOTH = ["ood_score", "msp"]


def ood(shift: float = 0.0, msp: float = 0.0, sets: dict[str, float] = SETS) -> dict[str, dict[str, float]]:
    return {name: {"ood_score": auroc + shift, "msp": auroc + shift + msp} for name, auroc in sets.items()}


def lines(results: Path, style: Style = Style(), detectors: list[str] = BOTH) -> list[str]:  # noqa: B008 - immutable
    return paper(load_runs(results).runs, "idpos", detectors, style).splitlines()


def body(text: list[str]) -> list[list[str]]:
    rows = text[text.index(r"\midrule") + 1 : text.index(r"\bottomrule")]
    return [row.removesuffix(r" \\").split(" & ") for row in rows]


def test_names_are_those_of_papers_and_commands(tmp_path: Path) -> None:
    add_run(tmp_path, "halo", ood=ood())
    text = lines(tmp_path)
    for command in (
        r"\providecommand{\lossHalo}{HALO}",
        r"\providecommand{\oodCifarx}{CIFAR-10}",
        r"\providecommand{\oodCifarc}{CIFAR-100}",
        r"\providecommand{\oodSvhn}{SVHN}",
        r"\providecommand{\metricFprxcv}{FPR95}",
    ):
        assert command in text
    assert body(text)[0][0] == r"\lossHalo{}"
    caption = next(line for line in text if line.startswith(r"\caption"))
    assert r"ResNet-18 trained on \oodCifarx{}" in caption
    assert "FPR95 has 95 \\% of ID accepted." in caption
    assert len(caption.split()) < 40
    assert r"\label{tab:cifar10-resnet18-short}" in text


def test_near_and_far_are_grouped_with_averages(tmp_path: Path) -> None:
    add_run(tmp_path, ood=ood())
    text = lines(tmp_path)
    kinds, _, sets = text[text.index(r"\toprule") + 1 :][:3]
    assert re.findall(r"multicolumn{(\d)}{c}{(.+?)} ", kinds + " ") == [("2", "Near-OOD"), ("6", "Far-OOD")]
    assert re.findall(r"{c}{(.+?)} ", sets + " ") == [r"\oodCifarc{}", r"\oodSvhn{}", r"\oodTextures{}", "Average"]
    assert body(text)[0][3::2] == ["80.00", "90.00", "70.00", "80.00"]


def test_the_other_fpr_has_its_name_and_label(tmp_path: Path) -> None:
    add_run(tmp_path, ood=ood())
    text = paper(load_runs(tmp_path).runs, "oodpos", BOTH, Style())
    assert "FPR95 has 95 \\% of OOD caught." in text
    assert r"\label{tab:cifar10-resnet18-short-oodpos}" in text


def test_of_many_sets_the_means_stand_alone(tmp_path: Path) -> None:
    add_run(tmp_path, ood=ood(sets=SETS | {"mnist": 0.6, "places365": 0.5}))
    far = ", ".join(rf"\ood{name}{{}}" for name in ("Mnist", "Placesccclxv", "Svhn", "Textures"))
    assert f"Far-OOD: the average over {far}." in "\n".join(lines(tmp_path))
    assert body(lines(tmp_path))[0][3::2] == ["80.00", "67.50"]  # the one near set has no mean
    assert body(lines(tmp_path, Style(sets=["mnist", "far"])))[0][3::2] == ["60.00", "67.50"]


def test_with_deviations_fewer_columns_fit(tmp_path: Path) -> None:
    for seed in range(2):
        add_run(tmp_path, "a", seed, ood=ood())
    assert len(body(lines(tmp_path))[0]) == 1 + 6


def test_the_best_is_bold_and_the_second_underlined(tmp_path: Path) -> None:
    for loss, shift in (("a", 0.0), ("b", 0.02), ("c", 0.01)):
        add_run(tmp_path, loss, accuracy=0.9 + shift, ood=ood(shift))
    cells = [(row[0], row[1], row[3], row[4]) for row in body(lines(tmp_path))]
    assert cells == [
        (r"\lossA{}", "90.00", "80.00", "20.00"),
        (r"\lossB{}", r"\textbf{92.00}", r"\textbf{82.00}", r"\textbf{18.00}"),
        (r"\lossC{}", r"\underline{91.00}", r"\underline{81.00}", r"\underline{19.00}"),
    ]


def test_scores_that_agree_share_a_row(tmp_path: Path) -> None:
    add_run(tmp_path, "a", ood=ood(msp=1e-7))
    assert len(body(lines(tmp_path))) == 1
    add_run(tmp_path, "b", ood=ood(msp=0.05))
    assert [row[:2] for row in body(lines(tmp_path))] == [[r"\lossA{}", "own / MSP"], [r"\lossB{}", "own"], ["", "MSP"]]


def test_seeds_have_deviations_and_one_an_interval_if_asked(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92)):
        add_run(tmp_path, "a", seed, accuracy, ood=ood())
    assert body(lines(tmp_path))[0][1] == r"91.00{\scriptsize\,$\pm$\,1.41}"
    assert body(lines(tmp_path, Style(digits=1)))[0][1] == r"91.0{\scriptsize\,$\pm$\,1.4}"
    add_run(tmp_path, "b", accuracy=0.5, ood=ood(), noise=np.array(NOISE))
    assert body(lines(tmp_path))[1][2] == r"\underline{50.00}"
    assert r"[48." in body(lines(tmp_path, Style(intervals=True)))[1][2]


def test_seeds_are_counted_where_rows_differ_in_them(tmp_path: Path) -> None:
    """Of knn a has one seed of two."""
    for loss, seed in (("a", 0), ("a", 1), ("b", 0)):
        scores = {"ood_score": 0.8, **({} if seed else {"knn": 0.7})}
        add_run(tmp_path, loss, seed, ood={"svhn": scores}, noise=NOISE)
    text = lines(tmp_path, Style(metrics=["auroc"], intervals=True), ["ood_score", "knn"])
    deviation, interval = r"{\scriptsize\,$\pm$\,0.00}", r"{\scriptsize [68.1, 71.9]}"
    first, second, third, fourth = body(text)
    assert first == [r"\lossA{}", "own", "2", rf"\textbf{{80.00}}{deviation} {{\scriptsize [80.0, 80.0]}}"]
    assert second == ["", "KNN", "", rf"\underline{{70.00}} (n=1) {interval}"]
    assert third[:3] == [r"\lossB{}", "own", "1"]
    assert fourth == ["", "KNN", "", rf"\underline{{70.00}} {interval}"]
    (caption,) = [line for line in text if line.startswith(r"\caption")]
    assert "over $n$ seeds, of one the value; in percent" in caption
    assert r"95\,\% intervals, of the mean over seeds, of one training over the test images)" in caption
    about = " ".join(line for line in text if line.startswith("%"))
    assert "the best means alone" in about
    assert "a t-interval on the logit scale" in about
    assert "the tests compare" not in about


def test_rows_of_as_many_seeds_have_no_count(tmp_path: Path) -> None:
    for loss, seed in (("a", 0), ("a", 1), ("b", 0), ("b", 1)):
        add_run(tmp_path, loss, seed, ood=ood())
    assert "mean and sample standard deviation over 2 seeds; in percent)" in " ".join(lines(tmp_path))
    assert not any("$n$" in line for line in lines(tmp_path))


def test_losses_sets_and_metrics_can_be_chosen(tmp_path: Path) -> None:
    for loss in "ab":
        add_run(tmp_path, loss, ood=ood())
    text = lines(tmp_path, Style(losses=["b"], sets=["svhn"], metrics=["accuracy", "fpr95"]))
    assert body(text) == [[r"\lossB{}", "90.00", "10.00"]]


def test_columns_can_be_chosen_in_their_order(tmp_path: Path) -> None:
    add_run(tmp_path, "a", ood=ood(sets=SETS | {"mnist": 0.6, "places365": 0.5}))
    text = lines(tmp_path, Style(columns=["far:auroc", "cifar100:fpr95", "cifar100:auroc", "accuracy"]))
    assert body(text) == [[r"\lossA{}", "67.50", "20.00", "80.00", "90.00"]]
    kinds = text[text.index(r"\toprule") + 1]
    assert re.findall(r"multicolumn{(\d)}{c}{(.+?)} ", kinds + " ") == [("1", "Far-OOD"), ("2", "Near-OOD")]


WRONG = [{part: ["nope"]} for part in ("losses", "sets", "metrics", "columns")]


@pytest.mark.parametrize("style", WRONG)
def test_what_no_run_has_is_named(tmp_path: Path, style: dict[str, Any]) -> None:
    add_run(tmp_path)
    with pytest.raises(ValueError, match=r"no run has the (loss|set|metric|column) nope; available: "):
        write_paper(tmp_path, load_runs(tmp_path).runs, "idpos", BOTH, Style(**style))


def test_two_protocols_have_two_labels(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config={"recipe": {"epochs": 3}})
    labels = re.findall(r"\\label{(.+?)}", "\n".join(lines(tmp_path)))
    assert labels == ["tab:cifar10-resnet18-short", "tab:cifar10-resnet18-short-2"]


def test_explanations_are_comments_and_the_rest_is_ascii(tmp_path: Path) -> None:
    add_run(tmp_path, config={"loss": {"form": "odd_{name&"}})
    text = lines(tmp_path)
    assert any(line.startswith("% ") and "FPR@95 (95 % of ID accepted)" in line for line in text)
    assert all(line.isascii() for line in text)


def test_the_script_writes_it(tmp_path: Path) -> None:
    add_run(tmp_path)
    printed = script("scripts/tables.py", f"results_dir={tmp_path}", "--style", "paper", "--digits", "1")
    assert str(tmp_path / "cifar10.paper.tex") in printed
    assert "90.0 &" in (tmp_path / "cifar10.paper.tex").read_text()
    assert not (tmp_path / "cifar10.md").exists()
    with pytest.raises(SystemExit):
        script("scripts/tables.py", f"results_dir={tmp_path}", "--losses", "plain")
    with pytest.raises(SystemExit):
        script("scripts/tables.py", f"results_dir={tmp_path}", "--style", "paper", "--columns", "ece", "--sets", "svhn")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex: apt-get install texlive-latex-recommended")
def test_a_real_latex_sets_it_within_the_page(tmp_path: Path) -> None:
    for loss in ("ce", "halo", "odd_loss"):
        for seed in range(2):
            add_run(tmp_path, loss, seed, 0.9 + seed / 100, ood=ood(seed / 100, msp=0.05 * (loss == "halo")))
    write_paper(tmp_path, load_runs(tmp_path).runs, "idpos", BOTH, Style())
    document = r"\documentclass[twocolumn]{article}\usepackage[margin=2cm]{geometry}\usepackage{booktabs}"
    document += r"\begin{document}\input{cifar10.paper.tex}\end{document}"
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert "Overfull" not in ended.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
