"""The interventions that are asked: every target, several sizes."""

__all__ = ["Question", "make_questions", "undo"]

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from acie.engine import CounterfactualEngine
from acie.evaluation.config import EvaluationConfig
from acie.evaluation.population import Population
from acie.scm import Do, Intervention, Scale, Shift
from acie.variables import Variable


@dataclass(frozen=True)
class Question:
    """One intervention, asked of every galaxy.

    A shift goes towards the middle of the population as seen from the posterior median, so that
    it stays inside the support; its direction depends on the data and never on the truth, which
    keeps the coverage of the answer what it should be. A binary variable is flipped away from its
    more probable value.

    Arguments:
        label: For tables, for example ``stellar_mass 0.3 dex``.
        target: Variable acted on; the text itself for a question of the user.
        size: Amount on the natural scale of the target; NaN where there is none.
        variable: Declaration of the target, with its population mean; none for a user's question.
        middle: Population mean of the target on its natural scale.
        given: The actions of a user's question.
    """

    label: str
    target: str
    size: float
    variable: Variable | None = None
    middle: float = 0.0
    given: Mapping[str, Intervention] = field(default_factory=dict)

    def actions(self, values: Mapping[str, Tensor]) -> dict[str, Intervention]:
        """The action on every galaxy, from the factual draws ``(sample, batch)``."""
        if self.variable is None:
            return dict(self.given)
        draws = values[self.target]
        if self.variable.kind == "binary":
            return {self.target: Do((draws.mean(0) < 0.5).to(draws.dtype))}
        centre = self.variable.forward(draws).median(0).values
        amount = torch.where(centre < self.middle, self.size, -self.size).to(draws.dtype)
        return {self.target: Shift(amount, dex=self.variable.transform == "log10")}


def undo(
    actions: Mapping[str, Intervention], factual: Mapping[str, Tensor]
) -> dict[str, Intervention]:
    """The actions that take back others: the opposite amount, or the factual value."""
    back: dict[str, Intervention] = {}
    for name, action in actions.items():
        if isinstance(action, Shift):
            back[name] = Shift(-torch.as_tensor(action.amount), action.dex)
        elif isinstance(action, Scale):
            back[name] = Scale(1.0 / torch.as_tensor(action.factor))
        else:
            back[name] = Do(factual[name])
    return back


def make_questions(
    engine: CounterfactualEngine, population: Population, config: EvaluationConfig
) -> list[Question]:
    """Every target with every size, and the questions of the user.

    Raises:
        ACIEError: A question of the user that cannot be asked.
    """
    found = []
    for variable, mean, spread in zip(
        population.variables.values(), population.mean, population.spread, strict=True
    ):
        name = variable.name
        if variable.kind == "binary":
            found.append(Question(f"{name} flipped", name, float("nan"), variable))
            continue
        unit = "dex" if variable.transform == "log10" else variable.unit
        for share in config.sizes:
            size = float(f"{share * float(spread):.2g}")
            label = f"{name} {size:g} {unit}".rstrip()
            found.append(Question(label, name, size, variable, float(mean)))
    for text in config.questions:
        found.append(Question(text, text, float("nan"), given=engine.act(text)))
    return found
