"""The last hour in steps: right numbers at the right places, and no more memory than at first."""

import numpy as np
import pytest

from acie.serving.history import History


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def history(clock):
    return History(clock, lambda: 1.7e9 + clock.now)


def test_steps_hold_what_happened_in_them(history, clock):
    for second in range(60):
        clock.now = 1000.0 + second
        kind = "too-late" if second >= 50 else "ok"
        history.add(0.02, kind, None if kind != "ok" else 0.3, flagged=second < 10,
                    reused=second % 2 == 0)  # fmt: skip
        history.look(second, 2, 0.05)
    found = history.series(60.0, 6)
    assert found["step_s"] == 10.0
    points = found["points"]
    assert [point["requests"] for point in points] == [10] * 6
    assert [point["time"] - 1.7e9 for point in points] == [1000, 1010, 1020, 1030, 1040, 1050]
    assert [point["queue"] for point in points] == [9, 19, 29, 39, 49, 59]
    assert points[-1]["errors"] == {"too-late": 10}
    assert points[-1]["confidence"] == {"p16": None, "median": None, "p84": None}
    assert points[0]["errors"] == {}
    assert points[0]["flagged"] == 1.0
    assert points[1]["flagged"] == 0.0
    assert points[0]["reused"] == 0.5
    assert points[0]["per_second"] == pytest.approx(1.0)
    assert 0.28 <= points[0]["confidence"]["median"] <= 0.3
    assert 15.0 <= points[0]["latency_ms"]["p50"] <= 20.0


def test_silence_is_null_and_not_zero(history, clock):
    history.add(0.02)
    clock.now += 100.0
    points = history.series(120.0, 24)["points"]
    assert points[0]["latency_ms"]["p50"] is not None
    assert points[5]["requests"] == 0
    assert points[5]["latency_ms"] == {"p50": None, "p90": None, "p99": None}
    assert points[5]["queue"] is None
    assert points[5]["reused"] is None


def test_an_hour_is_kept_and_no_more(history, clock):
    history.add(0.02)
    clock.now += 3595.0
    assert sum(point["requests"] for point in history.series(3600.0, 720)["points"]) == 1
    clock.now += 10.0
    history.add(0.03)
    assert sum(point["requests"] for point in history.series(3600.0, 720)["points"]) == 1
    assert sum(history.confidences()["counts"]) == 0


def test_many_kinds_of_errors_take_no_more_room(history):
    for kind in range(100):
        history.add(0.01, f"kind-{kind}")
    (point,) = history.series(60.0, 12)["points"]
    assert sum(point["errors"].values()) == point["requests"] == 100
    assert len(point["errors"]) <= 17
    assert point["errors"]["other"] >= 84


@pytest.mark.parametrize(("window", "points"), [(60, 2), (900, 120), (3600, 60), (3600, 720)])
def test_there_are_never_more_points_than_asked_for(history, clock, window, points):
    rng = np.random.default_rng(0)
    for wait in rng.uniform(0.0, 20.0, 400):
        clock.now += wait
        history.add(float(rng.lognormal(-3, 1)), confidence=float(rng.uniform()))
    found = history.series(window, points)
    assert len(found["points"]) <= points
    times = [point["time"] for point in found["points"]]
    assert np.allclose(np.diff(times), found["step_s"])


def test_over_rest(rest, galaxy):
    rest.post("/api/v2/inference", json=galaxy).raise_for_status()
    found = rest.get("/api/metrics/history", params={"window_s": 300}).raise_for_status().json()
    assert sum(point["requests"] for point in found["points"]) >= 1
    assert found["points"][-1]["queue"] is not None or len(found["points"]) > 1
    now = rest.get("/api/metrics").json()
    assert sum(now["confidence"]["counts"]) >= 1
    assert now["models"][0]["aliases"] == []
    assert rest.get("/api/metrics/history", params={"window_s": 1e9}).status_code == 422
