"""What a worker can be asked (`docs/worker.md`): one frozen dataclass a request, and the reading of a line.

Needs no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NoReturn

from .errors import SkcdfError
from .model_parts import require
from .records import record_from_plain
from .worker_pool_requests import PoolAdd, PoolAddUnlabelled, PoolImport, PoolPreview
from .worker_request import LARGEST_ID, Request, RequestError
from .worker_request import require_texts as _require_texts

__all__ = ["LARGEST_ID", "REQUESTS", "Message", "Request", "RequestError", "parse_message"]

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
Region = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
MOST_PLACES = 1000


@dataclass(frozen=True)
class Segment(Request):
    """Segment a scan.

    Attributes:
        image: file or DICOM folder.
        output: label map to write.
        model: folder or name; empty: the one that ships with the program.
        store: folder of a model store in which ``model`` is looked for: ``line`` or ``line@v3``.
        places: how many places that the model is least sure of are wanted; 0: nor how unsure it is of each organ.
        device: where to compute; ``auto``: the device of the worker's ``hello``.
        organs: names of those that are wanted; empty: all. The others become background.
        region: only this box is computed: half-open ranges of voxels along the file's axes ``(z, y, x)``.
        overlap: share of a window that its neighbour covers as well, 0 to below 1; ``None``: the model's.
        memory_mib: what the sums of scores may take; ``None``: 2048.
    """

    kind: ClassVar[str] = "segment"
    image: str
    output: str
    model: str = ""
    store: str = ""
    places: int = 10
    device: DeviceName = "auto"
    organs: tuple[str, ...] = ()
    region: Region | None = None
    overlap: float | None = None
    memory_mib: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_texts(self, "image", "output")
        _require_choices(self)
        require(0 <= self.places <= MOST_PLACES, "places", f"must be between 0 and {MOST_PLACES}")


@dataclass(frozen=True)
class Check(Request):
    """Say what is odd about a scan, and about how long and in how much memory it would be segmented.

    Attributes:
        image: file or DICOM folder.
        model, store, device, organs, region, overlap, memory_mib: see `Segment`.
    """

    kind: ClassVar[str] = "check"
    image: str
    model: str = ""
    store: str = ""
    device: DeviceName = "auto"
    organs: tuple[str, ...] = ()
    region: Region | None = None
    overlap: float | None = None
    memory_mib: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_texts(self, "image")
        _require_choices(self)


@dataclass(frozen=True)
class Rank(Request):
    """Order cases of a pool by how much the model would learn from them.

    Attributes:
        pool: the pool's folder.
        cases: names; empty: all unlabelled ones.
        model, store, device: see `Segment`.
        cache: folder in which figures of scans are kept; empty: none are.
    """

    kind: ClassVar[str] = "rank"
    pool: str
    cases: tuple[str, ...] = ()
    model: str = ""
    store: str = ""
    cache: str = ""
    device: DeviceName = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_texts(self, "pool")


@dataclass(frozen=True)
class Evaluate(Request):
    """Compare a label map with a reference, organ by organ.

    Attributes:
        prediction, reference: label maps on one grid.
        labels: name or ``.json`` file of the label set; a pool's is its ``label_set.json``.
        annotated: organs that the reference knows; ``None``: all.
        tolerance_mm: of the normalized surface Dice.
    """

    kind: ClassVar[str] = "evaluate"
    prediction: str
    reference: str
    labels: str
    annotated: tuple[str, ...] | None = None
    tolerance_mm: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_texts(self, "prediction", "reference", "labels")
        require(self.tolerance_mm >= 0, "tolerance_mm", "must not be negative")


@dataclass(frozen=True)
class Compare(Request):
    """Compare two models on a pool's validation cases, organ by organ.

    Attributes:
        pool: the pool's folder.
        after: the newer model; folder or name, in ``store`` where that is given.
        before: the older one; empty: there is none.
        store, cache, device: see `Rank`.
    """

    kind: ClassVar[str] = "compare"
    pool: str
    after: str
    before: str = ""
    store: str = ""
    cache: str = ""
    device: DeviceName = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_texts(self, "pool", "after")


@dataclass(frozen=True)
class Release(Request):
    """Let go of the model and of GPU memory, before a training for example."""

    kind: ClassVar[str] = "release"


@dataclass(frozen=True)
class Ping(Request):
    """Say what the worker is doing; answered at once."""

    kind: ClassVar[str] = "ping"


@dataclass(frozen=True)
class Shutdown(Request):
    """Cancel everything and end."""

    kind: ClassVar[str] = "shutdown"


@dataclass(frozen=True)
class Cancel:
    """Cancel a request.

    Attributes:
        id: of the request that shall end; ``None``: the one that runs.
    """

    kind: ClassVar[str] = "cancel"
    id: int | None = None


Message = Request | Cancel
_KINDS: tuple[type[Message], ...] = (
    *(Segment, Check, Rank, Evaluate, Compare),
    *(PoolPreview, PoolAdd, PoolAddUnlabelled, PoolImport),
    *(Release, Ping, Shutdown, Cancel),
)
REQUESTS = {each.kind: each for each in _KINDS}


def parse_message(line: bytes) -> Message:
    """Reads one line.

    Raises:
        RequestError: it is no request.
    """
    identity: int | None = None
    try:
        content = json.loads(line.decode("utf-8"), parse_constant=_refuse)
        if not isinstance(content, dict):
            raise RequestError("The message is no JSON object.", 'Send {"id": 1, "request": "ping"}.')
        identity = _identity(content)
        name = content.pop("request", None)
        kind = REQUESTS.get(name) if isinstance(name, str) else None
        if kind is None:
            known = f"Requests are {', '.join(REQUESTS)}."
            raise RequestError(f"There is no request {name!r}.", known, identity)
        return record_from_plain(kind, content, "request")
    except RequestError:
        raise
    except SkcdfError as error:  # its field is wrong
        raise RequestError(error.message, "See docs/worker.md.", identity) from error
    except RecursionError as error:
        raise RequestError("The message is nested too deeply.", "Send a flat object.", identity) from error
    except ValueError as error:
        raise RequestError(
            f"The message is not JSON in UTF-8 ({error}).", "Send one object a line."
        ) from error


def _identity(content: dict[str, Any]) -> int | None:
    value = content.get("id")
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_ID:
        return value
    return None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _require_choices(request: Segment | Check) -> None:
    overlap, memory = request.overlap, request.memory_mib
    require(overlap is None or 0 <= overlap < 1, "overlap", f"must be from 0 to below 1, is {overlap}")
    require(memory is None or memory >= 1, "memory_mib", f"must be at least 1, is {memory}")
    for low, high in request.region or ():
        require(0 <= low < high, "region", f"must hold rising ranges of voxels, has {low} to {high}")
