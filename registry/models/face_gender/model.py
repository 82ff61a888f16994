"""The model: a detector of faces that is not trained, and a classifier of each face."""

from __future__ import annotations

from functools import partial

from registry.contract.parts import Model
from registry.models.face_gender import SPEC
from registry.models.face_gender.inference import FaceInference
from registry.models.face_gender.render import FaceRender
from registry.models.face_gender.score import FaceScore
from registry.vision_tasks.networks import network_of
from registry.vision_tasks.picture_parts import PictureShifts, box_data

# The demo's first. In the dark, fog and blur it is the detector that fails, which is not trained here.
SHIFTS = ("glare", "camera", "jpeg", "low-resolution", "sensor-noise", "night", "blur", "fog")

MODEL = Model(
    FaceInference(),
    FaceRender(),
    FaceScore(SPEC),
    partial(PictureShifts, SHIFTS),
    partial(box_data, SPEC),
    partial(network_of, SPEC),
)
