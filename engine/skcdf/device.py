"""Which processor to compute on and in which precision, found by trying and said in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from .device_names import DEVICES, PRECISIONS
from .errors import SkcdfError
from .files import peak_resident_bytes
from .launch import launched

Value = TypeVar("Value")
OutOfMemory = getattr(torch, "OutOfMemoryError", torch.cuda.OutOfMemoryError)  # the name moved in torch 2.5
_MEMORY_WORDS = re.compile(  # a primitive's *descriptor* that cannot be created is no matter of memory
    "DefaultCPUAllocator|out of memory|ALLOC_FAILED|Failed to allocate memory|could not create a primitive$"
)
"""By these a RuntimeError of the CPU, an Apple GPU, an NVIDIA library, SimpleITK or oneDNN is known to mean memory."""


@dataclass(frozen=True)
class Device:
    """A processor that has shown it can run a 3-D convolution.

    Attributes:
        name: ``cpu``, ``cuda`` (the current one: each of ``torchrun``'s processes has its own) or ``mps``.
        precision: type that convolutions run in: float32, bfloat16 or float16.
        description: one line for the user: what it is and why it was taken.
    """

    name: str
    precision: torch.dtype
    description: str

    @property
    def torch_device(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.name)

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which operations that gain from it run in `precision`."""
        if self.precision is torch.float32:
            return nullcontext()  # older torch knows no autocast for every device, not even a disabled one
        return torch.autocast(self.name, self.precision)

    def autocast_each(self, values: Iterator[Value]) -> Iterator[Value]:
        """Yields ``values``, each computed under `autocast`; what happens between two of them is not."""
        while True:
            with self.autocast():
                try:
                    value = next(values)
                except StopIteration:
                    return
            yield value

    def place(self, network: torch.nn.Module) -> None:
        """Moves ``network`` here, its kernels laid out channels last: the fast layout of 3-D convolutions."""
        network.to(self.torch_device)
        for parameter in network.parameters():
            if parameter.dim() == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)

    def peak_memory(self) -> int | None:
        """Most bytes that this process held at once: of the GPU's memory, or resident; ``None`` where unknown."""
        if self.name == "cuda":
            return torch.cuda.max_memory_allocated()
        return peak_resident_bytes()

    def forget_peak_memory(self) -> None:
        """Lets `peak_memory` begin anew where the system can: on an NVIDIA GPU."""
        if self.name == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def gradient_scaler(self) -> Any:
        """Keeps float16 gradients from vanishing; does nothing in the other precisions."""
        enabled = self.precision is torch.float16
        if hasattr(torch.amp, "GradScaler"):
            return torch.amp.GradScaler(self.name, enabled=enabled)
        return torch.cuda.amp.GradScaler(enabled=enabled)  # torch 2.2


def choose_device(request: str = "auto", precision: str = "auto") -> Device:
    """Finds a processor that works; falls back to the CPU, saying why.

    Args:
        request: one of `DEVICES`; a GPU that is asked for and does not work is replaced by the CPU.
        precision: one of `PRECISIONS`; ``auto`` takes 16 bit where the processor has units for it.

    Raises:
        SkcdfError: ``request`` or ``precision`` is none of the known ones.
    """
    if request not in DEVICES:
        raise SkcdfError(f"There is no device called {request}.", f"Take one of {', '.join(DEVICES)}.")
    if precision not in PRECISIONS:
        raise SkcdfError(
            f"There is no precision called {precision}.", f"Take one of {', '.join(PRECISIONS)}."
        )
    # Each system has one kind of graphics that torch can use: that of the other would explain nothing.
    wanted = "mps" if sys.platform == "darwin" else "cuda"
    name, because = wanted if request == "auto" else request, ""
    if name != "cpu":
        why_not = _why_not(name)
        if not why_not:
            title = torch.cuda.get_device_name() if name == "cuda" else "Apple graphics"
            return _described(name, precision, title)
        because = f", because {why_not}"
    return _described("cpu", precision, f"CPU, {torch.get_num_threads()} threads{because}")


def is_shortage(error: BaseException) -> bool:
    """Whether an error means that there is too little memory, of a graphics card or of the computer."""
    return isinstance(error, OutOfMemory | MemoryError) or bool(_MEMORY_WORDS.search(str(error)))


@contextmanager
def told_if_short(told: Callable[[], SkcdfError]) -> Iterator[None]:
    """For work that cannot do with less: raises what ``told`` gives where there is too little memory for it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_shortage(error):
            raise
        raise told() from error


def _described(name: str, precision: str, title: str) -> Device:
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}.get(
        precision, _native_precision(name)
    )
    return Device(name, kind, f"{title} ({str(kind).removeprefix('torch.')})")


def _why_not(name: str) -> str:
    """Empty when a 3-D convolution runs on the device and is right, else the reason in a few words."""
    if name == "cuda":
        if torch.version.cuda is None:
            return "the installed PyTorch cannot use NVIDIA graphics cards"  # it was built without CUDA
        if not torch.cuda.is_available():
            return "there is no NVIDIA graphics card that PyTorch can use"
        torch.cuda.set_device(launched().local_rank % torch.cuda.device_count())
    elif not torch.backends.mps.is_available():
        return "there are no Apple graphics that PyTorch can use"
    title = "the NVIDIA graphics card" if name == "cuda" else "this Mac's graphics"
    try:
        right = torch.allclose(_probe(name), _probe("cpu"), atol=1e-4)
        return "" if right else f"{title} computed a test wrongly"
    except RuntimeError as error:  # torch's word for every failure of a driver or a missing kernel
        return f"{title} failed in a test ({str(error).splitlines()[0]})"


def _probe(name: str) -> torch.Tensor:
    """What the V-Net and augmentation are made of, once: Apple's GPU lacked parts of it for years."""
    kernel, image = torch.ones(1, 1, 2, 2, 2, device=name), torch.ones(1, 1, 4, 4, 4, device=name)
    down = torch.nn.functional.conv3d(image, kernel, stride=2)
    up = torch.nn.functional.conv_transpose3d(down, kernel, stride=2)
    grid = torch.nn.functional.affine_grid(torch.eye(3, 4, device=name)[None], [1, 1, 4, 4, 4])
    return torch.nn.functional.grid_sample(up, grid).cpu()


def _native_precision(name: str) -> torch.dtype:
    if name == "cuda":
        # Older cards emulate bfloat16, slower than float32; torch calls that supported, too.
        return torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    if name == "cpu" and any(
        getattr(torch.cpu, check, lambda: False)()
        for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    ):
        return torch.bfloat16
    return torch.float32
