import torch
from torch import Tensor, nn
from torch.nn import functional as F

from oodbench.losses.objective import Objective


class GHMC(Objective):
    """L = loss_weight / (B K) sum_cells w BCE(f, t),   w = B K / (n R_bin(g)),   g = |sigmoid(f) - t|

    (Li et al., 2019, eq. 8 and 9, and the authors' code)

    A cell is one (image, class) pair, t its one-hot label, R the number of cells in each of `bins` equal bins of g over
    [0, 1], n the number of bins that are not empty. With momentum m, R of these bins is replaced by acc <- m acc +
    (1 - m) R, which starts at 0 without bias correction, as in the authors' code. w has no gradient. f = linear head,
    log_probs = log sigmoid(f), so a row's probabilities need not sum to one; OOD score = -max_k f_k, which ranks like
    the largest sigmoid and does not saturate.
    """

    acc: Tensor

    def __init__(self, num_features: int, num_classes: int, bins: int, momentum: float, loss_weight: float) -> None:
        super().__init__()
        if bins < 1 or not 0 <= momentum < 1:
            raise ValueError(f"bins is {bins}, momentum is {momentum}; bins must be >= 1, momentum in [0, 1)")
        self.head = nn.Linear(num_features, num_classes)
        self.bins, self.momentum, self.loss_weight = bins, momentum, loss_weight
        self.register_buffer("acc", torch.zeros(bins))

    def loss(self, features: Tensor, labels: Tensor) -> Tensor:
        logits = self.logits(features)
        target = F.one_hot(labels, logits.shape[1]).to(logits)
        weight = self.weights(logits.detach(), target)
        return self.loss_weight * F.binary_cross_entropy_with_logits(logits, target, weight)

    @torch.no_grad()
    def weights(self, logits: Tensor, target: Tensor) -> Tensor:
        """(B, K), (B, K) -> (B, K), weights of the cells, of mean 1 without momentum; training updates `acc`"""
        g = (logits.sigmoid() - target).abs()
        inner_edges = torch.arange(1, self.bins, device=g.device, dtype=g.dtype) / self.bins
        cell_bin = torch.bucketize(g, inner_edges, right=True)  # closed below; g = 1, the hardest, is in the last bin
        # a comparison and a sum: neither a host synchronisation nor a data-dependent shape
        count = (cell_bin.flatten()[:, None] == torch.arange(self.bins, device=g.device)).sum(0).to(g.dtype)  # (bins,)
        filled = count > 0
        density = count
        if self.momentum > 0:
            density = torch.where(filled, self.momentum * self.acc + (1 - self.momentum) * count, self.acc)
            if self.training:
                self.acc.copy_(density)
        return (g.numel() / density / filled.sum())[cell_bin]

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features)

    def linear(self) -> tuple[Tensor, Tensor]:
        return self.head.weight, self.head.bias

    def log_probs(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B, K), log sigmoid(f)"""
        return F.logsigmoid(logits)

    def ood_score(self, logits: Tensor) -> Tensor:
        """(B, C) -> (B,), -max_k f_k"""
        return -logits.amax(1)
