"""VSD's LoRA on tiny Stable-Diffusion-layout pipelines, against merged weights in the network's own units."""

import copy
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from modeseek import open_prior
from modeseek.checkpoints import pack as pack_state
from modeseek.checkpoints import unpack as unpack_state
from modeseek.denoisers.batches import MicroBatchedAsk
from modeseek.distillation import Progress, distill
from modeseek.errors import PriorError, RunError, UsageError
from modeseek.estimators import VSD, Trained
from modeseek.generators import Latents
from modeseek.guidance import Packed, Unpacked, pack
from modeseek.priors.lora import LoRA
from modeseek.randomness import Streams

SIGMA = torch.tensor([0.3, 6.0], dtype=torch.float64)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, EPS, VIEW = draw(2, 4, 8, 8), draw(2, 4, 8, 8, seed=1), draw(2, 4, seed=2)


@pytest.fixture
def prior(pipeline):
    """The tiny pipeline in float64, epsilon prediction."""
    return open_prior(pipeline(), dtype=torch.float64)


def stir(lora: LoRA, scale: float = 0.3) -> LoRA:
    """Random matrices in the place of the zeros."""
    with torch.no_grad():
        for i, p in enumerate(trainable(lora).values()):
            p.copy_(scale * draw(*p.shape, seed=100 + i))
    return lora


def trainable(lora: LoRA) -> dict[str, nn.Parameter]:
    return {name: p for name, p in lora.named_parameters() if p.requires_grad}


