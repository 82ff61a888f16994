"""The processes: `python -m serving.launchers.router` and `... .keeper`. They join the rooms.

No other room here imports them; `flows.orchestration.guard` uses `daemon`.
"""
