"""Work in a process that may die at any operation on a file, meet a full disk, or hang: forked from one with torch."""

import contextlib
import errno
import io
import multiprocessing
import os
import runpy
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from multiprocessing import forkserver
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from helpers.config import CONF, configuration

from oodbench import experiment
from oodbench.build import build_detectors, build_model, open_data
from oodbench.model import extract_features, predict
from oodbench.report.card import restore_card
from oodbench.report.command import command_of
from oodbench.runs import lock
from oodbench.runs.folder import RunFolder
from oodbench.runs.identity import Config
from oodbench.runs.lock import LockedError
from oodbench.runs.record import is_complete, requested
from oodbench.scoring.rescore import rescore
from oodbench.scoring.score import RunOutputs, Scoring, score
from oodbench.storage import UnwritableError

ROOT = CONF.parent
TINY = ("recipe.epochs=2", "recipe.batch_size=64", "backbone.width=4", "device=cpu", "precision=fp32", "threads=1")
TINY += ("dataset.limit=160", "dataset.limit_test=80", "ood=[noise]", "checkpoint_share=1.0")
PATHS = {"open": 1, "os.mkdir": 1, "os.chmod": 1, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "shutil.rmtree": 1}
STARTS = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "pty.spawn")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
HANG = 120.0  # seconds, on a busy machine, for what takes less than two


class End(NamedTuple):
    """The end of a process."""

    code: int | None  # None: it was still working after HANG seconds
    text: str  # what it printed, errors included
    touched: int  # operations on files of the results; 0 where it was killed

    @property
    def problem(self) -> str:
        """Say what a user should not see: a hang, a traceback, a line without end; empty where there is nothing."""
        if self.code is None:
            return f"hangs: {self.text[-300:]}"
        if "Traceback" in self.text or self.code not in (0, 1, 2, 75):
            return f"ends with {self.code}: {self.text[-2000:]}"
        longest = max(map(len, self.text.splitlines()), default=0)
        return f"a line of {longest} characters" if longest > 2000 else ""


# ---- work


def train(config: Config) -> None:
    """Do what train.py does with a resolved configuration."""
    folder = RunFolder.of(config)
    if is_complete(folder.usable_record(), requested(config)):
        if not folder.card.exists():
            restore_card(folder)
    else:
        with one_line():
            experiment.run(config)


def train_watching(config: Config, seconds: float) -> None:
    """Train, and watch a lock that looks stale for so many seconds only."""
    lock.WATCH = seconds
    train(config)


def score_again(folder: str, detector: dict[str, Any], image_detector: dict[str, Any]) -> None:
    with one_line():
        rescore(Path(folder), detector, image_detector)


def scripts(*commands: Sequence[str]) -> None:
    """Run scripts of this project one after the other; print the exit code of each."""
    for name, *arguments in commands:
        print(f"== {name}", flush=True)
        try:
            script(name, arguments)
            code: Any = 0
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):
                print(code)
                code = 1
        print(f"== {code or 0}", flush=True)


def script(name: str, arguments: Sequence[str]) -> None:
    """Run a script as a command does; evaluate.py in this process."""
    sys.argv = [str(ROOT / name), *arguments]
    if name == "scripts/evaluate.py":
        from oodbench.commands import evaluate

        evaluate.ProcessPoolExecutor = lambda *given: ThreadPoolExecutor(1)  # type: ignore[assignment, misc]
        evaluate.main()
    else:
        runpy.run_path(str(ROOT / name), run_name="__main__")


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """End with the one line that a user reads in error.txt; any other error than those with a sentence is left."""
    try:
        yield
    except LockedError as error:
        raise SystemExit(f"not run: {error}") from None
    except (ValueError, UnwritableError) as error:
        if "\n" in str(error):
            raise
        raise SystemExit(f"{type(error).__name__}: {error}") from None


# ---- the process


def warm() -> None:
    """Have everything in memory that a run needs but the first backward pass, after which no fork can have another."""
    torch.set_num_threads(1)
    for name in (
        "report.vector",
        "report.page.run",
        "tables.overview",
    ):  # matplotlib writes a cache when it is imported
        import_module(f"oodbench.{name}")
    module = import_module("oodbench.data.digits")  # whose name in its package is a function
    vars(module)["_digits"] = cache(vars(module)["_digits"])
    with TemporaryDirectory() as folder:
        config = configuration(*TINY, results_dir=folder)
        data, model = open_data(config), build_model(config, torch.device("cpu"))
        outputs = predict(model.objective, extract_features(model, data.test.images), data.test.labels)
        of_run = RunOutputs(outputs, outputs, {"noise": outputs}, {})
        score(of_run, model.objective, Scoring(build_detectors(config["detector"]), {}))
        command_of(config)  # of the run's card


