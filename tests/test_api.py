"""What a notebook has: runs as a table, a network, figures; detectors on anybody's outputs."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.cli import Finished, script
from helpers.config import configuration, names
from helpers.made_up import add_run
from helpers.outputs import outputs
from helpers.report import add_garbage_run
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import oodbench
from oodbench import api
from oodbench.build import open_data
from oodbench.detectors import energy
from oodbench.detectors.reference import Reference
from oodbench.evaluation.metrics import ID_METRICS, OOD_METRICS, auroc
from oodbench.outputs import Outputs
from oodbench.report.gallery import figures_of
from oodbench.report.material import read_one
from oodbench.tables.load import load_runs
from oodbench.tables.long_format import NUMBER, numbers_of

TEST, FAR = outputs(200), {"far": outputs(150, shift=1.0, seed=1)}


def number(frame: pd.DataFrame, *key: str) -> float:
    (value,) = frame.set_index(["ood", "detector", "metric"]).loc[[key]]["value"]
    return float(value)


# ---- import


def test_importing_it_imports_next_to_nothing() -> None:
    code = "import sys, oodbench; print(*sys.modules); oodbench.load; print(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = (set(line.split()) for line in ended.stdout.splitlines())
    assert not {"torch", "numpy", "pandas", "matplotlib", "hydra", "oodbench.api"} & before
    assert "oodbench.api" in after


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'oodbench' has no attribute 'evaluat'"):
        oodbench.evaluat  # noqa: B018
    assert set(oodbench.API) <= set(dir(oodbench))
    assert all(getattr(oodbench, name) is getattr(api, name) for name in oodbench.API)


# ---- runs


def test_results_are_the_rows_of_runs_csv(finished: Finished) -> None:
    frame = oodbench.results(finished.results)
    assert list(frame.columns) == numbers_of(load_runs(finished.results).runs).fields
    width = oodbench.load(finished.folder).config["backbone"]["width"]
    assert set(frame["backbone.width"]) == {width}  # a number, and no text
    assert number(frame, "", "", "accuracy") == finished.metrics["accuracy"]
    assert number(frame, "photo_patches", "msp", "auroc") == finished.metrics["ood"]["photo_patches"]["msp"]["auroc"]


def test_a_run_that_cannot_be_read_is_a_warning(tmp_path: Path) -> None:
    add_run(tmp_path, "good")
    add_garbage_run(tmp_path)
    with pytest.warns(UserWarning, match=r"garbage.*belongs to run"):
        assert set(oodbench.results(tmp_path)["loss"]) == {"good"}


def test_a_run_is_its_numbers_outputs_head_and_network(finished: Finished) -> None:
    run = oodbench.load(str(finished.folder))
    assert run.numbers["accuracy"] == finished.metrics["accuracy"]
    assert set(run.outputs) == {"train", "test", "unseen_digits", "photo_patches"}
    test = run.outputs["test"]
    with torch.inference_mode():
        logits = run.head.logits(torch.from_numpy(test.features)).numpy()  # what is built here is used below
    np.testing.assert_allclose(logits, test.logits, rtol=1e-4, atol=1e-4)
    images = open_data(configuration("dataset.limit=400", "dataset.limit_test=160")).test
    again = run.predict(images.images, images.labels)
    np.testing.assert_allclose(again.logits, test.logits, rtol=1e-3, atol=1e-3)
    assert again.labels.tolist() == test.labels.tolist()
    assert run.predict(images.images[:3]).labels.tolist() == [-1] * 3
    assert not run.network.training


def test_a_folder_that_is_no_finished_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"config\.yaml is missing"):
        oodbench.load(tmp_path)
    with pytest.raises(ValueError, match=r"metrics\.json is missing"):
        oodbench.load(add_run(tmp_path, finished=False))


def test_a_published_run_has_numbers_alone(finished: Finished, tmp_path: Path) -> None:
    script("scripts/publish.py", f"results_dir={finished.results}", "--target", tmp_path)
    run = oodbench.load(tmp_path / finished.folder.relative_to(finished.results))
    assert run.numbers["accuracy"] == finished.metrics["accuracy"]
    with pytest.raises(ValueError, match="published without weights and outputs"):
        run.outputs  # noqa: B018


def test_a_runs_own_numbers_come_out_again(finished: Finished) -> None:
    run = oodbench.load(finished.folder)
    ood = {name: run.outputs[name] for name in ("unseen_digits", "photo_patches")}
    frame = oodbench.evaluate(run.outputs["test"], ood, ["ood_score", "msp", "energy"], run.outputs["train"], run.head)
    for metric in ID_METRICS:
        assert number(frame, "", "", metric) == finished.metrics[metric]
    for name in ood:
        for detector in ("ood_score", "msp", "energy"):
            for metric, value in finished.metrics["ood"][name][detector].items():
                assert number(frame, name, detector, metric) == value
    (row,) = frame[(frame.ood == "photo_patches") & (frame.detector == "msp") & (frame.metric == "auroc")].itertuples()
    interval = finished.metrics["intervals"]["ood"]["photo_patches"]["msp"]["auroc"]
    assert [row.low, row.high] == pytest.approx(interval, abs=1e-5)


# ---- outputs of one's own


def test_arrays_alone_are_scored_as_a_softmax() -> None:
    test = oodbench.from_arrays(TEST.logits, TEST.labels)
    far = oodbench.from_arrays(torch.from_numpy(FAR["far"].logits).requires_grad_())
    frame = oodbench.evaluate(test, {"far": far}, ["msp", "ood_score"])
    assert list(frame.columns) == NUMBER
    assert number(frame, "", "", "accuracy") == np.mean(TEST.logits.argmax(1) == TEST.labels)
    p, q = (np.exp(z - np.logaddexp.reduce(z, 1, keepdims=True)) for z in (TEST.logits, FAR["far"].logits))
    assert number(frame, "far", "msp", "auroc") == pytest.approx(auroc(-p.max(1), -q.max(1)))
    assert {"low", "high"} <= set(frame.columns)
    assert frame[frame.metric == "auroc"][["low", "high"]].notna().all(axis=None)


def test_a_detector_without_what_it_needs_is_a_warning() -> None:
    alone, far = oodbench.from_arrays(TEST.logits, TEST.labels), oodbench.from_arrays(FAR["far"].logits)
    with pytest.warns(UserWarning, match="^knn reads"):
        frame = oodbench.evaluate(alone, {"far": far}, ["knn", "msp"])
    assert set(frame.detector) == {"", "msp"}
    with pytest.warns(UserWarning, match="^knn reads outputs of training images, and none are given"):
        oodbench.evaluate(TEST, FAR, ["knn"])
    positive, train = (each._replace(features=each.features.clip(0)) for each in (TEST, outputs(300, seed=5)))
    with pytest.warns(UserWarning, match="^react applies the head again"):
        oodbench.evaluate(positive, {"far": positive}, ["react"], train=train)
    with pytest.warns(UserWarning, match="^knn reads features, and these outputs have none"):
        oodbench.evaluate(TEST, {"far": far}, ["knn"], train=outputs(300, seed=5))


def test_every_detector_can_be_asked_by_name() -> None:
    """The linear head of the made-up outputs is given, so that all apply but those that need non-negative features"""
    means = 3 * np.random.default_rng(99).normal(size=(4, 6))
    head = (means.astype("f4") / 4, (-0.5 * np.square(means).sum(1) / 4).astype("f4"))
    train = outputs(400, seed=5)
    with pytest.warns(UserWarning, match="^react ") as caught:
        frame = oodbench.evaluate(TEST, FAR, "all", train=train, head=head)
    warned = {str(warning.message).partition(" ")[0] for warning in caught}
    assert set(frame.detector) - {""} | warned == set(names("detector"))
    assert {"knn", "vim", "mahalanobis", "energy"} <= set(frame.detector)


def test_no_test_image_passes_for_a_training_image() -> None:
    """Not even for a detector that unpacks the reference."""
    seen: list[int] = []

    def unpacking(test: Outputs, reference: Reference) -> NDArray[np.floating]:
        train, *_ = reference
        seen.append(len(train.labels))
        return test.features[:, 0]

    oodbench.evaluate(TEST, FAR, [unpacking])
    assert seen == [0]


def test_functions_are_detectors_too() -> None:
    def distance(test: Outputs, reference: Reference) -> NDArray[np.floating]:
        return np.linalg.norm(test.features, axis=1)

    frame = oodbench.evaluate(TEST, FAR, [distance, "energy"])
    assert set(frame.detector) == {"", "distance", "energy"}
    named = oodbench.evaluate(TEST, FAR, {"hot": partial(energy, temperature=10.0)})
    assert set(named.detector) == {"", "hot"}


def test_what_cannot_be_evaluated_is_named() -> None:
    with pytest.raises(ValueError, match=r"labels of ID test images are 0 to 3"):
        oodbench.evaluate(oodbench.from_arrays(TEST.logits), FAR)
    with pytest.raises(ValueError, match=r"no detector 'mps'; available: .*msp"):
        oodbench.evaluate(TEST, FAR, "mps")
    with pytest.raises(ValueError, match=r"labels of training images are 0 to 3"):
        oodbench.evaluate(TEST, FAR, ["mahalanobis"], train=oodbench.from_arrays(TEST.logits, None, TEST.features))
    with pytest.raises(ValueError, match=r"the head does not give the logits of test of its features"):
        oodbench.evaluate(TEST, FAR, ["vim"], train=TEST, head=(np.ones((7, 6)), np.zeros(7)))


@pytest.mark.parametrize("name", ["test", "a/b", ""])
def test_an_ood_set_of_a_name_that_is_taken_or_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"OOD set"):
        oodbench.evaluate(TEST, FAR | {name: FAR["far"]})


def test_an_ood_set_may_have_the_name_of_an_argument() -> None:
    frame = oodbench.evaluate(TEST, {"outputs": FAR["far"]}, ["msp"])
    expected = oodbench.evaluate(TEST, FAR, ["msp"])
    assert number(frame, "", "", "accuracy") == number(expected, "", "", "accuracy") > 0
    assert number(frame, "outputs", "msp", "auroc") == number(expected, "far", "msp", "auroc")


def test_two_detectors_of_one_name_are_refused() -> None:
    both = [partial(energy, temperature=1.0), partial(energy, temperature=10.0)]
    assert "energy" in set(oodbench.evaluate(TEST, FAR, both[:1]).detector)
    with pytest.raises(ValueError, match="two detectors are called energy"):
        oodbench.evaluate(TEST, FAR, both)


def test_a_network_of_other_code_is_scored_with_its_features() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3))
    images, labels = torch.randn(90, 3, 2, 2), torch.arange(90) % 3
    test = oodbench.from_model(model, DataLoader(TensorDataset(images, labels), batch_size=32))
    far = oodbench.from_model(model, DataLoader(5 * torch.randn(60, 3, 2, 2), batch_size=32))
    frame = oodbench.evaluate(test, {"far": far}, ["knn", "msp", "react"], train=test, head=model[-1])
    assert set(frame.detector) == {"", "knn", "msp", "react"}
    assert test.features.shape == (90, 6)
    assert test.labels.tolist() == labels.tolist()
    assert set(far.labels) == {-1}


def test_metrics_of_the_frame_are_those_of_the_records() -> None:
    frame = oodbench.evaluate(TEST, FAR, ["msp"])
    assert set(frame[frame.detector == "msp"].metric) == set(OOD_METRICS)


# ---- figures


def test_figures_are_those_of_the_report(finished: Finished, tmp_path: Path) -> None:
    found = oodbench.figures(finished.folder)
    assert [f"digits-{plot.name}" for plot in figures_of(read_one(finished.folder))] == list(found)
    assert oodbench.figures(finished.results).keys() == found.keys()
    figure = found["digits-scores"]
    assert figure._repr_png_().startswith(b"\x89PNG")
    figure.save(tmp_path / "scores.pdf")
    assert (tmp_path / "scores.pdf").read_bytes().startswith(b"%PDF")


def test_a_detector_that_works_in_place_changes_no_other() -> None:
    def mine(test: Outputs, reference: Reference) -> NDArray[np.floating]:
        test.logits[:] = 0
        return test.ood_score

    with pytest.raises(ValueError, match="detector mine: assignment destination is read-only"):
        oodbench.evaluate(TEST, FAR, [mine, "energy"])

    def theirs(test: Outputs, reference: Reference) -> NDArray[np.floating]:
        reference.train.features[:] = 0
        return test.ood_score

    with pytest.raises(ValueError, match="detector theirs: assignment destination is read-only"):
        oodbench.evaluate(TEST, FAR, [theirs, "energy"], train=outputs(300, seed=5))


def test_outputs_of_networks_of_other_sizes_are_named() -> None:
    z, features = np.random.default_rng(0).normal(size=(2, 20, 6))
    with pytest.raises(
        ValueError, match=r"ood\['far'\] has 6 features, 6 logits and 6 classes an image, outputs has 6, 4"
    ):
        oodbench.evaluate(TEST, {"far": oodbench.from_arrays(z, None, features)})
    with pytest.raises(ValueError, match=r"train has 5 features, 4 logits .* different networks"):
        oodbench.evaluate(TEST, FAR, train=oodbench.from_arrays(z[:, :4], np.arange(20) % 4, features[:, :5]))
    with pytest.raises(ValueError, match=r"ood\['far'\] is a ndarray; outputs, of from_arrays or from_model"):
        oodbench.evaluate(TEST, {"far": z})
    with pytest.raises(ValueError, match="ood is a list; a mapping"):
        oodbench.evaluate(TEST, [TEST])
    with pytest.raises(ValueError, match="head is a list; a module or a pair"):
        oodbench.evaluate(TEST, FAR, head=[np.ones((4, 6)), np.zeros(4)])


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (np.zeros((2, 32, 32, 3)), None, r"float64 of shape \(2, 32, 32, 3\); uint8 of shape \(N, 32, 32, 3\)"),
        (np.zeros((2, 3, 32, 32), np.uint8), None, r"shape \(2, 3, 32, 32\)"),
        (np.zeros((2, 16, 16, 3), np.uint8), None, r"shape \(2, 16, 16, 3\)"),
        (np.zeros((2, 32, 32, 1), np.uint8), None, r"shape \(2, 32, 32, 1\)"),
        (np.zeros((0, 32, 32, 3), np.uint8), None, r"shape \(0, 32, 32, 3\)"),
        (np.zeros((2, 32, 32, 3), np.uint8), [1], "there are 1 labels for 2 images"),
    ],
)
def test_images_that_the_network_did_not_learn_are_named(
    finished: Finished, images: NDArray[np.generic], labels: list[int] | None, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        oodbench.load(finished.folder).predict(images, labels)
