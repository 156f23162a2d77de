"""Compares predictions with references by a published protocol: in our own way of counting and in the published one.

Takes what ``skcdf evaluate`` takes.

    python training/evaluate.py OUT/test/predictions OUT/test/labels --protocol synapse-skcdf-20p
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import skcdf  # noqa: F401
except ImportError:  # run from the source tree
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "engine"))

from skcdf.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
