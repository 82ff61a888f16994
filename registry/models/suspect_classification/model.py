"""The model: an ordinary classifier."""

from registry.models.suspect_classification import SPEC
from registry.vision_tasks.classifier import classifier

# Shifts in the order of the damage that they do to a network trained on the starter data; the first is the demo's. JPEG
# damage alone does it none.
MODEL = classifier(
    SPEC,
    network="keras/mobilenet_v2",
    shifts=("fog", "glare", "night", "low-resolution", "sensor-noise", "camera", "blur"),
)
