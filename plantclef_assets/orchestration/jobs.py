"""Jobs and the chain: which assets run together, and in which order, derived from their declarations.

(https://docs.dagster.io/guides/build/jobs/asset-jobs)
"""

from dataclasses import dataclass

from dagster import AssetSelection, define_asset_job

from plantclef_assets.orchestration.dagster_internals import UnresolvedAssetJobDefinition
from plantclef_assets.orchestration.declaration import Asset, Family, Graph, Job


@dataclass(frozen=True)
class Step:
    """A run of the chain: a job over all partitions of its family.

    Attributes:
        job: that is run.
        assets: that it makes.
        family: of their partitions; None where they have none.
        skipped: assets of the job whose optional dependency is not installed.
    """

    job: Job
    assets: tuple[str, ...]
    family: Family | None
    skipped: tuple[Asset, ...] = ()


def build_jobs(graph: Graph) -> list[UnresolvedAssetJobDefinition]:
    """Return the jobs that the assets of a graph are part of."""
    return [
        define_asset_job(step.job.name, AssetSelection.assets(*step.assets), description=step.job.description)
        for step in chain(graph)
    ]


def chain(graph: Graph) -> list[Step]:
    """Return the runs of the whole chain: each after those that make its inputs, early ones first, optional ones last.

    Where inputs leave the order open, it is that in which the assets are declared.
    """
    waiting = {job: _step(graph, job) for asset in graph.assets.values() for job in asset.jobs}
    order: dict[Job, Step] = {}
    while waiting:
        ready = [job for job in waiting if not (_needed(graph, waiting[job]) & waiting.keys())]
        if not ready:
            raise ValueError(f"jobs wait for each other: {', '.join(job.name for job in waiting)}")
        first = min(ready, key=lambda job: (job.optional, not job.early))
        order[first] = waiting.pop(first)
    return [*order.values()]


def _step(graph: Graph, job: Job) -> Step:
    members = [asset for asset in graph.assets.values() if job in asset.jobs]
    families = {asset.family for asset in members if asset.family}
    if len(families) > 1:
        raise ValueError(f"the job {job.name} has assets of several partition families")
    return Step(
        job,
        tuple(asset.name for asset in members if asset.available),
        next(iter(families), None),
        tuple(asset for asset in members if not asset.available),
    )


def _needed(graph: Graph, step: Step) -> set[Job]:
    """Return the jobs that make what the assets of a step read; the first one of an asset that is in several."""
    read = (graph.assets[one.asset] for asset in step.assets for one in graph.assets[asset].inputs)
    return {asset.jobs[0] for asset in read if step.job not in asset.jobs}
