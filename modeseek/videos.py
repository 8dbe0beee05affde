"""Frames to a video in memory: H.264 in MP4, or an animation where no encoder is installed."""

from __future__ import annotations

import io
from types import ModuleType

from torch import Tensor
from torch.nn.functional import pad

from modeseek.errors import UsageError
from modeseek.pictures import in_bytes

ENCODER = "libx264"
QUALITY = {
    "crf": "16",
    "preset": "medium",
    "threads": "1",
}  # one thread: the bytes do not depend on the machine's cores


def video(frames: Tensor, fps: int = 24) -> tuple[bytes, str]:
    """Frames as a video that any player opens; the same frames give the same bytes.

    H.264 keeps colours at half resolution and needs even sides: an odd side is one pixel longer in the MP4, its last
    row or column shown twice.

    Args:
        frames: (N, 3, H, W) in [0, 1]; values outside are clamped.
        fps: frames per second, 1 to 100: an animation counts hundredths of a second.

    Returns:
        the bytes and the file suffix: .mp4 where ``pip install "modeseek[video]"`` has brought an encoder, else .webp
        where Pillow can write it, else .gif; the latter two are endless.

    Raises:
        UsageError: if there is no frame, or the frame rate is out of its range.
    """
    if frames.ndim != 4 or frames.shape[1] != 3 or not frames.numel():
        raise UsageError(f"frames must be at least one picture (N, 3, H, W), got {(*frames.shape,)}")
    if not 1 <= fps <= 100:
        raise UsageError(f"fps must be between 1 and 100 frames per second, got {fps}")
    av = encoder()
    return (mp4(frames, fps, av), ".mp4") if av else animated(frames, fps)


def encoder() -> ModuleType | None:
    """PyAV, if it is installed and knows H.264."""
    try:
        import av
    except ImportError:
        return None
    module: ModuleType = av
    return module if ENCODER in av.codecs_available else None


def mp4(frames: Tensor, fps: int, av: ModuleType) -> bytes:
    """H.264 in MP4, 4:2:0, by PyAV."""
    h, w = frames.shape[-2:]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream(ENCODER, rate=fps, options=QUALITY)
        stream.width, stream.height, stream.pix_fmt = w + w % 2, h + h % 2, "yuv420p"
        for frame in frames:
            even = pad(frame[None].detach().float(), (0, w % 2, 0, h % 2), mode="replicate")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_bytes(even)[0].numpy(), format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def animated(frames: Tensor, fps: int) -> tuple[bytes, str]:
    """An endless animation by Pillow: WebP if it can write it, else GIF with 256 colours a frame."""
    from PIL import Image, features

    suffix, options = (".webp", {"quality": 90}) if features.check("webp") else (".gif", {})
    images = [Image.fromarray(frame.numpy()) for frame in _bytes(frames)]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format=suffix[1:].upper(),
        save_all=True,
        append_images=images[1:],
        duration=round(1000 / fps),
        loop=0,
        **options,
    )
    return buffer.getvalue(), suffix


def _bytes(frames: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] to uint8 (N, H, W, 3) on the CPU."""
    return in_bytes(frames).permute(0, 2, 3, 1).contiguous()
