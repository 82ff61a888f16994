"""The processes: `python -m serving.launchers.router` and `... .keeper`. They join the rooms.

Imported by nobody.
"""
