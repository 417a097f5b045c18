"""Parallel worlds on a leading axis; world 0 is the factual one."""

__all__ = ["Worlds"]

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from acie.errors import ConfigurationError
from acie.scm.interventions import Intervention
from acie.scm.language import describe


class Worlds(Mapping[str, Tensor]):
    """The values of every variable in several worlds that share their noise.

    Arguments:
        states: Values by name, factual first; shapes broadcast to ``(*shape)``.
        actions: Interventions of every counterfactual world, in the same order.

    Indexing by name gives ``(world, *shape)``; a variable that moves in no world is a view of
    its factual tensor, not a copy.
    """

    def __init__(
        self,
        states: Sequence[Mapping[str, Tensor]],
        actions: Sequence[Mapping[str, Intervention]] = (),
    ) -> None:
        if len(states) != len(actions) + 1:
            raise ConfigurationError(
                "states",
                expected=f"one factual state and {len(actions)} counterfactual ones",
                found=f"{len(states)} states",
            )
        self.actions = tuple(dict(action) for action in actions)
        self._states = tuple(dict(state) for state in states)

    def __getitem__(self, name: str) -> Tensor:
        rows = [state[name] for state in self._states]
        if all(row is rows[0] for row in rows):
            return rows[0].expand(len(rows), *rows[0].shape)
        return torch.stack(torch.broadcast_tensors(*rows))

    def __iter__(self) -> Iterator[str]:
        return iter(self._states[0])

    def __len__(self) -> int:
        return len(self._states[0])

    def __repr__(self) -> str:
        named = [
            ", ".join(describe(action, name) for name, action in world.items()) or "no action"
            for world in self.actions
        ]
        lines = ["  0: factual", *(f"  {i}: {text}" for i, text in enumerate(named, start=1))]
        return "Worlds(\n" + "\n".join(lines) + "\n)"

    @property
    def num_worlds(self) -> int:
        """Number of worlds, the factual one included."""
        return len(self._states)

    @property
    def factual(self) -> dict[str, Tensor]:
        """The factual state, each variable ``(*shape)``."""
        return dict(self._states[0])

    def counterfactual(self, world: int = 1) -> dict[str, Tensor]:
        """The state of one world, each variable ``(*shape)``.

        Arguments:
            world: 1 is the first action set.
        """
        return dict(self._states[self._index(world)])

    def effect(self, name: str, world: int = 1) -> Tensor:
        """Counterfactual minus factual value, sample by sample, shape ``(*shape)``.

        Exactly zero for a variable that the actions cannot reach.
        """
        return self._states[self._index(world)][name] - self._states[0][name]

    def _index(self, world: int) -> int:
        if 0 <= world < self.num_worlds:
            return world
        raise ConfigurationError("world", expected=f"0 to {self.num_worlds - 1}", found=str(world))
