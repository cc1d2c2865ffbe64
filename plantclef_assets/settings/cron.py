"""Checks of cron expressions and time zones.

What belongs here: whether an expression or a time zone can be used. What does not: what is scheduled (`automation.py`).
"""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NIGHTLY = "0 3 * * *"
"""Every day at three in the morning."""


def check_cron(value: str | None) -> str | None:
    """Check that Dagster understands a cron expression, and return it.

    Raises:
        ValueError: it is no cron expression.
    """
    if value is not None:
        from dagster import AutomationCondition
        from dagster_shared.check import CheckError

        try:
            AutomationCondition.cron_tick_passed(value)
        except CheckError as error:
            raise ValueError(f"'{value}' is no cron expression; every night at three is '{NIGHTLY}'") from error
    return value


def check_time_zone(value: str) -> str:
    """Check that this machine knows a time zone, and return its name.

    Raises:
        ValueError: there is no such time zone.
    """
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone '{value}'; use a name such as 'UTC' or 'Europe/Paris'") from error
    return value
