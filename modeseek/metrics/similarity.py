"""How well pictures show what their prompts say (Hessel et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from modeseek.errors import UsageError
from modeseek.metrics.bootstrap import Bootstrap
from modeseek.metrics.clip import ImageText
from modeseek.metrics.results import Result


def similarity(clip: ImageText, images: Tensor, texts: Sequence[str], bootstrap: Bootstrap | None = None) -> Result:
    """100 cos(picture, prompt), its mean and spread over pictures. Equation CLIP-1.

    In per cent, as papers report it: 32.6 is a cosine of 0.326. Negative cosines stay negative.

    Args:
        clip: the model.
        images: (N, 3, H, W) in [0, 1].
        texts: N prompts.
        bootstrap: adds an interval of the mean.

    Raises:
        UsageError: if there is not one prompt a picture.
    """
    if len(images) != len(texts):
        raise UsageError(f"each picture must have one prompt, got {len(images)} pictures and {len(texts)} prompts")
    made = clip.extractor()
    values = 100 * (made(images) * clip.texts(texts).double()).sum(1)
    ends = None if bootstrap is None else bootstrap.interval(lambda i: float(values[i].mean()), len(values))
    return Result(
        metric="similarity",
        value=float(values.mean()),
        extractor=made.name,
        filter=made.filter,
        sha256=made.sha256,
        dimensions=made.dimension,
        counts=(len(values),),
        interval=ends,
        spread=float(values.std()) if len(values) > 1 else None,
        per_picture=tuple(values.tolist()),
    )
