"""The command line: checked before anything starts, a sweep's runs planned as Hydra runs them, exit codes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import pytest
from helpers.cli import HALO, LIMITED, Finished, command, folders, never, started
from helpers.config import CONF, names
from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from oodbench import cli
from oodbench.overrides import UsageError, parse
from oodbench.runs.lock import LockedError, run_lock
from oodbench.storage import UnwritableError

RUN = (*LIMITED, "loss=ce", "ood=[noise]", "threads=1")


@pytest.fixture(autouse=True)
def _nothing_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oodbench.experiment.fit", never)


def usage(*arguments: str) -> str:
    """Return the line that a wrong command ends with."""
    with pytest.raises(SystemExit) as end:
        started(*arguments)
    assert isinstance(end.value.code, str)
    assert "\n" not in end.value.code
    return end.value.code


# ---- Hydra


def test_hydras_own_options_are_read_as_hydra_reads_them() -> None:
    """get_args_parser is internal to Hydra: this says what the command line needs of it."""
    args = get_args_parser().parse_args(["-m", "seed=1,2", "loss=ce", "--config-dir", "/x"])
    assert (args.overrides, args.multirun, args.config_dir) == (["seed=1,2", "loss=ce"], True, "/x")
    assert not any((args.help, args.hydra_help, args.cfg, args.info, args.shell_completion, args.experimental_rerun))
    assert not any((args.config_name, args.config_path))
    assert get_args_parser().parse_args(["--cfg", "job", "--help"]).cfg == "job"


VALUES = {
    "seed": st.integers(0, 9).map(str),
    "note": st.sampled_from(["a", "'a, b'", "''", "a b", "'3'", "1e5x"]),
    "recipe.optimizer.lr": st.sampled_from(["0.1", "1e-3", "1", "1e30"]),
    "recipe.clip_grad_norm": st.sampled_from(["null", "1", "0.5"]),
    "recipe.flip": st.sampled_from(["true", "false"]),
    "recipe.optimizer": st.sampled_from(["{lr: 0.3}", "{momentum: 0, nesterov: false}"]),
    "dataset.near": st.sampled_from(["[]", "[noise,svhn]"]),
    "dataset.mean.0": st.sampled_from(["0.25", "1"]),
    "dataset.limit": st.sampled_from(["null", "100"]),
    "weights": st.sampled_from(["[a.pt,b.pt]", "[]"]),
    "wandb": st.sampled_from(["{mode: offline}"]),
    "data_root": st.sampled_from(["/x", "${results_dir}/data", "'/x y'"]),
    "name.loss": st.sampled_from(["mine", "${seed}"]),
}
CHOSEN = st.sampled_from([(), ("dataset=digits",), ("loss=focal", "recipe=short", "dataset=digits"), ("ood=[noise]",)])


@cache
def defaults(chosen: tuple[str, ...]) -> DictConfig:
    return hydra.compose("train", list(chosen))


@settings(max_examples=15, deadline=None)
@given(chosen=CHOSEN, keys=st.lists(st.sampled_from(sorted(VALUES)), max_size=6), data=st.data())
def test_plain_values_are_set_as_hydra_sets_them(chosen: tuple[str, ...], keys: list[str], data: st.DataObject) -> None:
    values = [f"{key}={data.draw(VALUES[key])}" for key in keys]  # a key may come twice: the last one counts
    with initialize_config_dir(str(CONF), version_base="1.3"):
        theirs = hydra.compose("train", [*chosen, *values])
        ours = cli.overridden(defaults(chosen), parse(values))
    assert OmegaConf.to_container(ours) == OmegaConf.to_container(theirs)


LINES = [
    RUN,
    (*RUN, "+ood.mine.path=/x", "~ood.noise"),
    (*RUN, "experiment=demo", "detector=[all]", "detector.knn.k=7"),
    (*RUN, "++note=x", "recipe=short", "loss=halo", "seed=3"),
    (*RUN, "ood@validation.ood=cifar10", "image_detector=[odin]"),
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_a_planned_run_is_the_one_that_hydra_composes(line: tuple[str, ...]) -> None:
    ((run,), is_sweep) = cli.plan(line)
    assert not is_sweep
    assert run == cli.resolve(cli.compose(line))


SWEEPS = [
    ("loss=ce,halo", "seed=0,1"),
    ("loss=glob(h*)", "recipe.optimizer.lr=0.1,0.2"),
    ("seed=range(0,3)", "seed=5", "loss=focal", "loss.gamma=choice(1,2)"),
    ("recipe=short,smoke", "note='a,b',c", "seed=1"),
    ("loss=ce,halo", "loss=focal,ce"),
    ("ood=[noise],[unseen_digits,noise]", "+ood.mine.path=/a,/b"),
]


@pytest.mark.parametrize("line", SWEEPS, ids=range(len(SWEEPS)))
def test_a_sweep_is_planned_in_the_order_that_hydra_runs_it(line: tuple[str, ...], tmp_path: Path) -> None:
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

    given = ("-m", *LIMITED, *line)
    runs, is_sweep = cli.plan(given)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        (batch,) = BasicSweeper.split_arguments(parse(given[1:]), None)
    assert is_sweep
    assert runs == [cli.resolve(cli.compose(each)) for each in batch]


@pytest.mark.parametrize("option", [("--help",), ("--hydra-help",), ("--cfg", "job"), ("--info", "config")])
def test_what_hydra_answers_itself_is_no_run(option: tuple[str, ...]) -> None:
    assert cli.plan([*option, "seed=abc"]) == ([], False)


def test_two_hundred_runs_are_planned_from_few_compositions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A composition reads all files: 0.2 s each."""
    compositions: list[Any] = []
    compose = hydra.compose
    monkeypatch.setattr(hydra, "compose", lambda *args, **more: compositions.append(args) or compose(*args, **more))
    runs, _ = cli.plan(["-m", *LIMITED, "loss=ce,focal", "seed=range(0,10)", "recipe.epochs=range(1,11)"])
    assert len({str(cli.RunFolder.of(run).path) for run in runs}) == len(runs) == 200
    assert len(compositions) <= 2 + 2  # what Hydra itself does, and one a choice of files