def merged(unet: nn.Module, matrices: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's weights with ``B A`` added, from the matrices by name."""
    weights = {name: p.detach() for name, p in unet.named_parameters()}
    for name, b in matrices.items():
        if "lora_B" in name:
            target = name.removeprefix("adapted.").replace(".lora_B.default.weight", ".weight")
            weights[target] = weights[target] + b @ matrices[name.replace("lora_B", "lora_A")]
    return weights


def native(pipe, network, weights, x: Tensor, eps: Tensor, t: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """Predicted noise and velocity at ``a x + s eps`` from the network of diffusers itself, under other weights."""
    ab = pipe.scheduler.alphas_cumprod.double()[t][:, None, None, None]
    a, s = ab.sqrt(), (1 - ab).sqrt()
    z = a * x + s * eps
    out = torch.func.functional_call(network, weights, (z, t, text.expand(len(x), -1, -1))).sample
    if pipe.scheduler.config.prediction_type == "v_prediction":
        return s * z + a * out, out
    return out, (out - s * z) / a  # v = a eps - s x with x = (z - s eps) / a


def rendered(prior, lora: LoRA, scale: float = 7.5, **options: object) -> VSD:
    """VSD with the prior guided and the LoRA unguided."""
    return VSD(Unpacked(prior.guided(scale)), prior.table, Trained(lora, lora, prior.table, **options))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("scale", [1.0, 7.5, 100.0])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_gradient_is_the_native_formula(pipeline, prediction, scale, batch, dtype, tolerance):
    """VSD-1: w (e_pre - e_lora) with w = 1 - ab, guidance on the first alone, merged weights in the second."""
    pipe = pipeline(prediction_type=prediction)
    prior = open_prior(pipe, dtype=dtype)
    lora = stir(LoRA(prior.denoiser))
    text, empty = prior.encode_prompt("a red cat"), prior.encode_prompt("")
    x, eps, t = X[:batch].to(dtype), EPS[:batch].to(dtype), torch.tensor([80, 950])[:batch]
    with torch.no_grad():
        grad = rendered(prior, lora, scale).gradient(x, text, eps, prior.table.sigma(t).to(dtype))
    x, eps, text, empty = (v.double() for v in (x, eps, text, empty))
    matrices = {name: p.detach().double() for name, p in trainable(lora).items()}
    network = copy.deepcopy(pipe.unet).double()
    plain, learned = merged(network, {}), merged(network, matrices)
    e_c, e_u = (native(pipe, network, plain, x, eps, t, c)[0] for c in (text, empty))
    e_lora = native(pipe, network, learned, x, eps, t, text)[0].detach()
    weight = (1 - pipe.scheduler.alphas_cumprod.double()[t])[:, None, None, None]
    expected = weight * (e_u + scale * (e_c - e_u) - e_lora)
    assert float((grad.double() - expected).norm() / expected.norm()) < tolerance
    assert float((e_lora - e_c).norm() / e_c.norm()) > 0.05, "the matrices must matter"


@pytest.mark.parametrize("target", ["epsilon", "velocity"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_one_step_of_adam_by_hand(pipeline, prediction, target):
    """VSD-2: autograd through the merged weights of the native network, and Adam's first step written out."""
    pipe = pipeline(prediction_type=prediction)
    prior = open_prior(pipe, dtype=torch.float64)
    lora, text, lr = stir(LoRA(prior.denoiser)), prior.encode_prompt("red cat"), 1e-3
    before = {name: p.detach().clone().requires_grad_() for name, p in trainable(lora).items()}
    streams = Streams.for_batch(0, 2)
    info = Trained(lora, lora, prior.table, lr=lr, target=target).fit(X, text, streams, 0)
    again = Streams.for_batch(0, 2)
    t = (again.uniform((2,)) * 1000).long()
    eps = again.normal(X.shape).double()
    eps_hat, v_hat = native(pipe, pipe.unet, merged(pipe.unet, before), X, eps, t, text)
    ab = pipe.scheduler.alphas_cumprod.double()[t][:, None, None, None]
    a, s = ab.sqrt(), (1 - ab).sqrt()
    loss = ((eps_hat - eps) if target == "epsilon" else (v_hat - (a * eps - s * X))).square().mean()
    grads = dict(zip(before, torch.autograd.grad(loss, list(before.values()))))
    assert info["fit_loss"] == pytest.approx(float(loss.detach()), rel=1e-6)
    for name, p in trainable(lora).items():
        # m / (1 - 0.9) = g and v / (1 - 0.999) = g^2 after one step; rtol: of the step, not of the matrix
        step = -lr * grads[name] / (grads[name].abs() + 1e-8)
        torch.testing.assert_close(p.detach() - before[name].detach(), step, rtol=1e-3, atol=1e-6 * lr)
        assert bool(grads[name].any())


def test_the_prior_is_the_base_always(prior):
    """Bit for bit before, while and after a LoRA learns, and after an error inside it."""
    text = prior.encode_prompt("cat")
    before, weights = prior.denoiser(X, SIGMA, text), copy.deepcopy(prior.denoiser.network.state_dict())
    names = [name for name, _ in prior.denoiser.network.named_modules()]
    lora = LoRA(prior.denoiser, view_size=4)
    assert torch.equal(lora(X, SIGMA, pack(Packed(text, view=VIEW))), before), "it starts as the prior"
    between = []
    lora.adapted.conv_in.register_forward_hook(lambda *_: between.append(prior.denoiser(X, SIGMA, text)))
    stir(lora)
    assert not torch.equal(lora(X, SIGMA, pack(Packed(text, view=VIEW))), before)
    with pytest.raises(RuntimeError):
        lora(X[:, :3], SIGMA, pack(Packed(text, view=VIEW)))
    assert torch.equal(between[0], before)
    assert torch.equal(prior.denoiser(X, SIGMA, text), before)
    assert [name for name, _ in prior.denoiser.network.named_modules()] == names
    assert all(torch.equal(v, weights[k]) for k, v in prior.denoiser.network.state_dict().items())
    assert not any(module._forward_hooks for module in (lora.adapted.time_embedding, prior.denoiser.network))


def test_shares_the_weights(prior):
    lora, other = LoRA(prior.denoiser), LoRA(prior.denoiser, rank=2)
    owned = {p.data_ptr() for p in prior.denoiser.network.parameters()}
    frozen = [p for p in lora.adapted.parameters() if not p.requires_grad]
    assert {p.data_ptr() for p in frozen} == owned
    text = prior.encode_prompt("cat")
    before = other(X, SIGMA, text)
    stir(lora)
    assert torch.equal(other(X, SIGMA, text), before), "two on one prior do not know each other"


def test_matrices_of_every_attention(prior):
    names = trainable(LoRA(prior.denoiser, rank=3))
    blocks = [name for name, _ in prior.denoiser.network.named_modules() if name.endswith(("attn1", "attn2"))]
    assert len(names) == 2 * 4 * len(blocks) > 0
    assert {min(p.shape) for p in names.values()} == {3}
    assert all(("lora_B" in name) == (not bool(p.any())) for name, p in names.items())


@pytest.mark.parametrize("name", ["sdxl", "sd3", "flux-dev", "dit", "ddpm"])
def test_every_family(family, name):
    """It starts as the prior, and with matrices is the prior with merged weights; VSD and its fit run on it."""
    prior = open_prior(family(name), dtype=torch.float64)
    cond = None if name == "ddpm" else prior.encode_prompt("cock" if name == "dit" else "cat")
    x, eps = draw(2, *prior.latent_shape), draw(2, *prior.latent_shape, seed=1)
    sigma = prior.table.sigma(torch.tensor([100, 600]))
    lora = LoRA(prior.denoiser)
    assert torch.equal(lora(x, sigma, cond), prior.denoiser(x, sigma, cond))
    twin = copy.deepcopy(prior.denoiser)
    with torch.no_grad():
        twin.network.load_state_dict(merged(twin.network, trainable(stir(lora))), strict=False)
    torch.testing.assert_close(lora(x, sigma, cond), twin(x, sigma, cond), rtol=1e-9, atol=1e-9)
    vsd = rendered(prior, lora, 1.0)
    level = sigma[:, None, None, None]
    difference = (lora(x + level * eps, sigma, cond) - prior.denoiser(x + level * eps, sigma, cond)) / level
    with torch.no_grad():
        expected = level**2 / (1 + level**2) * difference  # eps_hat - eps_phi = (D_phi - D) / sigma
        torch.testing.assert_close(vsd.gradient(x, cond, eps, sigma), expected, rtol=1e-9, atol=1e-9)
    before = {k: p.detach().clone() for k, p in trainable(lora).items()}
    vsd.fit(x, cond, rng=Streams.for_batch(0, 2))
    assert any(not torch.equal(p, before[k]) for k, p in trainable(lora).items())


@pytest.mark.parametrize("name", ["sd3", "flux-dev"])
def test_joint_attention(family, name):
    """The text's projections too where picture and text have their own; and a view has nowhere to go."""
    denoiser = open_prior(family(name)).denoiser
    found = {key.split(".lora_")[0].split("attn.")[-1] for key in trainable(LoRA(denoiser))}
    assert {"to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"} == found
    with pytest.raises(PriorError, match=r"must have a time_embedding for a view.*Transformer2DModel has none"):
        LoRA(denoiser, view_size=4)


def test_the_seed_alone_decides(prior):
    state = torch.get_rng_state()
    first, same, other = (LoRA(prior.denoiser, seed=seed, view_size=4) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    pairs = list(zip(trainable(first).values(), trainable(same).values(), trainable(other).values()))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)


def test_learns_a_rendering(prior):
    """VSD-2: the loss on fixed renderings falls, on noise that it was not trained on."""
    lora, text = LoRA(prior.denoiser), prior.encode_prompt("cat")
    trained = Trained(lora, lora, prior.table, lr=1e-2)

    def losses() -> Tensor:
        sigmas = prior.table.sigma(torch.linspace(20, 980, 32).long())
        with torch.no_grad():
            return torch.stack([trained.loss(X, text, draw(*X.shape, seed=7 + i), s) for i, s in enumerate(sigmas)])

    before = losses()
    for step in range(30):
        trained.fit(X, text, Streams.for_batch(0, 2).at(step), step)
    fall = before - losses()
    assert float(fall.mean()) > 5 * float(fall.std()) / len(fall) ** 0.5


def test_a_row_of_a_batch_is_that_row_alone(prior):
    """Particles, each with its view: what VSD says of one does not depend on the others."""
    vsd = rendered(prior, stir(LoRA(prior.denoiser, view_size=4)))
    x, eps, view, sigma = draw(3, 4, 8, 8), draw(3, 4, 8, 8, seed=1), draw(3, 4, seed=2), SIGMA[[0, 1, 1]]
    text = prior.encode_prompt("cat")
    together = vsd.gradient(x, pack(Packed(text, view=view)), eps, sigma)
    for i in range(3):
        row = slice(i, i + 1)
        alone = vsd.gradient(x[row], pack(Packed(text, view=view[row])), eps[row], sigma[row])
        torch.testing.assert_close(together[row], alone, rtol=1e-9, atol=1e-9)
    moved = vsd.gradient(x, pack(Packed(text, view=view.flip(0))), eps, sigma)
    assert not torch.equal(moved[0], together[0])
    assert vsd.nfe(0) == 3


def test_the_same_rng_gives_the_same(prior):
    """And the global generator is left alone, by a call and by a fit."""
    text, state = prior.encode_prompt("cat"), torch.get_rng_state()

    def once() -> tuple[Tensor, dict[str, Tensor]]:
        vsd = rendered(prior, LoRA(prior.denoiser, seed=4))
        vsd.fit(X, text, rng=Streams.for_batch(0, 2))
        return vsd(X, text, rng=Streams.for_batch(0, 2).at(1)).grad, vsd.state_dict()

    (first, one), (second, two) = once(), once()
    assert torch.equal(first, second)
    assert all(torch.equal(one[k], two[k]) for k in one)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_view_moves_the_embedding_of_the_time(prior):
    """Against the native network whose time embedding has the view's added to its last bias."""
    lora = stir(LoRA(prior.denoiser, view_size=4), 0.5)
    text = prior.encode_prompt("cat")
    found = lora(X, 2.0, pack(Packed(text, view=VIEW)))
    plain = copy.deepcopy(lora)
    plain.view = None
    for i in range(2):
        with torch.no_grad():
            bias = plain.adapted.time_embedding.linear_2.bias
            kept = bias.clone()
            bias.add_(lora.view(VIEW[i : i + 1])[0])
            expected = plain(X[i : i + 1], 2.0, text)
            bias.copy_(kept)
        torch.testing.assert_close(found[i : i + 1], expected, rtol=1e-9, atol=1e-9)
        assert not torch.allclose(found[i : i + 1], plain(X[i : i + 1], 2.0, text))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_view_finds_its_row_in_micro_batches(prior, size):
    """The network sees some rows at a time; each is still added the view of its own sample."""
    lora = stir(LoRA(prior.denoiser, view_size=4), 0.5)
    z, view = torch.cat([X, 2 * X, -X]), torch.cat([VIEW, 3 * VIEW, -VIEW])
    cond = pack(Packed(prior.encode_prompt("cat"), view=view))
    whole = [lora(z, 2.0, cond), lora(-z, 1.0, cond)]
    lora.twin.ask = MicroBatchedAsk(lora.twin.ask, size)
    for found, expected in zip([lora(z, 2.0, cond), lora(-z, 1.0, cond)], whole):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_a_text_of_its_own(prior):
    plain, side = prior.encode_prompt("cat"), prior.encode_prompt("cat, side")
    lora = stir(LoRA(prior.denoiser, cond=plain))
    free = stir(LoRA(prior.denoiser))
    assert torch.equal(lora(X, SIGMA, side), free(X, SIGMA, plain))
    assert not torch.equal(free(X, SIGMA, side), free(X, SIGMA, plain))


def test_views_are_dropped_one_by_one(prior):
    """Not by the batch: the number of zero rows is binomial, and the same streams drop the same rows."""
    lora, n = LoRA(prior.denoiser, view_size=4, view_dropout=0.3), 2000
    cond = pack(Packed(draw(1, 3, 5), view=torch.ones(n, 4, dtype=torch.float64)))
    dropped = lora.dropped(cond, Streams.for_batch(0, n), n)
    gone = (dropped["view"] == 0).all(1)
    assert abs(float(gone.double().mean()) - 0.3) < 5 * (0.3 * 0.7 / n) ** 0.5
    assert bool(((dropped["view"] == 0).any(1) == gone).all()), "a row goes as a whole"
    assert torch.equal(dropped["view"], lora.dropped(cond, Streams.for_batch(0, n), n)["view"])
    assert torch.equal(dropped["cond"], cond["cond"])
    assert LoRA(prior.denoiser, view_size=4, view_dropout=0).dropped(cond, Streams.for_batch(0, n), n) is cond
    one = lora.dropped(pack(Packed(None, view=torch.ones(1, 4))), Streams.for_batch(0, n), n)["view"]
    assert torch.equal((one == 0).all(1), gone), "a view for all is dropped sample by sample too"


def test_dropout_while_learning_alone(prior):
    """VSD-2: the loss that fit reports is that of the views left; the gradient sees them all."""
    text = prior.encode_prompt("cat")
    lora = stir(LoRA(prior.denoiser, view_size=4, view_dropout=1.0), 0.5)
    vsd, cond = rendered(prior, lora), pack(Packed(text, view=VIEW))
    nothing = pack(Packed(text, view=0 * VIEW))
    assert not torch.equal(vsd.gradient(X, cond, EPS, SIGMA), vsd.gradient(X, nothing, EPS, SIGMA))
    again = Streams.for_batch(0, 2)
    sigma = prior.table.pick(again.uniform((2,)), 0, 999)
    expected = vsd.auxiliary.loss(X, nothing, again.normal(X.shape).double(), sigma)
    fitted = vsd.fit(X, cond, rng=Streams.for_batch(0, 2))
    assert fitted["fit_loss"] == pytest.approx(float(expected.detach()), rel=1e-12)


class Turning(nn.Module):
    """Latents seen from a side that changes with the step."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.Parameter(X.float())

    def forward(self, rng: Streams):
        from modeseek.generators import View

        return View(self.x, rng.normal((2, 4)))


def parts_of_a_run(prior) -> tuple[nn.Module, torch.optim.Optimizer, VSD]:
    generator = Turning()
    lora = LoRA(prior.denoiser, seed=3, view_size=4, view_dropout=0.5)
    vsd = rendered(prior, lora, lr=1e-3, target="velocity")
    return generator, torch.optim.Adam(generator.parameters(), lr=1e-2), vsd


def test_goes_on_bit_for_bit_after_a_kill(pipeline):
    """The state of a checkpoint holds the matrices, the view's network, Adam's moments and what they stand on."""
    prior = open_prior(pipeline(prediction_type="v_prediction"))
    text = prior.encode_prompt("cat")

    def run(parts, progress: Progress, steps: int) -> Progress:
        def under(camera: Tensor):
            return pack(Packed(text, view=camera))

        rng = Streams.for_batch(0, 2)
        return distill(parts[0], parts[2], under, steps=steps, rng=rng, optimiser=parts[1], progress=progress)

    whole, first, second = (parts_of_a_run(prior) for _ in range(3))
    run(whole, Progress(), 6)
    tensors, state = pack_state(first[0], first[1], run(first, Progress(), 4), first[2])
    tensors = {k: v.clone() for k, v in tensors.items()}
    progress = unpack_state(tensors, state, *second[:2], second[2], source="here")
    run(second, progress, 6)
    assert torch.equal(whole[0].x, second[0].x)
    ours, theirs = whole[2].state_dict(), second[2].state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(v, theirs[k]) for k, v in ours.items())
    learned = [k for k in ours if k.startswith("network.")]
    assert all("lora_" in k or k.startswith("network.view.") for k in learned)
    assert len(ours) == 4 * len(learned) + 1, "each with step and two moments, and the fingerprint"
    other = open_prior(pipeline(prediction_type="v_prediction"))
    with torch.no_grad():
        other.denoiser.network.conv_out.weight.mul_(1.01)
    strange = parts_of_a_run(other)
    with pytest.raises(RunError, match="trained on another base model"):
        unpack_state(tensors, state, *strange[:2], strange[2], source="here")


@pytest.mark.parametrize(
    ("options", "change", "says"),
    [
        ({"rank": 2}, lambda state: None, "differs in network.adapted"),
        ({"view_size": 4}, lambda state: None, "differs in network.view"),
        ({}, lambda state: state.pop("base"), "trained on another base model"),
        ({}, lambda state: state.update(base=1 - state["base"]), "trained on another base model"),
    ],
)
def test_refuses_a_state_of_another_lora(prior, options, change, says):
    lora, other = LoRA(prior.denoiser), LoRA(prior.denoiser, **options)
    state = Trained(lora, lora, prior.table).state_dict()
    change(state)
    with pytest.raises(UsageError, match=says):
        Trained(other, other, prior.table).load_state_dict(state)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(pipeline, dtype):
    """Float32 matrices on half-precision weights: the prior exactly at first, and the gradient that float32 has."""

    def gradient(kind: torch.dtype) -> Tensor:
        prior = open_prior(pipeline(), dtype=kind)
        text = prior.encode_prompt("cat").float()
        lora = LoRA(prior.denoiser, view_size=4)
        cond = pack(Packed(text, view=VIEW.float()))
        start = lora(X.float(), SIGMA.float(), cond)
        assert torch.equal(start, prior.denoiser(X.float(), SIGMA.float(), text))
        assert start.dtype == torch.float32
        Trained(lora, lora, prior.table).fit(X.float(), cond, Streams.for_batch(0, 2), 0)
        assert {p.dtype for p in trainable(lora).values()} == {torch.float32}
        assert {p.dtype for p in lora.adapted.parameters() if not p.requires_grad} == {kind}
        grads = {name: p.grad for name, p in trainable(lora).items() if name.endswith("lora_B.default.weight")}
        assert not any(bool((g == 0).all()) for g in grads.values())
        return torch.cat([g.flatten() for g in grads.values()])

    exact = gradient(torch.float32)
    assert float((gradient(dtype) - exact).norm() / exact.norm()) < 0.05


def test_bad_input(prior, monkeypatch):
    text = prior.encode_prompt("cat")
    with pytest.raises(UsageError, match=r"rank must be at least 1.*got 0, 0 and 0\.1"):
        LoRA(prior.denoiser, rank=0)
    with pytest.raises(UsageError, match=r"view_dropout between 0 and 1, got 4, 4 and 1\.5"):
        LoRA(prior.denoiser, view_size=4, view_dropout=1.5)
    lora = LoRA(prior.denoiser, view_size=4)
    with pytest.raises(UsageError, match="must bring a view of 2 rows and 4 columns beside it, got none"):
        lora(X, SIGMA, text)
    with pytest.raises(UsageError, match=r"2 rows and 4 columns beside it, got \(2, 3\)"):
        lora(X, SIGMA, pack(Packed(text, view=VIEW[:, :3])))
    with pytest.raises(PriorError, match=r"must have no LoRA of its own, got .*lora_A.*; fuse and unload it first"):
        LoRA(lora.twin)
    still = SimpleNamespace(network=nn.Linear(2, 2), sigma_min=0.0, sigma_max=1.0)
    with pytest.raises(PriorError, match="must have attention for a LoRA; this Linear has none"):
        LoRA(still)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(PriorError, match="peft must be installed for a LoRA; it is not: pip install peft"):
        LoRA(prior.denoiser)


def test_in_the_loop(prior):
    """Several particles of one prompt: their gradients differ, the LoRA learns from all, and says how well."""
    lora = LoRA(prior.denoiser)
    generator, losses = Latents(X), []
    vsd = rendered(prior, lora, lr=1e-2)
    distill(
        generator,
        vsd,
        prior.encode_prompt("cat"),
        steps=3,
        rng=Streams.for_batch(0, 2),
        callback=lambda step: losses.append(step.fitted["fit_loss"]),
    )
    assert len(set(losses)) == 3
    assert not torch.equal(generator.x[0] - X[0], generator.x[1] - X[1])
    assert all(bool(p.any()) for p in trainable(lora).values())
