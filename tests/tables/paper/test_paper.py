r"""Tables as papers print them: names, labels, and a PDF by a real LaTeX."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.cli import script
from helpers.made_up import add_run
from helpers.paper import BOTH, body, lines, scores

from oodbench.tables.load import load_runs
from oodbench.tables.paper.style import Style
from oodbench.tables.write import write_paper


def test_names_are_those_of_papers_and_commands(tmp_path: Path) -> None:
    add_run(tmp_path, "halo", ood=scores())
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


def test_two_protocols_have_two_labels(tmp_path: Path) -> None:
    add_run(tmp_path)
    add_run(tmp_path, config={"recipe": {"epochs": 3}})
    labels = re.findall(r"\\label{(.+?)}", "\n".join(lines(tmp_path)))
    assert labels == ["tab:cifar10-resnet18-short", "tab:cifar10-resnet18-short-2"]


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
            add_run(tmp_path, loss, seed, 0.9 + seed / 100, ood=scores(seed / 100, msp=0.05 * (loss == "halo")))
    write_paper(tmp_path, load_runs(tmp_path).runs, "idpos", BOTH, Style())
    document = r"\documentclass[twocolumn]{article}\usepackage[margin=2cm]{geometry}\usepackage{booktabs}"
    document += r"\begin{document}\input{cifar10.paper.tex}\end{document}"
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert "Overfull" not in ended.stdout
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
