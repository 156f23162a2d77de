"""What a full disk, a read-only folder or a drive that is gone raises, in words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .errors import SkcdfError


@contextlib.contextmanager
def disk_errors_told(path: Path) -> Iterator[None]:
    """Turns `OSError` into `SkcdfError`.

    Args:
        path: what is worked on, for errors that name no file.
    """
    try:
        yield
    except OSError as error:
        raise SkcdfError(
            f"{error.filename or path}: cannot be read or written ({error.strerror or error}).",
            "Check that the drive is there, the free disk space and the rights.",
        ) from error
