"""Segments skin in medical images: U-Net with an EfficientNet-B0 encoder, NIfTI in, NIfTI out."""

from registry.contract.spec import Budget, Metric, ModelSpec

SPEC = ModelSpec(
    name="skin_segmentation",
    title="Skin segmentation",
    task="segmentation",
    framework="torch",
    media_in=("application/x-nifti", "application/gzip", "application/octet-stream"),
    media_out=("application/json", "application/x-nifti", "image/jpeg"),
    extensions=(".nii.gz", ".nii"),
    classes=("skin",),
    metric=Metric("dice", "Dice", floor=0.80),
    budget=Budget(latency_ms=25.0, size_mb=30.0, metric_loss=0.01),
    caution="Research use only: not a medical device, and not to be used for diagnosis or treatment.",
)
