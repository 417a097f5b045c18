"""Work on several threads: order, modes, errors, settings."""

import threading

import pytest
import torch

from acie.threads import spread, undivided


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items():
    assert spread(lambda item: item * item, range(50)) == [item * item for item in range(50)]


def test_more_than_one_thread_takes_part():
    meeting = threading.Barrier(2, timeout=20.0)
    # Each waits for the other: one thread alone would wait for ever.
    assert sorted(spread(lambda _: meeting.wait(), range(2))) == [0, 1]


def test_the_modes_of_the_caller_hold():
    def modes(_):
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    with torch.inference_mode():
        assert spread(modes, range(4)) == [(True, False)] * 4
    with torch.no_grad():
        assert spread(modes, range(4)) == [(False, False)] * 4
    assert spread(modes, range(4)) == [(False, True)] * 4


def test_an_error_reaches_the_caller():
    def fail(item):
        if item == 3:
            raise ValueError("third")

    with pytest.raises(ValueError, match="third"):
        spread(fail, range(8))


def test_inside_operations_are_not_divided():
    with undivided():
        assert torch.get_num_threads() == 1
        assert spread(lambda _: torch.get_num_threads(), range(4)) == [1] * 4
        # Work inside of work stays on its thread.
        nested = spread(lambda _: len(set(spread(lambda _: threading.get_ident(), "ab"))), "xy")
        assert nested == [1, 1]
