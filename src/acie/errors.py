"""The errors that ACIE raises.

Every error says which argument is wrong, what was expected, what was found and what to do. ::

    ACIEError
    ├── ConfigurationError          a setting or an option is unknown or contradictory
    ├── DataError                   an observation or a catalogue cannot be used
    │   ├── ReaderNotFound          no reader recognises the file
    │   ├── MalformedSpectrum       wrong shape, no good pixel, NaN where a number is needed
    │   ├── MalformedCatalogue      a table or a column of it cannot be used
    │   ├── CatalogueTooLarge       a file holds more than is read at a time
    │   ├── UnitMismatch            units missing or not convertible
    │   └── MissingRedshift         the redshift is neither in the file nor given
    ├── CausalError                 a causal question that cannot be asked
    │   ├── CyclicGraph             the graph has a cycle
    │   ├── UnknownVariable         no variable of that name
    │   ├── NotInvertible           exact abduction needs an invertible mechanism
    │   ├── OutsideSupport          a value outside the support of its variable
    │   ├── ConflictingInterventions  two actions on the same variable, or an action on a held one
    │   ├── NotIdentifiable         observing alone does not determine the effect
    │   └── NothingSeen             no individual is like what the action would make of the others
    ├── PhysicsError
    │   └── OutsideGrid             a state outside the tabulated templates
    ├── InferenceError
    │   └── NotFitted               the estimator has not been trained
    ├── ClusterError                a cluster cannot be reached, or lost its workers
    ├── BundleError                 a model bundle cannot be used
    │   ├── UnknownModel            no bundle of that name
    │   ├── IncompatibleBundle      made by an incompatible version
    │   ├── ChecksumMismatch        a file is truncated or has been changed
    │   └── ParityError             an exported model answers otherwise than what it was made from
    ├── TrackingError               MLflow refuses what it was asked
    │   ├── RegistryUnreachable     its server or database does not answer
    │   └── PromotionRefused        a version falls short of what production asks for
    └── DeploymentError             what is to be deployed cannot be
        ├── ProgramMissing          kubectl or docker is not there, or too old
        ├── ManifestError           manifests cannot be rendered, or are refused
        ├── ClusterUnreachable      the cluster or the container engine does not answer
        └── RolloutFailed           applied, but it did not come up; says what was done about it
"""

__all__ = [
    "ACIEError",
    "BundleError",
    "CatalogueTooLarge",
    "CausalError",
    "ChecksumMismatch",
    "ClusterError",
    "ClusterUnreachable",
    "ConfigurationError",
    "ConflictingInterventions",
    "CyclicGraph",
    "DataError",
    "DeploymentError",
    "IncompatibleBundle",
    "InferenceError",
    "MalformedCatalogue",
    "MalformedSpectrum",
    "ManifestError",
    "MissingRedshift",
    "NotFitted",
    "NotIdentifiable",
    "NotInvertible",
    "NothingSeen",
    "OutsideGrid",
    "OutsideSupport",
    "ParityError",
    "PhysicsError",
    "ProgramMissing",
    "PromotionRefused",
    "ReaderNotFound",
    "RegistryUnreachable",
    "RolloutFailed",
    "TrackingError",
    "UnitMismatch",
    "UnknownModel",
    "UnknownVariable",
]


class ACIEError(Exception):
    """Base of every error that ACIE raises on purpose.

    Arguments:
        argument: The name of the argument, option, file or variable that is wrong.
        expected: What would have been accepted.
        found: What was given.
        remedy: What the user can do about it.
    """

    def __init__(self, argument: str, *, expected: str, found: str, remedy: str = "") -> None:
        self.argument = argument
        self.expected = expected
        self.found = found
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.argument}: expected {self.expected}, found {self.found}"
        # What a library said may end as a sentence does.
        return f"{text.removesuffix('.')}. {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple:
        # The keyword-only constructor would otherwise break copying between processes.
        return _rebuild, (type(self), self.argument, self.expected, self.found, self.remedy)


def _rebuild(kind: type, argument: str, expected: str, found: str, remedy: str) -> ACIEError:
    return kind(argument, expected=expected, found=found, remedy=remedy)


class ConfigurationError(ACIEError):
    """A setting or an option is unknown or contradictory."""


class DataError(ACIEError):
    """An observation or a catalogue cannot be used."""


class ReaderNotFound(DataError):
    """No reader recognises the file."""


class MalformedSpectrum(DataError):
    """The arrays of a spectrum have the wrong shape or hold nothing usable."""


class MalformedCatalogue(DataError):
    """A catalogue, or one of its columns, cannot be used."""


class CatalogueTooLarge(DataError):
    """A file of spectra holds more than is read at a time."""


class UnitMismatch(DataError):
    """Units are missing or cannot be converted."""


class MissingRedshift(DataError):
    """The redshift is neither in the file nor given."""


class CausalError(ACIEError):
    """A causal question that cannot be asked of this model."""


class CyclicGraph(CausalError):
    """The graph has a cycle."""


class UnknownVariable(CausalError):
    """The model has no variable of that name."""


class NotInvertible(CausalError):
    """Exact abduction needs an invertible mechanism."""


class OutsideSupport(CausalError):
    """A value lies outside the support of its variable."""


class ConflictingInterventions(CausalError):
    """Two actions on one variable, or an action on a variable that is held."""


class NotIdentifiable(CausalError):
    """Observing alone does not determine the effect."""


class NothingSeen(CausalError):
    """No individual is like what the action would make of the others."""


class PhysicsError(ACIEError):
    """A state that the physics cannot describe."""


class OutsideGrid(PhysicsError):
    """A state outside the tabulated templates."""


class InferenceError(ACIEError):
    """Inference cannot be done."""


class NotFitted(InferenceError):
    """The estimator has not been trained."""


class ClusterError(ACIEError):
    """A Ray cluster cannot be reached, or lost its workers."""


class BundleError(ACIEError):
    """A model bundle cannot be used."""


class UnknownModel(BundleError):
    """No bundle of that name or at that path."""


class IncompatibleBundle(BundleError):
    """A bundle made by an incompatible version."""


class ChecksumMismatch(BundleError):
    """A file of the bundle is truncated or has been changed."""


class ParityError(BundleError):
    """An exported model answers otherwise than the model that it was made from."""


class TrackingError(ACIEError):
    """The store of runs and registered models refuses what it was asked."""


class RegistryUnreachable(TrackingError):
    """The server or the database of runs and registered models does not answer."""


class PromotionRefused(TrackingError):
    """A version falls short of what production asks for; the message lists in what."""


class DeploymentError(ACIEError):
    """What is to be deployed cannot be."""


class ProgramMissing(DeploymentError):
    """A program that deploys is not there, or too old."""


class ManifestError(DeploymentError):
    """Manifests cannot be rendered, or are refused before or by the cluster."""


class ClusterUnreachable(DeploymentError):
    """The cluster or the container engine does not answer."""


class RolloutFailed(DeploymentError):
    """What was applied did not come up; the message says what was done about it."""
