"""What a Python needs to run the engine, and what would be in the way of installing it. Standard library only.

`Doctor.try_torch` is the last thing to be done, since a damaged torch can end the process.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import platform
import shutil
import sys
import sysconfig
import tempfile
import textwrap
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .cloud_folders import cloud_service
from .network_settings import network_problems, network_settings
from .package_states import BROUGHT, REQUIRED, PackageState, is_there, package_state

GIB = 2**30
# Downloads and what becomes of them, side by side while pip works; torch 2.13 for CPUs alone takes 0.8 GiB.
TORCH_WITH_CUDA_BYTES = 9 * GIB
TORCH_BYTES = int(1.5 * GIB)
OTHERS_BYTES = 50 * 2**20
LONGEST_FILE = 180
"""Characters of the longest path in a torch package, below the folder of packages."""
_LONGEST_PART = 60
_LONGEST_DETAIL = 500
_BEING_IMPORTED = "Importing it ends the process, or never ends."


@dataclass(frozen=True)
class Problem:
    """Something in the way.

    Attributes:
        message: one line that says what.
        hint: one line that says what to do.
    """

    message: str
    hint: str


@dataclass(frozen=True)
class Report:
    """What was found.

    Attributes:
        python: path of the program.
        python_version: ``3.12.10``.
        platform: operating system and processor.
        site_packages: where pip installs.
        writable: whether it can.
        free_bytes: on that disk; ``None`` where it is not known.
        needed_bytes: what installing what lacks would take, for a while; 0 when nothing lacks.
        long_paths: whether files as deep as torch's can be made there; ``None`` where nothing can be.
        proxy: `network_settings`.
        packages: state of each required package.
        device: what would compute; ``None`` while torch was not tried.
        problems: what is in the way of installing or running. That a package is not ready is no problem by itself.
    """

    python: str
    python_version: str
    platform: str
    site_packages: str
    writable: bool
    free_bytes: int | None
    needed_bytes: int
    long_paths: bool | None
    proxy: dict[str, str]
    packages: dict[str, PackageState]
    device: str | None = None
    problems: tuple[Problem, ...] = field(default=())

    @property
    def ready(self) -> bool:
        """Whether everything is there and nothing is in the way."""
        return not self.problems and all(each.state == "ready" for each in self.packages.values())

    def to_json(self) -> dict[str, Any]:
        """What JSON can hold."""
        return asdict(self)


class Doctor:
    """Looks at this Python: first at all that can be known without importing torch.

    Args:
        folder: one that the user wants to work in, to be looked at, too.
        environment: variables; ``None``: this process's.
    """

    def __init__(self, folder: Path | None = None, environment: Mapping[str, str] | None = None) -> None:
        self._folder, self._environment = folder, environment
        self._site = sysconfig.get_path("purelib")
        self._packages = {name: package_state(name, oldest) for name, oldest in REQUIRED.items()}
        self._torch = self._packages["torch"]
        for name, state in self._packages.items():
            if name != "torch" and state.state == "ready":
                self._packages[name] = _imported(name, state)

    @property
    def torch_awaits(self) -> bool:
        """Whether only importing torch can tell more."""
        return self._torch.state == "ready"

    def look(self, trusting: bool = False) -> Report:
        """What can be known without importing torch.

        Args:
            trusting: a torch that awaits its import counts as ready, else as broken, so that what was said holds
                when the import ends the process.
        """
        torch = self._torch
        if self.torch_awaits and not trusting:
            torch = replace(torch, state="broken", detail=_BEING_IMPORTED)
        return self._report(torch, None)

    def try_torch(self) -> Report:
        """All of it, after torch was imported and has computed something. A damaged torch may end this process."""
        torch, device = _imported("torch", self._torch), None
        if torch.state == "ready":
            try:
                from .device import choose_device

                device = choose_device().description
            except Exception as error:  # whatever a torch that is half there may raise
                torch = replace(torch, state="broken", detail=_words(error))
        return self._report(torch, device)

    def _report(self, torch: PackageState, device: str | None) -> Report:
        packages = {**self._packages, "torch": torch}
        lacking = [name for name, state in packages.items() if state.state != "ready"]
        needed = _needed_bytes(lacking, os.environ if self._environment is None else self._environment)
        with _probe(Path(self._site)) as probe:
            long_paths = None if probe is None else _can_be_deep(probe, LONGEST_FILE)
        free = _free_bytes(Path(self._site))
        problems = [*_of_python(), *(_of_folder(self._folder) if self._folder else ())]
        if lacking:
            problems += _of_place(self._site, long_paths, free, needed)
            problems += [Problem(*each) for each in network_problems(self._environment)]
        return Report(
            python=sys.executable or "",
            python_version=platform.python_version(),
            platform=f"{platform.platform()} {platform.machine()}",
            site_packages=self._site,
            writable=long_paths is not None,
            free_bytes=free,
            needed_bytes=needed,
            long_paths=long_paths,
            proxy=network_settings(self._environment),
            packages=packages,
            device=device,
            problems=tuple(problems),
        )


def _imported(name: str, state: PackageState) -> PackageState:
    try:
        module = importlib.import_module(name)
        if name == "torch" and module.ones(3).numpy().sum() != 3:
            raise RuntimeError("It computes wrongly.")
    except (Exception, SystemExit) as error:
        return replace(state, state="broken", detail=_words(error))
    return state


def _words(error: BaseException) -> str:
    return textwrap.shorten(f"{type(error).__name__}: {error}", _LONGEST_DETAIL)


def _needed_bytes(lacking: list[str], environment: Mapping[str, str]) -> int:
    if not lacking:
        return 0
    if "torch" not in lacking:
        return OTHERS_BYTES
    # Slicer's extension takes the build that fits the driver; the ordinary one for Linux is that with CUDA.
    ordinary = sys.platform == "linux" and "SLICER_HOME" not in environment
    return TORCH_WITH_CUDA_BYTES if ordinary or _has_nvidia_driver(environment) else TORCH_BYTES


def _has_nvidia_driver(environment: Mapping[str, str]) -> bool:
    if sys.platform == "win32":
        return (Path(environment.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvcuda.dll").exists()
    return sys.platform == "linux" and Path("/proc/driver/nvidia/version").exists()


@contextlib.contextmanager
def _probe(folder: Path) -> Iterator[Path | None]:
    """A folder made in another, for a moment; ``None`` where none can be made: rights alone tell little."""
    made = folder / f".skcdf-{uuid.uuid4().hex[:8]}"
    try:
        made.mkdir()
        (made / "file").write_bytes(b"x")
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        yield None
        return
    try:
        yield made
    finally:
        shutil.rmtree(_extended(made), ignore_errors=True)


def _can_be_deep(probe: Path, length: int) -> bool:
    """Whether a path of so many characters below the probe's folder can be made."""
    left = length - len(probe.name) - 1
    path = probe
    while left > _LONGEST_PART:
        path, left = path / ("x" * (_LONGEST_PART - 1)), left - _LONGEST_PART
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / ("x" * max(1, left - 1))).write_bytes(b"")
    except OSError:
        return False
    return True


