"""The SKC blocks are the method's equations, exactly, without ever making the maps that these speak of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from skcdf.networks import semantic_knowledge
from skcdf.networks.semantic_knowledge import SemanticKnowledge, channel_attention, map_variance

BOTTLENECKS = [((2, 2, 2), 6), ((2, 4, 4), 4), ((4, 8, 8), 3), ((6, 6, 6), 3)]
BATCHES = [(1, 2), (2, 1), (3, 1), (1, 1)]
KINDS = ["local", "global", "global, permuted"]
quick = settings(max_examples=30, deadline=None)


def block_of(kind: str, bottleneck: tuple[int, int, int], channels: int, dropout: float = 0.0):
    cell = (2, 2, 2) if kind == "local" else bottleneck
    return SemanticKnowledge(
        channels, cell, dropout, permuted_heads="permuted" in kind, drops_alone=kind != "local"
    )


def perturbed(block: SemanticKnowledge) -> SemanticKnowledge:
    """Float64, with norms that are not the identity, so that forgetting one of them shows."""
    block = block.double()
    with torch.no_grad():
        for norm in (block.token_norm, block.output_norm):
            norm.weight.add_(0.3 * torch.randn_like(norm.weight))
            norm.bias.add_(0.3 * torch.randn_like(norm.bias))
    return block


def plain_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight + bias


def plain_softmax(scores: Tensor, over: tuple[int, ...], keys: tuple[int, ...]) -> Tensor:
    """Instance norm over the dimensions ``over`` of the whole map, then softmax over its ``keys``."""
    centred = scores - scores.mean(over, keepdim=True)
    normalised = centred / (centred.square().mean(over, keepdim=True) + 1e-5).sqrt()
    exponential = normalised.exp()
    return exponential / exponential.sum(keys, keepdim=True)


def plain_exchange(queries: Tensor, keys: Tensor, w: dict[str, Tensor]) -> Tensor:
    """§3.2: every channel of every query image against every channel of all key images, in one map."""
    q = torch.einsum("bgec,mc->bgem", queries, w["query.weight"])
    k = torch.einsum("pgec,nc->pgen", keys, w["key.weight"])
    v = torch.einsum("pgec,nc->pgen", keys, w["value.weight"])
    scores = torch.einsum("bgem,pgen->bgmpn", q, k)
    mixed = torch.einsum("bgmpn,pgen->bgem", plain_softmax(scores, (2, 3, 4), (3, 4)), v)
    return torch.einsum("bgem,cm->bgec", mixed, w["projection.weight"])


def plain_alone(z: Tensor, w: dict[str, Tensor], permuted: bool) -> Tensor:
    """§3.3: image by image and head by head."""
    channels, outputs = z.shape[-1], []
    for head in range(2):
        read = torch.arange(channels) + head * channels if permuted else 2 * torch.arange(channels) + head
        q, k, v = (
            torch.einsum("bgec,mc->bgem", z, w[f"{name}.weight"][read]) for name in ("query", "key", "value")
        )
        scores = torch.einsum("bgem,bgen->bgmn", q, k)
        outputs.append(torch.einsum("bgmn,bgen->bgem", plain_softmax(scores, (2, 3), (3,)), v))
    written = torch.stack(outputs, -1).flatten(-2)  # channel · 2 + head, however it was read
    return torch.einsum("bgem,cm->bgec", written, w["projection.weight"])


def plain(x: Tensor, w: dict[str, Tensor], cell, labelled: int | None, permuted: bool) -> Tensor:
    """§3 as it is written, every map and every token materialised."""
    batch, channels = x.shape[:2]
    positions = math.prod(cell)
    kernel = w["tokens.weight"].reshape(positions, 1, *cell)
    each = torch.nn.functional.conv3d(
        x.flatten(0, 1)[:, None], kernel, w["tokens.bias"], stride=cell
    )  # every channel on its own, weights shared
    grid = each.shape[2:]
    a = each.reshape(batch, channels, positions, -1).permute(0, 3, 2, 1)  # b, g, e, c
    z = plain_norm(a, w["token_norm.weight"], w["token_norm.bias"])
    if labelled is None:
        attended = plain_alone(z, w, permuted)
    else:
        known, unknown = z[:labelled], z[labelled:].detach()
        attended = torch.cat([plain_exchange(known, unknown, w), plain_exchange(unknown, known, w)])
    y = plain_norm(attended + a, w["output_norm.weight"], w["output_norm.bias"])
    mapped = torch.einsum("bgec,dc->bged", y, w["map_out.weight"]) + w["map_out.bias"]
    out = mapped * 0.5 * (1 + torch.erf(mapped / math.sqrt(2)))
    volume = torch.zeros_like(x)
    for e, (i, j, k) in enumerate(itertools.product(*map(range, cell))):
        value = out[:, :, e].transpose(1, 2).reshape(batch, channels, *grid)
        volume[:, :, i :: cell[0], j :: cell[1], k :: cell[2]] = value
    return volume


@pytest.mark.parametrize("split", [None, *BATCHES], ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("bottleneck", "channels"), BOTTLENECKS, ids=str)
def test_a_block_is_the_equations_in_value_and_every_gradient(bottleneck, channels, kind, split):
    torch.manual_seed(0)
    block = perturbed(block_of(kind, bottleneck, channels))
    images = 3 if split is None else sum(split)
    labelled = None if split is None else split[0]
    x = torch.randn(images, channels, *bottleneck, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(x.shape, dtype=torch.float64)

    value = block(x, labelled)
    own = torch.autograd.grad((value * direction).sum(), [x, *block.parameters()])

    weights = {name: p.detach().clone().requires_grad_() for name, p in block.named_parameters()}
    expected = plain(x, weights, block.cell, labelled, "permuted" in kind)
    theirs = torch.autograd.grad((expected * direction).sum(), [x, *weights.values()])

    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10)
    for name, a, b in zip(["input", *weights], own, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10, msg=lambda text, n=name: f"{n}: {text}")


def network(channels: int = 6, bottleneck=(4, 2, 2), dropout: float = 0.0) -> Callable[..., Tensor]:
    """Both blocks, one after the other, as the network has them."""
    local, whole = (
        block_of(kind, bottleneck, channels, dropout).double() for kind in ("local", "global, permuted")
    )
    return lambda x, labelled=None: whole(local(x, labelled), labelled)


def images(count: int, channels: int = 6, bottleneck=(4, 2, 2)) -> Tensor:
    return torch.randn(count, channels, *bottleneck, dtype=torch.float64, requires_grad=True)


class TestWhoLearnsFromWhom:
    @pytest.mark.parametrize(("labelled", "unlabelled"), BATCHES)
    def test_no_gradient_flows_from_labelled_outputs_to_unlabelled_images(self, labelled, unlabelled):
        torch.manual_seed(0)
        x = images(labelled + unlabelled)
        network(dropout=0.1)(x, labelled)[:labelled].square().sum().backward()
        assert x.grad is not None
        assert torch.equal(x.grad[labelled:], torch.zeros_like(x.grad[labelled:]))
        assert (x.grad[:labelled].flatten(1).abs().amax(1) > 0).all()

    def test_gradient_flows_from_unlabelled_outputs_to_labelled_images(self):
        torch.manual_seed(0)
        x = images(4)
        network()(x, 3)[3:].square().sum().backward()
        assert x.grad is not None
        assert (x.grad.flatten(1).abs().amax(1) > 0).all()  # their own through the residual, too

    def test_labelled_outputs_depend_on_unlabelled_images_and_the_other_way_round(self):
        torch.manual_seed(0)
        both, x = network(), images(3).detach()
        before = both(x, 2)
        for changed, other in ((2, slice(0, 2)), (0, slice(2, 3))):
            y = x.clone()
            y[changed] += torch.randn_like(y[changed])
            assert not torch.allclose(both(y, 2)[other], before[other], atol=1e-6)

    def test_alone_images_do_not_see_each_other(self):
        torch.manual_seed(0)
        both, x = network(), images(3).detach()
        alone = torch.cat([both(x[i : i + 1]) for i in range(3)])
        torch.testing.assert_close(both(x), alone, rtol=1e-12, atol=1e-12)

    def test_keys_and_values_learn_from_unlabelled_images(self):
        torch.manual_seed(0)
        block = block_of("local", (2, 2, 2), 6).double()
        x = images(2, bottleneck=(2, 2, 2))
        block(x, 1)[:1].square().sum().backward()
        for linear in (block.query, block.key, block.value):
            assert linear.weight.grad is not None and linear.weight.grad.abs().max() > 1e-6


class TestWhatIsRefused:
    @pytest.mark.parametrize("labelled", [0, 2, 3, -1])
    def test_labelled_mode_without_both_kinds_of_images(self, labelled):
        with pytest.raises(ValueError, match="needs labelled and unlabelled images"):
            block_of("local", (2, 2, 2), 6)(torch.zeros(2, 6, 2, 2, 2), labelled)

    @pytest.mark.parametrize("kind", ["local", "global"])
    def test_features_that_do_not_divide_into_cells(self, kind):
        with pytest.raises(ValueError, match=r"features of \(2, 3, 2\) voxels do not divide"):
            block_of(kind, (2, 2, 2), 6)(torch.zeros(1, 6, 2, 3, 2))


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operation returns, forward, recomputed and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0
        self.operations: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations.add(str(function))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, Tensor):
                self.entries = max(self.entries, each.untyped_storage().nbytes() // each.element_size())
        return result


class TestMemory:
    """At the published size, 512 channels and 4×8×8 voxels, where a cell's map has 1024 rows."""

    @staticmethod
    def step(kind: str, dropout: float, images: int, labelled: int | None) -> Largest:
        torch.manual_seed(0)
        block = block_of(kind, (4, 8, 8), 512, dropout)
        x = torch.randn(images, 512, 4, 8, 8, requires_grad=True)
        with Largest() as largest:
            block(x, labelled)[:labelled].square().sum().backward()
        assert any("backward" in name for name in largest.operations)
        return largest

    @pytest.mark.slow
    @pytest.mark.parametrize(("images", "labelled"), [(4, 2), (2, None)])
    @pytest.mark.parametrize("kind", ["local", "global"])
    def test_maps_are_never_made(self, kind, images, labelled):
        largest = self.step(kind, 0.0, images, labelled)
        assert largest.entries < 1024 * 2048  # a single map of one query image and one cell

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", ["local", "global"])
    def test_with_dropout_a_bounded_part_of_them_exists_at_a_time(self, kind):
        largest = self.step(kind, 0.1, 2, 1)
        assert largest.entries <= semantic_knowledge.CHUNK_ENTRIES

    def test_a_map_larger_than_the_bound_is_made_in_rows(self, monkeypatch):
        monkeypatch.setattr(semantic_knowledge, "CHUNK_ENTRIES", 1 << 19)
        assert self.step("global", 0.1, 2, 1).entries <= 1 << 19  # one map has twice as many

    def test_nothing_of_the_maps_is_kept_for_backward(self):
        kept: list[int] = []
        block = block_of("local", (4, 8, 8), 256, 0.1)
        x = torch.randn(2, 256, 4, 8, 8, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            block(x, 1)
        assert max(kept) <= 32 * 512 * 8  # queries of all cells; their maps are 64 times as large


def vectors(seed: int, *shape: int, **options) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, **options)


