"""Inputs at the moment of publication: whether they are still those that a provenance names.

Provenance is fixed when a run plans, and data are read later. Another run with other settings may replace an input in
between, so this is asked again right before an artifact appears. Which inputs an artifact has is said by its recipe.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from plantclef_assets.lake.filesystems import is_in_bucket
from plantclef_assets.lake.store import Artifact, Lake

RECORDS_AT_ONCE = 8
"""Fewer than the connections that Google's client keeps open."""
_SHOWN_DIGITS = 12
_SUFFIXES = ("parquet", "safetensors")


class ChangedInputError(RuntimeError):
    """An input was replaced while an artifact was made from it."""


def require_unchanged(lake: Lake, provenance: Mapping[str, Any]) -> None:
    """Check that every input in the lake still has the fingerprint that a provenance names.

    Costs a footer read for each input. An input that was deleted meanwhile is no objection: nothing took its place.

    Raises:
        ChangedInputError: one has another fingerprint.
    """
    inputs: Mapping[str, str] = provenance.get("inputs", {})
    with ThreadPoolExecutor(RECORDS_AT_ONCE if is_in_bucket(lake.root) else 1) as pool:
        for name, fingerprint in zip(inputs, pool.map(lambda one: _fingerprint_at(lake, one), inputs), strict=True):
            if fingerprint not in (inputs[name], None):
                made = Artifact(provenance["asset"], provenance.get("partition"))
                was, now = inputs[name][:_SHOWN_DIGITS], fingerprint[:_SHOWN_DIGITS]
                raise ChangedInputError(
                    f"{made} is not published, because its input {name} was replaced meanwhile (its fingerprint was "
                    f"{was} and is {now}). Does another run work on this lake with other settings? Run the same "
                    "command again when it has ended"
                )


def _fingerprint_at(lake: Lake, name: str) -> str | None:
    """Return the fingerprint of an artifact by its name in a provenance, which has no suffix."""
    asset, _, partition = name.partition("/")
    records = (lake.record(Artifact(asset, partition or None, suffix)) for suffix in _SUFFIXES)
    return next((record.fingerprint for record in records if record), None)
