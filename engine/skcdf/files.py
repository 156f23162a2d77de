"""Writing files so that nothing half-written is ever seen; the engine's one place for platform differences.

Windows refuses to rename onto a file that another program has open (a virus scanner or a viewer, usually for
an instant), so the rename is tried again for a while before the user is told.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import SkcdfError

RENAME_PATIENCE_S = 5.0
TERMINATION = signal.SIGTERM
"""How a scheduler or `torchrun` asks a process to end; on Windows nobody sends it."""
HANG_UPS = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGBREAK") if hasattr(signal, name))
"""The terminal was closed; on Windows, Ctrl-Break, which a parent can send."""
_UMASK = os.umask(0o077)  # it can only be read by setting it
os.umask(_UMASK)


def utc_now() -> str:
    """Now, as every file here writes it: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def unsuitable_name(name: str, longest: int) -> bool:
    """Whether ``name`` cannot be that of a file on every platform: letters, digits, ``.``, ``_`` and ``-`` can."""
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) and not name.endswith(".")
    # Windows gives these names to devices, with any extension.
    device = re.fullmatch(r"(CON|PRN|AUX|NUL|COM\d|LPT\d)(\..*)?", name, re.IGNORECASE)
    return not plain or device is not None or len(name) > longest


def replace(source: Path, target: Path, patience_s: float = RENAME_PATIENCE_S) -> None:
    """Renames ``source`` onto ``target`` atomically, waiting while another program holds ``target`` open.

    Raises:
        SkcdfError: ``target`` stayed locked for ``patience_s`` seconds, or the folder is not writable.
    """
    deadline = time.monotonic() + patience_s
    pause = 0.01
    while True:
        try:
            os.replace(source, target)
            _flush_folder(target.parent)
            return
        except PermissionError as error:
            if time.monotonic() + pause > deadline:
                raise SkcdfError(
                    f"{target}: cannot be replaced ({error.strerror}).",
                    "Close the program that has it open, or check that the folder is writable.",
                ) from error
            time.sleep(pause)
            pause = min(2 * pause, 0.5)


def claim(source: Path, target: Path, patience_s: float = RENAME_PATIENCE_S) -> bool:
    """Renames the folder ``source`` to a name that nobody has, atomically; nothing is ever overwritten.

    Returns:
        Whether it was; ``False``: there is a ``target``, and ``source`` is where it was.

    Raises:
        SkcdfError: the folder cannot be renamed, or a file in it stayed open in another program for ``patience_s``
            seconds.
    """
    deadline = time.monotonic() + patience_s
    while not os.path.lexists(target):
        try:
            os.rename(source, target)  # onto a folder that holds something it fails on every platform
            _flush_folder(target.parent)
            return True
        except OSError as error:
            if os.path.lexists(target):
                break
            if not isinstance(error, PermissionError) or time.monotonic() > deadline:
                raise SkcdfError(
                    f"{target}: cannot be made ({error.strerror or error}).",
                    "Check that the folder is writable, and close programs that have it open.",
                ) from error
            time.sleep(0.05)  # Windows: a virus scanner still reads what was just written
    return False


