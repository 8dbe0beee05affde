"""Inception features from the weights file that every published FID uses, which the user has."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path

import torch
from torch import Tensor

from modeseek.errors import PriorError
from modeseek.metrics.extractor import Extractor
from modeseek.metrics.inception_network import InceptionNetwork
from modeseek.metrics.weights import SHORT

FILE = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "MODESEEK_INCEPTION"
WHERE = (
    f"The file is {FILE} (96 MB), an asset of the release fid_weights of the GitHub project mseitzer/pytorch-fid; "
    f"nothing is downloaded here. Give its path, or set {VARIABLE} to it"
)


def open_inception(path: Path | str | None = None, device: str | torch.device = "cpu") -> Extractor:
    """FID's Inception, 2048 pooled features, 299 x 299 by pytorch-fid's bilinear filter; any aspect is squeezed.

    The one file that is not safetensors: its SHA-256 must be the known one *before* a byte of it is unpickled, and then
    ``weights_only`` lets nothing but tensors through.

    Args:
        path: of the file; the environment variable MODESEEK_INCEPTION if none.
        device: where the network goes.

    Raises:
        PriorError: if there is no file, or it is another one.
    """
    state = _read(path)
    # without numbers: drawing 24 million that are overwritten takes a second and moves the global generator
    with torch.device("meta"):
        network = InceptionNetwork()
    network = network.to_empty(device="cpu")
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError) as error:
        raise PriorError(f"the Inception weights must have the known layout: {str(error).splitlines()[0]}") from error
    network = network.to(device).eval().requires_grad_(False)

    def features(pictures: Tensor) -> Tensor:
        rows: Tensor = network(2 * pictures - 1)
        return rows

    return Extractor(
        name="inception:2015-12-05",
        dimension=2048,
        filter="bilinear",
        size=299,
        sha256=SHA256,
        network=features,
        device=torch.device(device),
        square=False,
    )


def _read(path: Path | str | None) -> dict[str, Tensor]:
    """The state, from the very bytes whose hash was checked."""
    name = path or os.environ.get(VARIABLE)
    if not name:
        raise PriorError(f"Inception features need a file of weights, got none. {WHERE}.")
    try:
        data = Path(name).read_bytes()
    except OSError as error:
        raise PriorError(f"the Inception weights {name} cannot be read: {error.strerror}. {WHERE}.") from error
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise PriorError(
            f"the Inception weights must have SHA-256 {SHA256[:SHORT]}..., got {found[:SHORT]}... in {name}. {WHERE}."
        )
    try:
        return dict(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, ValueError) as error:
        raise PriorError(f"the Inception weights {name} must hold tensors and nothing else") from error
