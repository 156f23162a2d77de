"""The process that `test_stop_sources` asks to stop: it works, keeps what it did, and says how it ended.

python stopping_child.py FOLDER '{"manner": "obedient", …}'
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import sys
import time
from pathlib import Path

from skcdf.errors import Cancelled
from skcdf.files import write_text
from skcdf.progress import CancelToken
from skcdf.stop_sources import STOPPED, StopSources


def work(token: CancelToken, kept: Path, seconds: float) -> None:
    """Many small steps; after a cancel, or at the end, their number is kept."""
    done, end = 0, time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            token.raise_if_cancelled()
            hashlib.pbkdf2_hmac("sha256", b"a step", str(done).encode(), 20_000)
            done += 1
    finally:
        write_text(kept, str(done))


def main(folder: Path, options: dict) -> int:
    if options.get("no_select"):  # as Windows does with anything but sockets

        def refuse(*arguments: object) -> None:
            raise OSError("not a socket")

        select.select = refuse
    manner = options.get("manner", "obedient")

    def last_words() -> None:
        (folder / "last_words").touch()
        time.sleep(options.get("last_words_s", 0))

    stop = StopSources(
        lambda reason: print(f"asked: {reason}", flush=True),
        stop_file=folder / "STOP",
        standard_input=options.get("standard_input", "ignore"),
        patience_s=options.get("patience_s"),
        on_drop=last_words,
    )
    with stop:
        print("working", flush=True)
        try:
            if manner == "deaf":  # one long step inside C, during which Python handles no signal
                hashlib.pbkdf2_hmac("sha256", b"a long", b"step", 2_000_000_000)
            elif manner == "stubborn":
                while True:
                    time.sleep(0.05)
            elif manner == "reading":
                print(f"read {os.read(0, 100)!r}", flush=True)
            else:
                work(stop.token, folder / "kept", options.get("seconds", 60))
        except Cancelled:
            print("cancelled", flush=True)
            return STOPPED
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            return STOPPED
    print("done", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
