"""The model: scans in NIfTI, whose parts are all its own."""

from functools import partial

from registry.contract.parts import Model, load
from registry.models.skin_segmentation import SPEC
from registry.models.skin_segmentation.inference import SkinInference
from registry.models.skin_segmentation.render import SkinRender
from registry.models.skin_segmentation.score import SkinScore
from registry.vision_tasks.networks import network_of

MODEL = Model(
    SkinInference(),
    SkinRender(),
    SkinScore(SPEC),
    lambda: load("registry.models.skin_segmentation.shift:SkinShifts")(),  # needs SciPy, which no service has
    lambda: load("registry.models.skin_segmentation.data:SkinData")(),
    partial(network_of, SPEC),
)
