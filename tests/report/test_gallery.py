"""The figures of a section: their choice, their order, and the networks that their captions name."""

from pathlib import Path

import pytest
from helpers.made_up import add_run, add_taus
from helpers.report import add_full_run

from oodbench.report.gallery import figures_of, legend, near_and_far, tones
from oodbench.report.material import Section, read_material
from oodbench.report.plot import Dots, Plot
from oodbench.runs.record import MAIN_SCORES
from oodbench.tables.means import FAR

ALL = ["cliques", "accuracy", "scores", "roc", "reliability", "norms", "components", "training"]
OF_OUTPUTS = {"scores", "roc", "reliability", "norms", "components"}


def made(results: Path) -> Section:
    (section,) = read_material(results, MAIN_SCORES).sections
    return section


@pytest.fixture(scope="module")
def two_losses(tmp_path_factory: pytest.TempPathFactory) -> Section:
    results = tmp_path_factory.mktemp("two")
    for loss, auroc in (("a", 0.8), ("b", 0.9)):
        for seed in (0, 1):
            add_full_run(results, loss, seed, auroc)
    return made(results)


def by_name(section: Section) -> dict[str, Plot]:
    return {plot.name: plot for plot in figures_of(section)}


def test_all_figures_come_in_the_order_of_the_page(two_losses: Section) -> None:
    assert list(by_name(two_losses)) == ALL


def test_each_fpr_stands_where_its_convention_says(two_losses: Section) -> None:
    """The made-up ones are .2 and .1 with 95 % of ID accepted, and .5 with 95 % of OOD caught."""
    plots = by_name(two_losses)
    for panel in plots["roc"].panels:
        dots = [list(zip(mark.xs, mark.ys, strict=True)) for mark in panel.marks if isinstance(mark, Dots)]
        assert dots == [
            [(pytest.approx(0.2), 0.95), (0.05, 0.5)],
            [(pytest.approx(0.1), 0.95), (0.05, 0.5)],
        ]
    printed = [panel.subtitle for panel in plots["scores"].panels]
    assert {text for text in printed if "FPR@95" in text} == {"AUROC 80.00, FPR@95 20.00", "AUROC 90.00, FPR@95 10.00"}


def test_a_figure_of_one_network_a_loss_names_its_seed(two_losses: Section) -> None:
    for name, plot in by_name(two_losses).items():
        assert plot.caption.endswith("One network per loss, seed 0.") == (name in OF_OUTPUTS)


def test_of_one_network_no_caption_says_which(tmp_path: Path) -> None:
    add_full_run(tmp_path, "a", 0, 0.8)
    assert not any("One network" in plot.caption for plot in figures_of(made(tmp_path)))


def test_without_outputs_and_history_their_figures_are_left_out(tmp_path: Path) -> None:
    for loss, accuracy in (("a", 0.8), ("b", 0.9)):
        add_run(tmp_path, loss, accuracy=accuracy)
    assert list(by_name(made(tmp_path))) == ["accuracy"]  # without resamples there are no cliques


def test_cliques_name_their_seeds_and_of_one_what_it_compares(two_losses: Section) -> None:
    def subtitles(section: Section) -> set[str]:
        return {panel.subtitle for panel in by_name(section)["cliques"].panels}

    assert subtitles(two_losses) == {"compared on seeds 0, 1"}
    fewer = two_losses._replace(runs=[run for run in two_losses.runs if (run.label, run.result.seed) != ("b", 1)])
    assert subtitles(fewer) == {"compared on seed 0: networks, not losses"}


def test_every_swept_key_is_a_figure(tmp_path: Path) -> None:
    add_taus(tmp_path)
    sweeps = [plot.title for plot in figures_of(made(tmp_path)) if plot.name.startswith("sweep")]
    assert sweeps == ["LogitNorm: loss.tau"]


def test_rows_of_another_normalisation_are_no_part_of_a_sweep(tmp_path: Path) -> None:
    for tau in (0.1, 1, 0.04):
        config = {"loss": {"tau": tau}, "dataset": {"mean": [tau, tau, tau]}}
        add_run(tmp_path, "logitnorm", config=config)
    assert not [plot for plot in figures_of(made(tmp_path)) if plot.name.startswith("sweep")]


def test_near_and_far_are_means_where_there_are_some(tmp_path: Path) -> None:
    ood = {name: {"ood_score": 0.9} for name in ("cifar100", "svhn", "mnist")}
    add_run(tmp_path, ood=ood)
    section = made(tmp_path)
    assert near_and_far(section) == [("cifar100", "CIFAR-100, near OOD"), (FAR, "far OOD, mean of 2")]
    assert tones(section) == {"cifar100": "near", "mnist": "far", "svhn": "far"}
    assert legend(section) == [("id", "ID: CIFAR-10"), ("near", "near OOD: CIFAR-100"), ("far", "far OOD: MNIST, SVHN")]


def test_a_mean_is_of_the_sets_that_it_is_over(tmp_path: Path) -> None:
    """One loss of three has a further far set, which is in no mean"""
    for loss, more in (("a", ()), ("b", ()), ("c", ("textures",))):
        add_run(tmp_path, loss, ood={name: {"ood_score": 0.9} for name in ("svhn", "mnist", *more)})
    assert near_and_far(made(tmp_path)) == [(FAR, "far OOD, mean of 2")]


def test_without_an_ood_set_there_are_no_norms(two_losses: Section) -> None:
    assert "norms" in [plot.name for plot in figures_of(two_losses)]
    without = [run._replace(result=run.result._replace(ood_images={})) for run in two_losses.runs]
    assert "norms" not in [plot.name for plot in figures_of(two_losses._replace(runs=without))]
