"""Compares predictions with references by a published protocol: in our own way of counting and in the published one.

Takes what ``skcdf evaluate`` takes.

    python training/evaluate.py OUT/test/predictions OUT/test/labels --protocol synapse-skcdf-20p
"""

from __future__ import annotations

import sys

import skcdf_path  # noqa: F401
from skcdf.cli import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
