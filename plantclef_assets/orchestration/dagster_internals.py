"""Parts of Dagster that it does not export: the only module that imports them, since a release may change them.

(Tried with the releases that pyproject.toml allows.)
"""

from functools import partial

from dagster import DagsterInstance
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

__all__ = ["LOCATION", "UnresolvedAssetJobDefinition", "show_under_job"]

LOCATION = "plantclef_assets"
"""The name of the code location in workspace.yaml."""
_MODULE = "plantclef_assets.definitions"
_REPOSITORY = "__repository__"
"""Dagster's name for the repository of a module with `Definitions`."""


def show_under_job(instance: DagsterInstance, job: str) -> None:
    """Record the next runs of this process as runs of a job of the code location.

    The UI lists a run under its job and in the timeline by this origin, which only its own launches have.
    """
    location = ManagedGrpcPythonEnvCodeLocationOrigin(LoadableTargetOrigin(module_name=_MODULE), LOCATION)
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, _REPOSITORY), job)
    create = partial(type(instance).create_run_for_job, instance, remote_job_origin=origin)
    instance.create_run_for_job = create  # type: ignore[method-assign]
