"""Text to 3D by MSD and by SDS: views of every scene against DDIM samples and the prompt, at the same evaluations.

The paper shows pictures only (its figures 7 and 8), so there is no number of it to stand beside ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from modeseek.compare.prompts import read_prompts, shipped
from modeseek.descent import absolute, build_prior
from modeseek.errors import RunError
from modeseek.experiments.cells import Book
from modeseek.experiments.config import ReproduceConfig
from modeseek.metrics.bootstrap import Bootstrap
from modeseek.metrics.clip import ImageText
from modeseek.metrics.distance import difference, distance
from modeseek.metrics.extractor import Extractor
from modeseek.metrics.extractors import open_features
from modeseek.metrics.features import Features
from modeseek.metrics.similarity import similarity
from modeseek.pictures import labelled, png
from modeseek.priors import Prior
from modeseek.randomness import Streams
from modeseek.reports import table
from modeseek.runs import slug, write_atomic
from modeseek.scene.build import build_gradient
from modeseek.scene.config import SceneConfig, resolve_scene
from modeseek.scene.files import Kept, read_config
from modeseek.scene.outputs import SHOWN, walk
from modeseek.scene.run import TextToScene
from modeseek.shipped import POCKET_CLIP

METHODS = ("sds", "msd")
COMPARED = 8  # prompts of the comparison; the others are ranked alone
MEDIAN = 20  # of the front view's rank among the shipped model's 1601 names
REFERENCE, FLOOR = 1_000_000, 1_001_000  # seeds of DDIM samples
DIMENSIONS = 64


@dataclass(frozen=True)
class Line:
    """A method's scenes, each seen from eight sides.

    Attributes:
        method: sds or msd.
        scenes: how many.
        nfe: evaluations per view of a step, over the whole run.
        frechet: of the views to DDIM samples of the same prompts.
        nearer: the two ends of how much farther SDS's views are, scenes resampled; None for SDS.
        similarity: mean of 100 cos(view, prompt), over the prompts that both methods have, as the distance.
        front: median rank of the prompt for the front view among the shipped model's names; None for other prompts.
        around: the same over all eight views.
    """

    method: str
    scenes: int
    nfe: int
    frechet: float
    nearer: tuple[float, float] | None
    similarity: float
    front: float | None
    around: float | None


@dataclass
class Scenes:
    """The scenes of an experiment and what they are measured with.

    Attributes:
        config: of the experiment.
        book: keeps what was measured.
        prior: the model.
        clip: image-text similarity.
        extractor: features of distances.
    """

    config: ReproduceConfig
    book: Book
    prior: Prior
    clip: ImageText
    extractor: Extractor

    @classmethod
    def open(cls, config: ReproduceConfig) -> Scenes:
        """Open the models.

        Raises:
            PriorError, UsageError: for a model that is none.
        """
        prior = build_prior(SceneConfig("-", prior=config.prior, device=config.device, dtype=config.dtype))
        clip = ImageText.open(POCKET_CLIP if config.clip == "pocket-clip" else config.clip, config.device)
        return cls(config, Book(config.folder()), prior, clip, open_features(config.features, config.device))

    def prompts(self, method: str) -> tuple[str, ...]:
        """Eight of the shipped twenty for both methods, with ``full`` all twenty for msd; all of a file for both."""
        if self.config.prompts is not None:
            return read_prompts(self.config.prompts)
        everything = shipped(self.config.prior)
        return everything if self.config.full and method == "msd" else everything[:COMPARED]

    def scene(self, method: str, prompt: str, seed: int) -> SceneConfig:
        """What a scene is told: the preset of its method, at the evaluations of msd's."""
        told = {"prior": self.config.prior, "device": self.config.device, "dtype": self.config.dtype, "seed": seed}
        told["turntable"] = SHOWN  # nobody looks at so many
        out = self.config.folder() / "runs" / f"{method}-{slug(prompt)}-{seed}"
        return SceneConfig(prompt, method=method, out=out, **told)  # type: ignore[arg-type]

    def views(self, method: str, prompt: str, seed: int) -> Tensor:
        """Eight views of a finished scene, (8, 3, H, W); made, or gone on with, if it is not there."""
        config = self.scene(method, prompt, seed)
        key = (replace(resolve_scene(config), out=None), self.prior.fingerprint)
        return self.book.tensor(f"{method}, {prompt}, seed {seed}", key, lambda: finished(config))

    def samples(self, prompts: Sequence[str], first: int) -> Tensor:
        """DDIM's, eight of each prompt."""
        texts = [p for p in prompts for _ in range(SHOWN)]
        key = (tuple(prompts), first, self.prior.fingerprint)

        def draw() -> Tensor:
            x = self.prior.sample(self.prior.encode_prompt(texts), Streams.for_batch(first, len(texts)))
            return self.prior.decode(x)

        return self.book.tensor(f"DDIM samples from seed {first}", key, draw)

    def features(self, method: str, prompts: Sequence[str]) -> Features:
        """Of all views of a method's scenes."""
        return self.extractor.features(self.pictures(method, prompts))

    def pictures(self, method: str, prompts: Sequence[str]) -> Tensor:
        """All views of a method's scenes."""
        return torch.cat([self.views(method, *cell) for cell in self.cells(prompts)])

    def cells(self, prompts: Sequence[str]) -> list[tuple[str, int]]:
        """Prompts and seeds, seeds outermost."""
        return [(prompt, seed) for seed in range(self.config.count) for prompt in prompts]

    def line(self, method: str, shared: Sequence[str]) -> Line:
        """A method's numbers; distances and similarity are those of the prompts that both methods have."""
        cells = self.cells(self.prompts(method))
        texts, told = ([prompt for prompt, _ in some for _ in range(SHOWN)] for some in (cells, self.cells(shared)))
        reference = self.extractor.features(self.samples(shared, REFERENCE))
        own = self.features(method, shared)
        ends = None
        if method != "sds":
            found = difference("frechet", self.features("sds", shared), own, reference, self.dimensions, Bootstrap())
            ends = found.interval
        ranks = self.ranks(self.pictures(method, self.prompts(method)), texts)
        return Line(
            method,
            len(cells),
            evaluations(self.scene(method, *cells[0]), self.prior),
            distance("frechet", own, reference, self.dimensions).value,
            ends,
            similarity(self.clip, self.pictures(method, shared), told).value,
            None if ranks is None else median(ranks[::SHOWN]),
            None if ranks is None else median(ranks),
        )

    @property
    def dimensions(self) -> int:
        """Of the projected features."""
        return min(DIMENSIONS, self.extractor.dimension)

    def floor(self, shared: Sequence[str]) -> float:
        """Distance between two sets of DDIM samples."""
        first, second = (self.extractor.features(self.samples(shared, seed)) for seed in (FLOOR, REFERENCE))
        return distance("frechet", first, second, self.dimensions).value

    def ranks(self, views: Tensor, texts: Sequence[str]) -> list[int] | None:
        """Of each view's prompt among the shipped model's names; None where a prompt is none of them."""
        names = [line.strip() for line in (POCKET_CLIP / "names.txt").read_text().splitlines()]
        if self.config.clip != "pocket-clip" or not set(texts) <= set(names):
            return None
        return [int(rank) for rank in self.clip.rank(views, names, texts)]


