"""How each detector's time and extra memory must grow, from its formula.

N training images, M judged ones, K classes, D features, R resamples, b rows of a block, which no size changes. What is
stored anyway, features, logits and log-probabilities, is no extra memory; M scores always are.
"""

from typing import NamedTuple


class Growth(NamedTuple):
    seconds: str
    memory: str
    why: str


_OF_JUDGED = Growth("M K", "M + b K", "reads the judged images' logits alone")
_RESHAPED = Growth("N D + M D K", "M + b (D + K)", "looks for a negative training feature; then the head again")
_PERCENTILE = Growth("N D + M D K", "M + b (D + K)", "counts all training features; then the head again")
_MEAN = Growth("N D + M (D + K)", "M + b (D + K)", "the training features' mean, then each image alone")
_TIED = Growth("N D² + D³ + M D (D + K)", "N + M + (b + K) D + D²", "a covariance, its factor, M whitened")
_SUBSPACE = Growth("N D² + D³ + M D²", "M + b D + D²", "a second moment, its eigenvectors, the residuals of M")

DETECTORS = {
    "ood_score": Growth("M", "M", "is stored"),
    **dict.fromkeys(("msp", "maxlogit", "energy", "entropy", "odin_unperturbed"), _OF_JUDGED),
    "gen": Growth("M K log K", "M + b K", "sorts each image's probabilities"),
    "kl_matching": Growth("N K + M K²", "N + K² + b K", "a template a class; each image meets all templates"),
    "temperature_scaling": Growth("N K + M K", "N + b K", "some 15 steps, each over all training logits"),
    "openmax": Growth("N K + M K²", "N + K² + b K", "K distances in K dimensions an image"),
    "mahalanobis": _TIED,
    "relative_mahalanobis": _TIED._replace(why="as mahalanobis; the second covariance is the first and the means'"),
    "gmm": Growth("N D² + K D³ + K M D²", "N + (b + K) D + D²", "a covariance a class, and M whitened by each"),
    "knn": Growth("N M D", "M + b D + b²", "every product of a judged and a training image"),
    "nnguide": Growth("N M D / 100", "N D / 100 + b D + b²", "as knn; 1 % of the training images, copied"),
    "relation": Growth("N K + N M (K + D)", "N + M (D + K) + b²", "every product; D only where K leaves something"),
    "vim": Growth("N D² + D³ + M D (D + K)", "N + M + b (D + K) + D²", "as residual, and the residuals of N"),
    "residual": _SUBSPACE,
    "pnml": Growth("N D² + D³ + M D (D + K)", "M + b (D + K) + D²", "a second moment and its inverse"),
    **dict.fromkeys(("react", "vra"), _PERCENTILE),
    **dict.fromkeys(("ash_p", "ash_b", "ash_s", "scale"), _RESHAPED),
    "lts": _RESHAPED._replace(seconds="N D + M (D + K)", why="looks for a negative training feature"),
    "dice": Growth("N D + K D + M D K", "K D + b (D + K)", "the mean feature, a percentile of the weights, the head"),
    "fdbd": Growth("N D + K² D + M (D + K)", "K² + b (D + K)", "the mean feature, distances of K weight vectors"),
    "nci": _MEAN,
    "gradnorm": Growth("M (D + K)", "M + b (D + K)", "reads the judged images alone"),
    "she": Growth("N (D + K) + M (D + K)", "N + (b + K) D", "a mean feature a class"),
}

OTHERS = {
    "evaluate": Growth("the detectors' + n R M", "the largest + n M", "they share only the images and their resamples"),
    "OOD metrics of a detector": Growth("M log M", "M", "sorts the scores"),
    "their bootstrap": Growth("M log M + R M", "250 M", "sorts once; running sums of 250 resamples at a time"),
    "calibration": Growth("M K + M log M", "M K", "class-wise ECE reads all probabilities"),
    "bootstrap of accuracy, ECE, NLL, Brier": Growth("R M + M K", "250 M + M K", "a product with the counts"),
    "ce": Growth("B D K", "B (D + K)", "the head"),
    "focal": Growth("B D K", "B (D + K)", "the head"),
    "logitnorm": Growth("B D K", "B (D + K)", "the head"),
    "ghm": Growth("B D K + 30 B K", "30 B K + B D", "30 bins, each asked of every cell"),
    "circle": Growth("B D K", "B (D + K) + K D", "cosines to K prototypes"),
    "halo": Growth("B D K + B K²", "B (D + K) + K D", "an embedding of K dimensions, then K centroids in it"),
    "halo notes": Growth("B D K + B K²", "B (D + K) + K D", "as halo"),
    "circle pairwise_global": Growth("B² D", "B² + B D", "every pair of the batch"),
    "circle pairwise_per_anchor": Growth("B² D", "B² + B D", "every pair of the batch"),
}
