"""Deliveries: the files that were taken from an inbox, each delivery a small table in the lake that is never rewritten.

What belongs here: which of the complete files of an inbox become plots, and the table that lists them. What does not:
which files are complete (`inbox.py`), and their bytes (`photographs.py`). The tables are the complete record of an
inbox; a sensor only needs to keep the sightings.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from plantclef_assets.images.file_names import is_unicode, normal_plot_id, plot_id_of
from plantclef_assets.ingest.inbox import Delivery
from plantclef_assets.lake.filesystems import open_filesystem
from plantclef_assets.lake.schemas import INBOX_DELIVERY
from plantclef_assets.lake.store import Artifact, Lake
from plantclef_assets.lake.tables import Shard, write_table

_READ_AT_ONCE = 8
"""Concurrent reads; fewer than the connection pool of Google's client."""
_PLOTS_AT_ONCE = 16


class NothingDeliveredError(FileNotFoundError):
    """A requested delivery has not arrived."""


def keys_in_lake(lake: Lake, asset: str, keys: Sequence[str]) -> list[str]:
    """Return the keys for which an asset has a file, in their order; takes one listing."""
    filesystem, root = open_filesystem(lake.root)
    found = set(filesystem.find(f"{root}/{asset}"))
    return [key for key in keys if f"{root}/{asset}/{key}.parquet" in found]


def read_deliveries(lake: Lake, keys: Sequence[str]) -> dict[str, tuple[Delivery, ...]]:
    """Return the delivered files of each key that has a delivery."""
    taken = keys_in_lake(lake, "inbox_delivery", keys)
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        tables = pool.map(lambda key: lake.read(Artifact("inbox_delivery", key)), taken)
        return {
            key: tuple(Delivery(row["source"], row["bytes"], row["digest"]) for row in table.to_pylist())
            for key, table in zip(taken, tables, strict=True)
        }


def write_delivery(lake: Lake, shard: Shard, files: Iterable[Delivery]) -> None:
    """Write a delivery, which is permanent.

    Raises:
        FileExistsError, OvertakenError: the key has a delivery already (see `Lake.publish`).
    """
    rows = sorted((plot_id_of(one.name), one) for one in files)
    with write_table(lake, shard.artifact, INBOX_DELIVERY, shard.provenance, replace=False) as table:
        table.write_rows(
            plot_id=[plot for plot, _ in rows],
            source=[one.name for _, one in rows],
            bytes=[one.size for _, one in rows],
            digest=[one.digest for _, one in rows],
        )
        table.statistics = {"rows_in": len(rows), "quarantined": 0, "bytes": sum(one.size for _, one in rows)}


def select_deliveries(
    lake: Lake, ready: Sequence[Delivery], taken: Iterable[Delivery]
) -> tuple[tuple[Delivery, ...], dict[str, str]]:
    """Separate complete and new files into those that become plots and those that cannot.

    Args:
        lake: the lake, with the plots of the survey if there is one.
        ready: the complete and new files (see `inbox.judge_inbox`).
        taken: the files of earlier deliveries.

    Returns:
        the files to deliver; and the reason for each other file, by name: it is a photograph of the survey, or its name
        is that of an existing plot, or invalid.
    """
    names, photographs = _survey(lake, {one.size for one in ready})
    used = dict.fromkeys(map(normal_plot_id, names), "in the survey")
    used |= {plot_id_of(one.name): "delivered before" for one in taken}
    accepted: list[Delivery] = []
    refused: dict[str, str] = {}
    for one in ready:
        plot = plot_id_of(one.name)
        if not is_unicode(one.name):
            refused[one.name] = "its name is not UTF-8; rename it"
        elif not plot:
            refused[one.name] = "its name has nothing but blanks; rename it"
        elif one.digest in photographs:
            refused[one.name] = f"it is the photograph of plot {photographs[one.digest]} of the survey"
        elif plot in used:
            refused[one.name] = f"plot {plot} already has another photograph ({used[plot]}); rename this one"
        else:
            accepted.append(one)
            used[plot] = one.name
    return tuple(accepted), refused


def _survey(lake: Lake, sizes: set[int]) -> tuple[set[str], dict[str, str]]:
    """Return the names of the survey's plots, and digest → plot of its photographs with one of the sizes in bytes.

    Only photographs with these sizes are read.
    """
    if not sizes or not lake.exists(Artifact("plot_manifest")):
        return set(), {}
    rows = lake.read(Artifact("plot_manifest"), ["plot_id", "bytes", "shard"]).to_pylist()
    alike = defaultdict(set)
    for row in rows:
        if row["bytes"] in sizes:
            alike[row["shard"]].add(row["plot_id"])
    return {row["plot_id"] for row in rows}, {
        digest: plot
        for shard, plots in alike.items()
        for digest, plot in _digests(lake, Artifact("plot_images", shard), plots).items()
    }


def _digests(lake: Lake, images: Artifact, plots: set[str]) -> Mapping[str, str]:
    if not lake.exists(images):
        return {}
    batches = lake.open(images).iter_batches(batch_size=_PLOTS_AT_ONCE, columns=["plot_id", "data"])
    return {
        content_digest(row["data"]): row["plot_id"]
        for batch in batches
        for row in batch.to_pylist()
        if row["plot_id"] in plots
    }


def content_digest(data: bytes) -> str:
    """Return the digest of a photograph in a delivery: blake2b of its bytes, 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()