def _extended(path: Path) -> Path:
    """The same folder, written so that Windows takes names of any length below it."""
    return Path(f"\\\\?\\{path}") if sys.platform == "win32" else path


def _free_bytes(folder: Path) -> int | None:
    for place in (folder, *folder.parents):  # a folder that is still to be made
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def _of_python() -> Iterator[Problem]:
    if sys.maxsize < 2**32:
        yield Problem("This Python is a 32-bit program, for which there is no PyTorch.", "Use a 64-bit one.")
    for name in BROUGHT:
        if not is_there(name):
            yield Problem(
                f"The Python package {name} is missing.",
                f"It is part of Slicer: install Slicer again. In another Python: pip install {name}.",
            )


def _of_place(site: str, long_paths: bool | None, free: int | None, needed: int) -> Iterator[Problem]:
    """What is wrong with the place where packages go."""
    if long_paths is None:
        yield Problem(
            f"{site}: nothing can be installed there, since you may not write into it.",
            "Install Slicer into a folder of your own, or ask whoever looks after this computer.",
        )
    if long_paths is False:
        yield Problem(
            f"{site}: PyTorch's files would lie too deep here for this system.",
            r"Install Slicer into a folder with a shorter path, such as C:\Slicer, or allow long paths in Windows.",
        )
    if free is not None and free < needed:
        yield Problem(_short_of_space(site, free, needed), "Make room on this disk.")
    temporary = tempfile.gettempdir()
    there = _free_bytes(Path(temporary))
    if there is not None and there < needed / 2 and not _same_disk(site, temporary):
        hint = "Make room, or let TMPDIR (Windows: TEMP) name a folder on a larger disk."
        yield Problem(_short_of_space(temporary, there, needed // 2), hint)


def _short_of_space(folder: str, free: int, needed: int) -> str:
    return f"{folder}: {_size(free)} are free there; installing takes about {_size(needed)} for a while."


def _size(number: int) -> str:
    return f"{number / GIB:.1f} GiB" if number >= GIB / 10 else f"{number >> 20} MiB"


def _same_disk(first: str, second: str) -> bool:
    try:
        return os.stat(first).st_dev == os.stat(second).st_dev
    except OSError:
        return False


def _of_folder(folder: Path) -> Iterator[Problem]:
    """What is wrong with the folder in which the user wants to work."""
    place = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
    with _probe(place) as probe:
        if probe is None:
            yield Problem(f"{place}: cannot be written.", "Choose a folder of your own.")
    free = _free_bytes(place)
    if free is not None and free < GIB:
        yield Problem(f"{place}: only {_size(free)} are free there.", "Make room on this disk.")
    service = cloud_service(folder)
    if service:
        yield Problem(
            f"{folder}: is synchronised with {service}: what is in it leaves this computer.",
            "For scans of patients choose another folder.",
        )
