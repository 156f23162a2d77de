"""What every run of the tests says in the end."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """That the slow tests are left out, as pyproject.toml has it, and how to run them."""
    if config.option.markexpr == "not slow":
        terminalreporter.line(
            "The slow tests were left out: `make test-slow`, or pytest with `-m slow`, runs them."
        )
