"""Images restored and enlarged, and the filters that an autoencoder has to beat."""

from aebook.applications.images import filters
from aebook.applications.images.restoration import (
    by_patches,
    cut,
    denoiser,
    passing_on,
    random_level,
    ssim,
    tune,
)
from aebook.applications.images.superresolution import (
    consistent,
    coupled,
    downsample,
    upsample,
    upscaler,
)

__all__ = [
    "by_patches",
    "consistent",
    "coupled",
    "cut",
    "denoiser",
    "downsample",
    "filters",
    "passing_on",
    "random_level",
    "ssim",
    "tune",
    "upsample",
    "upscaler",
]
