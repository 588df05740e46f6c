"""Growth of the time and extra memory of each detector and loss, from its formula; what is not listed gets a dash.

N training images, M judged ones, K classes, D features, B batch, R resamples, b rows of a block, which no size changes.
Features, logits and log-probabilities are stored anyway and are no extra memory; M scores always are.
"""

from typing import NamedTuple


class Growth(NamedTuple):
    seconds: str
    memory: str


_LOGITS = Growth("M K", "M + b K")  # reads the judged images' logits alone
_SHAPED = Growth("N D + M D K", "M + b (D + K)")  # reads all training features once; then the head again
_TIED = Growth("N D² + D³ + M D (D + K)", "N + M + (b + K) D + D²")  # a covariance, its factor, M whitened
_HEAD = Growth("B D K", "B (D + K)")
_PAIRS = Growth("B² D", "B² + B D")  # every pair of the batch

DETECTORS = {
    "ood_score": Growth("M", "M"),  # is stored
    **dict.fromkeys(("msp", "maxlogit", "energy", "entropy", "odin_unperturbed"), _LOGITS),
    "gen": Growth("M K log K", "M + b K"),  # sorts each image's probabilities
    "kl_matching": Growth("N K + M K²", "N + K² + b K"),  # each image meets a template of every class
    "temperature_scaling": Growth("N K + M K", "N + b K"),  # some 15 steps over all training logits
    "openmax": Growth("N K + M K²", "N + K² + b K"),  # K distances in K dimensions an image
    **dict.fromkeys(("mahalanobis", "relative_mahalanobis"), _TIED),
    "gmm": Growth("N D² + K D³ + K M D²", "N + (b + K) D + D²"),  # one covariance per class, and M whitened by each
    "knn": Growth("N M D", "M + b D + b²"),  # every product of a judged and a training image
    "nnguide": Growth("N M D / 100", "N D / 100 + b D + b²"),  # as knn; 1 % of the training images, copied
    "relation": Growth("N K + N M (K + D)", "N + M (D + K) + b²"),  # every product; D only where K leaves something
    "vim": Growth("N D² + D³ + M D (D + K)", "N + M + b (D + K) + D²"),  # as residual, and the residuals of N
    "residual": Growth("N D² + D³ + M D²", "M + b D + D²"),  # a second moment, its eigenvectors
    "pnml": Growth("N D² + D³ + M D (D + K)", "M + b (D + K) + D²"),  # a second moment and its inverse
    **dict.fromkeys(("react", "vra", "ash_p", "ash_b", "ash_s", "scale"), _SHAPED),
    "lts": Growth("N D + M (D + K)", "M + b (D + K)"),
    "dice": Growth("N D + K D + M D K", "K D + b (D + K)"),  # the mean feature, a percentile of the weights, the head
    "fdbd": Growth("N D + K² D + M (D + K)", "K² + b (D + K)"),  # distances of K weight vectors
    "nci": Growth("N D + M (D + K)", "M + b (D + K)"),  # the training features' mean, then each image alone
    "gradnorm": Growth("M (D + K)", "M + b (D + K)"),
    "she": Growth("N (D + K) + M (D + K)", "N + (b + K) D"),  # a mean feature a class
}
EVALUATION = {
    "all numbers": Growth("the detectors' + n R M", "the largest detector's + n M"),
    "without a detector": Growth("M K + M log M + R M", "M K + 250 M"),  # 250 resamples at a time
    "with one that is stored": Growth("M K + M log M + R M", "M K + 250 M"),
}
LOSSES = {  # by the overrides of train.py; what is no file of conf/loss is measured as well
    **dict.fromkeys(("ce", "focal", "logitnorm"), _HEAD),
    "ghm": Growth("B D K + 30 B K", "30 B K + B D"),  # 30 bins, each compared with every logit
    "circle": Growth("B D K", "B (D + K) + K D"),  # cosines to K prototypes
    "circle loss.variant=pairwise_global": _PAIRS,
    "circle loss.variant=pairwise_per_anchor": _PAIRS,
    "halo": Growth("B D K + B K²", "B (D + K) + K D"),  # an embedding of K dimensions, then K centroids in it
    "halo loss.variant=notes": Growth("B D K + B K²", "B (D + K) + K D"),
}
