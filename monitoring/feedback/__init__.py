"""Labels given later: performance over time, the retraining set, and streams to try it with.

Imports `monitoring.drift` and `monitoring.log`.
"""
