"""Says what a picture shows: a weapon, a thing that looks like one, a person, a safety vest. MobileNetV2 in Keras."""

from registry.contract.spec import Budget, Metric, ModelSpec

SPEC = ModelSpec(
    name="suspect_classification",
    title="Suspect object classification",
    task="classification",
    framework="keras",
    classes=("camera", "weapon", "other", "baton", "knife", "drone", "yellow_vest", "grenade", "person"),
    metric=Metric("macro_f1", "Macro F1", floor=0.80),
    budget=Budget(latency_ms=10.0, size_mb=10.0, metric_loss=0.01),
    weights=(
        "file:~/.keras/models/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.5_96_no_top.h5",
        "hub",
    ),
    embeds="the picture: the pooled features of MobileNetV2",
    caution=(
        "A hint for a person who looks at the picture, nothing more: it must never start an alarm, a search or an "
        "arrest by itself, nor be used to watch, rate or sort people. A named class says nothing of intent."
    ),
    parameters={
        "alpha": "width of the layers of MobileNetV2, as Keras defines it",
        "dropout": "share of features that are dropped in training",
    },
)
