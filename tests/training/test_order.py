"""The order of the rows: one for any number of processes, and for any number of parts."""

import pytest
import torch

from acie.errors import ConfigurationError
from acie.seeds import SeedStream
from acie.training.order import GlobalBatches
from acie.training.processes import Processes


def batches(size=1, accumulate=1, name="order-spectral-0", rows=1000, batch=48):
    """Rows of every step, ``(step, row)``, those of all processes put together."""
    shares = []
    for rank in range(size):
        order = SeedStream(7).generator(name)
        own = list(GlobalBatches(rows, batch, order, accumulate, Processes(rank, size)))
        assert all(len(part) == batch // (size * accumulate) for part in own)
        shares.append(torch.stack(own).view(-1, batch // size))
    return torch.cat(shares, 1).sort(1).values


@pytest.mark.parametrize(("size", "accumulate"), [(2, 1), (4, 1), (1, 3), (2, 2), (3, 4)])
def test_every_step_sees_the_same_rows(size, accumulate):
    assert torch.equal(batches(size, accumulate), batches())


def test_an_epoch_sees_no_row_twice_and_leaves_out_less_than_a_batch():
    seen = batches(2).flatten()
    assert len(seen.unique()) == len(seen) == 1000 // 48 * 48


def test_every_epoch_and_factor_has_an_order_of_its_own():
    first = batches()
    assert not torch.equal(first, batches(name="order-spectral-1"))
    assert not torch.equal(first, batches(name="order-latent-0"))


def test_the_parts_of_all_processes_are_all_rows():
    for rows, size in ((101, 2), (7, 4), (16, 3)):
        parts = [torch.arange(rows)[Processes(rank, size).part(rows)] for rank in range(size)]
        assert torch.equal(torch.cat(parts), torch.arange(rows))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_fewer_rows_than_a_batch_are_refused():
    with pytest.raises(ConfigurationError, match="at most 40"):
        GlobalBatches(40, 48, torch.Generator())


def test_work_is_shared_without_rest_or_repetition(monkeypatch):
    # What the messages carry is tested with real processes; here, who gets what.
    monkeypatch.setattr("torch.distributed.broadcast_object_list", lambda seen, device: None)
    monkeypatch.setattr("torch.distributed.get_backend", lambda: "gloo")
    for items, size in (([3, 5, 6, 9, 12], 2), ([1, 2], 3), ([], 2)):
        shares = [Processes(rank, size).share(items) for rank in range(size)]
        assert sorted(sum(shares, [])) == items
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert Processes().share([4, 2]) == [4, 2]