def test_settings_of_a_sweep_are_in_its_runs() -> None:
    runs, _ = cli.plan(["-m", *LIMITED, "loss=ce,focal", "seed=0,1"])
    assert [(run["name"]["loss"], run["seed"]) for run in runs] == [("ce", 0), ("ce", 1), ("focal", 0), ("focal", 1)]
    assert "hydra" not in runs[0]


# ---- mistakes

SEARCH = ("-m", "hydra/sweeper=search")
MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("ood=[noise,parquet]",), "ood.parquet.path"),
    (("loss=hallo",), "loss=hallo: loss hallo is not available; did you mean halo?"),
    (("experiment=smal",), "experiment smal is not available"),
    (("detector=[odin]",), "odin reads images: image_detector=[odin]"),
    (("loss=focal", "loss.gama=1"), "loss has no gama; did you mean loss.gamma? available: gamma"),
    (("ood.leaves.path=/x",), "+ood.leaves.path"),
    (("recipe.epochs=0",), "recipe.epochs=0: a number from 1 on is needed"),
    (("backbone.width=0",), "backbone.width=0"),
    (("threads=0",), "threads=0"),
    (("precision=fp16",), "precision=fp16: one of auto, bf16, fp32, tf32 is needed"),
    (("wandb.mode=onlin",), "wandb.mode=onlin"),
    (("device=gpu",), "device=gpu"),
    (("seed=-1",), "seed=-1"),
    ((f"seed={10**30}",), f"seed={10**30}: a whole number from 0 to 2^63 - 1 is needed"),
    (("seed=1,2",), "seed=1,2: several values are a sweep, which needs -m"),
    (("~seed",), "the configuration lacks 'seed'"),
    (("weights.5=x",), "weights[5]"),
    (("seed.x=1",), "seed"),
    (("foo",), "foo"),
    (("data_root=${nothing}",), "nothing"),
    (("name.dataset=../../x",), "name.dataset='../../x'"),
    (("name.loss=a/b",), "name.loss='a/b'"),
    (("name.loss='=cmd()'",), "name.loss='=cmd()'"),
    (("+recipe.optimizer.betta=1",), "betta"),
    (("loss=halo", "loss.variant=other"), "other"),
    (("+detector.msp.temperature=3",), "temperature"),
    (("detector.msp._target_=oodbench.detectors.mps",), "mps"),
    (("+detector.mine._target_=nowhere.mine",), "nowhere"),
    (("+detector.mine.k=3",), "{'k': 3} is not a callable"),
    (("+image_detector.msp._target_=oodbench.detectors.msp",), "msp: a detector and an image detector have this name"),
    (("weights=[/nowhere.pt]",), "/nowhere.pt"),
    (("devices=2", "compile=true"), "not tried together"),
    (
        ("ood=[]", "validation.images=40", "validation.objective=ood.msp.aurok"),
        "validation.objective=ood.msp.aurok: is not avai",
    ),
    (("ood=[]", "validation.images=40", "validation.objective=ood.knn.auroc"), "available: accuracy, ece"),
    (("validation.images=40",), "noise is reported, so nothing may be chosen on it"),
    (("-m", "loss=ce,halo", "seed=0,abc"), "seed=abc: a whole number"),
    (("-m", "loss=ce,logitnorm", "loss.tau=0.1,0.2"), "loss.tau=0.1: loss has no tau"),
    (("-m", "loss=ce,hallo"), "loss=hallo: loss hallo is not available"),
    (("-m", "recipe.epochs=1,0"), "recipe.epochs=0: a number from 1 on is needed"),
    (("-m", "loss=halo", "loss.variant=published,other"), "other"),
    (("-m", "loss.label_smoothing=interval(0,1)"), "an interval is for hydra/sweeper=search; a grid needs a list"),
    ((*SEARCH, "loss.label_smoothing=interval(0,1)"), "a search needs held-out images"),
    ((*SEARCH, "loss=ce,halo", "loss.gama=interval(0,1)", "validation.images=40"), "loss has no gama"),
]


