"""What the worker says of a scan's copy is told of the volume: the user knows no temporary file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from skcdf.errors import SkcdfError

from .EngineWorker import Answer


def namingVolume(answer: Answer, copy: Path, name: str) -> Answer:
    """The answer with the volume's name wherever its copy is named.

    Args:
        answer: the worker's.
        copy: the file that it has read.
        name: of the volume.
    """
    error = answer.error
    if error is not None:
        error = SkcdfError(*(text.replace(str(copy), name) for text in (error.message, error.hint)))
    return replace(answer, result=_renamed(answer.result, str(copy), name), error=error)


def _renamed(content: Any, old: str, new: str) -> Any:
    if isinstance(content, str):
        return content.replace(old, new)
    if isinstance(content, list):
        return [_renamed(each, old, new) for each in content]
    if isinstance(content, dict):
        return {key: _renamed(each, old, new) for key, each in content.items()}
    return content
