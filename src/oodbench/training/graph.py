"""A function replayed as one CUDA graph: its kernels, recorded once, are then launched together."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

WARM_UP = 3  # calls before the recording: cuDNN chooses its convolutions, the optimizer's state comes into being
WAITS = "called a synchronizing CUDA operation"  # torch's words in its debug mode


class Graph:
    """Calls a function that reads and writes the same tensors at every call; on CUDA replays it from WARM_UP on.

    A replay repeats the kernels, not what Python decided or drew between them. A function that draws torch's random
    numbers or waits for the GPU is noticed while it warms up, and is called for good. On a CPU every function is.
    """

    def __init__(self, function: Callable[[], None], device: torch.device) -> None:
        self.function, self.device = function, device
        self.calls, self.is_replayable = 0, True
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # of warm-up and recording
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self) -> None:
        if self.graph is not None:
            self.graph.replay()
        elif self.calls < WARM_UP:
            self.calls += 1
            self.warm_up()
        elif self.device.type == "cuda" and self.is_replayable:
            self.graph = self.record()
            self.graph.replay()
        else:
            self.function()

    def warm_up(self) -> None:
        """Call the function on the recording's stream, which autograd remembers, and watch it."""
        before = random_state(self.device)
        with side_stream(self.stream):
            waited = call_and_watch(self.function, self.device)
        self.is_replayable = not waited and torch.equal(before, random_state(self.device))  # the last call decides

    def record(self) -> torch.cuda.CUDAGraph:
        """Return the graph of one call, which is not carried out meanwhile."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.function()
        except RuntimeError as error:
            error.add_note("cuda_graph=false launches the kernels of a training step one by one")
            raise
        return graph


def random_state(device: torch.device) -> torch.Tensor:
    """Return the state of torch's generators of the CPU and the device, which the CPU keeps: no GPU is waited for."""
    of_cpu = torch.get_rng_state()
    return torch.cat([of_cpu, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else of_cpu


@contextmanager
def side_stream(side: torch.cuda.Stream | None) -> Iterator[None]:
    """Use another stream, which waits for the current one and is waited for; None: do nothing."""
    if side is None:
        yield
        return
    current = torch.cuda.current_stream(side.device)
    side.wait_stream(current)
    with torch.cuda.stream(side):
        yield
    current.wait_stream(side)


def call_and_watch(function: Callable[[], None], device: torch.device) -> bool:
    """Call the function; return whether it waited for the GPU, of which torch can warn."""
    if device.type != "cuda":
        function()
        return False
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            function()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    return any(WAITS in str(each.message) for each in said)
