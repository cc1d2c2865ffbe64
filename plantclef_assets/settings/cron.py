"""Cron: when something is to happen by itself, as the settings say it.

What belongs here: what is wrong with an expression or a time zone. What does not: what then happens (`automation.py`).
"""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

NIGHTLY = "0 3 * * *"
"""Three in the morning, every day."""


def check_cron(value: str | None) -> str | None:
    """Give a cron expression back if Dagster understands it.

    Raises:
        ValueError: it does not.
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
    """Give the name of a time zone back if this machine knows it.

    Raises:
        ValueError: it does not.
    """
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone '{value}'; use a name such as 'UTC' or 'Europe/Paris'") from error
    return value
