"""Whether the child's Python has what it needs, found out in a child, and how to get it.

The application itself never imports torch, not even to install it: on some computers that ends it.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer

from skcdf.errors import SkcdfError
from skcdf.files import end_process_tree
from skcdf.offline_bundle import wheels_of

from .ChildProcess import ChildProcess
from .PipWords import heard, pipFailure, removalFailure
from .Readiness import NEEDED, Readiness, readinessFromDoctor
from .Signal import Signal, callSafely
from .Texts import _

CHECK_PATIENCE_S = 180.0
TORCH_REQUIREMENT = ">=2.2"
_WAIT_S = 0.1
_END_PATIENCE_S = 2.0
_LAST_BYTES = 2000


@dataclass(frozen=True)
class InstallPlan:
    """What would be installed.

    Attributes:
        torch: whether PyTorch would be.
        repair: whether what is there of it would be removed first.
        packages: the other packages.
        neededBytes, freeBytes: of disk space; ``None`` where it is not known.
        obstacles: why it would fail, each with what to do.
        byHand: the command that installs it, where the child's Python is not Slicer's; empty: Slicer can.
    """

    torch: bool
    repair: bool
    packages: tuple[str, ...]
    neededBytes: int | None
    freeBytes: int | None
    obstacles: tuple[SkcdfError, ...]
    byHand: str

    @property
    def nothing(self) -> bool:
        """Whether all is there."""
        return not (self.torch or self.packages)


class Installation:
    """Looks, and installs. Installing is for the main thread, and holds it up: Slicer answers between pip's lines.

    Args:
        command, makeChild, clock: see `TrainingProcess`.

    Attributes:
        readiness: what the last look has found; ``None`` before the first.
        failed: emits all that pip has printed when it fails, for a log.
    """

    def __init__(
        self,
        command: Callable[[], list[str]],
        makeChild: Callable[[], ChildProcess],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._makeChild, self._clock = command, makeChild, clock
        self._look: _Look | None = None
        self.readiness: Readiness | None = None
        self.failed = Signal()

    @property
    def checking(self) -> bool:
        """Whether a look has not ended."""
        return self._look is not None

    def check(self, onEnd: Callable[[Readiness], Any]) -> None:
        """Looks in a child process; returns at once.

        Args:
            onEnd: gets what was found, once, on this thread, from `tick` or `wait`.
        """
        if self._look is not None:  # what was asked first is as new
            self._look.onEnds.append(onEnd)
            return
        self._look = _Look(self._makeChild(), [onEnd], self._clock())
        try:
            self._look.start([*self._command(), "doctor", "--json"])
        except SkcdfError as error:
            self._look.error, self._look.ended = error, True

    def tick(self) -> None:
        """Notices the end and enforces patience; to be called a few times a second."""
        look = self._look
        if look is None:
            return
        if not look.ended and self._clock() - look.startedAt > CHECK_PATIENCE_S and not look.killed:
            look.kill()
        if look.ended:
            self._look, self.readiness = None, look.readiness()
            for onEnd in look.onEnds:
                callSafely(onEnd, self.readiness)

    def wait(self) -> Readiness:
        """Waits for the look under way, or takes one, for scripts."""
        if self._look is None:
            self.check(lambda _readiness: None)
        while self._look is not None:
            if not self._look.ended:
                self._look.child.wait(_WAIT_S)
            self.tick()
        assert self.readiness is not None
        return self.readiness

    def shutdown(self) -> None:
        """Ends a look under way and returns when it is gone; nobody is told."""
        look, self._look = self._look, None
        if look is None or look.ended:
            return
        look.kill()
        deadline = self._clock() + _END_PATIENCE_S
        while not look.ended and self._clock() < deadline:
            look.child.wait(_WAIT_S)

    def installPlan(self, readiness: Readiness) -> InstallPlan:
        """What would be installed to make it ready."""
        state = readiness.torchState
        torch = state in ("missing", "half", "broken")
        others = [name for name in NEEDED if name != "torch" and readiness.stateOf(name) != "ready"]
        needed = ["torch" + TORCH_REQUIREMENT, *others] if torch else others
        byHand = (
            ""
            if _isOwnPython(readiness)
            else f'"{readiness.python}" -m pip install ' + " ".join(f'"{name}"' for name in needed)
        )
        return InstallPlan(
            torch=torch,
            repair=state in ("half", "broken"),
            packages=tuple(others),
            neededBytes=readiness.neededBytes,
            freeBytes=readiness.freeBytes,
            obstacles=tuple(_obstacles(readiness)),
            byHand=byHand if needed else "",
        )

    def installTorch(self) -> None:
        """Installs PyTorch by the PyTorch extension, where the last look said that it is missing or does not work.

        Raises:
            SkcdfError: the extension is not there, or the installation failed.
        """
        state = self._known().torchState
        if state == "ready":
            return
        try:
            import PyTorchUtils
        except ImportError as error:
            raise SkcdfError(
                _("The PyTorch extension is not installed."),
                _("Install it in the Extensions Manager, restart Slicer, and press Set up PyTorch again."),
            ) from error
        logic = PyTorchUtils.PyTorchUtilsLogic()
        if state in ("half", "broken"):  # pip takes what is there for good, and would leave it
            with self._told("PyTorch", isRemoval=True):
                logic.uninstallTorch()
        with self._told("PyTorch"), _torchKeptOut():
            logic.installTorch(askConfirmation=False, torchVersionRequirement=TORCH_REQUIREMENT)

    def installRequirements(self, requirementsFile: Path | str) -> None:
        """Installs the other packages, where they are missing or damaged.

        Args:
            requirementsFile: one requirement per line.

        Raises:
            SkcdfError: the installation failed.
        """
        wanted = Path(requirementsFile).read_text(encoding="utf-8").split()
        damaged = self._damaged([name for name in NEEDED if name != "torch"])
        with self._told(", ".join(wanted)):
            # Slicer asks the description of a package alone, which a damaged one has.
            _reinstall([each for each in wanted if each.startswith(damaged)] if damaged else [])
            try:
                from slicer import packaging
            except ImportError:  # before Slicer 5.12
                slicer.util.pip_install(["-r", str(requirementsFile)])
                return
            requirements = packaging.load_requirements(str(requirementsFile))
            # The user has agreed already, to all that will be installed; the panel shows how it goes, since Slicer's
            # own window would show pip's tracebacks.
            packaging.pip_ensure(
                requirements, prompt_install=False, requester="SKCDFSegmenter", show_progress=False
            )

    def installFromFolder(self, wheelsFolder: Path | str) -> None:
        """Installs what is missing from a folder of wheels or an offline bundle, without any network.

        Raises:
            SkcdfError: there are no wheels, a bundle is damaged, or the installation failed.
        """
        folder = wheels_of(wheelsFolder)
        if not any(folder.glob("*.whl")):
            raise SkcdfError(
                _("{folder}: there are no Python packages (.whl files) in it.").format(folder=folder),
                _("Choose the folder that holds the .whl files of torch, safetensors and nibabel."),
            )
        plan = self.installPlan(self._known())
        names = ["torch" + TORCH_REQUIREMENT] * plan.torch + list(plan.packages)
        if not names:
            return
        options = ["--no-index", "--find-links", str(folder)]
        damaged = self._damaged(NEEDED)
        with self._told(", ".join(names)):
            _reinstall([each for each in names if each.startswith(damaged)] if damaged else [], options)
            _pipInstall([*options, *names])

    @contextmanager
    def _told(self, what: str, *, isRemoval: bool = False) -> Iterator[None]:
        """Makes whatever pip, the network or torch's own import may raise a sentence; the log gets pip's words."""
        with heard() as lines:
            try:
                yield
            except Exception as error:
                self.failed.emit(
                    "\n".join((_("Installing {packages} failed:").format(packages=what), *lines))
                )
                if isRemoval:
                    raise removalFailure(what, error, lines, self._known().sitePackages) from error
                raise pipFailure(what, error, lines) from error

    def _damaged(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those that are there and do not work."""
        readiness = self._known()
        return tuple(name for name in names if readiness.stateOf(name) in ("half", "broken"))

    def _known(self) -> Readiness:
        return self.readiness if self.readiness is not None else self.wait()


