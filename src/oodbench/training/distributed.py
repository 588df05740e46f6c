"""One training by several processes: each takes its shard of every batch, and all keep the same weights.

The parent starts the processes (`launch_workers`); each of them joins by `worker`. In a training by one
process, what the loop calls here does nothing. The loss is that of the whole batch, since losses may compare its
images: the features of all shards are gathered, every process computes the whole loss and backpropagates through its
own shard.
"""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from oodbench.runs.signals import DEFAULTS, stop_signal

PLAIN_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
PAUSE = 0.1  # s, between two polls of the processes
STOPPED = [128 + number for number in DEFAULTS]  # exit codes of a training that was stopped and saved

_received: list[int] = []  # numbers of the signals that the parent has passed on to this process


def world_size() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's number; only 0 writes."""
    return dist.get_rank() if world_size() > 1 else 0


def shard(n: int) -> slice:
    """Return this process's rows of a batch of n; none, where there are fewer rows than processes."""
    return slice(rank() * n // world_size(), (rank() + 1) * n // world_size())


def gather(features: Tensor, n: int) -> Tensor:
    """(b, D) of this process's shard -> (n, D) of the batch, in its order; only the shard's rows have a gradient."""
    if world_size() == 1:
        return features
    own, whole = shard(n), features.new_zeros(n, *features.shape[1:])
    whole[own] = features.detach()
    dist.all_reduce(whole)  # a sum with zeros: exact, and parts may be unequal or empty
    return torch.cat([whole[: own.start], features, whole[own.stop :]])


def sum_gradients(backbone: nn.Module, objective: nn.Module) -> None:
    """Make the gradients those of the batch, the same to the bit in every process.

    Each process has the backbone's gradients of its shard, which are summed, and the objective's of the whole batch.
    """
    if world_size() == 1:
        return
    of_parts, of_batch = ([p.grad for p in m.parameters() if p.grad is not None] for m in (backbone, objective))
    sums = torch.cat([gradient.flatten() for gradient in (*of_parts, *(whole / world_size() for whole in of_batch))])
    dist.all_reduce(sums)
    gradients = [*of_parts, *of_batch]
    for gradient, total in zip(gradients, sums.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(total.view_as(gradient))


def all_reduce_max(number: int) -> int:
    """Return the largest number of any process, signals from the parent included. All must call it at the same step."""
    if world_size() == 1:
        return number
    largest = torch.tensor(max(number, *_received, 0))
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return int(largest)


def broadcast_weights(model: nn.Module) -> None:
    """Give every process the weights of the first, in case something was initialised without the seed."""
    for tensor in model.state_dict().values():
        dist.broadcast(tensor, 0)


def check_batch_norm(backbone: nn.Module, device: torch.device) -> None:
    """Raise ValueError where torch cannot take the backbone's batch norm over the batches of several processes.

    On a CPU it cannot at all. On CUDA `convert_sync_batchnorm` would drop what a subclass adds, as timm's activations.
    """
    norms = {name: module for name, module in backbone.named_modules() if isinstance(module, _BatchNorm)}
    if norms and device.type != "cuda":
        raise ValueError(
            f"devices > 1 on a {device.type}: torch takes batch norm's statistics over several processes on CUDA only, "
            f"and the backbone has it in {next(iter(norms))} and {len(norms) - 1} more places; devices=1 trains it here"
        )
    for name, module in norms.items():
        if type(module) not in PLAIN_NORMS:
            raise ValueError(
                f"devices > 1: {name} of the backbone is a {type(module).__name__}, for which torch has no batch norm "
                "over several processes; devices=1 trains it"
            )


@contextmanager
def process_group(number: int, count: int, meeting: Path, backend: str) -> Iterator[None]:
    """Join a group of `count` processes, which find one another by a file that does not exist yet."""
    dist.init_process_group(backend, init_method=f"file://{meeting}", rank=number, world_size=count)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def worker(number: str, count: str, folder: str, device: str) -> Iterator[torch.device]:
    """Join the training as a process that `launch_workers` started; give its device. Reports an error to the parent."""
    threading.Thread(target=_listen, daemon=True).start()
    own = torch.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    backend = "cpu:gloo,cuda:nccl" if own.type == "cuda" else "gloo"
    with process_group(int(number), int(count), Path(folder, "meeting"), backend):
        try:
            yield own
        except Exception as error:
            with contextlib.suppress(FileExistsError), Path(folder, "error").open("x") as file:
                file.write(f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}")
            os._exit(1)  # at once: the others wait for this one until the parent ends them


def _listen() -> None:
    """Read the parent's signals from standard input; end when it has died, since another start may own the run."""
    while number := os.read(0, 1):
        _received.extend(number)
    os._exit(1)


def launch_workers(command: Sequence[str], devices: Sequence[torch.device]) -> None:
    """Run `command <number> <count> <folder> <device>` for all devices at once, and wait until all have ended.

    Raises SystemExit with their exit code where they were stopped and have saved; RuntimeError with the first error
    where one has failed, after ending the others; its traceback is a note.
    """
    ranks: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder, stop_signal() as stop:
        try:
            for number, device in enumerate(devices):
                line = [*command, str(number), str(len(devices)), folder, str(device)]
                out = None if number == 0 else subprocess.DEVNULL
                ranks.append(subprocess.Popen(line, stdin=subprocess.PIPE, stdout=out, start_new_session=True))
            codes = _ends(ranks, stop)
        finally:
            for process in ranks:
                process.kill()
                process.communicate()
        error = Path(folder, "error")
        if error.exists() or (_failed(codes) and not stop()):
            silent = f"no error was reported, exit codes {codes}; a code below 0 is that of a signal"
            what, _, trace = (error.read_text() if error.exists() else silent).partition("\n\n")
            failed = RuntimeError(f"one of {len(devices)} processes failed: {what}")
            failed.add_note(trace)
            raise failed
        if any(codes) or stop():  # a signal may come after their last step
            raise SystemExit(128 + stop() if stop() else max(code or 0 for code in codes))


def _ends(ranks: Sequence[subprocess.Popen[bytes]], stop: Callable[[], int]) -> list[int | None]:
    """Return their exit codes once all have ended or one has failed; None for one that still runs.

    A signal is passed on through standard input, not as a signal: where SLURM signals every process, that would be a
    second one, which does not wait for the checkpoint. The terminal's do not reach them in their own session.
    """
    passed_on = False
    while True:
        codes = [process.poll() for process in ranks]
        if None not in codes or _failed(codes):
            return codes
        if stop() and not passed_on:
            passed_on = True
            for process in ranks:
                with contextlib.suppress(BrokenPipeError):
                    assert process.stdin
                    os.write(process.stdin.fileno(), bytes([stop()]))
        time.sleep(PAUSE)


def _failed(codes: Sequence[int | None]) -> bool:
    return any(code not in (None, 0, *STOPPED) for code in codes)
