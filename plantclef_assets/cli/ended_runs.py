"""Runs of commands whose process was killed: they are reported as failed, which a killed process cannot do itself.

A command's runs have tags that name its host and process. What does not belong here: runs that a daemon launched, which
its run monitoring watches (`dagster.yaml`).
"""

import os
import socket
import subprocess
from pathlib import Path

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter

_HOST, _PROCESS = "plantclef/host", "plantclef/process"
_UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_PROC = Path("/proc")


def process_tags() -> dict[str, str]:
    """Return the tags that a run of this process gets: its host, and its number with the time of its start.

    A daemon on the same instance does not repeat such a run: it would repeat it under the daemon's settings.
    """
    return {_HOST: _host(), _PROCESS: f"{os.getpid()} {_start_of(os.getpid())}", "dagster/max_retries": "0"}


def report_ended_runs(instance: DagsterInstance) -> None:
    """Report the unfinished runs of commands on this host whose process is gone as failed.

    A process that has the number of a run's process, but another time of start, is another process. Processes of other
    hosts and containers cannot be seen from here, so their runs are left alone. So is a run that repeats another one,
    from the UI or by a daemon: it has the tags of the command's run.
    """
    for run in instance.get_runs(RunsFilter(statuses=_UNFINISHED, tags={_HOST: _host()})):
        if run.parent_run_id is not None:
            continue
        number, _, start = run.tags.get(_PROCESS, "").partition(" ")
        if number.isdecimal() and _start_of(int(number)) != start:
            instance.report_run_failed(
                run,
                f"The process of this run ({number} on {socket.gethostname()}) ended before the run did. Finished work "
                "is kept; run the same command again to continue.",
            )


def _host() -> str:
    """Return the name of the host, and the namespace of its process numbers if the system has such (containers)."""
    try:
        return f"{socket.gethostname()} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return socket.gethostname()


def _start_of(process: int) -> str:
    """Return the time of a process's start in the form of the system; empty if there is no such process."""
    if not (_PROC / "self/stat").exists():
        listed = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(process)], capture_output=True, text=True, check=False
        )
        return listed.stdout.strip()
    try:
        # proc(5): after the name, which may have spaces and brackets, come the state, and as the 20th the start.
        fields = (_PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return "" if fields[0] in "ZX" else f"{fields[19]} {boot}"