@pytest.mark.parametrize(("overrides", "says"), MISTAKES, ids=[" ".join(mistake[0]) for mistake in MISTAKES])
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path: Path, overrides: tuple[str, ...], says: str) -> None:
    first = [o for o in overrides if o == "-m"]
    line = usage(*first, *RUN, f"results_dir={tmp_path / 'results'}", *overrides[len(first) :])
    assert line.startswith("train.py: ")
    assert says in line
    assert list(tmp_path.iterdir()) == []


def test_a_search_over_choices_of_files_is_planned() -> None:
    assert cli.plan([*SEARCH, "loss=ce,focal", "validation.images=40"]) == ([], True)


def test_a_folder_that_takes_no_files_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").touch()
    for arguments in (RUN, ("-m", *LIMITED, "loss=ce,halo")):
        line = usage(*arguments, f"results_dir={tmp_path / 'results'}")
        assert f"cannot write {tmp_path}/results/" in line


@pytest.mark.parametrize("argument", ["seed=1", "loss=ce,halo", "ood=[ä,ö]", "note='ü'", "-m", "note=${oc.env:Ü}", "ü"])
def test_what_hydra_can_read_is_left_as_it_is(argument: str) -> None:
    assert cli.quoted(argument) == argument


def test_letters_that_hydra_lacks_are_quoted() -> None:
    assert cli.quoted("results_dir=/x/über") == "results_dir='/x/über'"
    ((run,), _) = cli.plan([*RUN, cli.quoted("results_dir=/x/über")])
    assert run["results_dir"] == "/x/über"


# ---- dry runs


def test_a_dry_run_says_what_is_to_do_and_does_nothing(finished: Finished, tmp_path: Path) -> None:
    printed = started(*HALO, f"results_dir={finished.results}", "dry_run=true")
    assert printed.split() == ["finished", str(finished.folder)]
    assert started(*RUN, f"results_dir={tmp_path}", "dry_run=true").startswith("to do")
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_a_sweep_names_every_run(finished: Finished, tmp_path: Path) -> None:
    printed = started("-m", *HALO, "seed=3,4", "dry_run=true", f"results_dir={finished.results}").splitlines()
    assert [line.split()[0] for line in printed] == ["finished", "to"]
    assert started("-m", *HALO, "seed=3,4", "dry_run=true", f"results_dir={tmp_path / 'ü'}").count("to do") == 2
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_with_force_is_to_do(finished: Finished) -> None:
    printed = started(*HALO, f"results_dir={finished.results}", "dry_run=true", "force=true")
    assert printed.startswith("to do")
    assert (finished.folder / "metrics.json").exists()


