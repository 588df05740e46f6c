"""Muon for convolutions, Adam for the rest: no step depends on the scale of the loss's gradient."""

from typing import Any

import torch
from torch import Tensor

A, B, C = 3.4445, -4.7750, 2.0315  # of the quintic, https://kellerjordan.github.io/posts/muon/
EPS = 1e-7  # beside the norm of a gradient


class MuonAdam(torch.optim.Optimizer):
    """Muon (Jordan et al., 2024) for parameters of four dimensions, Adam (Kingma & Ba, 2015) for all others.

    filters:  m = momentum m + g,   w = sqrt(num_out) w / |w| - lr orthogonal(g + momentum m)
    others:   Adam's step with adam_lr and betas, eps 1e-8, no weight decay; with bias_lr for biases, vectors of
              more than one number

    A convolution that batch norm follows does not change with its filters' norm, so that norm is kept (as in
    airbench94_muon.py): lr is a relative step, and weight decay would be without effect. Convolutions without batch
    norm need another optimizer.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        momentum: float,
        newton_schulz_steps: int,
        adam_lr: float,
        bias_lr: float,
        betas: tuple[float, float],
    ) -> None:
        """params: parameters, or groups with `params`, of which nothing else is used."""
        params = list(params)
        groups = params if isinstance(params[0], dict) else [{"params": params}]
        parameters = [p for group in groups for p in group["params"]]
        muon = {"params": [p for p in parameters if p.ndim == 4], "lr": lr, "momentum": momentum}
        muon["newton_schulz_steps"] = newton_schulz_steps
        pair = tuple(betas)
        bias = {"params": [p for p in parameters if is_bias(p)], "lr": bias_lr, "betas": pair}
        adam = {"params": [p for p in parameters if p.ndim != 4 and not is_bias(p)], "lr": adam_lr, "betas": pair}
        super().__init__([group for group in (muon, bias, adam) if group["params"]], {})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            update = self._muon if "momentum" in group else self._adam
            for p in group["params"]:
                if p.grad is not None:
                    update(p, p.grad, group)

    def _muon(self, w: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        state = self.state[w]
        if not state:
            state["m"] = torch.zeros_like(g)
        m = state["m"]
        m.mul_(group["momentum"]).add_(g)
        direction = g.add(m, alpha=group["momentum"])
        w.mul_(len(w) ** 0.5 / w.norm())
        update = orthogonal(direction.flatten(1), group["newton_schulz_steps"]).view_as(w)
        rate = group["lr"] if isinstance(group["lr"], Tensor) else w.new_full((), group["lr"])  # no copy from the CPU
        w.addcmul_(update, rate, value=-1)

    def _adam(self, w: Tensor, g: Tensor, group: dict[str, Any]) -> None:
        state, (b1, b2) = self.state[w], group["betas"]
        if not state:
            state.update(step=0, m=torch.zeros_like(g), v=torch.zeros_like(g))
        if isinstance(group["lr"], Tensor):  # of a CUDA graph, which counts on the device
            state["step"] = torch.as_tensor(state["step"], dtype=torch.float64, device=w.device)
        state["step"] += 1
        t, m, v = state["step"], state["m"], state["v"]
        m.lerp_(g, 1 - b1)
        v.lerp_(g.square(), 1 - b2)
        w.addcdiv_(m / (1 - b1**t) * -group["lr"], (v / (1 - b2**t)).sqrt_().add_(1e-8))


def is_bias(parameter: Tensor) -> bool:
    """Tell a vector of more than one number from matrices, filters and single numbers such as a learned temperature."""
    return parameter.ndim == 1 and parameter.numel() > 1


def orthogonal(matrix: Tensor, steps: int) -> Tensor:
    """(M, N) -> (M, N), about U V' of the matrix's decomposition U S V', by Newton-Schulz iterations in bf16.

    X <- A X + (B X X' + C (X X')^2) X   from X = matrix / |matrix|. The singular values end near 1, not at it.
    """
    x = matrix.bfloat16()
    x = x.T if len(matrix) > matrix.shape[1] else x
    x = x / (x.norm() + EPS)
    for _ in range(steps):
        gram = x @ x.T
        x = A * x + (B * gram + C * gram @ gram) @ x
    return (x.T if len(matrix) > matrix.shape[1] else x).to(matrix.dtype)
