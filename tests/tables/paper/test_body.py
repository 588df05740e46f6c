"""The lines of a paper's table: marks, deviations, intervals, seeds."""

from pathlib import Path

import numpy as np
from helpers.made_up import NOISE, add_run
from helpers.paper import body, lines, scores

from oodbench.tables.paper.style import Style


def test_the_best_is_bold_and_the_second_underlined(tmp_path: Path) -> None:
    for loss, shift in (("a", 0.0), ("b", 0.02), ("c", 0.01)):
        add_run(tmp_path, loss, accuracy=0.9 + shift, ood=scores(shift))
    cells = [(row[0], row[1], row[3], row[4]) for row in body(lines(tmp_path))]
    assert cells == [
        (r"\lossA{}", "90.00", "80.00", "20.00"),
        (r"\lossB{}", r"\textbf{92.00}", r"\textbf{82.00}", r"\textbf{18.00}"),
        (r"\lossC{}", r"\underline{91.00}", r"\underline{81.00}", r"\underline{19.00}"),
    ]


def test_equal_means_are_both_the_best(tmp_path: Path) -> None:
    """The sums of a and b differ in their last bit, by the order of the seeds"""
    accuracies = {"a": (0.9478, 0.9487, 0.9372), "b": (0.9478, 0.9372, 0.9487), "c": (0.92, 0.92, 0.92)}
    assert np.mean(accuracies["a"]) != np.mean(accuracies["b"])
    for loss, of_seeds in accuracies.items():
        for seed, accuracy in enumerate(of_seeds):
            add_run(tmp_path, loss, seed, accuracy, ood=scores())
    printed = [row[1].partition("{\\scriptsize")[0] for row in body(lines(tmp_path))]
    assert printed == [r"\textbf{94.46}", r"\textbf{94.46}", r"\underline{92.00}"]


def test_scores_that_agree_share_a_row(tmp_path: Path) -> None:
    add_run(tmp_path, "a", ood=scores(msp=1e-7))
    assert len(body(lines(tmp_path))) == 1
    add_run(tmp_path, "b", ood=scores(msp=0.05))
    assert [row[:2] for row in body(lines(tmp_path))] == [[r"\lossA{}", "own / MSP"], [r"\lossB{}", "own"], ["", "MSP"]]


def test_scores_that_share_a_row_have_the_mark_of_the_best(tmp_path: Path) -> None:
    """Printed without decimals all are 93; that of MSP, the second of its row, is the largest"""
    add_run(tmp_path, "a", ood={"svhn": {"ood_score": 0.931, "msp": 0.9349}})
    add_run(tmp_path, "b", ood={"svhn": {"ood_score": 0.933}})
    rows = body(lines(tmp_path, Style(metrics=["auroc"], digits=0)))
    assert [row[1:3] for row in rows] == [["own / MSP", r"\textbf{93}"], ["own", r"\underline{93}"]]


def test_losses_of_one_paper_name_are_named_by_their_keys(tmp_path: Path) -> None:
    add_run(tmp_path, "ce", ood=scores())
    add_run(tmp_path, "CE", ood=scores())
    defined = [line for line in lines(tmp_path) if line.startswith(r"\providecommand{\loss")]
    assert defined == [r"\providecommand{\lossCe}{CE}", r"\providecommand{\lossCeB}{ce}"]


def test_seeds_have_deviations_and_one_an_interval_if_asked(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.90, 0.92)):
        add_run(tmp_path, "a", seed, accuracy, ood=scores())
    assert body(lines(tmp_path))[0][1] == r"91.00{\scriptsize\,$\pm$\,1.41}"
    assert body(lines(tmp_path, Style(digits=1)))[0][1] == r"91.0{\scriptsize\,$\pm$\,1.4}"
    add_run(tmp_path, "b", accuracy=0.5, ood=scores(), noise=np.array(NOISE))
    assert body(lines(tmp_path))[1][2] == r"\underline{50.00}"
    assert r"[48." in body(lines(tmp_path, Style(intervals=True)))[1][2]


def test_seeds_are_counted_where_rows_differ_in_them(tmp_path: Path) -> None:
    """Of knn a has one seed of two."""
    for loss, seed in (("a", 0), ("a", 1), ("b", 0)):
        of_svhn = {"ood_score": 0.8, **({} if seed else {"knn": 0.7})}
        add_run(tmp_path, loss, seed, ood={"svhn": of_svhn}, noise=NOISE)
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
        add_run(tmp_path, loss, seed, ood=scores())
    assert "mean and sample standard deviation over 2 seeds; in percent)" in " ".join(lines(tmp_path))
    assert not any("$n$" in line for line in lines(tmp_path))
