"""Calls, recording and replays; what CUDA does is done by a stand-in. tests/training/test_gpu.py has a GPU do it."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

from oodbench.training.graph import WAITS, WARM_UP, Graph

CUDA = torch.device("cuda", 0)


class Stream:
    device = CUDA

    def wait_stream(self, other: "Stream") -> None:
        EVENTS.append("wait")


EVENTS: list[str] = []
GENERATOR = torch.Generator()  # CUDA's


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of CUDA, in order; the function under test adds its calls."""
    EVENTS.clear()
    mode: list[Any] = [0]
    streams: list[Stream] = []

    class Recorded:
        def replay(self) -> None:
            EVENTS.append("replay")

    @contextmanager
    def record(graph: Recorded, stream: Stream) -> Iterator[None]:
        assert stream in streams
        EVENTS.append("record")
        yield
        EVENTS.append("recorded")

    def set_mode(value: Any) -> None:
        mode[:] = [value]
        if value == "warn":
            warnings.warn("a prototype which does not detect all synchronizing operations", stacklevel=1)

    cuda = {
        "Stream": lambda device: streams.append(Stream()) or streams[-1],
        "current_stream": lambda device: Stream(),
        "stream": lambda stream: nullcontext(),
        "CUDAGraph": Recorded,
        "graph": record,
        "get_rng_state": lambda device: GENERATOR.get_state(),
        "get_sync_debug_mode": lambda: mode[0],
        "set_sync_debug_mode": set_mode,
    }
    for name, stand_in in cuda.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    yield EVENTS
    assert mode == [0]
    assert len(streams) == 1


def called() -> None:
    EVENTS.append("call")


def test_a_function_warms_up_is_recorded_once_and_replayed(events: list[str]) -> None:
    graph = Graph(called, CUDA)
    for _ in range(WARM_UP + 3):
        graph()
    assert events == WARM_UP * ["wait", "call", "wait"] + ["record", "call", "recorded"] + 3 * ["replay"]


def draws() -> None:
    called()
    torch.rand((), generator=GENERATOR)


def draws_on_the_cpu() -> None:
    called()
    torch.rand(())


def waits() -> None:
    called()
    warnings.warn(f"{WAITS} (Triggered internally)", stacklevel=1)


@pytest.mark.parametrize("function", [draws, draws_on_the_cpu, waits])
def test_a_function_that_draws_or_waits_is_never_recorded(events: list[str], function: Callable[[], None]) -> None:
    graph = Graph(function, CUDA)
    for _ in range(WARM_UP):
        graph()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph()
        graph()
    assert [event for event in events if event != "wait"] == (WARM_UP + 2) * ["call"]


def test_a_wait_while_cudnn_chooses_does_not_count(events: list[str]) -> None:
    calls = iter([waits, called])
    graph = Graph(lambda: next(calls, called)(), CUDA)
    for _ in range(WARM_UP + 1):
        graph()
    assert events[-1] == "replay"


def test_a_recording_that_fails_says_how_to_do_without(events: list[str]) -> None:
    def fails_when_recorded() -> None:
        if "record" in events:
            raise RuntimeError("operation not permitted when stream is capturing")

    graph = Graph(fails_when_recorded, CUDA)
    for _ in range(WARM_UP):
        graph()
    with pytest.raises(RuntimeError, match="not permitted") as caught:
        graph()
    assert "cuda_graph=false" in caught.value.__notes__[0]


@pytest.mark.parametrize(("function", "is_replayable"), [(called, True), (draws_on_the_cpu, False)])
def test_on_a_cpu_every_call_is_one(function: Callable[[], None], is_replayable: bool) -> None:
    EVENTS.clear()
    graph = Graph(function, torch.device("cpu"))
    for _ in range(WARM_UP + 2):
        graph()
    assert EVENTS == (WARM_UP + 2) * ["call"]
    assert graph.is_replayable == is_replayable
