"""Commands as a person can paste them into a terminal."""

from __future__ import annotations

import shlex


def test_commands_are_quoted_for_the_terminal_at_hand(slicer):
    from SKCDFSegmenterLib.CommandLines import commandLine

    words = ["C:\\Program Files\\Slicer\\python.exe", "segment", "Jane's CT.nii.gz"]
    assert commandLine(words, windows=True).startswith('"C:\\Program Files\\Slicer\\python.exe" segment')
    assert shlex.split(commandLine(words, windows=False)) == words
