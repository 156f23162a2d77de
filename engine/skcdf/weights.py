"""Reads and writes network weights as safetensors: plain numbers, so that no file can run code.

Nothing here unpickles. A file is looked at byte by byte before any library touches it, so that a renamed
``.pth``, a half download or a web page in its place is called by its name. Torch and safetensors are imported
only where tensors are made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import SkcdfError
from .files import flush_to_disk

if TYPE_CHECKING:
    from torch import Tensor

_MAX_HEADER_BYTES = 100_000_000  # the limit of the format
_FOREIGN = {
    b"PK\x03\x04": "a zip archive, as PyTorch writes .pth and .pt files",
    b"\x80": "a Python pickle",
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive",
    b"<": "a web page",
    b"version https://git-lfs": "a Git LFS pointer: the file itself was not fetched",
}


def check_header(path: Path) -> None:
    """Checks, without torch or safetensors, that a file is a whole safetensors file.

    Raises:
        SkcdfError: it is missing, foreign or truncated; the message says which.
    """
    try:
        size = path.stat().st_size
        with open(path, "rb") as stream:
            start = stream.read(32)
            length = int.from_bytes(start[:8], "little")
            stream.seek(8)
            header = stream.read(length) if length <= min(_MAX_HEADER_BYTES, size - 8) else b""
    except FileNotFoundError as error:
        raise SkcdfError(f"{path}: the weights are missing.", "Fetch the model again.") from error
    except OSError as error:
        raise SkcdfError(
            f"{path}: the weights cannot be read ({error.strerror}).", "Check the file."
        ) from error
    for magic, what in _FOREIGN.items():
        if start.startswith(magic) and not header.startswith(b"{"):
            raise _not_weights(path, f"this is {what}, not safetensors")
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        expected = 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        if start[8:9] == b"{" and length > size - 8:
            raise _not_weights(path, f"the file is truncated: {size} bytes, less than its header") from error
        raise _not_weights(path, "this is not a safetensors file") from error
    if size != expected:
        state = "truncated" if size < expected else "not as written"
        raise _not_weights(path, f"the file is {state}: {size} bytes where its header announces {expected}")


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself beside its tensors, read without torch or safetensors.

    Raises:
        SkcdfError: the file is missing, foreign or truncated.
    """
    check_header(path)
    with open(path, "rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return dict(header.get("__metadata__") or {})


def read_weights(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Reads a safetensors file; numbers stored in half precision come back as float32.

    Args:
        path: the file.
        sha256: what its bytes must hash to, in hexadecimal.

    Raises:
        SkcdfError: the file is missing, foreign, truncated or changed.
    """
    check_header(path)
    safetensors = _import_safetensors()
    # Hash and parse the same bytes: a file exchanged between two readings would pass unchecked.
    content = path.read_bytes()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise _not_weights(path, "the checksum is not that of the model's description: the file was changed")
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise _not_weights(path, f"this is not a valid safetensors file ({error})") from error
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()
    }


def write_weights(
    path: Path, state_dict: Mapping[str, Tensor], half: bool = False, shown_as: Path | None = None
) -> None:
    """Writes tensors to a safetensors file and flushes it to the disk.

    Args:
        path: the file; its folder exists.
        state_dict: tensors by name, on any device. Integers stay as they are.
        half: store real numbers as float16 instead of float32.
        shown_as: what people know the file by, where ``path`` is temporary.

    Raises:
        SkcdfError: a tensor holds NaN or infinity, or does not fit float16; the disk is full.
    """
    import torch

    safetensors = _import_safetensors()
    shown = shown_as or path
    tensors = {}
    for name, tensor in state_dict.items():
        stored = tensor.detach().to("cpu", copy=True).contiguous()  # safetensors refuses shared memory
        if stored.is_floating_point():
            stored = stored.to(torch.float16 if half else torch.float32)
            if not torch.isfinite(stored).all():
                raise SkcdfError(
                    f"{shown}: the weights {name} are not finite{' in half precision' if half else ''}.",
                    "The training diverged, or the weights must be stored in full precision.",
                )
        tensors[name] = stored
    try:
        safetensors.torch.save_file(tensors, str(path))
        flush_to_disk(path)
    except (OSError, safetensors.SafetensorError) as error:
        reason = str(error).replace(str(path), str(shown))
        raise SkcdfError(f"{shown}: cannot be written ({reason}).", "Check the free disk space.") from error


def _import_safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except Exception as error:  # half an installation fails in more ways than one
        name = (error.name if isinstance(error, ModuleNotFoundError) else None) or "safetensors"
        problem = "missing" if isinstance(error, ModuleNotFoundError) and "." not in name else "damaged"
        raise SkcdfError(
            f"Weights need the Python package {name.partition('.')[0]}, which is {problem}.",
            "In Slicer, install it at the top of the module's panel; elsewhere, install the package again.",
        ) from error
    return safetensors


def _not_weights(path: Path, problem: str) -> SkcdfError:
    return SkcdfError(f"{path}: {problem}.", "Fetch the model again from its source; nothing was loaded.")
