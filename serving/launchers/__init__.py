"""The processes: `python -m serving.launchers.router` and `... .keeper`. They join the rooms.

Nothing imports them.
"""
