"""Nothing leaves this computer: no module can fetch or send, and a segmentation and a training ask no other host."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from skcdf.cli import main

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("engine", "training", "SKCDFSegmenter")
NETWORK = {
    *("socket", "ssl", "http", "urllib", "ftplib", "smtplib", "asyncio", "xmlrpc", "webbrowser"),
    *("requests", "urllib3", "aiohttp", "httpx", "huggingface_hub"),
}
HARMLESS = {
    ("stop_sources.py", "socket"): "a pair of sockets by which a process hears of its own signals",
    ("network_settings.py", "urllib"): "reads which proxies are set",
}
LOUD = """
import sys
ASKS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request")
sys.addaudithook(lambda name, arguments: name in ASKS and print("ASKS", name, arguments, file=sys.stderr))
"""


def imported(path: Path) -> set[str]:
    """The packages that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", LOUD + code], capture_output=True, text=True, timeout=300)


def test_no_shipped_file_imports_what_can_fetch_or_send():
    found = {
        (path.name, name)
        for folder in SHIPPED
        for path in (ROOT / folder).rglob("*.py")
        for name in imported(path) & NETWORK
    }
    assert found == HARMLESS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["doctor", "segment", "train"])
def test_a_command_asks_no_other_host(command, tmp_path):
    scan, pool = str(tmp_path / "scan.nii.gz"), str(tmp_path / "pool")
    sizes = ["--shape", "24", "32", "32", "--spacing", "8", "8", "8"]
    arguments = ["doctor", "--folder", str(tmp_path)]
    if command == "segment":
        assert main(["phantom", scan, "--labels", str(tmp_path / "truth.nii.gz"), *sizes]) == 0
        arguments = ["segment", scan, str(tmp_path / "organs.nii.gz"), "--device", "cpu"]
    elif command == "train":
        assert (
            main(["phantom", pool, "--labelled", "2", "--unlabelled", "0", "--validation", "0", *sizes]) == 0
        )
        small = ["--filters", "2", "--patch-size", "32", "32", "32", "--spacing", "8", "8", "8"]
        arguments = ["train", pool, str(tmp_path / "run"), "--iterations", "2", "--device", "cpu", *small]
    done = run(f"from skcdf.cli import main; sys.exit(main({arguments!r}))")
    assert done.returncode == 0, done.stderr
    assert "ASKS" not in done.stderr


def test_a_program_that_did_ask_would_be_noticed():
    done = run("import socket; socket.getaddrinfo('localhost', 80)")
    assert "ASKS socket.getaddrinfo" in done.stderr