def flush_to_disk(path: Path) -> None:
    """Asks the system to put the file's content on the disk, so that a power cut after a rename keeps it.

    The file gets the permissions of any new file, too: safetensors makes its own private, and a model in a shared
    folder is for all who may read that folder.
    """
    with contextlib.suppress(OSError):  # some network drives let a file be written, and its permissions be
        os.chmod(path, 0o666 & ~_UMASK)
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Asks the system to put the folder's list of names on the disk, where it can: a rename is in it."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(OSError):  # some network drives refuse
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove(path: Path, patience_s: float = RENAME_PATIENCE_S) -> None:
    """Deletes a file, waiting while another program has it open; one that is gone already is no error.

    Raises:
        OSError: it stayed open, or the folder is not writable.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            path.unlink(missing_ok=True)
            return
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def create_exclusively(target: Path, text: str) -> bool:
    """Makes a file that holds ``text`` from its first instant on, unless there is one already.

    Returns:
        Whether it was made: of two programs that try at once, one is told so.

    Raises:
        SkcdfError: the folder cannot be made or written.
    """
    temporary = target.parent / f".{uuid.uuid4().hex}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(text.encode("utf-8"))
        try:
            if sys.platform == "win32":
                os.rename(temporary, target)  # refuses to replace
            else:
                os.link(temporary, target)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links
            try:
                with open(target, "xb") as stream:
                    stream.write(text.encode("utf-8"))
            except FileExistsError:
                return False
        return True
    except OSError as error:
        raise SkcdfError(
            f"{target}: cannot be written ({error.strerror or error}).",
            "Check the free disk space and that the folder is writable.",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive_on_this_computer(path: Path) -> Iterator[None]:
    """One program at a time on this computer; the system gives it back when a program dies. Waits for its turn.

    Raises:
        OSError: the file system does not do that.
    """
    with open(path, "a+b") as stream:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK, 1)
            try:
                yield
            finally:
                stream.seek(0)
                msvcrt.locking(stream.fileno(), msvcrt.LK_UNLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)  # given back when the file is closed
            yield


def machine() -> str:
    """Tells in which world a process's number means something: this computer, or this container on it.

    Computers may bear one name, and containers that of their computer. Empty where the system does not tell.
    """
    if sys.platform != "linux":
        return f"{uuid.getnode():012x}"  # the network card's number
    for source in ("/etc/machine-id", "/proc/sys/kernel/random/boot_id"):  # the first outlives a restart
        with contextlib.suppress(OSError):
            if name := Path(source).read_text("utf-8", "replace").strip():
                return f"{name} {os.readlink('/proc/self/ns/pid')}"
    return ""


def process_start(number: int) -> str | None:
    """When the process with this number began, in the system's own words; ``None`` when there is none.

    A number is given again to other processes; number and beginning together are not.
    """
    if sys.platform == "win32":
        return _process_start_on_windows(number)
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{number}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]  # a zombie has ended
    # Else it says the time in the zone and the language of whoever asks, and one process would have two beginnings.
    command, alike = ["ps", "-o", "lstart=", "-p", str(number)], {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    shown = subprocess.run(command, capture_output=True, text=True, env=alike)
    return shown.stdout.strip() or None


def _process_start_on_windows(number: int) -> str | None:
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(0x1000, False, number)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return None
    times = [ctypes.c_ulonglong() for _ in range(4)]
    code = ctypes.c_ulong()
    try:
        pointers = [ctypes.byref(each) for each in times]
        known = kernel.GetProcessTimes(ctypes.c_void_p(handle), *pointers)
        kernel.GetExitCodeProcess(ctypes.c_void_p(handle), ctypes.byref(code))
    finally:
        kernel.CloseHandle(ctypes.c_void_p(handle))
    return str(times[0].value) if known and code.value == 259 else None  # STILL_ACTIVE


@contextlib.contextmanager
def atomic_write(target: Path | str, suffix: str | None = None) -> Iterator[Path]:
    """Yields a temporary path beside ``target``; on leaving without an exception it becomes ``target``.

    Args:
        target: the file to write; its folder is made when absent.
        suffix: ending of the temporary file, for writers that choose the format by it (default: that of
            ``target``, from its first dot on: ``.nii.gz``).

    Raises:
        SkcdfError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(target)
    if suffix is None:
        suffix = "".join(target.suffixes[-2:]) if target.name.endswith(".gz") else target.suffix
    temporary = target.parent / f".{uuid.uuid4().hex}.tmp{suffix}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        flush_to_disk(temporary)
        replace(temporary, target)
    except OSError as error:
        raise SkcdfError(
            f"{target}: cannot be written ({error.strerror or error}).",
            "Check the free disk space and that the folder is writable.",
        ) from error
    finally:
        with contextlib.suppress(OSError):  # the failure that led here is what the user must read
            temporary.unlink(missing_ok=True)


def write_text(target: Path | str, text: str) -> None:
    """Writes UTF-8 text with LF line ends atomically."""
    with atomic_write(target) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))  # the name of a file may be no text


def write_json(target: Path | str, content: Any) -> None:
    """Writes ``content`` as indented JSON atomically. NaN is refused: it is not JSON."""
    write_text(target, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path | str, what: str) -> Any:
    """Reads a JSON file.

    Args:
        path: the file.
        what: what the file should be, for the message: "model description".

    Raises:
        SkcdfError: the file is missing, unreadable or not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError as error:
        raise SkcdfError(f"{path}: there is no such {what}.", "Check the path.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise SkcdfError(
            f"{path}: this {what} cannot be read ({error}).", "Restore the file from its source."
        ) from error


def sha256(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def peak_resident_bytes() -> int | None:
    """Most memory that this process ever held; ``None`` where the system does not tell (Windows)."""
    # asked first: Linux's getrusage also counts what the program held that started this one
    with contextlib.suppress(OSError), open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def end_process_tree(pid: int) -> None:
    """Ends a process and all that it started, by force and without asking; one that has ended already is no error.

    Args:
        pid: of the process at the root. It is ended first, so that it cannot start others meanwhile.
    """
    if sys.platform == "win32":
        command = ["taskkill", "/F", "/T", "/PID", str(pid)]
        subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # no console pops up over a window
        )
        return
    family = [pid, *_descendants(pid)]
    for each in family:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(each, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """Processes that ``pid`` and its descendants started, nearest first."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found[1:]


def _parents() -> Iterator[tuple[int, int]]:
    """Every process's id with its parent's."""
    if sys.platform == "linux":  # small containers have no ps
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):  # it has just ended
                # The name, in parentheses, may hold anything; state and parent follow it.
                yield (
                    int(stat.parent.name),
                    int(stat.read_text(errors="replace").rpartition(")")[2].split()[1]),
                )
        return
    with contextlib.suppress(OSError):  # there is no ps
        command = ["ps", "-A", "-o", "pid=,ppid="]
        listing = subprocess.run(command, capture_output=True, text=True, check=False)
        for line in listing.stdout.splitlines():
            child, parent = line.split()
            yield int(child), int(parent)
