"""From the manifests in ``deploy/`` to a service that runs: rendered, checked, applied, watched.

The work on a cluster is done by kubectl and that on one machine by docker compose, which must be
there; this package decides what they are asked, in which order, and what happens when it fails.
"""

__all__ = [
    "Cluster",
    "ComposeProject",
    "Deployment",
    "Kubectl",
    "Release",
    "check_hosts",
    "check_objects",
    "manifests_folder",
    "render_compose",
    "render_kubernetes",
    "roll_out",
    "settle_secret",
]

from acie.deploying.cluster import Cluster
from acie.deploying.composing import ComposeProject, render_compose
from acie.deploying.manifests import manifests_folder
from acie.deploying.objects import check_hosts, check_objects
from acie.deploying.programs import Kubectl
from acie.deploying.rendering import render_kubernetes
from acie.deploying.request import Deployment
from acie.deploying.rollout import Release, roll_out
from acie.deploying.secrets import settle_secret
