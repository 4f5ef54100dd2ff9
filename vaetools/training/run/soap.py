"""SOAP: Adam in the eigenbasis of the gradients' second moments.

Adam scales each weight independently. SOAP projects the gradient G of a weight matrix onto the basis in
which E[G Gᵀ] and E[Gᵀ G] are diagonal, takes Adam's step there, and projects the step back. The basis is
updated by one power iteration every `every` steps; different shapes at different steps, so that no step
takes much longer than the others.

    Q_L, Q_R   eigenvectors of L ← E[G Gᵀ] and R ← E[Gᵀ G]
    m, v       ← E[Q_Lᵀ G Q_R], E[(Q_Lᵀ G Q_R)²]
    W          ← W − rate · Q_L (m / √v) Q_Rᵀ

Convolutions are matrices of outputs x (inputs · taps). Vectors, depthwise convolutions and thin
matrices use plain Adam; a side that is too long is not projected. Weights of the same shape are
processed together.

References: Vyas et al., "SOAP: improving and stabilizing Shampoo using Adam", ICLR 2025; Gupta, Koren,
Singer, "Shampoo: preconditioned stochastic tensor optimization", ICML 2018.
"""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Executor

THIN = 8
"""A matrix with at most this many rows or columns is treated as a vector."""


class Soap(torch.optim.Optimizer):
    """Adam in the eigenbasis of the second moments; see the module.

    Args:
        groups: parameters or parameter groups, as for any torch optimizer.
        lr: learning rate, on the scale of Adam's.
        betas: decay rates of the first and second moments.
        every: steps between basis updates.
        largest: longest side of a matrix that is projected.

    Attributes:
        pool: threads that share the work, if there are any.
    """

    def __init__(
        self,
        groups: Iterable[Any],
        *,
        lr: float,
        betas: tuple[float, float] = (0.95, 0.99),
        eps: float = 1e-8,
        every: int = 20,
        largest: int = 384,
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})
        self.every: int = every
        self.largest: int = largest
        self.pool: Executor | None = None

    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Take one step."""
        jobs = []
        for group in self.param_groups:
            shapes = list(_by_shape(group["params"]))
            for number, parameters in enumerate(shapes):
                jobs.append((parameters, group, number * self.every // len(shapes)))
        jobs.sort(key=lambda job: -_cost(job[0]))  # so that threads end at about the same time
        if self.pool is None:
            for job in jobs:
                self._step(*job)
            return
        started = [self.pool.submit(self._step, *job) for job in jobs]
        try:
            for future in started:
                future.result()
        finally:  # whatever interrupts: who saves the state next must find whole steps
            wait(started)

    @torch.no_grad()
    def _step(self, parameters: list[Tensor], group: dict[str, Any], turn: int) -> None:
        """A step for parameters of one shape; their common state is stored with the first one.

        Args:
            turn: of the steps 0 … every − 1, the one at which the bases of this shape are updated.
        """
        state = self.state[parameters[0]]
        gradient = torch.stack([_matrix(p.grad) for p in parameters])  # (n, rows, columns)
        if "mean" not in state:  # or the state is that of an older version
            self._begin(state, gradient, projected=_is_matrix(parameters[0]))
        step = state["step"] = state["step"] + 1
        first, second = group["betas"]
        projected = _project(gradient, state)
        state["mean"].lerp_(projected, 1 - first)
        state["v"].lerp_(projected * projected, 1 - second)
        mean = state["mean"] / (1 - first**step)
        rms = (state["v"] / (1 - second**step)).sqrt_().add_(group["eps"])
        change = _project_back(mean / rms, state)
        deltas = list(change.reshape(len(parameters), *parameters[0].shape))
        torch._foreach_add_(parameters, deltas, alpha=-group["lr"])
        if step % self.every == turn:
            self._update_bases(state)
        self._accumulate(state, gradient, 1 - first)

    def _begin(self, state: dict[str, Any], gradient: Tensor, *, projected: bool) -> None:
        new: dict[str, Any] = {"step": 0}
        new["mean"], new["v"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        rows, columns = gradient.shape[1:]
        for side, length in (("rows", rows), ("columns", columns)):
            if projected and length <= self.largest:
                new[side] = torch.zeros(len(gradient), length, length, device=gradient.device)
        self._accumulate(new, gradient, 1.0)
        for side in _sides(new):
            new[f"{side} basis"] = _eigenvectors(new[side])
        state.update(new)  # all or nothing: who is interrupted saves the state

    @staticmethod
    def _accumulate(state: dict[str, Any], gradient: Tensor, weight: float) -> None:
        """Add a gradient to the second moments of rows and columns."""
        if "rows" in state:
            state["rows"].lerp_(gradient @ gradient.mT, weight)
        if "columns" in state:
            state["columns"].lerp_(gradient.mT @ gradient, weight)

    @staticmethod
    def _update_bases(state: dict[str, Any]) -> None:
        """One power iteration. The mean is projected anew; `v` is permuted like the eigenvalues."""
        mean = _project_back(state["mean"], state)
        for side in _sides(state):
            moment, basis = state[side], state[f"{side} basis"]
            image = moment @ basis
            order = (basis * image).sum(dim=1).argsort(dim=1, descending=True)  # (n, length)
            axis = 1 if side == "rows" else 2
            index = order[:, :, None] if axis == 1 else order[:, None, :]
            state["v"] = state["v"].take_along_dim(index, dim=axis)
            columns = order[:, None, :]
            image = (image + _ridge(moment) * basis).take_along_dim(columns, dim=2)
            if image.is_cuda:  # there, QR takes the matrices of a batch one after the other
                new = by_cholesky(image, otherwise=basis.take_along_dim(columns, dim=2))
            else:
                new = torch.linalg.qr(image)[0]
            state[f"{side} basis"] = new
        state["mean"] = _project(mean, state)


def _cost(parameters: list[Tensor]) -> int:
    """About proportional to the time of a step for parameters of one shape."""
    rows, columns = _matrix(parameters[0]).shape
    return len(parameters) * rows * columns * (rows + columns)


def _by_shape(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters that have a gradient, by shape."""
    shapes: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            shapes.setdefault(parameter.shape, []).append(parameter)
    yield from shapes.values()


