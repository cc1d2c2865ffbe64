"""Chaos trials: seeded faults on real commands and makers over the tiny survey, each followed by a restart without it.

A trial removes the artifacts of one step from a complete lake, makes them again under a fault, and inspects what is
visible. Then it restarts without the fault, verifies and cleans, and compares the lake with the undisturbed one, byte
for byte. What belongs here: faults, trials, and the table of docs/reliability.md. What does not: tests of single
functions (`plantclef_assets_tests/`).

    world.py      the survey, the undisturbed lake, and comparing with it
    steps.py      making assets without Dagster, and the steps that faults disturb
    processes.py  forked processes that run a step; kills and other actions at a given moment
    verdicts.py   one trial: disturb, inspect, restart, compare
    kills.py      signals: to steps, to workers, to one of two writers
    storage.py    full disks, limits, permissions, damaged and unreadable files
    writers.py    several writers, clocks
    network.py    downloads and buckets behind failing servers
    commands.py   kills of whole command-line runs
    plan.py       which trials a seed chooses
    table.py      results by seed, and docs/reliability.md
"""