FORKS = multiprocessing.get_context("forkserver")
SERVER = "OODBENCH_TESTS_SERVER"  # set for the process that all others are forked from
if SERVER in os.environ:
    del os.environ[SERVER]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warm()


@cache
def start_server() -> None:
    """Start the process that all others are forked from; it finds modules where this one does."""
    FORKS.set_forkserver_preload(["helpers.victim", "pytest"])
    before = dict(os.environ)
    os.environ.update({"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), SERVER: "1"})
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)


def lived(log: Path, work: Callable[..., None], *arguments: Any, seconds: float = HANG, **guard: Any) -> End:
    """Return how a process ends that does the work; guard: arguments of `Guard`. It is killed after the seconds."""
    start_server()
    process = FORKS.Process(target=_live, args=(str(log), work, arguments, guard))
    process.start()
    process.join(seconds)
    is_late = process.is_alive()
    process.kill()
    process.join()
    *text, touched = log.read_text(errors="replace").rpartition("touched ")
    log.unlink()
    finished = touched.isdigit()
    text = "".join(text[:1]) if finished else "".join([*text, touched])  # type: ignore[assignment]
    return End(None if is_late else process.exitcode, str(text), int(touched) if finished else 0)


def _live(log: str, work: Callable[..., None], arguments: tuple[Any, ...], guard: dict[str, Any]) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    watch = Guard(**guard)
    sys.addaudithook(watch.audit)
    os.fdopen = watch.fdopen  # type: ignore[assignment]
    code: Any = 0
    try:
        work(*arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        code = 1
    watch.is_on = False
    print(f"{code if isinstance(code, str) else ''}\ntouched {watch.touched}", end="", flush=True)
    raise SystemExit(1 if isinstance(code, str) else code)


class Guard:
    """Counts the operations on files below a folder: opened, renamed, removed, made, or one half written.

    At the die_at-th the process is killed. From the full_at-th on, what needs room on the disk fails. `alone`: what
    starts another process, or writes anywhere but there, is an error.
    """

    def __init__(self, below: str = "/nowhere", die_at: int = 0, full_at: int = 0, alone: bool = False) -> None:
        self.below, self.die_at, self.full_at, self.alone = below, die_at, full_at, alone
        self.touched, self.is_on = 0, True

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on or (event not in PATHS and event not in STARTS):
            return
        if event == "open" and isinstance(arguments[0], int):  # of what was opened before
            return
        paths = [os.fsdecode(path) for path in arguments[: PATHS.get(event, 0)] if isinstance(path, str | bytes | Path)]
        writes = event == "open" and bool((arguments[2] or 0) & WRITING)
        needs_room = event == "os.mkdir" or (writes and not os.path.lexists(paths[0]))
        is_here = any(path.startswith(self.below) for path in paths)
        if is_here or (event in ("os.remove", "os.rmdir") and not paths[0].startswith("/")):  # of a folder's removal
            self.touch(needs_room)
        elif self.alone and (writes or event != "open") and paths != ["/dev/null"]:
            print(f"Traceback: not allowed: {event} {arguments}", flush=True)
            os._exit(99)

    def touch(self, needs_room: bool) -> None:
        self.touched += 1
        if self.touched == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if needs_room and 0 < self.full_at <= self.touched:
            raise OSError(errno.ENOSPC, "No space left on device")

    @contextlib.contextmanager
    def fdopen(self, *arguments: Any) -> Any:
        with open(*arguments) as file:  # noqa: PTH123 - a descriptor
            yield Halves(file, self)


class Halves:
    """A file that is written half by half."""

    def __init__(self, file: Any, guard: Guard) -> None:
        self.file, self.guard = file, guard

    def write(self, data: bytes) -> None:
        middle = len(data) // 2
        self.file.write(data[:middle])
        self.file.flush()
        self.guard.touch(needs_room=True)
        self.file.write(data[middle:])

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)
