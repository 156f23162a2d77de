"""What holds for every run of the tests: how it is sped up, and what it says in the end."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest


def pytest_collection_finish() -> None:
    """What is there after collecting stays to the end: no garbage collection has to look through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def unwaited_disk() -> Iterator[None]:
    """Tests kill programs but cut no power: in this process nobody waits until the disk has what was written."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """That the slow tests are left out, as pyproject.toml has it, and how to run them."""
    if config.option.markexpr == "not slow":
        terminalreporter.line(
            "The slow tests were left out: `make test-slow`, or pytest with `-m slow`, runs them."
        )
