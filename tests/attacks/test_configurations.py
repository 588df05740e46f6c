"""Whole runs of a stranger, whose config.yaml or metrics.json is hostile, through every script that reads runs."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from helpers.attacks import Arena, assert_same, left_behind
from helpers.attempts import Attempts
from helpers.stranger import forge
from helpers.victim import HANG

from oodbench.runs.folder import RunFolder, open_run
from oodbench.runs.identity import Config

pytestmark = pytest.mark.slow
EVIL = "/tmp/oodbench-attack-evil"
TOGETHER = 12  # hostile runs that are read at once
KEYS = ("name", "seed", "loss", "recipe", "dataset", "backbone", "ood", "detector", "precision", "validation")
TARGETS = [
    {"_target_": "os.system", "command": f"touch {EVIL}"},
    {"_target_": "os.mkdir", "path": EVIL},
    {"_target_": "builtins.exec", "_args_": [f"open('{EVIL}', 'w')"]},
    {"_target_": "subprocess.Popen", "args": ["touch", EVIL]},
    {"_target_": "pathlib.Path.touch", "self": EVIL},
    {"_target_": "torch.load", "f": "/etc/passwd", "weights_only": False},
    {"_target_": "numpy.load", "file": "/etc/passwd", "allow_pickle": True},
    {"_target_": "hydra.utils.instantiate", "config": {"_target_": "os.mkdir", "path": EVIL}},
    {"_target_": "hydra.utils.get_method", "path": "os.mkdir"},
    {"_target_": "oodbench.storage.write_atomic", "path": EVIL, "data": "x"},
    {"_target_": "oodbench.training.distributed.launch_workers", "command": ["touch", EVIL], "devices": []},
    {"_target_": "oodbench.data.cache.shutil.rmtree", "path": EVIL},
    {"_target_": "oodbench.data.parquet.Path.touch", "self": EVIL},
    {"_target_": "oodbench.losses.halo.torch.load", "f": "/etc/passwd"},
    {"_target_": "oodbench.losses.Halo.load_state_dict", "state_dict": {}},
    {"_target_": "oodbench.losses.Halo", "_partial_": True},
    {"_target_": "oodbench.losses.Halo", "gamma": {"_target_": "os.mkdir", "path": EVIL}},
    {"_target_": "oodbench.losses.CE", "_args_": [{"_target_": "os.mkdir", "path": EVIL}]},
    {"_target_": "oodbench.losses.CE", "_recursive_": True, "_convert_": "all"},
    {"_target_": ["os.mkdir"], "path": EVIL},
    {"_target_": "", "path": EVIL},
    "os.mkdir",
    None,
    [],
]
Change = Callable[[Config], None]


def setting(key: str, value: Any) -> Change:
    """Return a change of one key, `.` between nested ones; a key that is not there is made."""

    def change(config: Config) -> None:
        *parents, last = key.split(".")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value

    return change


def lacking(key: str) -> Change:
    def change(config: Config) -> None:
        del config[key]

    return change


NODES = ("loss", "backbone", "dataset.train", "ood.noise")
NAMES = ["../../../evil", "a/b", "=cmd()", "+1", "-x", "", ".", "..", "a" * 300, 3, None, True, ["a"], {"a": 1}, "a\nb"]
NAMES += ["a|b", "<script>", "\\input{x}", "é", "a\0b", " a", "\u202egnp", "${x}", "{{x}}", "a b"]
VALUES: list[tuple[str, Any]] = [
    *[("seed", value) for value in (True, -1, 2**63, 10**30, 1.0, "0", None, [0], float("nan"), float("inf"))],
    *[("recipe.epochs", value) for value in ("abc", [], {}, -1, 10**400, float("inf"), True, "\x1b[2J")],
    *[("dataset.limit", value) for value in ("abc", [], -1, True, float("inf"))],
    *[("dataset.near", value) for value in ("abc", {}, [["a"]], None, 3, ["a|b", "../x"])],
    *[("dataset.mean", value) for value in ("abc", [], [1], ["a", "b", "c"], None, {})],
    *[("dataset.num_classes", value) for value in (0, -1, "8", 10**9)],
    *[("backbone.width", value) for value in (10**9, -1, 0, "4", [4], None, 1e308, float("nan"))],
    *[("validation.images", value) for value in ("abc", -1, 10**9, [1], True, 40)],
    *[("ood.noise.path", value) for value in ("/etc/passwd", "/dev/zero", "/proc/self/mem", "~nobody/x", "\0", "", 3)],
    *[("note", value) for value in ("\\input{/etc/passwd}", "<script>", "a | b\n\n# c", "x" * 50_000, {"a": 1}, [])],
    *[("precision", value) for value in ("fp64", 3, None, [], "a|b")],
    *[("name", value) for value in (None, [], "abc", {})],
    *[("ood", value) for value in (None, [], "abc", {"../x": {}}, {"noise": None}, {"noise": {}}, {3: {}})],
    *[(key, value) for key in ("loss", "recipe", "dataset", "backbone") for value in (None, [], "abc", {}, 3)],
    *[("loss.x", value) for value in ({"a": {"b": {"c": 1}}}, "x" * 50_000, {1: 2, "1": 3}, [[[]]], {None: 1})],
    *[("results_dir", value) for value in ("/etc", "../..", "\0", 3, None)],
    *[("weights", value) for value in ("/etc/passwd", ["/dev/zero"], 3)],
    ("detector.msp", {"_target_": "os.mkdir", "path": EVIL}),
    ("image_detector.msp", {"_target_": "os.mkdir", "path": EVIL}),
    ("hydra", {"sweeper": {"_target_": "os.mkdir", "path": EVIL}}),
    ("hydra.run.dir", EVIL),
    ("threads", 10**9),
    ("device", "cuda:99"),
    ("allow_overlap", "abc"),
]
TEXTS = {
    "an alias bomb": "a: &a [x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c]\n",
    "an alias of itself": "a: &a [*a]\n",
    "a merge key": "a: &a {b: 1}\nc: {<<: *a}\n",
    "a Python object": f"a: !!python/object/apply:os.mkdir ['{EVIL}']\n",
    "a Python name": "a: !!python/name:os.system\n",
    "a new Python object": f"a: !!python/object/new:os.mkdir ['{EVIL}']\n",
    "a tag of its own": "!evil {a: 1}\n",
    "binary": "a: !!binary aGFsbG8=\n",
    "a set": "a: !!set {x, y}\n",
    "nested lists": "a: " + "[" * 20_000,
    "nested keys": "".join(" " * n + "a:\n" for n in range(300)),
    "a long number": "seed: " + "9" * 20_000,
    "a long key": "? " + "x" * 50_000 + "\n: 1\n",
    "a large file": "a: " + "x" * 10_000_000,
    "two documents": "a: 1\n---\nb: 2\n",
    "no mapping": "- 1\n",
    "nothing": "",
    "a NUL": "a: \0\n",
    "control characters": "\x1b[2J\x1b]0;evil\x07",
    "an interpolation": "a: ${oc.env:HOME}\n",
    "a date": "seed: 2020-01-01\n",
    "sexagesimals": "seed: 1:30:00\n",
    "no UTF-8": "a: \udcff\n",
    "UTF-16": "\ufeffa: 1\n",
}


def pages_and_copies(arena: Arena, runs: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the commands that make pages, ensembles and published copies of the runs."""
    results = str(arena.tmp / "results")
    of_all = [("scripts/report.py", "--results-dir", results), ("scripts/ensemble.py", results)]
    of_all += [("scripts/publish.py", f"results_dir={results}", "--target", f"{results}/copies")]
    return [*of_all, *(("scripts/report.py", run) for run in runs)]


