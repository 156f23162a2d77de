"""``slicer.packaging`` and the PyTorch extension's module, with a recorder in place of pip: nothing is installed.

The dialogs are Slicer's: `pip_ensure` asks through ``slicer.util``, and a user who says no gets a RuntimeError.
"""

from __future__ import annotations

import subprocess
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
from packaging.requirements import Requirement


@dataclass
class PackageInstaller:
    """What was asked to be installed, and what there is.

    Args:
        missing: names of packages that are not there; an installation puts them there.
        failure: what pip ends with, or ``None``; such as a `subprocess.CalledProcessError`.
        calls: all that was asked for, in order: the function's name and its arguments.
    """

    missing: set[str] = field(default_factory=set)
    failure: BaseException | None = None
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def fail(self, text: str) -> None:
        """Lets pip fail from now on."""
        self.failure = subprocess.CalledProcessError(1, "pip", output=text)

    def _do(self, name: str, what: Any, installed: list[str]) -> None:
        self.calls.append((name, what))
        if self.failure is not None:
            raise self.failure
        self.missing -= set(installed)

    # slicer.packaging

    def load_requirements(self, path: str | Path) -> list[Requirement]:
        """Reads a requirements file."""
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]

    def pip_check(self, requirement: Requirement | list[Requirement]) -> bool:
        """Whether packages are there."""
        requirements = requirement if isinstance(requirement, list) else [requirement]
        return not any(item.name in self.missing for item in requirements)

    def pip_install(self, requirements: str | list[str], **options: Any) -> None:
        """Installs packages."""
        words = requirements.split() if isinstance(requirements, str) else list(requirements)
        names = [Requirement(word).name for word in words if word[:1].isalpha() and "/" not in word]
        self._do("pip_install", requirements, names)

    def pip_uninstall(self, requirements: str | list[str], **options: Any) -> None:
        """Takes packages away."""
        self._do("pip_uninstall", requirements, [])

    def pip_ensure(
        self,
        requirements: list[Requirement],
        prompt_install: bool = True,
        requester: str | None = None,
        **options: Any,
    ) -> None:
        """Installs what is missing, after asking.

        Raises:
            RuntimeError: the user declined.
        """
        missing = [item for item in requirements if not self.pip_check(item)]
        if not missing:
            return
        title = f"{requester} - Install Python Packages" if requester else "Install Python Packages"
        text = f"{len(missing)} Python packages need to be installed."
        if prompt_install and not slicer.util.confirmOkCancelDisplay(text, title):
            raise RuntimeError("User declined package installation")
        self.pip_install([str(item) for item in missing])

    # The PyTorch extension

    def installTorch(self, askConfirmation: bool = False, **options: Any) -> Any:
        """What the extension's logic does: asks, installs, and returns the module. It is a stand-in
        that computes nothing."""
        if askConfirmation and not slicer.util.confirmOkCancelDisplay(
            "PyTorch will be downloaded.", "PyTorch"
        ):
            return None
        self._do("installTorch", options, ["torch"])
        return types.ModuleType("torch")


def packagingModule(installer: PackageInstaller) -> types.ModuleType:
    """``slicer.packaging`` of Slicer 5.12."""
    module = types.ModuleType("slicer.packaging")
    for name in ("load_requirements", "pip_check", "pip_install", "pip_uninstall", "pip_ensure"):
        setattr(module, name, getattr(installer, name))
    return module


def pyTorchUtilsModule(installer: PackageInstaller) -> types.ModuleType:
    """``PyTorchUtils`` of the PyTorch extension."""
    module = types.ModuleType("PyTorchUtils")
    logic = type(
        "PyTorchUtilsLogic", (), {"installTorch": lambda self, **options: installer.installTorch(**options)}
    )
    logic.torchInstalled = staticmethod(lambda: "torch" not in installer.missing)
    module.PyTorchUtilsLogic = logic
    return module
