"""The file of external outputs: a network's outputs on all sets, computed by other code, read and checked.

docs/running.md has the format. Letters: N images of a set, D features, K classes. A softmax is assumed: log p is the
log-softmax of the logits in float64, the OOD score -max_k log p_k.
"""

import hashlib
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from oodbench.data.split import UNKNOWN
from oodbench.losses.external import ExternalLogits
from oodbench.losses.objective import Objective
from oodbench.outputs import Outputs
from oodbench.pretrained.arrays import warn_of_probabilities
from oodbench.pretrained.doubts import warn_of_doubts
from oodbench.pretrained.head import TOLERANCE, head_error
from oodbench.runs.identity import check_name
from oodbench.storage import Arrays, regular

ID_SETS = ("train", "test")
RESERVED = ("val", "val_ood")  # names of the sets that a training holds out
PARTS = ("features", "logits", "labels")


class External(NamedTuple):
    """The content of a file of outputs, checked."""

    sets: dict[str, Outputs]  # train, test, and the OOD sets
    head: tuple[NDArray[np.float32], NDArray[np.float32]] | None  # W (K, D), b (K,)
    digests: dict[str, str]  # {set: sha256 of all that is known of its images: their labels, of OOD sets their number}
    sha256: str  # of all arrays, whatever the file's format

    @property
    def ood(self) -> list[str]:
        return [name for name in self.sets if name not in ID_SETS]

    @property
    def num_classes(self) -> int:
        return self.sets["train"].log_probs.shape[1]


def load_external(path: Path) -> External:
    """Read outputs from an .npz or .safetensors file. ValueError names the file, the array and what is wrong."""
    arrays = read_arrays(path)
    head = _head(path, arrays)
    names = sorted({name.rpartition("/")[0] for name in arrays if not name.startswith("head/")})
    for name in arrays:
        if not re.fullmatch(r"(?!head/)[\w.-]+/(features|logits|labels)|head/(weight|bias)", name):
            raise ValueError(f"{path}: {name} is none of <set>/{{{','.join(PARTS)}}}, head/weight, head/bias")
    for name in names:
        check_name(f"{path}: set", name)
    if taken := [name for name in names if name in RESERVED]:
        raise ValueError(f"{path}: a set cannot be called {taken[0]}, as images held out of a training are; rename it")
    names = [*ID_SETS, *(name for name in names if name not in ID_SETS)]
    D, K = (_matrix(path, arrays, f"train/{part}").shape[1] for part in ("features", "logits"))
    sets = {name: _outputs(path, arrays, name, D, K) for name in names}
    if missing := sorted(set(range(K)) - set(sets["train"].labels.tolist())):
        raise ValueError(f"{path}: train/labels: {len(missing)} of {K} classes have no image: {missing[:10]}")
    if head:
        _check_head(path, head, sets, D, K)
    warn_of_doubts(sets)
    digests = {name: _digest(name, outputs) for name, outputs in sets.items()}
    return External(sets, head, digests, _digest_of_all(arrays))


def read_arrays(path: Path) -> Arrays:
    """Return {name: array}; nothing in the file can run. Raises ValueError naming a file that is neither."""
    try:
        if path.suffix == ".npz":
            with np.load(regular(path), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        if path.suffix == ".safetensors":
            with safe_open(regular(path), framework="numpy") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    raise ValueError(f"{path} is neither .npz nor .safetensors")


def _array(path: Path, arrays: Arrays, name: str) -> NDArray[Any]:
    if name not in arrays:
        raise ValueError(f"{path} has no {name}; available: {', '.join(sorted(arrays)) or 'nothing'}")
    return arrays[name]


def _matrix(path: Path, arrays: Arrays, name: str, ndim: int = 2) -> NDArray[np.float32]:
    """Return a matrix or vector as float32. Raises ValueError unless it is finite, floating-point and not empty."""
    array = _array(path, arrays, name)
    what = f"{path}: {name}, {array.dtype} of shape {array.shape}"
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"{what}: floating-point numbers are needed")
    if array.ndim != ndim or 0 in array.shape:
        raise ValueError(f"{what}: {('a vector', 'a matrix, one row per image,')[ndim - 1]} is needed, and not empty")
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(array, dtype=np.float32)
    if outside := int(np.count_nonzero(~np.isfinite(single))):
        raise ValueError(f"{what}: {outside} values are NaN, infinite or beyond float32")
    return single


def _outputs(path: Path, arrays: Arrays, name: str, D: int, K: int) -> Outputs:
    features, logits = (_matrix(path, arrays, f"{name}/{part}") for part in ("features", "logits"))
    for part, array, wide in (("features", features, D), ("logits", logits, K)):
        if array.shape != (len(features), wide):
            wanted = (len(features), wide)
            raise ValueError(f"{path}: {name}/{part} has shape {array.shape}, by the other arrays it would be {wanted}")
    labels = _labels(path, arrays, name, len(features), K)
    if name in ID_SETS:
        warn_of_probabilities(f"{path}: {name}/logits", logits)
    objective: Objective = ExternalLogits(D, K)
    with torch.inference_mode():
        wide_logits = torch.from_numpy(logits).double()
        log_probs, score = objective.log_probs(wide_logits).numpy(), objective.ood_score(wide_logits).numpy()
    return Outputs(features, logits, log_probs, score, labels)


def _labels(path: Path, arrays: Arrays, name: str, n: int, K: int) -> NDArray[np.int64]:
    """Return the (N,) labels; those of an OOD set are not used and may be missing."""
    key = f"{name}/labels"
    if name not in ID_SETS and key not in arrays:
        return np.full(n, UNKNOWN)
    labels = _array(path, arrays, key)
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{path}: {key}, {labels.dtype} of shape {labels.shape}: integers of shape ({n},) are needed")
    outside = np.flatnonzero((labels < 0) | (labels >= K))
    if name in ID_SETS and len(outside):
        row = outside[0]
        raise ValueError(
            f"{path}: {key}: row {row} is {labels[row]}, outside the {K} classes 0..{K - 1} ({len(outside)} such rows)"
        )
    return labels.astype(np.int64)


def _head(path: Path, arrays: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    if not any(name.startswith("head/") for name in arrays):
        return None
    return _matrix(path, arrays, "head/weight"), _matrix(path, arrays, "head/bias", ndim=1)


def _check_head(
    path: Path, head: tuple[NDArray[np.float32], NDArray[np.float32]], sets: dict[str, Outputs], D: int, K: int
) -> None:
    """Raise ValueError unless f W' + b is z, for every image."""
    for name, array, shape in (("weight", head[0], (K, D)), ("bias", head[1], (K,))):
        if array.shape != shape:
            raise ValueError(f"{path}: head/{name} has shape {array.shape}, by the train set it would be {shape}")
    W, b = head[0].astype(np.float64), head[1].astype(np.float64)
    for name, outputs in sets.items():
        if not (off := head_error(lambda f: f @ W.T + b, outputs.features, outputs.logits)) <= TOLERANCE:
            raise ValueError(
                f"{path}: {name}/features @ head/weight.T + head/bias is not {name}/logits: off by {off:.3g} of the "
                f"largest |logit|, allowed is {TOLERANCE:g}"
            )


def _digest(name: str, outputs: Outputs) -> str:
    known = outputs.labels.tobytes() if name in ID_SETS else str(len(outputs.labels)).encode()
    return hashlib.sha256(known).hexdigest()


def _digest_of_all(arrays: Arrays) -> str:
    """Return the sha256 of names, types, shapes and contents, which a file written again has, too."""
    whole = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        whole.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()
