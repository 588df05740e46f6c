"""The features' first two principal components, with the classes' centroids."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oodbench.data.split import spaced_rows
from oodbench.evaluation.arrays import Array, Labels
from oodbench.report.plot import Axis, Dots, Label, Mark, Panel, Plot, padded

POINTS = 240  # of ID images, and twice as many of all OOD sets together, evenly spaced in file order
DIGITS = 5  # of coordinates: more than a figure shows, fewer than processors agree on


class Components(NamedTuple):
    """Features projected to the two directions in which those of the ID test images vary most."""

    ids: Array  # (n, 2), some of the ID images
    oods: dict[str, Array]  # {OOD set: (m, 2)}, some of its images
    centroids: Array  # (k, 2), the classes' means over all ID images
    classes: list[int]  # (k,)
    origin: Array  # (2,), f = 0
    explained: tuple[float, float]  # shares of the ID features' variance


def components_of(ids: Array, labels: Labels, oods: Mapping[str, Array], points: int = POINTS) -> Components:
    """(N, D), (N,), {set: (M, D)} -> the first two principal components of the ID features' covariance.

    A direction's sign is that of its largest entry. D = 1 has one direction, and the second is 0.
    """
    mean = ids.mean(0, dtype=np.float64)
    centred = ids - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(ids))
    axes = np.zeros((ids.shape[1], 2))
    axes[:, : min(2, len(values))] = vectors[:, ::-1][:, :2]
    axes *= np.sign(axes[np.abs(axes).argmax(0), [0, 1]] + 1e-300)
    total = max(float(values.sum()), 1e-300)
    shares = [float(value) / total for value in values[::-1][:2]]
    classes = np.unique(labels)
    centroids = np.stack([ids[labels == k].mean(0, dtype=np.float64) for k in classes])
    each = max(1, points * 2 // max(1, len(oods)))
    return Components(
        (some_rows(ids, points) - mean) @ axes,
        {name: (some_rows(features, each) - mean) @ axes for name, features in oods.items()},
        (centroids - mean) @ axes,
        [int(k) for k in classes],
        -mean @ axes,
        (shares[0], shares[1] if len(shares) > 1 else 0.0),
    )


def rounded(found: Components) -> Components:
    """Return the same to DIGITS digits of the ID images' largest coordinate, and of the shares."""
    places = DIGITS - 1 - math.floor(math.log10(max(float(np.abs(found.ids).max()), 1e-99)))
    return found._replace(
        ids=found.ids.round(places),
        oods={name: xy.round(places) for name, xy in found.oods.items()},
        centroids=found.centroids.round(places),
        origin=found.origin.round(places),
        explained=(round(found.explained[0], DIGITS), round(found.explained[1], DIGITS)),
    )


def some_rows(array: NDArray[np.floating], n: int) -> Array:
    """(N, D) -> (n, D), rows evenly spaced; all where there are no more than n"""
    return array[spaced_rows(len(array), n)]


def panel(found: Components, title: str, tones: Mapping[str, str], size: int = 250) -> Panel:
    """Draw ID and OOD images, the centroids with their classes' numbers where there are few, and the origin."""
    far = np.concatenate([found.ids, found.centroids, *found.oods.values(), found.origin[None]])
    ends = [padded(np.quantile(far[:, axis], [0.002, 0.998]), 0.08) for axis in (0, 1)]
    marks: list[Mark] = [Dots(found.ids[:, 0], found.ids[:, 1], "id", 1.3)]
    marks += [Dots(xy[:, 0], xy[:, 1], tones.get(name, "muted"), 1.3) for name, xy in found.oods.items()]
    marks += [Label(float(found.origin[0]), float(found.origin[1]), "0", "ink", "middle", -4)]
    if len(found.classes) <= 20:
        marks.append(
            Dots(
                found.centroids[:, 0],
                found.centroids[:, 1],
                "ink",
                2.5,
                hollow=True,
                titles=[f"centroid of class {k}" for k in found.classes],
            )
        )
    else:
        marks.append(Dots(found.centroids[:, 0], found.centroids[:, 1], "ink", 1.2))
    first, second = (f"PC{i + 1} ({100 * share:.0f} %)" for i, share in enumerate(found.explained))
    return Panel(title, Axis(first, *ends[0]), Axis(second, *ends[1]), marks, "", size, size)


def plot(panels: Sequence[Panel]) -> Plot:
    """Put one panel per loss side by side."""
    caption = (
        "Penultimate features on the first two principal components of the ID test features (share of their variance); "
        "circles: the classes' centroids; 0: the origin of the feature space. Images evenly spaced in file order."
    )
    return Plot("components", "Geometry of the features", panels, caption)
