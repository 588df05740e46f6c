"""A comparison for the terminal."""

from collections.abc import Collection

from oodbench.evaluation.metric import MISSING, SHARE, IDMetric
from oodbench.evaluation.metrics import metric_of
from oodbench.phrases import printable
from oodbench.tables.caveats import caveats
from oodbench.tables.comparison import Line, Pair
from oodbench.tables.labels import protocol, row_labels
from oodbench.tables.means import FAR, NEAR, sets_of
from oodbench.tables.results import Result
from oodbench.tables.scores import hyperparameters
from oodbench.tables.settings import in_brackets


def report(pairs: list[Pair], detector: str, detector_b: str, found: list[Line], alone: Collection[int]) -> str:
    """Format one line per metric for the terminal, then who is better in how many, and what that means.

    alone: seeds that one side has and the other has not.
    """
    wide, long = (max(map(len, names)) for names in (["OOD set", *(x.ood for x in found)], [x.metric for x in found]))
    long = max(12, long + 1)
    head = f"{'OOD set':<{wide}}  {'metric':<{long}}{'A - B':>8}  {'95 % interval':<19}{'p':>9}{'Holm p':>9}"
    rows = [head + "  better  images", *(_row(line, wide, long) for line in found)]
    n = len(pairs)
    seeds = ", ".join(_seed(*pair) for pair in pairs)
    if n > 1 or pairs[0][0].seed == pairs[0][1].seed:
        seeds += f"; of one side alone, left out: {', '.join(map(str, sorted(alone)))}" if alone else ""
    left = sorted({ood for pair in pairs for run in pair for ood in run.ood_images} - {line.ood for line in found})
    sets = [f"OOD sets without numbers on both sides, left out: {', '.join(left)}"] if left else []
    over = [(m, sets_of(pairs[0][0], m)) for m in (NEAR, FAR) if any(line.ood == m for line in found)]
    means = [f"{mean}: unweighted, over {', '.join(of)}" for mean, of in over]
    sides = [
        f"{name}: {_name(run, n)}{printable(in_brackets(run.loss_settings))}, "
        f"{d}{printable(in_brackets(hyperparameters(run, d)))}"
        for name, run, d in zip("AB", pairs[0], (detector, detector_b), strict=True)
    ]
    sides += _unlike(pairs)
    runs = [run for pair in pairs for run in pair]
    unsaid = caveats(runs, row_labels(runs), sorted({detector, detector_b}))
    return "\n".join(
        [
            *sides,
            f"n = {n}, seeds {seeds}",
            *sets,
            *means,
            "",
            *rows,
            "",
            *_notes(pairs, found),
            *map(printable, unsaid),
        ]
    )


def _unlike(pairs: list[Pair]) -> list[str]:
    """Name both protocols where the sides' are not one, so that more than the losses may differ"""
    found = [sorted({printable(protocol(pair[side])) for pair in pairs}) for side in (0, 1)]
    if found[0] == found[1] and len(found[0]) == 1:
        return []
    each = "\n".join(f"  {name}: {'; '.join(of)}" for name, of in zip("AB", found, strict=True))
    return [f"Not one protocol, so that more than the losses may differ:\n{each}"]


def _notes(pairs: list[Pair], found: list[Line]) -> list[str]:
    """Say who is better in how many numbers, what the tests compare, and in which units."""
    n, tested = len(pairs), sum(line.test is not None for line in found)
    ahead = [sum(line.better == side for line in found) for side in "AB"]
    verdict = (
        f"Of {tested} numbers A is better in {ahead[0]}, B in {ahead[1]}; {tested - sum(ahead)} are not "
        "distinguishable (5 %, Holm's correction)."
    )
    untested = [f"{MISSING}: not tested; no table shows the metric, or a run lacks it or its resamples."]
    meaning = (
        "n = 1: paired bootstrap over the images; it compares these two networks, not the losses."
        if n == 1
        else f"n = {n}: paired over seeds and resampled images; it includes the variation of trainings and images."
    )
    improper = [name for i, name in enumerate("AB") if any("normalised" in pair[i].calibration for pair in pairs)]
    proper = " and ".join(line.metric for line in found if _is_proper(line.metric))
    caveat = [f"Probabilities of {' and '.join(improper)} do not sum to one: {proper} are no proper scores of them."]
    return [verdict, *untested * (tested < len(found)), meaning, _units(found), *caveat * bool(improper and proper)]


def _row(line: Line, wide: int, long: int) -> str:
    unit, test = metric_of(line.metric).unit, line.test
    decimals = 2 if unit.factor == 100 else 4
    difference = MISSING if line.difference is None else f"{unit.factor * line.difference:+.{decimals}f}"
    interval = p_values = ""
    if test:
        interval = f"[{', '.join(f'{unit.factor * end:+.{decimals}f}' for end in test.interval)}]"
        p_values = f"{_p(test.p_value):>9}{_p(line.adjusted):>9}"
    return (
        f"{line.ood or '-':<{wide}}  {line.metric:<{long}}{difference:>8}  {interval or MISSING:<19}"
        f"{p_values or f'{MISSING:>9}' * 2}  {line.better or '-':<6}  {line.images}"
    )


def _units(found: list[Line]) -> str:
    metrics = {line.metric: metric_of(line.metric) for line in found}
    others = [f"{name} in {m.unit.name}" for name, m in metrics.items() if m.unit.name and m.unit != SHARE]
    others += [f"{name} without unit" for name, m in metrics.items() if not m.unit.name]
    higher = ", ".join(name for name, metric in metrics.items() if metric.higher_is_better)
    return f"{'; '.join(['A - B in percentage points', *others])}. Better: higher {higher}; the others lower."


def _is_proper(metric: str) -> bool:
    record = metric_of(metric)
    return isinstance(record, IDMetric) and record.proper_score


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"  # far tails rest on a normal law, not on resamples


def _seed(a: Result, b: Result) -> str:
    return str(a.seed) if a.seed == b.seed else f"{a.seed} against {b.seed}"


def _name(run: Result, n: int) -> str:
    return (run.place if n == 1 else run.place.parent).as_posix()