def check(arena: Arena, folders: list[Path]) -> None:
    """Assert that no script runs or writes anything foreign, hangs, or shows a traceback; the good run is tabled."""
    runs = list(map(str, folders))
    more: list[tuple[str, ...]] = [("scripts/compare.py", run, str(arena.folder)) for run in runs]
    more += [("scripts/compare.py", run, "--detector-b", "msp") for run in runs]
    more += [("scripts/evaluate.py", *runs, what) for what in ("detector=[gen]", "image_detector=[odin]")]
    more += pages_and_copies(arena, runs)
    before = {path.name for path in arena.tmp.iterdir()}
    end = arena.read(*more, alone=True, seconds=HANG + 10 * len(runs))
    assert not end.problem, end.problem
    assert not os.path.lexists(EVIL)
    assert {path.name for path in arena.tmp.iterdir()} == before
    assert_same(left_behind(arena.folder), arena.expected)
    assert "finished: " in end.text, end.text
    csv = (arena.tmp / "results" / "runs.csv").read_text()
    assert "halo" in csv
    assert "\x1b" not in csv
    assert not [cell for cell in csv.replace("\n", ",").split(",") if cell.startswith(("=", "+", "@"))]
    assert "\x1b" not in end.text


Hostile = tuple[str, Callable[[Path, int], Path]]  # what, and what writes such a run to a results folder by a number


def attacked(arena: Arena, attempt: Attempts, attack: str, hostile: Sequence[Hostile]) -> None:
    """Have the scripts read many hostile runs beside a good one; where one does harm, each alone tells which."""
    for batch in (hostile[start : start + TOGETHER] for start in range(0, len(hostile), TOGETHER)):
        try:
            check(arena, made(arena, batch))
        except AssertionError:
            failed = len(attempt.failures)
            for alone in batch:
                with attempt(attack, alone[0]):
                    check(arena, made(arena, [alone]))
            if failed == len(attempt.failures):
                raise
        else:
            with attempt(attack, "all", tried=len(batch)):
                pass


def made(arena: Arena, batch: Sequence[Hostile]) -> list[Path]:
    results = arena.results("own")
    return [make(results, number) for number, (_, make) in enumerate(batch, start=1)]


