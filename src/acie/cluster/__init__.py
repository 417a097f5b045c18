"""Catalogues, training and tuning on a Ray cluster, or on a local Ray started for the occasion."""

__all__ = [
    "Outcome",
    "Question",
    "Shard",
    "answer_shard",
    "block_rows",
    "find_shards",
    "infer_catalogue",
    "ray_session",
]

from acie.cluster.answers import Question, answer_shard, block_rows
from acie.cluster.catalogue import Shard, find_shards
from acie.cluster.inference import Outcome, infer_catalogue
from acie.cluster.session import ray_session
