"""Which versions of a model get its traffic: plans, the tables behind them, packaging, and what changes them.

Imports `serving.wire`.
"""
