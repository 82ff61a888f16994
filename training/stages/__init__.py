"""The stages of dvc.yaml: train, compress, evaluate. They tell MLflow what they do.

Imports the rooms of this package but the gate.
"""
