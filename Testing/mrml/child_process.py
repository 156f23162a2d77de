"""What Qt does in the application, in plain Python: child processes, and an engine to run in them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

LIBRARY = Path(__file__).resolve().parents[2] / "SKCDFSegmenter" / "SKCDFSegmenterLib"


class PlainChildProcess:
    """Implements `EngineProcess.ChildProcess`; output and end are delivered while somebody waits."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.wasKilled = False

    def start(
        self,
        program: str,
        arguments: list[str],
        onOutput: Callable[[bytes], None],
        onFinished: Callable[[int | None], None],
    ) -> None:
        self._onOutput, self._onFinished = onOutput, onFinished
        try:
            self.process = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError:
            onFinished(None)

    def closeInput(self) -> None:
        self.process.stdin.close()

    def waitForFinished(self, seconds: float | None) -> bool:
        deadline = time.monotonic() + (60 if seconds is None else seconds)
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        self._onOutput(self.process.stdout.read())
        self.process.stdout.close()
        self._onFinished(self.process.returncode if self.process.returncode >= 0 else None)
        return True

    def kill(self) -> None:
        self.wasKilled = True
        self.process.kill()
        self.waitForFinished(None)

    def waitForLine(self, text: bytes) -> None:
        """Delivers output up to a line that holds ``text``."""
        for line in self.process.stdout:
            self._onOutput(line)
            if text in line:
                return


def installEngine(folder: Path, program: str) -> Path:
    """Lays out an installed extension whose engine is ``program``; returns the path of its EngineMain.py."""
    library = folder / "SKCDFSegmenterLib"
    library.mkdir()
    for name in ("__init__.py", "EngineMain.py"):
        shutil.copy(LIBRARY / name, library)
    engine = folder / "skcdf"
    engine.mkdir()
    (engine / "__init__.py").write_text("", encoding="utf-8")
    (engine / "__main__.py").write_text(program, encoding="utf-8")
    return library / "EngineMain.py"


PYTHON = Path(sys.executable)
