"""What the user is told when pip fails, from what pips have printed."""

from __future__ import annotations

import subprocess

import pytest

pytest.importorskip("slicer", reason="slicer-core is not installed (pip install slicer-core)")

from SKCDFSegmenterLib.PipWords import heard, pipFailure

EXITED = subprocess.CalledProcessError(1, ["/opt/Slicer/bin/PythonSlicer", "-m", "pip", "install", "torch"])
NO_VERSION = [
    "ERROR: Could not find a version that satisfies the requirement torch>=2.2 (from versions: none)",
    "ERROR: No matching distribution found for torch>=2.2",
]
RETRY = "WARNING: Retrying (Retry(total=0, connect=None, read=None)) after connection broken by "
SAID = {
    "no server": (
        [RETRY + "'NewConnectionError(...: [Errno 111] Connection refused')': /simple/torch/", *NO_VERSION],
        "cannot be reached",
    ),
    "no such name": (
        [
            RETRY + "'NameResolutionError(\"Failed to resolve 'packages.example'\")': /simple/torch/",
            *NO_VERSION,
        ],
        "cannot be reached",
    ),
    "no proxy": (
        [RETRY + "'ProxyError('Cannot connect to proxy.')': /torch/", *NO_VERSION],
        "cannot be reached",
    ),
    "a proxy's own certificate": (
        [
            "Could not fetch URL https://packages.example/torch/: (SSLError(SSLCertVerificationError(1, ...",
            *NO_VERSION,
        ],
        "certificate",
    ),
    "a traceback of pip": (
        [
            "ERROR: Exception:",
            "Traceback (most recent call last):",
            '  File "pip/_vendor/urllib3/response.py", line 438, in _error_catcher',
            "pip._vendor.urllib3.exceptions.ProtocolError: ('Connection broken: IncompleteRead(4 bytes read)')",
        ],
        "broke off",
    ),
    "half a file": (["ERROR: Wheel 'torch' located at /tmp/pip-unpack-1/torch.whl is invalid."], "broke off"),
    "a full disk": (
        ["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"],
        "disk became full",
    ),
    "a file in use": (
        ["ERROR: Could not install packages due to an OSError: [WinError 5] Access is denied: 'c10.dll'"],
        "cannot be written or replaced",
    ),
    "another Python": (NO_VERSION, "no version of it"),
    "anything else": (
        ["ERROR: torch-2.whl is not a supported wheel on this platform."],
        "not a supported wheel",
    ),
    "nothing": ([], "the log has the details"),
}


@pytest.mark.parametrize(("lines", "expected"), SAID.values(), ids=SAID)
def test_the_reason_is_a_sentence_without_commands_and_tracebacks(lines, expected):
    error = pipFailure("PyTorch", EXITED, lines)
    assert expected in error.message and error.hint
    for jargon in ("Traceback", "exit status", "PythonSlicer", "Errno", "ERROR"):
        assert jargon not in str(error)


def test_a_reason_that_pip_did_not_give_is_told_as_it_came():
    assert "(a library is missing)" in pipFailure("PyTorch", ImportError("a library is missing"), []).message


def test_what_is_printed_is_heard_and_printed_all_the_same(capsys):
    with heard() as lines:
        print("Collecting torch")
        print("ERROR: a", end="")
        print(" long line", flush=True)
    print("not pip's")
    assert list(lines) == ["Collecting torch", "ERROR: a long line"]
    assert capsys.readouterr().out == "Collecting torch\nERROR: a long line\nnot pip's\n"
