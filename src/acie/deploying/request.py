"""What is to be deployed."""

__all__ = ["Deployment"]

import re
from dataclasses import dataclass
from pathlib import Path

from acie.errors import ConfigurationError

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_HOST = re.compile(rf"{_LABEL.pattern}(\.{_LABEL.pattern})+")
#: A repository with a tag or a digest, as registries take them.
_IMAGE = re.compile(
    r"(?P<name>([a-z0-9]+([.-][a-z0-9]+)*(:[0-9]+)?/)?"
    r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*)"
    r"(:(?P<tag>\w[\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class Deployment:
    """One deployment, as asked for; what is left out is as the manifests say.

    Arguments:
        platform: ``k8s`` or ``compose``.
        overlay: Overlay of the manifests for Kubernetes, or a folder with one.
        namespace: Namespace of Kubernetes, or name of the compose project.
        replicas: Replicas of the service; with autoscaling the least.
        gpus: GPUs of each replica.
        image: Image of ACIE with its tag or digest.
        host: Name under which REST is reached from outside; gRPC has ``grpc.`` before it.
        secrets: A filled copy of ``secret.template.yaml``.

    Raises:
        ConfigurationError: A value that cannot be.
    """

    platform: str = "k8s"
    overlay: str = "production"
    namespace: str | None = None
    replicas: int | None = None
    gpus: int = 0
    image: str | None = None
    host: str | None = None
    secrets: Path | None = None

    def __post_init__(self) -> None:
        if self.platform not in ("k8s", "compose"):
            raise ConfigurationError(
                "--platform", expected="k8s or compose", found=self.platform
            )
        if self.replicas is not None and not 1 <= self.replicas <= 1000:
            raise ConfigurationError("--replicas", expected="1 to 1000", found=str(self.replicas))
        if not 0 <= self.gpus <= 16:
            raise ConfigurationError("--gpu-per-pod", expected="0 to 16", found=str(self.gpus))
        if self.namespace is not None and not _LABEL.fullmatch(self.namespace):
            raise ConfigurationError(
                "--namespace",
                expected="1 to 63 of a-z, 0-9 and -, which is neither first nor last",
                found=repr(self.namespace),
            )
        if self.host is not None and not _HOST.fullmatch(self.host):
            raise ConfigurationError(
                "--host", expected="a domain name, such as acie.example.org", found=repr(self.host)
            )
        if self.image is not None:
            self._check_image(self.image)
        if self.platform == "compose" and (self.host or self.secrets):
            raise ConfigurationError(
                "--host and --secrets", expected="--platform k8s", found="compose",
                remedy="Compose reads secrets from the files that its manifest names.",
            )  # fmt: skip

    @staticmethod
    def _check_image(image: str) -> None:
        found = _IMAGE.fullmatch(image)
        if found is None or not (found["tag"] or found["digest"]):
            raise ConfigurationError(
                "--image",
                expected="a name with a tag or a digest, such as registry.example.org/acie:0.1.0",
                found=repr(image),
                remedy="What runs must be what was named, also when a node pulls it again.",
            )
        if found["tag"] == "latest" and not found["digest"]:
            raise ConfigurationError(
                "--image", expected="a tag that always means the same", found=image,
                remedy="Going back would bring the same image again.",
            )  # fmt: skip

    @property
    def image_parts(self) -> dict[str, str]:
        """The image as an entry of kustomize's ``images``; empty when left out."""
        found = _IMAGE.fullmatch(self.image or "")
        if found is None:
            return {}
        parts = {"newName": found["name"], "newTag": found["tag"], "digest": found["digest"]}
        if found["digest"]:
            parts["newTag"] = None
        return {"name": "acie", **{key: value for key, value in parts.items() if value}}
