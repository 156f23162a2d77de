"""Whatever is sent to a worker, it says what is wrong and goes on."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skcdf.worker_client import WorkerClient

SOAK = os.environ.get("SKCDF_SOAK") == "1"
PATIENCE_S = 60.0  # for a machine that has other things to do


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerClient]:
    with WorkerClient() as client:
        yield client


def answers(worker: WorkerClient) -> bool:
    return worker.result(worker.request("ping"), timeout_s=PATIENCE_S)["request"] == "ping"


def send_line(worker: WorkerClient, line: bytes) -> list[dict]:
    """Sends a line; returns the general events up to the answer of a ping that follows it."""
    before = worker.general_events
    worker.send_line(line)
    assert answers(worker)
    return [event for event in worker.general_events if not any(event is each for each in before)]


class TestNonsense:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            (b"\xff\xfe{}", "not JSON in UTF-8"),
            (b"hello", "not JSON"),
            (b'{"id": 7, "request"{"id": 8, "request": "ping"}', "not JSON"),
            (b'["ping"]', "no JSON object"),
            (b'{"id": 7001}', "There is no request None"),
            (b'{"id": 7001, "request": "sing"}', "no request 'sing'"),
            (b'{"id": 7001, "request": ["ping"]}', "There is no request"),
            (b'{"request": "ping"}', "id is missing"),
            (b'{"id": true, "request": "ping"}', "whole number"),
            (b'{"id": -1, "request": "ping"}', "between 0"),
            (b'{"id": 1e3, "request": "ping"}', "whole number"),
            (b'{"id": 7001, "request": "ping", "loud": 1}', "loud is not known"),
            (b'{"id": 7001, "request": "ping", "\\ud800": 1}', "is not known"),
            (b'{"id": 7001, "request": "segment", "image": 3, "output": "o.nii"}', "image must be a text"),
            (b'{"id": 7001, "request": "segment", "image": "", "output": "o.nii"}', "must not be empty"),
            (
                b'{"id": 7001, "request": "segment", "image": "i", "output": "o", "device": "abacus"}',
                "abacus",
            ),
            (b'{"id": 7001, "request": "segment", "image": "i", "output": "o", "places": -1}', "places"),
            (b'{"id": 7001, "request": "segment", "image": "a\\u0000", "output": "o.nii"}', "image holds a"),
            (b'{"id": 7001, "request": "segment", "image": "i", "output": "\\u0000"}', "output holds a"),
            (b'{"id": 7001, "request": "rank", "pool": "p", "cache": "c\\u0000"}', "cache holds a"),
            (b'{"id": 7001, "request": "rank", "pool": "p", "cases": ["a", "\\u0000"]}', "cases holds a"),
            (b'{"id": NaN, "request": "ping"}', "NaN"),
            (b'{"id": ' + b"9" * 5000 + b', "request": "ping"}', "not JSON"),
            (b'{"id": 7001, "request": ' + b"[" * 100000, "nested"),
            (b'{"id": 7001, "request": "ping", "x": ' + b"[" * 900 + b"]" * 900 + b"}", "x is not known"),
            (b'{"request": "cancel", "id": 7001}', "no request called 7001"),
            (b'{"request": "cancel"}', "no request running"),
            (b"x" * (3 << 20), "longer than"),
        ],
        ids=lambda value: repr(value)[:40],
    )
    def test_it_is_an_error_and_the_worker_goes_on(self, worker, line, words):
        (event,) = send_line(worker, line)
        assert event["event"] == "error"
        assert words in event["message"] and event["hint"]
        assert event["id"] in (None, 7001)

    @pytest.mark.skipif(
        sys.platform == "win32", reason="Windows takes half a surrogate pair in a file's name"
    )
    def test_half_a_surrogate_pair_is_in_no_file_name(self, worker):
        line = b'{"id": 7001, "request": "segment", "image": "a\\ud800", "output": "o.nii"}'
        (event,) = send_line(worker, line)
        assert "image holds a character that no name can have" in event["message"]

    @pytest.mark.parametrize("line", [b"", b"\r", b"  \t "])
    def test_empty_lines_mean_nothing(self, worker, line):
        assert send_line(worker, line) == []

    def test_lines_may_end_as_on_windows(self, worker):
        (event,) = send_line(worker, b'{"id": 7002, "request": "ping"}\r')
        assert (event["event"], event["id"]) == ("result", 7002)

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
    names = st.sampled_from(["segment", "rank", "evaluate", "compare", "release", "ping", "cancel", "sing"])
    fields = st.dictionaries(
        st.sampled_from(["image", "output", "model", "places", "device", "pool", "cases", "after", "labels"]),
        json_values,
    )
    # never an id that the client counts up to
    ids = st.integers(10**6, 10**6 + 5) | json_values.filter(lambda value: not isinstance(value, int))
    objects = st.builds(lambda name, id_, more: {"request": name, "id": id_, **more}, names, ids, fields)
    encoded = (objects | json_values).map(lambda value: json.dumps(value).encode())
    torn = st.tuples(encoded, st.integers(0, 60), encoded).map(lambda parts: parts[0][: parts[1]] + parts[2])

    @given(lines=st.lists(encoded | torn | st.binary(max_size=200), max_size=12))
    @settings(
        max_examples=1000 if SOAK else 25,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    def test_nothing_that_is_sent_ends_it(self, worker, lines):
        pid = worker.hello["pid"]
        for line in lines:
            worker.send_line(line)
        assert answers(worker)
        assert worker.hello["pid"] == pid