def _matrix(tensor: Tensor | None) -> Tensor:
    """(outputs, everything else), or one row."""
    assert tensor is not None  # `_by_shape` leaves out parameters without a gradient
    return tensor.reshape(len(tensor), -1) if tensor.ndim > 1 else tensor.reshape(1, -1)


def _is_matrix(parameter: Tensor) -> bool:
    """Whether to project: depthwise convolutions are many small filters, not a matrix."""
    depthwise = parameter.ndim > 2 and parameter.shape[1] == 1
    return not depthwise and min(_matrix(parameter).shape) > THIN


def _sides(state: dict[str, Any]) -> list[str]:
    return [side for side in ("rows", "columns") if side in state]


def _project(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    if "rows" in state:
        gradient = state["rows basis"].mT @ gradient
    return gradient @ state["columns basis"] if "columns" in state else gradient


def _project_back(change: Tensor, state: dict[str, Any]) -> Tensor:
    if "rows" in state:
        change = state["rows basis"] @ change
    return change @ state["columns basis"].mT if "columns" in state else change


def _ridge(moments: Tensor) -> Tensor:
    """A millionth of the mean eigenvalue, (n, 1, 1): separates directions without a gradient."""
    mean = moments.diagonal(dim1=1, dim2=2).mean(dim=1)
    return (1e-6 * mean + 1e-30)[:, None, None]


def by_cholesky(matrices: Tensor, *, otherwise: Tensor) -> Tensor:
    """The orthonormal factor Q of the QR decompositions of `matrices` (n, length, length).

    Two passes of Cholesky QR, in float64. The signs of the columns are those of a triangular factor
    with a positive diagonal. All is done on the device, without waiting for it.

    Args:
        otherwise: taken in place of Q where a matrix is singular.

    Reference: Yamamoto et al., "Roundoff error analysis of the CholeskyQR2 algorithm", ETNA 44, 2015.
    """
    q = matrices.double()
    q = q / torch.linalg.vector_norm(q, dim=1, keepdim=True)
    regular = torch.ones(len(q), dtype=torch.bool, device=q.device)
    for _ in range(2):
        lower, info = torch.linalg.cholesky_ex(q.mT @ q)
        regular &= info == 0
        q = torch.linalg.solve_triangular(lower.mT, q, upper=True, left=False)
    regular &= torch.isfinite(q).all(dim=2).all(dim=1)
    return torch.where(regular[:, None, None], q.to(matrices.dtype), otherwise)


def _eigenvectors(moments: Tensor) -> Tensor:
    """Eigenvectors of symmetric matrices (n, length, length), largest eigenvalue first."""
    wide = moments.double().cpu()  # CUDA's solver is slower than a CPU's for large matrices
    wide = wide + _ridge(wide) * torch.eye(wide.shape[1], dtype=wide.dtype)
    vectors: Tensor = torch.linalg.eigh(wide)[1]
    return vectors.flip(2).to(moments).contiguous()