class _Look:
    """One doctor at work."""

    def __init__(
        self, child: ChildProcess, onEnds: list[Callable[[Readiness], Any]], startedAt: float
    ) -> None:
        self.child, self.onEnds, self.startedAt = child, onEnds, startedAt
        self.ended = self.killed = False
        self.error: SkcdfError | None = None
        self._output, self._errors = bytearray(), bytearray()
        self._exitCode: int | None = None

    def start(self, command: list[str]) -> None:
        self.child.start(command[0], command[1:], self._output.extend, self._errors.extend, self._finish)

    def kill(self) -> None:
        self.killed = True
        if self.child.processId > 0:
            end_process_tree(self.child.processId)
        self.child.kill()

    def readiness(self) -> Readiness:
        if self.error is not None:
            return Readiness(error=self.error)
        return readinessFromDoctor(self._output.decode("utf-8", "replace"), self._failure())

    def _finish(self, exitCode: int | None) -> None:
        self._exitCode, self.ended = exitCode, True

    def _failure(self) -> str:
        """How it ended, in words; empty where it has ended well."""
        if self.killed:
            return _("PyTorch did not answer within {seconds} s.").format(seconds=f"{CHECK_PATIENCE_S:g}")
        words = self._errors.decode("utf-8", "replace")[-_LAST_BYTES:].strip()
        if self._exitCode is None:
            return _("The Python process crashed while it loaded PyTorch.") + (f"\n{words}" if words else "")
        # 1 is the doctor's word for "something lacks", and Python's for a program that failed.
        isWell = self._exitCode == 0 or (self._exitCode == 1 and self._output)
        return "" if isWell else words or _("It failed.")


