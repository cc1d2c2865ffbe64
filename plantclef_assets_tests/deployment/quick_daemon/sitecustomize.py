"""Lets a Dagster daemon that has this folder on its PYTHONPATH look for backfills every 2 seconds.

Dagster looks every 30 seconds and has no setting for it.
"""

import sys

if any("dagster-daemon" in argument or argument == "dagster._daemon" for argument in sys.orig_argv):
    from dagster._daemon import controller

    controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 2
