"""A comparison from its configuration to its report: what it will cost, the cells that are missing, the numbers."""

from __future__ import annotations

import dataclasses
import shutil
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch

from modeseek.compare.batches import Batch, grouped, streams, to_make
from modeseek.compare.cells import Cell, Painted
from modeseek.compare.config import REFERENCE_SEED, CompareConfig, Contender
from modeseek.compare.memory import Peak
from modeseek.compare.protocols import DDIM_GUIDANCE, configure, learning_rate
from modeseek.config import ImageConfig
from modeseek.descent import build_estimator, build_prior
from modeseek.errors import ModeseekWarning, RunError, UsageError
from modeseek.metrics.clip import ImageText
from modeseek.metrics.extractor import Extractor
from modeseek.metrics.extractors import open_features
from modeseek.pictures import in_bytes
from modeseek.plots import require
from modeseek.priors import Prior
from modeseek.runs import slug
from modeseek.shipped import POCKET_CLIP

SAMPLES = (Contender("reference"), Contender("ddim"))  # DDIM samples to compare with, and others of the same kind


@dataclass
class Comparison:
    """A comparison.

    Attributes:
        config: of it.
        prior: the model.
        extractor: of the features of distances.
        clip: of the similarity to the prompts.
        methods: that take part, the samples not among them.
        texts: the prompts.
        say: told about each batch that is done.
        failed: reasons of the cells that could not be made.
    """

    config: CompareConfig
    prior: Prior
    extractor: Extractor
    clip: ImageText
    methods: tuple[Contender, ...]
    texts: tuple[str, ...]
    say: Callable[[str], None] = print
    failed: dict[tuple[str, str, int], str] = field(default_factory=dict)
    _nfe: dict[Contender, int] = field(default_factory=dict)

    @classmethod
    def open(
        cls, config: CompareConfig, methods: Sequence[Contender] | None = None, say: Callable[[str], None] = print
    ) -> Comparison:
        """Open the models, those of the metrics too, and refuse what cannot run.

        Args:
            config: of the comparison.
            methods: the configuration's if not given.
            say: told about each batch that is done.

        Raises:
            PriorError, UsageError: for a model that is none, or a method that does not fit it.
        """
        if config.threads:
            torch.set_num_threads(config.threads)
        require()
        texts, chosen = config.texts(), tuple(methods or config.contenders())
        prior = build_prior(
            ImageConfig(
                texts[:1],
                prior=config.prior,
                device=config.device,
                dtype=config.dtype,
                network_batch=config.network_batch,
                vae_slicing=config.vae_slicing,
                encoder_checkpointing=config.encoder_checkpointing,
                offload_text=config.offload_text,
            )
        )
        extractor = open_features(config.features, config.device)
        clip = ImageText.open(POCKET_CLIP if config.clip == "pocket-clip" else config.clip, config.device)
        if config.guidance is None and prior.guidance == 1:  # made to go without
            config = dataclasses.replace(config, guidance=1.0)
        if config.prior != "pocket" and "pocket-clip" in (config.features, config.clip):
            warnings.warn(
                "the shipped small CLIP knows pictures of single things on white; for another model give --features "
                "and --clip, see docs/metrics.md",
                ModeseekWarning,
                stacklevel=2,
            )
        prior.grid(config.ddim_steps)  # refuses a number that it cannot sample with
        self = cls(config, prior, extractor, clip, chosen, texts, say)
        for contender in chosen:
            self.nfe(contender)
        return self

    @cached_property
    def model(self) -> str:
        """Fingerprint of the prior, which reads something of every weight."""
        return self.prior.fingerprint

    def cells(self, contender: Contender) -> list[Cell]:
        """Of one method, or of a set of samples, seeds outermost."""
        seeds = self.config.chosen_seeds()
        mates = seeds if contender.method == "vsd" else ()
        found: list[Cell] = []
        for seed in seeds:
            for index, prompt in enumerate(self.texts):
                if contender in SAMPLES:
                    image, told = self.sampling(contender, prompt, seed), f"DDIM-{self.config.ddim_steps}"
                else:
                    image = configure(self.config, contender, prompt, seed)
                    told = f"{self.config.protocol}, {self.config.snapshots} snapshots"
                found.append(Cell(contender, index, image, mates, self.model, told))
        return found

    def sampling(self, contender: Contender, prompt: str, seed: int) -> ImageConfig:
        """What a DDIM sample depends on."""
        seed += REFERENCE_SEED * (contender.method == "reference")
        config = self.config
        return ImageConfig((prompt,), prior=config.prior, seed=seed, guidance=self.sampled_at, dtype=config.dtype)

    @property
    def sampled_at(self) -> float:
        """Guidance scale of DDIM."""
        return DDIM_GUIDANCE if self.config.guidance is None else self.config.guidance

    def batches(self, contender: Contender) -> list[tuple[Cell, ...]]:
        """The cells that are to be made, in batches that do not depend on which are there."""
        groups = grouped(self.cells(contender), self.config.batch)
        return [cells for cells in (to_make(group, self.config.out) for group in groups) if cells]

    def missing(self, contender: Contender) -> list[Cell]:
        """The cells that are to be made."""
        return [cell for cells in self.batches(contender) for cell in cells]

    def nfe(self, contender: Contender) -> int:
        """Evaluations for one picture."""
        if contender not in self._nfe:
            self._nfe[contender] = self._count(contender)
        return self._nfe[contender]

    def _count(self, contender: Contender) -> int:
        if contender in SAMPLES:
            return self.config.ddim_steps * (1 if self.sampled_at == 1 else 2)
        image = configure(self.config, contender, self.texts[0], 0)
        settings, estimator = image.settings, build_estimator(image, self.prior)
        return sum(estimator.nfe(step) for step in range(0, settings.steps, settings.refresh_every))

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """Both sets of samples and the methods."""
        return (*SAMPLES, *self.methods)

    def measurable(self) -> None:
        """Refuse, before any work, what could not be measured after it.

        Raises:
            UsageError: for one picture a method.
        """
        if len(self.texts) * len(self.config.chosen_seeds()) < 2:
            raise UsageError("prompts and seeds must make two pictures or more, got one prompt and one seed")

    def paint(self, contenders: Sequence[Contender] | None = None) -> None:
        """Make every cell that is missing; one that fails is reported and does not stop the rest.

        Args:
            contenders: these alone; all if not given.
        """
        for contender in self.contenders if contenders is None else contenders:
            for cells in self.batches(contender):
                self._attempt(cells)
        if not any(map(self.batches, self.contenders)):  # what is left belongs to batches that no longer are
            shutil.rmtree(self.config.out / "batches", ignore_errors=True)

    def _attempt(self, cells: Sequence[Cell]) -> None:
        began, failure = time.perf_counter(), None
        try:
            self._sampled(cells) if cells[0].contender in SAMPLES else self._distilled(cells)
        except Exception as error:  # whatever it is, hours of other pictures do not depend on it
            failure = error.with_traceback(None)  # it holds the batch's memory while pictures are tried alone
        if failure is not None:
            return self._failed(cells, failure)
        self.say(f"{cells[0].contender}: {len(cells)} pictures in {time.perf_counter() - began:.0f} s")

    def _failed(self, cells: Sequence[Cell], error: Exception) -> None:
        """A batch that failed is made one by one, so that its healthy cells are saved.

        Particles fail together, and a disk that cannot be written is no picture's fault.
        """
        if len(cells) > 1 and not cells[0].mates and not isinstance(error, RunError):
            for cell in cells:
                self._attempt([cell])
            return
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        for cell in cells:
            self.failed[str(cell.contender), cell.prompt, cell.config.seed] = reason
        self.say(f"{cells[0].contender}, {cells[0].prompt!r}, seed {cells[0].config.seed}: failed ({reason})")

    def _distilled(self, cells: Sequence[Cell]) -> None:
        rate = learning_rate(self.config, cells[0].config)
        batch = Batch(cells, self.prior, rate, self.config.snapshots)
        folder = self.config.out / "batches" / f"{slug(str(cells[0].contender))}-{cells[0].mark}"
        batch.paint(folder, self.config.out)

    @torch.no_grad()
    def _sampled(self, cells: Sequence[Cell]) -> None:
        peak, began = Peak(self.prior.device), time.perf_counter()
        cond = self.prior.encode_prompt([cell.prompt for cell in cells])
        x = self.prior.sample(cond, streams(cells), steps=self.config.ddim_steps, guidance_scale=self.sampled_at)
        images, mib = in_bytes(self.prior.decode(x)), peak.mib()
        steps, nfe = torch.tensor([self.config.ddim_steps]), torch.tensor([self.nfe(cells[0].contender)])
        seconds = torch.tensor([(time.perf_counter() - began) / len(cells)], dtype=torch.float64)
        for cell, image in zip(cells, images):
            cell.write(self.config.out, Painted(image[None], steps, nfe, seconds, mib))