def finished(config: SceneConfig) -> Tensor:
    """Run a scene to its end, or go on with it if it has a directory; its views.

    Raises:
        RunError: if the directory is of other settings, of which the table would say that they are these.
    """
    path = Path(str(config.out))
    begun = (path / "config.yaml").is_file()
    if begun and _told(read_config(path)) != _told(resolve_scene(replace(config, prior=absolute(config.prior)))):
        raise RunError(f"{path} must be a run with the settings of this experiment; it has others: move it away")
    run = TextToScene.resume(path) if begun else TextToScene.start(config)
    if not run.advance():
        raise KeyboardInterrupt
    kept = Kept.open(path)
    return walk(kept.config, kept.nerf, SHOWN).image


def _told(config: SceneConfig) -> SceneConfig:
    """Without what a run adds, and wherever it lies."""
    return replace(config, size=None, out=None)


def evaluations(config: SceneConfig, prior: Prior) -> int:
    """Per view over a whole run."""
    settings, estimator = config.settings, build_gradient(config, prior)
    return sum(estimator.nfe(step) for step in range(0, settings.steps, settings.refresh_every))


def text(lines: Sequence[Line], floor: float) -> str:
    """The table as Markdown."""
    head = ["method", "scenes", "nfe a view", "Fréchet distance", "SDS minus this, 95 %", "similarity x 100"]
    head += ["median rank, front", "median rank, around"]
    rows: list[list[object]] = [["ddim", "", "", f"{floor:.4f}", "", "", "", ""], *(_cells(line) for line in lines)]
    return table(head, rows) + "\n" + verdict(lines)


def _cells(line: Line) -> list[object]:
    return [
        line.method,
        line.scenes,
        line.nfe,
        f"{line.frechet:.4f}",
        "" if line.nearer is None else f"{line.nearer[0]:.4f} to {line.nearer[1]:.4f}",
        f"{line.similarity:.1f}",
        "" if line.front is None else f"{line.front:g}",
        "" if line.around is None else f"{line.around:g}",
    ]


def verdict(lines: Sequence[Line]) -> str:
    """What was expected and what came."""
    by = {line.method: line for line in lines}
    sds, msd = by["sds"], by["msd"]
    nearer, alike = msd.frechet <= sds.frechet, msd.similarity >= sds.similarity
    said = f"Expected: MSD at least as near as SDS and as alike; nearer: {_said(nearer)}, alike: {_said(alike)}. "
    if msd.front is not None:
        said += f"Expected: median rank of the front view at most {MEDIAN}; {msd.front:g} over {msd.scenes} scenes."
    return said + "\n"


def _said(met: bool) -> str:
    return "met" if met else "missed"


def sheet_of(scenes: Scenes, prompts: Sequence[str], seed: int = 0) -> Tensor:
    """Both methods' scenes of the first seed, a row each."""
    rows, names = [], []
    for prompt in prompts:
        for method in METHODS:
            rows.append(scenes.views(method, prompt, seed))
            names.append(f"{prompt}, {method}")
    return labelled(torch.stack(rows), names)


def main(config: ReproduceConfig) -> int:
    """Make the scenes that are missing; write scenes.md, scenes.json and scenes.png."""
    scenes = Scenes.open(config)
    shared = scenes.prompts("sds")
    lines = [scenes.line(method, shared) for method in METHODS]
    path = scenes.book.report("scenes", text(lines, scenes.floor(shared)), lines)
    write_atomic(config.folder() / "scenes.png", png(sheet_of(scenes, shared)))
    print(path.read_text())
    print(path)
    return 0
