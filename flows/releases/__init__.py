"""What `visionloop release` and `rollback` do and show: changes of a model's release plan, and its status.

Loads no step of the loop before traffic is moved: MLflow's registry, data sets and training behind them take seconds.

Imports `flows.steps`, `flows.champions` and `flows.terminal_progress`.
"""