@contextmanager
def _torchKeptOut() -> Iterator[None]:
    """Inside, nothing in this process can import torch; what was loaded before is back afterwards.

    The PyTorch extension imports in the end what it has installed. A torch that ends the process would take the scene
    with it, and one that fails cannot be removed again before a restart; the look that follows finds both in a child.
    """
    loaded = sys.modules.get("torch")
    sys.modules["torch"] = None  # Python's way to say that there is no such module
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
    finally:
        del sys.modules["torch"]
        if loaded is not None:
            sys.modules["torch"] = loaded


def _isOwnPython(readiness: Readiness) -> bool:
    """Whether the child's packages are those that Slicer's own pip installs."""
    own = os.path.realpath(sysconfig.get_path("purelib"))
    return not readiness.sitePackages or os.path.realpath(readiness.sitePackages) == own


def _obstacles(readiness: Readiness) -> list[SkcdfError]:
    obstacles = list(readiness.problems)
    if readiness.torchState in ("half", "broken") and "torch" in sys.modules:
        obstacles.append(
            SkcdfError(
                _("This Slicer has PyTorch loaded, so it cannot be repaired now."),
                _("Save your work, restart Slicer, and press Set up PyTorch before anything else."),
            )
        )
    return obstacles


def _reinstall(names: list[str], options: list[str] | None = None) -> None:
    """Replaces packages that pip takes for good; those that they need are left alone, NumPy among them."""
    if names:
        _pipInstall(["--force-reinstall", "--no-deps", *(options or []), *names])


def _pipInstall(arguments: list[str]) -> None:
    """Slicer's pip, without a window of its own, which would show pip's tracebacks."""
    try:
        from slicer import packaging
    except ImportError:  # before Slicer 5.12
        slicer.util.pip_install(arguments)
        return
    packaging.pip_install(arguments, show_progress=False)
