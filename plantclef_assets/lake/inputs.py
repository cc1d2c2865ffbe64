"""Check of inputs at publication: whether they still have the fingerprints in a provenance.

A run determines provenance before it reads data. Another run with other settings may replace an input in between, so
the inputs are checked again immediately before publication. Recipes define which inputs an artifact has.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from plantclef_assets.lake.filesystems import is_in_bucket
from plantclef_assets.lake.store import Artifact, Lake

RECORDS_AT_ONCE = 8
"""Concurrent reads of footers; fewer than the connection pool of Google's client."""
_SHOWN_DIGITS = 12
_SUFFIXES = ("parquet", "safetensors")


class ChangedInputError(RuntimeError):
    """An input was replaced while an artifact was made from it."""


def require_unchanged(lake: Lake, provenance: Mapping[str, Any]) -> None:
    """Check that every input in the lake still has its fingerprint in the provenance.

    Reads the footer of each input. An input that was deleted in the meantime is not an error.

    Raises:
        ChangedInputError: an input has a different fingerprint.
    """
    inputs: Mapping[str, str] = provenance.get("inputs", {})
    with ThreadPoolExecutor(RECORDS_AT_ONCE if is_in_bucket(lake.root) else 1) as pool:
        for name, fingerprint in zip(inputs, pool.map(lambda one: _fingerprint_at(lake, one), inputs), strict=True):
            if fingerprint not in (inputs[name], None):
                made = Artifact(provenance["asset"], provenance.get("partition"))
                was, now = inputs[name][:_SHOWN_DIGITS], fingerprint[:_SHOWN_DIGITS]
                raise ChangedInputError(
                    f"{made} is not published, because its input {name} was replaced in the meantime (its "
                    f"fingerprint was {was} and is {now}). Another run may be using this lake with other settings: run "
                    "the same command again when it has ended"
                )


def _fingerprint_at(lake: Lake, name: str) -> str | None:
    """Return the fingerprint of an artifact, given its name in a provenance, which has no suffix."""
    asset, _, partition = name.partition("/")
    records = (lake.record(Artifact(asset, partition or None, suffix)) for suffix in _SUFFIXES)
    return next((record.fingerprint for record in records if record), None)
