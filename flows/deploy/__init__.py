"""`visionloop deploy`: what a deployment would build and change. Nothing is deployed from here.

Imports nothing of the other rooms; `infra/aws` is run as a program, in its own environment.
"""
