"""Makes a labelled pool and a test set from AMOS 2022 by a published protocol.

Download amos22.zip ("AMOS: A Large-Scale Abdominal Multi-Organ Benchmark") from its makers. The archive need not be
unpacked; a folder with its content is taken, too. The published lists mix CT and MR: --ct-only leaves the MR cases
out, which is then another experiment with an id of its own. Test cases never enter the pool, and label maps of
unlabelled cases are not read.

    python training/prepare_amos.py amos22.zip OUT --protocol amos-5p
"""

from __future__ import annotations

import sys

import skcdf_path  # noqa: F401
from skcdf.commands.prepare import prepare_published

if __name__ == "__main__":
    sys.exit(prepare_published("amos", __doc__))
