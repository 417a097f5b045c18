"""The causal model as a module: draws of the network to a factual and a counterfactual world.

The assignments are those of the causal model itself. What is written anew is what a graph cannot
do: refuse, skip what no action reaches, and invert one by one. Every variable is computed, and
kept where nothing moved it; a draw for which the action is impossible is not a number.
"""

__all__ = ["ACTIONS", "CausalWorlds"]

import torch
from torch import Tensor, nn

from acie.export.graph.tables import TruncatedNormal
from acie.scm import (
    AbstractMechanism,
    DeterministicMechanism,
    ExogenousMechanism,
    StructuralCausalModel,
    ThresholdMechanism,
    TruncatedNormalMechanism,
)
from acie.scm.checks import UNBOUNDED, allowed
from acie.scm.unconstrained import from_real
from acie.simulation import LATENT_NAMES, SPECTRAL_NAMES
from acie.variables import Variable

#: What may be done to a variable, by the number that the graph takes for it.
ACTIONS = ("none", "set", "scale", "shift", "shift_dex", "hold")
State = dict[str, Tensor]
#: A place between two bounds, for bounds that differ from draw to draw.
_SHARE = Variable("share", support=(0.0, 1.0))


class CausalWorlds(nn.Module):
    """Abduction, action and prediction of all draws at once.

    Arguments:
        scm: The causal model, of the kinds of mechanisms that the galaxies' has.
    """

    def __init__(self, scm: StructuralCausalModel) -> None:
        super().__init__()
        self.scm = scm
        self.names = tuple(scm.variables)
        self.truncated = TruncatedNormal()
        #: Variables by what they wait for: those of one wave depend on earlier ones alone.
        self.waves: list[list[str]] = []
        known: set[str] = set()
        while len(known) < len(self.names):
            wave = [
                name
                for name in self.names
                if name not in known and known.issuperset(scm.graph.parents(name))
            ]
            self.waves.append(wave)
            known.update(wave)

    def forward(
        self, x_s: Tensor, x_l: Tensor, redshift: Tensor, uniform: Tensor, kind: Tensor,
        value: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        """Both worlds.

        Arguments:
            x_s: Unconstrained spectral variables, ``(sample, batch, n_spectral)``.
            x_l: Unconstrained latent variables, ``(sample, batch, n_latent)``.
            redshift: Shape ``(batch,)``, double precision.
            uniform: Between 0 and 1, ``(sample, batch, 2)``: chooses the binary variable, and
                its noise.
            kind: Index in :data:`ACTIONS` for every variable, ``(batch, variable)``.
            value: What the action takes, ``(batch, variable)``.

        Returns:
            Values ``(sample, batch, variable)`` of the factual and of the counterfactual world;
            where the action is impossible the latter are the factual ones; and where it is
            possible, ``(sample, batch)``.
        """
        factual = self.factual(x_s, x_l, redshift, uniform[..., 0])
        noise = self.noise(factual, uniform[..., 1])
        worlds = self.counterfactual(factual, noise, kind, value)
        possible = torch.stack(list(worlds[1].values())).all(0)
        stacked = (torch.stack([w[name] for name in self.names], -1) for w in (factual, worlds[0]))
        first, second = stacked
        return first, torch.where(possible[..., None], second, first), possible

    # -- step 1: abduction --------------------------------------------------------------------

    def factual(self, x_s: Tensor, x_l: Tensor, redshift: Tensor, uniform: Tensor) -> State:
        """Every variable of the draws."""
        x = torch.cat([x_s, x_l], -1).double()
        real = dict(zip((*SPECTRAL_NAMES, *LATENT_NAMES), x.unbind(-1), strict=True))
        state = {"redshift": redshift.expand(x.shape[:-1])}
        for name, mechanism in self.scm.mechanisms.items():
            if name in real:
                state[name] = self._physical(real[name], name, state)
            elif isinstance(mechanism, DeterministicMechanism):
                state[name] = mechanism.assign(None, state)
        (binary,) = (
            name for name, m in self.scm.mechanisms.items() if isinstance(m, ThresholdMechanism)
        )
        odds = self._odds(binary, state)
        state[binary] = (uniform < torch.sigmoid(odds)).to(x.dtype)
        return state

    def _physical(self, real: Tensor, name: str, state: State) -> Tensor:
        variable, bounds = self.scm.variables[name], self.scm.mechanisms[name].support(state)
        if not any(isinstance(bound, Tensor) for bound in bounds):
            return from_real(real, variable, bounds)[0]
        low, high = (torch.as_tensor(bound, dtype=real.dtype) for bound in bounds)
        share, _ = from_real(real, _SHARE, _SHARE.support)
        natural = torch.lerp(variable.forward(low), variable.forward(high), share)
        return torch.minimum(torch.maximum(variable.inverse(natural), low), high)

    def _odds(self, binary: str, state: State) -> Tensor:
        """Log odds that a binary variable is one, given all others."""
        own = [name for name in self.names if binary in self.scm.graph.parents(name)]
        like = next(iter(state.values()))
        totals = []
        for setting in (0.0, 1.0):
            other = {**state, binary: torch.full_like(like, setting)}
            terms = [
                self.scm.mechanisms[name].log_prob(other[name], other) for name in (binary, *own)
            ]
            totals.append(torch.stack(terms).sum(0))
        return totals[1] - totals[0]

    def noise(self, state: State, uniform: Tensor) -> State:
        """What is behind the values of all variables that something may move."""
        found: State = {}
        wanted = [
            name
            for name, mechanism in self.scm.mechanisms.items()
            if mechanism.noise_law is not None and self.scm.graph.parents(name)
        ]
        cut = [name for name in wanted if self._is_cut(self.scm.mechanisms[name])]
        if cut:
            natural = torch.stack([self.scm.variables[n].forward(state[n]) for n in cut])
            location, scale, *ends = self._law(cut, natural, state)
            value = (natural - location) / scale
            found.update(zip(cut, self.truncated.noise_of_value(value, *ends), strict=True))
        for name in wanted:
            mechanism = self.scm.mechanisms[name]
            if isinstance(mechanism, ThresholdMechanism):
                low, high = mechanism.invert_interval(state[name], state)
                found[name] = low + (high - low) * uniform
            elif name not in cut:
                found[name] = mechanism.invert(state[name], state)
        return found

    # -- steps 2 and 3: action and prediction -------------------------------------------------

    def counterfactual(
        self, factual: State, noise: State, kind: Tensor, value: Tensor
    ) -> tuple[State, State]:
        """Every variable after the actions, and whether it has an allowed value."""
        codes = {name: kind == code for code, name in enumerate(ACTIONS)}
        scale = 10.0 ** torch.where(codes["shift_dex"], value, 0.0)
        scale = torch.where(codes["scale"], value, scale)
        scale = torch.where(codes["set"], 0.0, scale)
        shift = torch.where(codes["set"] | codes["shift"], value, 0.0)
        acted = ~(codes["none"] | codes["hold"])
        columns = (part.unbind(-1) for part in (scale, shift, acted, ~codes["none"]))
        actions = dict(zip(self.names, zip(*columns, strict=True), strict=True))
        state: State = {}
        moved: State = {}
        possible: State = {}
        for wave in self.waves:
            made = self._assigned(wave, noise, state)
            for name in wave:
                scale, shift, acted, fixed = actions[name]
                # Where nothing is asked for this is the factual value itself.
                asked = factual[name] * scale + shift
                parents = self.scm.graph.parents(name)
                bounds = (
                    self.scm.mechanisms[name].support(state)
                    if name in self.scm.laws
                    else UNBOUNDED
                )
                good = allowed(self.scm.variables[name], asked, bounds) | ~acted
                moved[name] = acted
                if parents:
                    follows = torch.stack([moved[cause] for cause in parents]).any(0) & ~fixed
                    asked = torch.where(follows, made[name], asked)
                    good = good & ~asked.isnan()
                    moved[name] = follows | acted
                # Later look-ups want numbers, whatever becomes of them.
                state[name] = torch.where(good, asked, factual[name])
                possible[name] = good
        return state, possible

    def _assigned(self, wave: list[str], noise: State, state: State) -> State:
        """What the mechanisms of a wave make of their noise."""
        made: State = {}
        cut = [name for name in wave if self._is_cut(self.scm.mechanisms[name])]
        if cut:
            u = torch.stack([noise[name] for name in cut])
            location, scale, *ends = self._law(cut, u, state)
            low, high = ends
            room = low < high
            # A law without room is given some, so that its number can be looked up.
            x = self.truncated.value_of_noise(u, low, torch.where(room, high, low + 1.0))
            natural = location + scale * torch.where(room, x, torch.nan)
            for name, own in zip(cut, natural, strict=True):
                value = self.scm.variables[name].inverse(own)
                for bound, clip in zip(self.scm.mechanisms[name].support(state),
                                       (torch.maximum, torch.minimum), strict=True):  # fmt: skip
                    value = clip(value, torch.as_tensor(bound, dtype=value.dtype))
                made[name] = value
        for name in wave:
            mechanism = self.scm.mechanisms[name]
            if name in cut or isinstance(mechanism, ExogenousMechanism):
                continue
            if self.scm.graph.parents(name):
                made[name] = mechanism.assign(noise.get(name), state)
        return made

    def _law(self, names: list[str], like: Tensor, state: State) -> list[Tensor]:
        """Location and scale of truncated laws and their standardised bounds, stacked."""
        laws = [self.scm.mechanisms[name].law(like[0], state) for name in names]
        location, scale, low, high = (
            torch.stack([torch.as_tensor(p, dtype=like.dtype).expand_as(like[0]) for p in column])
            for column in zip(*laws, strict=True)
        )
        return [location, scale, (low - location) / scale, (high - location) / scale]

    @staticmethod
    def _is_cut(mechanism: AbstractMechanism) -> bool:
        return isinstance(mechanism, TruncatedNormalMechanism)
