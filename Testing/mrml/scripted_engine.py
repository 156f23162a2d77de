"""A child process that behaves, and misbehaves, as it is told: by options before its command, and by its requests.

Options: ``--silent`` never says hello, ``--late-hello`` says it after a second, ``--dies`` ends before it, ``--deaf``
never reads, ``--torchless`` has no PyTorch. Requests of the worker: see `Worker`; ``segment`` has options, too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import sysconfig
import threading
import time


class Events:
    """Events, which a worker keeps until it has said hello."""

    held: list[tuple[str, dict]] | None = None
    order = threading.RLock()

    @classmethod
    def say(cls, event: str, **content: object) -> None:
        with cls.order:
            if cls.held is not None and event != "hello":
                cls.held.append((event, content))
                return
            sys.stdout.buffer.write(json.dumps({"event": event, **content}).encode() + b"\n")
            sys.stdout.buffer.flush()

    @classmethod
    def greet(cls, **content: object) -> None:
        with cls.order:
            cls.say("hello", pid=os.getpid(), protocol=1, skcdf="0.1.0", **content)
            held, cls.held = cls.held or [], None
            for event, each in held:
                cls.say(event, **each)


say = Events.say


class Worker:
    """One request at a time, in order; its name says how it is done."""

    def __init__(self) -> None:
        self.waiting: list[dict] = []
        self.running: int | None = None
        self.cancelled: set[int] = set()
        self.changed = threading.Condition()

    def listen(self) -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if message["request"] == "cancel":
                self.cancel(message["id"])
            else:
                say("accepted", id=message["id"], request=message["request"], ahead=len(self.waiting))
                with self.changed:
                    self.waiting.append(message)
                    self.changed.notify_all()
        os._exit(0)

    def cancel(self, number: int) -> None:
        with self.changed:
            waiting = [each for each in self.waiting if each["id"] == number]
            for each in waiting:
                self.waiting.remove(each)
            self.cancelled.add(number)
        if waiting:
            say("cancelled", id=number)

    def work(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting)
                message = self.waiting.pop(0)
            getattr(self, message["request"])(message)

    def answer(self, message: dict) -> None:
        """Answers at once."""
        say("progress", id=message["id"], phase="segment", fraction=0.5, eta_s=None, note="")
        say("result", id=message["id"], request="answer", said=message.get("text"))

    def obey(self, message: dict) -> None:
        """Goes on until it is cancelled."""
        while message["id"] not in self.cancelled:
            time.sleep(0.01)
        say("cancelled", id=message["id"])

    def ignore(self, message: dict) -> None:
        """Goes on whatever it is told."""
        time.sleep(600)

    def late(self, message: dict) -> None:
        """Answers although it was cancelled."""
        while message["id"] not in self.cancelled:
            time.sleep(0.01)
        say("result", id=message["id"], request="late")

    def refuse(self, message: dict) -> None:
        """Tells an error."""
        say("error", id=message["id"], message="scan.nrrd: holds NaN.", hint="Save it again.")

    def release(self, message: dict) -> None:
        """Says that it has let go of its model, as a worker does that was left alone."""
        say("result", id=message["id"], request="release")
        say("released", reason="idle")

    def segment(self, message: dict) -> None:
        """Finds what is bright, and calls it the third organ."""
        say("progress", id=message["id"], phase="model", fraction=0.0, eta_s=None, note="")
        if "--stubborn" in sys.argv:
            self.ignore(message)
        if "--crashes" in sys.argv:
            self.die(message)
        if "--refuses" in sys.argv:
            self.refuse(message)
            return
        from skcdf.image import read_image, write_label_map

        warning = {"code": "few_slices", "message": "scan: it has 6 slices.", "hint": "Look twice."}
        say("warning", id=message["id"], **warning)
        say("progress", id=message["id"], phase="segment", fraction=0.5, eta_s=1.0, note="")
        if "--late-result" in sys.argv:
            while message["id"] not in self.cancelled:
                time.sleep(0.01)
        scan = read_image(message["image"])
        write_label_map(message["output"], (scan.array > 500).astype("uint8") * 3, scan.geometry)
        place = {"position": [1.0, 2.0, 3.0], "unsure": 0.5, "volume_ml": 1.0, "reason": "pale"}
        row = {
            "model": "phantom13 1",
            "volume_ml": 1.0,
            "mean": 1000.0,
            "sd": 0.0,
            "pieces": 1,
            "at_edge": False,
        }
        organ = "left_kidney"
        say(
            "result",
            id=message["id"],
            request="segment",
            output=message["output"],
            model="phantom13 1",
            notice="Synthetic.",
            device="CPU, 1 threads",
            organs=[{"organ": organ, **row, "unsure": 0.1, "usual_ml": [0.5, 2.0], "flags": []}],
            warnings=[warning],
            notes=["less memory"],
            places=[{"organ": organ, **place}],
            windows=1,
            seconds=0.5,
        )

    def check(self, message: dict) -> None:
        """Says what it was asked."""
        if "--stubborn" in sys.argv:
            self.obey(message)
            return
        warning = {"code": "asked", "message": json.dumps(message, sort_keys=True), "hint": "Look twice."}
        say(
            "result",
            id=message["id"],
            request="check",
            model="phantom13 1",
            device="CPU, 1 threads",
            warnings=[warning],
            windows=7,
            seconds=3.5,
            memory_mib=900.0,
            measured=True,
        )

    def die(self, message: dict) -> None:
        """Is killed, as by a system without memory."""
        print("window 7 of 9", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    def babble(self, message: dict) -> None:
        """Writes what is no event, and events that nobody asked for."""
        sys.stdout.buffer.write(
            b"\xff\xfe no JSON\n{torn\n[1, 2]\n\n\r\n" + b'{"event": 7}\n{"no": "event"}\n'
        )
        for odd in ([1], {}, None, "7", 10**30, True):
            say("result", id=odd)
        say("progress")
        self.answer(message)

    def flood(self, message: dict) -> None:
        """Writes a line that never seems to end."""
        for _ in range(40):
            sys.stdout.buffer.write(b"x" * (1 << 20))
        sys.stdout.buffer.write(b"\n")
        sys.stderr.write("y" * (1 << 20) + "\n")
        self.answer(message)


def worker(options: list[str]) -> None:
    print("importing", file=sys.stderr, flush=True)
    if "--dies" in options:
        os._exit(3)
    deadline = time.monotonic() + (1.0 if "--late-hello" in options else 0.0)
    each, Events.held = Worker(), []
    if "--deaf" not in options:
        threading.Thread(target=each.listen, daemon=True).start()
    while time.monotonic() < deadline or "--silent" in options:
        time.sleep(0.01)
    torch = None if "--torchless" in options else "2.13.0"
    Events.greet(torch=torch, device="CPU, 1 threads", threads=1)
    each.work()


def finetune(options: list[str]) -> None:
    Events.greet(torch="2.13.0", run_folder="run")
    say("log", message="fine-tuning")
    say("progress", phase="train", fraction=0.25, eta_s=3.0, note="")
    if "--dies" in options:
        print("out of memory", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if "--refuses" in options:
        say("error", message="pool: has no labelled case.", hint="Add one.")
        sys.exit(1)
    if "--learns" in options:
        say(
            "result", model="run/model", name="liver", version="v2", comparison=None, report=None, seconds=1.0
        )
        return
    if "--ignores" in options:
        time.sleep(600)
    sys.stdin.buffer.read()
    say("stopped", message="stopped; the checkpoint of iteration 7 is kept", iteration=7)
    sys.exit(130)


def doctor(options: list[str]) -> None:
    """Says what a computer lacks; ``--crashes``, ``--hangs``: so does torch when it is imported."""
    lacks = next((part for part in options if part in ("missing", "half", "broken")), "ready")
    packages = {name: {"state": "ready", "version": "1.0", "detail": ""} for name in ("torch", "safetensors")}
    packages["nibabel"] = {"state": "missing" if lacks == "missing" else "ready", "version": "", "detail": ""}
    packages["torch"]["state"] = "broken" if {"--crashes", "--hangs"} & set(options) else lacks
    report = {"python": sys.executable, "site_packages": sysconfig.get_path("purelib"), "packages": packages}
    report |= {
        "writable": True,
        "free_bytes": 5 << 30,
        "needed_bytes": 3 << 30,
        "device": None,
        "problems": [],
    }
    if "--full" in options:
        report["problems"] = [{"message": "The disk is full.", "hint": "Make room on it."}]
    print("a launcher's greeting", json.dumps(report), sep="\n", flush=True)
    if "--crashes" in options:
        print("Fatal Python error: Segmentation fault", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if "--hangs" in options:
        time.sleep(600)
    print(json.dumps({**report, "device": "CPU, 1 threads" if lacks == "ready" else None}))
    sys.exit(0 if lacks == "ready" else 1)


if __name__ == "__main__":
    commands = {"worker": worker, "finetune": finetune, "doctor": doctor}
    commands[next(name for name in sys.argv[1:] if name in commands)](sys.argv[1:])
