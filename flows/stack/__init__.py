"""The local stack: one supervisor that starts, watches and stops every process of the loop on this machine.

    visionloop up ──> reaper ──> supervisor ──> mlflow, prefect, router, flows, one Bento per live version
                      (outlives     serves the story page and the control socket itself
                       it by a moment, to clean up)

Every process of the stack has `MARKER` in its environment. So orphans are found whatever their pid or session is.

Imports `flows.story` and `flows.process`.
"""