class TestDropout:
    NEGLIGIBLE = 1e-12  # enough to leave the fused kernel, too little to drop anything

    @given(
        st.integers(0, 10**6),
        st.lists(st.integers(1, 3), max_size=2),
        st.integers(1, 9),
        st.integers(1, 9),
        st.integers(1, 5),
        st.integers(1, 120),
    )
    @quick
    def test_in_chunks_attention_is_what_it_is_at_once(self, seed, leading, rows, keys, positions, bound):
        q = vectors(seed, *leading, rows, positions)
        k, v = (vectors(seed + i, *leading, keys, positions) for i in (1, 2))
        before = semantic_knowledge.CHUNK_ENTRIES
        semantic_knowledge.CHUNK_ENTRIES = bound
        try:
            value = channel_attention(q, k, v, self.NEGLIGIBLE)
        finally:
            semantic_knowledge.CHUNK_ENTRIES = before
        torch.testing.assert_close(value, channel_attention(q, k, v), rtol=1e-10, atol=1e-10)

    @pytest.mark.parametrize("bound", [20, 10_000])
    def test_backward_repeats_the_draws_of_forward(self, monkeypatch, bound):
        monkeypatch.setattr(semantic_knowledge, "CHUNK_ENTRIES", bound)

        def seeded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            torch.manual_seed(3)
            return channel_attention(q, k, v, 0.4)

        q, k, v = (vectors(i, 3, rows, 2).requires_grad_() for i, rows in enumerate((4, 5, 5)))
        assert torch.autograd.gradcheck(seeded, (q, k, v))

    def test_every_chunk_and_every_call_draws_anew(self, monkeypatch):
        monkeypatch.setattr(semantic_knowledge, "CHUNK_ENTRIES", 30)  # one of the maps
        q, k, v = (vectors(i, rows, 2).expand(8, rows, 2) for i, rows in enumerate((5, 6, 6)))
        first, second = (channel_attention(q, k, v, 0.5) for _ in range(2))
        assert len(torch.cat([first, second]).unique(dim=0)) == 16

    @pytest.mark.parametrize("labelled", [None, 2])
    def test_the_same_seed_gives_the_same_gradients_and_another_one_others(self, labelled):
        torch.manual_seed(0)
        both, x = network(dropout=0.1), images(3)

        def gradient(seed: int) -> Tensor:
            torch.manual_seed(seed)
            return torch.autograd.grad(both(x, labelled).square().sum(), x)[0]

        assert torch.equal(gradient(1), gradient(1))
        assert not torch.allclose(gradient(1), gradient(2))

    def test_its_mean_over_many_draws_is_attention_without_it(self):
        torch.manual_seed(0)
        draws = 4000
        q, k, v = vectors(0, 3, 2), vectors(1, 6, 2), vectors(2, 6, 2)
        many = channel_attention(*(x.expand(draws, *x.shape) for x in (q, k, v)), dropout=0.3)
        error = many.std(0) / math.sqrt(draws)
        assert (error > 0).all()
        assert ((many.mean(0) - channel_attention(q, k, v)).abs() < 5 * error).all()

    def test_it_acts_in_training_only(self):
        torch.manual_seed(0)
        block = block_of("global", (2, 2, 2), 6, 0.5)
        x = torch.randn(2, 6, 2, 2, 2)
        assert not torch.equal(block(x), block(x))
        block.eval()
        assert torch.equal(block(x), block(x))

    def test_alone_the_local_block_does_not_drop_its_output_projection(self):
        """With every probability kept, only the projection's dropout could make a zero row of attention."""
        torch.manual_seed(0)
        dropped = {}
        for kind in ("local", "global"):
            block = block_of(kind, (2, 2, 2), 64, 0.5)
            seen: list[Tensor] = []
            block.output_norm.register_forward_pre_hook(lambda _, inputs, to=seen: to.append(inputs[0]))
            with torch.no_grad():
                block.tokens.weight.zero_()
                block.tokens.bias.fill_(1.0)  # so that the residual is 1
                block.token_norm.bias.normal_()
                block(torch.randn(1, 64, 2, 2, 2))
            dropped[kind] = float((seen[0] == 1).double().mean())
        assert dropped["local"] == 0
        assert dropped["global"] == pytest.approx(0.5, abs=0.15)