def test_a_dry_run_looks_whether_the_data_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("OODBENCH_OFFLINE", "")  # which a dry run sets, for its process
    gone = f"+ood.gone.path={tmp_path}/gone"
    with pytest.raises(SystemExit) as end:
        cli.main(never, ["-m", *RUN, "seed=0,1", "dry_run=true", gone, f"results_dir={tmp_path}"])
    assert end.value.code == 1
    printed = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0].split()[0] for line in printed] == ["to", "cannot", "to", "cannot"]
    assert f"cannot start: no parquet file at {tmp_path}/gone" in printed[1]
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_downloads_nothing(tmp_path: Path) -> None:
    """It says that the data are missing, at once."""
    with pytest.raises(SystemExit) as end:
        started(*RUN, "dataset=cifar10", f"data_root={tmp_path / 'none'}", "dry_run=true", f"results_dir={tmp_path}")
    assert end.value.code == 1
    assert list(tmp_path.iterdir()) == []


# ---- while and after it runs


@pytest.fixture
def single() -> Iterator[None]:
    """Hydra as it is while a single run works."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("train", ["hydra.mode=RUN"], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        yield


@pytest.mark.usefixtures("single")
def test_a_locked_run_is_one_line_and_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, cli.exit_codes():
        raise LockedError("process 3 works on this run")
    assert end.value.code == cli.BUSY == 75
    assert capsys.readouterr().out == "not run: process 3 works on this run\n"


@pytest.mark.usefixtures("single")
def test_an_unwritable_folder_is_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^not run: cannot write x$"), cli.exit_codes():
        raise UnwritableError("cannot write x")


def test_a_run_that_another_process_has_is_left_to_it(tmp_path: Path) -> None:
    run = (*RUN, f"results_dir={tmp_path}")
    ((config,), _) = cli.plan(run)
    with run_lock(cli.RunFolder.of(config).path), pytest.raises(SystemExit) as end:
        started(*run)
    assert end.value.code == 75


def test_a_finished_run_returns_its_objective(finished: Finished) -> None:
    run = (*HALO, f"results_dir={finished.results}")
    assert started(*run).startswith("finished already")
    assert started(*run, "validation.objective=nll").startswith("finished already")


def test_a_sweep_ends_with_a_table_and_a_status(
    finished: Finished, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["-m", *HALO, "seed=3,4", f"results_dir={finished.results}"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main(lambda: None, arguments)
    assert end.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"digits/resnet18/halo/smoke-\w{8}/seed3 +✓ done +2/2", lines[2])
    assert re.fullmatch(r"digits/resnet18/halo/smoke-\w{8}/seed4 .* missing .*the same command starts it", lines[3])
    assert lines[-1] == "1 done, 0 running, 0 failed, 0 stopped, 1 missing"


def test_a_sweep_of_finished_runs_ends_well(finished: Finished) -> None:
    printed = started("-m", *HALO, f"results_dir={finished.results}")
    assert printed.count("finished already") == 1
    assert printed.endswith("1 done, 0 running, 0 failed, 0 stopped\n")
    assert folders(finished.results) == [finished.folder]


def test_a_finished_run_does_not_wait_for_torch(finished: Finished) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}
    start = [sys.executable, "-X", "importtime", *command(*HALO, f"results_dir={finished.results}")[1:]]
    shell = subprocess.run(start, capture_output=True, text=True, check=True)
    assert shell.stdout.startswith("finished already")
    assert str(finished.folder) in shell.stdout
    imported = {line.split("|")[-1].strip() for line in shell.stderr.splitlines()}
    assert "hydra" in imported
    assert not {"torch", "torchvision", "sklearn", "wandb"} & imported
    assert before == {path: path.stat().st_mtime_ns for path in finished.folder.rglob("*")}


@pytest.mark.parametrize("name", names("experiment"))
@pytest.mark.parametrize("loss", ["ce", "halo"])  # halo asks for a recipe of its own
def test_every_experiment_composes(name: str, loss: str) -> None:
    config = cli.resolve(cli.compose([f"experiment={name}", f"loss={loss}"]))
    assert config["name"]["loss"] == loss
    assert config["ood"]


def test_a_value_that_nobody_can_resolve_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="nothing"):
        cli.resolve(OmegaConf.create({"a": "${nothing}"}))
