"""Names and values on the command line that no run can have: one line that says why, and nothing is written."""

import pytest
from helpers.attacks import Arena
from helpers.attempts import Attempts
from helpers.victim import TINY, lived, scripts

pytestmark = pytest.mark.slow
NAMES = [
    "../../../evil",
    "a/b",
    "'=cmd()'",
    "-x",
    "''",
    "'.'",
    "'..'",
    "a" * 300,
    "'a\nb'",
    "'a|b'",
    "'<b>'",
    "'\x1b[2J'",
]
NAMES += ["é", "' a'", "~", "'${oc.env:HOME}'", "'${x}'", "[a]", "{a:1}", "null", "true", "3", "'*'", "\udcff"]
VALUES = [
    *[
        f"seed={v}"
        for v in ("-1", "10**30", str(10**30), "1.5", "abc", "null", "nan", "inf", "[0]", "true", "''", "1e400")
    ],
    *[f"recipe.epochs={v}" for v in ("0", "-3", "1.5", "abc", "nan", "inf", "[1]", "1e400", "null")],
    *[f"recipe.batch_size={v}" for v in ("0", "-1", "nan", "abc")],
    *[f"recipe.optimizer.lr={v}" for v in ("-1", "nan", "inf", "abc", "1e400", "[0.1]")],
    *[f"backbone.width={v}" for v in ("0", "-1", "1e9", "abc", "nan")],
    *[f"threads={v}" for v in ("0", "-1", "abc", "1.5")],
    *[f"dataset.limit={v}" for v in ("0", "-1", "abc", "nan", "1.5")],
    *[f"precision={v}" for v in ("fp16", "''", "3", "null")],
    *[f"device={v}" for v in ("gpu", "cuda:x", "''", "cpu:0")],
    *[f"wandb.mode={v}" for v in ("onlin", "''", "3")],
    *[f"detector={v}" for v in ("[knnn]", "[odin]", "[../x]", "abc", "[[a]]", "null")],
    *[f"ood={v}" for v in ("[foo]", "[digits]", "[../../x]", "abc")],
    *[f"+ood.x.path={v}" for v in ("/nowhere", "/dev/zero", "/etc/passwd", "''", "~nobody/x", "null", "3")],
    *[f"loss={v}" for v in ("../../x", "foo", "''", "[ce]", "halo.yaml", "/etc/passwd")],
    *[f"loss._target_={v}" for v in ("os.system", "oodbench.losses.Foo", "''", "oodbench.storage.write_atomic")],
    *[f"results_dir={v}" for v in ("/dev/null", "/proc/x", "''", "null", "3")],
    *[f"weights={v}" for v in ("[/nowhere]", "[/dev/zero]", "[/etc/passwd]", "abc", "[3]")],
    *[f"validation.images={v}" for v in ("-1", "10000000", "abc")],
    *[
        "seed",
        "=1",
        "seed=",
        "--seed",
        "seed==1",
        "seed=1=2",
        "++x.y.z=1",
        "~seed",
        "~loss",
        "+seed=1",
        "seed=0,1",
        "@x",
    ],
    *["hydra.run.dir=/dev/null", "hydra/launcher=foo", "experiment=foo", "-cd=/nowhere", "--config-dir=/nowhere"],
]


def says_why(arena: Arena, *overrides: str) -> None:
    """Assert that train.py ends with one line, or says what it would do below the results; nothing is written."""
    results = arena.tmp / "results"
    command = (
        "train.py",
        *TINY,
        "dataset=digits",
        "recipe=smoke",
        f"results_dir={results}",
        "dry_run=true",
        *overrides,
    )
    end = lived(arena.tmp / "log", scripts, command, below=str(results), alone=True)
    assert not end.problem, end.problem
    assert not results.exists()
    lines = [line for line in end.text.splitlines() if line.strip() and not line.startswith("==")]
    if "== 0" in end.text:
        given = any(override.startswith("results_dir") for override in overrides)
        assert given or all(str(results / "runs") in line for line in lines), end.text
    else:
        assert len(lines) in (1, 2), end.text
        assert "\x1b" not in end.text


@pytest.mark.parametrize("part", ["loss", "dataset"])
def test_hostile_names_are_refused(part: str, arena: Arena, attempt: Attempts) -> None:
    for name in NAMES:
        with attempt("hostile names and values on the command line", f"name.{part}={name!r}"):
            says_why(arena, f"name.{part}={name}")


def test_hostile_values_are_refused(arena: Arena, attempt: Attempts) -> None:
    for value in VALUES:
        with attempt("hostile names and values on the command line", repr(value)[:100]):
            says_why(arena, value)
