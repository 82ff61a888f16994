"""The processes: `python -m serving.launchers.router` and `... .keeper`. They put rooms together.

Imported by nobody.
"""