def forged(arena: Arena, change: Change) -> Callable[[Path, int], Path]:
    return lambda results, seed: forge(arena.runs / arena.folders["loss"], results, change, seed)


def test_the_stranger_would_be_read_if_it_were_not_hostile(arena: Arena, attempt: Attempts) -> None:
    folder = forged(arena, lambda config: None)(arena.results("own"), 1)
    end = arena.read(("scripts/evaluate.py", str(folder), "image_detector=[odin]"), alone=True)
    assert "== 1" not in end.text, end.text
    assert "finished: 2, unfinished: 0" in end.text


@pytest.mark.parametrize("node", NODES)
def test_no_target_of_a_stranger_is_called(node: str, arena: Arena, attempt: Attempts) -> None:
    hostile = [(f"{node}: {target}", forged(arena, setting(node, target))) for target in TARGETS]
    attacked(arena, attempt, "hostile configurations: targets", hostile)


@pytest.mark.parametrize("part", ["dataset", "loss"])
def test_no_name_of_a_stranger_leads_anywhere(part: str, arena: Arena, attempt: Attempts) -> None:
    hostile = [(f"{part}: {name!r}", forged(arena, setting(f"name.{part}", name))) for name in NAMES]
    attacked(arena, attempt, "hostile configurations: names", hostile)


def test_values_of_a_stranger_do_no_harm(arena: Arena, attempt: Attempts) -> None:
    hostile = [(f"{key}={str(value)[:80]!r}", forged(arena, setting(key, value))) for key, value in VALUES]
    hostile += [(f"without {key}", forged(arena, lacking(key))) for key in KEYS]
    attacked(arena, attempt, "hostile configurations: values", hostile)


def test_texts_that_are_no_configuration_are_named(arena: Arena, attempt: Attempts) -> None:
    def written(content: bytes, after: bool) -> Callable[[Path, int], Path]:
        def make(results: Path, seed: int) -> Path:
            folder = forged(arena, lambda config: None)(results, seed)
            file = folder / "config.yaml"
            file.write_bytes(file.read_bytes() * after + content)
            return folder

        return make

    encoded = {
        what: text.encode("utf-16" if what == "UTF-16" else "utf-8", "surrogateescape") for what, text in TEXTS.items()
    }
    hostile = [(what, written(content, False)) for what, content in encoded.items()]
    hostile += [(f"{what} after a configuration", written(content, True)) for what, content in encoded.items()]
    attacked(arena, attempt, "hostile configurations: YAML", hostile)


RECORDS: list[tuple[str, Any]] = [
    *[(key, value) for key in ("ood", "provenance", "intervals", "calibration") for value in (None, [], "abc", 3, {})],
    *[("accuracy", value) for value in (None, "abc", [], 1e308, -5.0, True, float("nan"), float("inf"), 10**400)],
    *[("resamples_", value) for value in ("../../x", 3)],
    *[("ood.noise", value) for value in (None, [], {"=cmd()": {}}, {"../x": {}}, {"msp": {"auroc": "abc"}})],
    *[("ood.noise", {"m\x1bsp": {"auroc": 0.5}}), ("ood", {"../../x": {}}), ("ood", {"=cmd()": {"msp": {}}})],
    *[
        ("provenance.images", value)
        for value in (None, {}, {"train": "abc"}, {"train": 10**400, "test": 1, "noise": 1})
    ],
    *[("provenance.near", value) for value in ("abc", [["a"]], None, 3, ["a|b"])],
    *[("provenance.ood", value) for value in (None, {"../../x": {}}, {"/etc/passwd": {}}, {"noise": {"x": 10**400}})],
    *[("provenance.detector", value) for value in (None, [], {"msp": None}, {"=x": {}})],
    *[("provenance.digests", value) for value in (None, [], {"test": ["a"]}, {"test": 3})],
    *[("provenance.precision", value) for value in (None, "a|b", "\x1b[2J", [])],
    *[("not_applicable", value) for value in (None, [], {"=x": "y"}, {"odin": {"a": 1}}, {"odin": "a | b\n\x1b[2J"})],
    *[("validation", value) for value in (None, [], {"ood": 3}, "abc")],
]


def recorded(arena: Arena, change: Change) -> Callable[[Path, int], Path]:
    """Return what writes a run whose metrics.json is changed, whole by its checksum."""

    def make(results: Path, seed: int) -> Path:
        folder = forged(arena, lambda config: None)(results, seed)
        run: RunFolder = open_run(folder)[0]
        record = run.read_record()
        resamples = run.read_resamples(record)
        change(record)
        record.pop("resamples")
        run.write_record(record, resamples)
        return folder

    return make


def test_records_of_a_stranger_do_no_harm(arena: Arena, attempt: Attempts) -> None:
    hostile = [(f"{key}={str(value)[:80]!r}", recorded(arena, setting(key, value))) for key, value in RECORDS]
    attacked(arena, attempt, "hostile records", hostile)
