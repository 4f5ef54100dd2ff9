"""The integer network: float32 arithmetic that is 64-bit integer arithmetic, and that still learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from vaetools.training.networks.codec.integer import (
    ACTIVATION_LIMIT,
    EXACT_LIMIT,
    WEIGHT_LIMIT,
    IntegerConv1x1,
    IntegerReLU,
    IntegerScaleNetwork,
    floor_through,
    neighbourhood,
    round_through,
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors this small only lose time to threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def layer(inputs=7, outputs=5, *, shift=6, input_limit=255, seed=0):
    torch.manual_seed(seed)
    made = IntegerConv1x1(
        inputs, outputs, units_in=64, units_out=64, shift=shift, input_limit=input_limit
    )
    torch.nn.init.normal_(made.bias)
    return made


def network(hyper_limit=63, seed=0):
    torch.manual_seed(seed)
    return IntegerScaleNetwork(4, 6, hidden=16, hyper_limit=hyper_limit)


def whole(x):
    """Float32 integers as int64."""
    result = x.detach().numpy().astype(np.int64)
    assert (result == x.detach().numpy()).all()
    return result


def in_int64(made, x):
    """What the layer must give for int64 `x` (B, inputs, H, W)."""
    weight, bias = whole(made.integer_weight())[:, :, 0, 0], whole(made.integer_bias())
    total = np.einsum("oi,bihw->bohw", weight, x) + bias[None, :, None, None]
    return total >> made.shift


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(0, 10))
def test_a_layer_is_an_int64_computation(seed, inputs, shift):
    made = layer(inputs, shift=shift, seed=seed)
    x = np.random.default_rng(seed).integers(-255, 256, (2, inputs, 3, 4))
    assert made.largest_sum() < EXACT_LIMIT
    np.testing.assert_array_equal(whole(made(torch.from_numpy(x).float())), in_int64(made, x))


@pytest.mark.parametrize("seed", range(3))
def test_the_network_is_an_int64_computation(seed):
    made = network(seed=seed)
    made.check_exact()
    z = np.random.default_rng(seed).integers(-63, 64, (1, 4, 5, 3))
    first, second, third = made.layers
    h = whole(neighbourhood(torch.from_numpy(z).float()))
    for step in (first, second):
        h = np.clip(in_int64(step, h), 0, ACTIVATION_LIMIT)
    expected = F.pixel_shuffle(torch.from_numpy(in_int64(third, h)), 4).numpy()
    found = made(torch.from_numpy(z).float())
    assert found.shape == (1, 6, 20, 12)
    np.testing.assert_array_equal(whole(found), expected)


def test_the_order_of_a_sum_does_not_matter():
    """Channels in any order give the same last bit: what makes it safe on any machine."""
    made, x = layer(300), torch.randint(-255, 256, (1, 300, 4, 4)).float()
    order = torch.randperm(300)
    weight, bias = made.integer_weight(), made.integer_bias()
    torch.testing.assert_close(
        F.conv2d(x[:, order], weight[:, order], bias), F.conv2d(x, weight, bias), rtol=0, atol=0
    )


def test_weights_fit_eleven_bits():
    made = layer()
    with torch.no_grad():
        made.weight.mul_(1e6)
    assert made.integer_weight().abs().max() == WEIGHT_LIMIT


# --- check_exact ----------------------------------------------------------------------------------


def test_check_exact_accepts_a_new_network():
    network().check_exact()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_check_exact_names_the_layer_whose_sums_are_too_large(number):
    made = network()
    with torch.no_grad():
        made.layers[number - 1].bias.fill_(2.0**24)
    with pytest.raises(ValueError, match=f"integer layer {number}: .*16777216"):
        made.check_exact()


def test_check_exact_knows_the_limit_to_the_unit():
    """|bias| = 2^24 − 1 is fine, 2^24 is not."""
    made = network()
    last = made.layers[2]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.zero_()
        last.bias[0] = (EXACT_LIMIT - 1) / last.bias_units
        made.check_exact()
        last.bias[0] = -EXACT_LIMIT / last.bias_units
    with pytest.raises(ValueError, match="integer layer 3"):
        made.check_exact()


def test_check_exact_counts_inputs_at_their_limit():
    with pytest.raises(ValueError, match="integer layer 1"):
        network(hyper_limit=10**6).check_exact()


def test_check_exact_refuses_weights_that_are_not_numbers():
    made = network()
    with torch.no_grad():
        made.layers[1].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="integer layer 2"):
        made.check_exact()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_the_bound_holds_for_the_worst_inputs(seed, limit):
    made = layer(20, input_limit=limit, seed=seed)
    weight = made.integer_weight().detach()
    for sign in (1, -1):
        worst = (sign * weight[0].sign() * limit)[None]
        total = F.conv2d(worst, weight, made.integer_bias().detach())
        assert total.abs().max() <= made.largest_sum()


# --- learning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("through", "exact"), [(round_through, torch.round), (floor_through, torch.floor)]
)
def test_straight_through(through, exact):
    # Multiples of 2^-10, as they are after a layer; and values next to a step.
    x = torch.cat([torch.arange(-5000, 5000) / 1024, torch.tensor([2.0**14 - 2.0**-10, 1e-30])])
    x.requires_grad_()
    y = through(x)
    torch.testing.assert_close(y, exact(x), rtol=0, atol=0)
    y.sum().backward()
    assert (x.grad == 1).all()


def test_gradients_reach_every_parameter():
    made = network()
    z = torch.randint(-8, 9, (2, 4, 3, 3)).float().requires_grad_()
    made(z).square().mean().backward()
    assert z.grad.abs().sum() > 0
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_gradient_is_that_of_the_float_layer():
    """In float units: a layer computes W x + b, so d(output)/d(bias) = units per unit."""
    made = layer(3, 2)
    made(torch.zeros(1, 3, 1, 1)).sum().backward()
    torch.testing.assert_close(made.bias.grad, torch.full((2,), 64.0))


def test_a_network_learns():
    """A few steps towards a constant index: the loss falls, and the result stays integer."""
    made = network()
    z = torch.randint(-3, 4, (4, 4, 2, 2)).float()
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    losses = []
    for _ in range(40):
        loss = (made(z) - 25).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
    whole(made(z))
    made.check_exact()


# --- parts ----------------------------------------------------------------------------------------


def test_relu_clamps_to_eight_bits():
    x = torch.tensor([-300.0, -1.0, 0.0, 7.0, 255.0, 256.0])
    assert IntegerReLU()(x).tolist() == [0, 0, 0, 7, 255, 255]


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)])
def test_a_neighbourhood_and_1x1_are_a_3x3_convolution(size):
    x = torch.randint(-9, 10, (2, 3, *size)).float()
    weight = torch.randint(-9, 10, (4, 3, 3, 3)).float()
    stacked = weight.permute(0, 2, 3, 1).reshape(4, 27, 1, 1)  # offset by offset, then channels
    found = F.conv2d(neighbourhood(x), stacked)
    torch.testing.assert_close(found, F.conv2d(x, weight, padding=1), rtol=0, atol=0)
