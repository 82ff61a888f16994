"""Data checks, the prediction log, drift and feedback. Imports registry only."""
