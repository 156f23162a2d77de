"""Makes a labelled pool and a test set from the Synapse multi-organ CT (BTCV) by a published protocol.

Download RawData.zip ("Beyond the Cranial Vault", abdomen) from synapse.org, syn3193805, after registering there.
The archive need not be unpacked; a folder with its content is taken, too. Test cases never enter the pool, and
label maps of unlabelled cases are not read.

    python training/prepare_synapse.py RawData.zip OUT --protocol synapse-skcdf-20p
"""

from __future__ import annotations

import sys

import skcdf_path  # noqa: F401
from skcdf.commands.prepare import prepare_published

if __name__ == "__main__":
    sys.exit(prepare_published("synapse", __doc__))