class TestVariance:
    @given(
        st.integers(0, 10**6),
        st.integers(1, 12),
        st.integers(1, 12),
        st.integers(1, 5),
        st.sampled_from([0.0, 1.0, 100.0, -1e4]),
        st.sampled_from([0.0, 3.0, 1e4]),
    )
    @quick
    def test_it_is_that_of_the_whole_map(self, seed, rows, keys, positions, offset_q, offset_k):
        q = vectors(seed, 2, rows, positions) + offset_q
        k = vectors(seed + 1, 2, keys, positions) + offset_k
        expected = (q @ k.transpose(1, 2)).flatten(1).var(1, unbiased=False)
        scale = float((q.square().sum() * k.square().sum()).detach())
        torch.testing.assert_close(map_variance(q, k), expected, rtol=1e-9, atol=1e-15 * scale)

    @given(st.integers(0, 10**6), st.sampled_from([0.0, 10.0, 1e3, 1e4]), st.sampled_from([0.0, 10.0, 1e4]))
    @quick
    def test_float32_keeps_it_far_from_zero_where_sums_of_squares_would_cancel(self, seed, far_q, far_k):
        q = (vectors(seed, 64, 8) + far_q).float()
        k = (vectors(seed + 1, 128, 8) + far_k).float()
        expected = (q.double() @ k.double().T).var(unbiased=False)
        assert float(map_variance(q, k)) == pytest.approx(float(expected), rel=1e-5)

    def test_a_constant_map_has_none_and_attention_over_it_is_the_mean(self):
        q, k, v = torch.full((3, 2), 1e3), torch.full((4, 2), -7.0), vectors(0, 4, 2).float()
        assert float(map_variance(q, k)) == 0
        torch.testing.assert_close(channel_attention(q[None], k[None], v[None])[0], v.mean(0).expand(3, 2))
