"""Frozen layers against PyTorch's own, and what they keep in memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from isengard.trainers import frozen


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(3)


def random(*shape, dtype=torch.float64, trained=False):
    return torch.randn(*shape, dtype=dtype, requires_grad=trained)


def product(dtype=torch.float64, trained=True):
    return frozen.Product(random(2, 5, dtype=dtype, trained=trained), random(4, 2, dtype=dtype, trained=trained), 1.7)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 5), (5,), (2, 0, 5)])
def test_the_gradients_of_a_linear_layer_and_its_product(shape, bias):
    x, weight, shift = random(*shape, trained=True), random(4, 5), random(4) if bias else None
    beside = product()

    def ours(x, down, up):
        return frozen.linear(x, weight, shift, frozen.Product(down, up, beside.scale))

    expected = functional.linear(x, weight + beside.scale * beside.up @ beside.down, shift)
    torch.testing.assert_close(ours(x, beside.down, beside.up), expected)
    assert torch.autograd.gradcheck(ours, (x, beside.down, beside.up))
    assert torch.autograd.gradcheck(lambda x: frozen.linear(x, weight, shift), (x,))


def test_a_product_is_trained_where_the_input_needs_no_gradient():
    x, weight, beside = random(3, 5), random(4, 5), product()
    frozen.linear(x, weight, None, beside).sum().backward()
    change = torch.ones(4, 3, dtype=torch.float64) @ x  # of the whole weight: out, in
    torch.testing.assert_close(beside.up.grad, beside.scale * change @ beside.down.t())
    torch.testing.assert_close(beside.down.grad, beside.scale * beside.up.t() @ change)


@pytest.mark.parametrize("beside", [None, product()])
def test_networks_may_add_to_the_output_in_place(beside):
    x, weight, more = random(2, 3, 5), random(4, 5), random(2, 3, 4, trained=True)
    out = frozen.linear(x, weight, None, beside)
    out += more.exp()
    out.square().sum().backward()
    torch.testing.assert_close(more.grad, (2 * out * more.exp()).detach())


@pytest.mark.parametrize("settings", [{}, {"stride": 2, "padding": 1}, {"dilation": 2}, {"groups": 2}])
def test_the_gradient_of_a_convolution(settings):
    network = nn.Sequential(nn.Conv2d(4, 6, 3, **settings)).double().requires_grad_(False)
    x = random(2, 4, 7, 7, trained=True)
    expected = network(x)
    with frozen.computing_as_inputs(network):
        assert "forward" in vars(network[0])
        torch.testing.assert_close(network(x), expected)
        assert torch.autograd.gradcheck(network, (x,))


def small():
    """A convolution, a linear layer, and float32 weights, none of them trained."""
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Flatten(2), nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    return network.requires_grad_(False)


def test_layers_compute_in_the_type_of_their_inputs():
    network, x = small(), random(2, 3, 4, 4, dtype=torch.bfloat16)
    expected = small()
    expected.load_state_dict(network.state_dict())
    with frozen.computing_as_inputs(network):
        found = network(x)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.bfloat16()(x))
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


@pytest.mark.parametrize(("rows", "digits"), [(2, "float32"), (9, "bfloat16")])
def test_few_rows_are_multiplied_with_the_float32_weight_itself(rows, digits):
    x, weight, shift = random(rows, 5, dtype=torch.bfloat16), random(4, 5, dtype=torch.float32), torch.ones(4)
    dtype = getattr(torch, digits)
    expected = functional.linear(x.to(dtype), weight.to(dtype), shift.to(dtype)).bfloat16()
    found = frozen.linear(x, weight, shift)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected)


def test_a_small_range_is_not_entered_for_few_rows():
    """float16 ends at 65504."""
    large = torch.full((1, 5), 1e5, dtype=torch.bfloat16)
    assert torch.isfinite(frozen.linear(large, torch.ones(4, 5, dtype=torch.float16), None)).all()


def test_no_cast_weight_is_kept_for_the_backward_pass():
    network, kept = small(), []
    weights = {parameter.shape for parameter in network.parameters() if parameter.dim() > 1}

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with frozen.computing_as_inputs(network), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(random(2, 3, 4, 4, dtype=torch.bfloat16, trained=True)).sum().backward()
    of_weights = [tensor for tensor in kept if tensor.shape in weights]
    assert len(of_weights) == len(weights)
    assert {tensor.data_ptr() for tensor in of_weights} <= {weight.data_ptr() for weight in network.parameters()}


class Mixed(nn.Linear):
    """A pack's own layer, with another forward."""

    def forward(self, x):
        return 2 * super().forward(x)


def odd_layers() -> list[nn.Module]:
    """Layers that are more than their weight and bias."""
    patched, replaced, quantised, hooked = (nn.Linear(2, 2) for _ in range(4))
    patched.weight_function = [lambda weight: weight]
    replaced.forward = lambda x: x
    quantised.weight = nn.Parameter(torch.zeros(2, 2, dtype=torch.float8_e4m3fn), requires_grad=False)
    hooked.register_forward_hook(lambda module, inputs, output: 2 * output)
    circular, tiling, same = (
        nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"),
        nn.Conv2d(1, 1, 3),
        nn.Conv2d(1, 1, 3, padding="same"),
    )
    tiling._conv_forward = lambda x, weight, bias: x
    return [patched, replaced, quantised, hooked, Mixed(2, 2), circular, tiling, same, nn.Conv1d(1, 1, 1)]


def test_layers_that_are_more_than_their_weights_are_left_alone():
    network = nn.ModuleList(odd_layers())
    before = [vars(module).get("forward") for module in network]
    assert not any(frozen.is_plain(module) for module in network)
    with frozen.computing_as_inputs(network):
        assert [vars(module).get("forward") for module in network] == before


def test_what_somebody_wraps_meanwhile_is_theirs():
    network = small()

    def wrapper(x):
        return x

    with frozen.computing_as_inputs(network):
        own, network[2].forward = network[2].forward, wrapper
    assert network[2].forward is wrapper
    with frozen.computing_as_inputs(network):
        assert network[2].forward is wrapper
        network[2].forward = own  # given back
    assert not any("forward" in vars(module) for module in network.modules())


def test_the_layers_have_their_own_forward_back_whatever_happens():
    network = small()
    with pytest.raises(KeyError), frozen.computing_as_inputs(network):
        assert "forward" in vars(network[0])
        raise KeyError("stop")
    assert not any("forward" in vars(module) for module in network.modules())
