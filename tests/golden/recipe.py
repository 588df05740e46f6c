"""Deterministic input recipe for golden.json. No RNG, no transcendental functions:
integers only, then one float64 division -> bit-reproducible everywhere.

  h(n;a,b,c) = ((a*n*n + b*n + c) mod 10007) / 10007          n = 0,1,2,... int64, result float64 in [0,1)
  v(n;a,b,c) = 2*h - 1                                        in [-1,1)
  V(shape; a,b,c) = v over n = arange(prod(shape)), reshaped row-major (C order)
"""

import torch

P = 10007


def h(count, a, b, c):
    n = torch.arange(count, dtype=torch.int64)
    return ((a * n * n + b * n + c) % P).to(torch.float64) / float(P)


def V(shape, a, b, c):  # noqa: N802
    count = 1
    for s in shape:
        count *= s
    return (2.0 * h(count, a, b, c) - 1.0).reshape(*shape)


def fp(t):
    """fingerprint of an input tensor so a consumer can check it rebuilt it exactly"""
    t = t.detach().to(torch.float64)
    f = t.reshape(-1)
    return {
        "shape": list(t.shape),
        "first4": f[:4].tolist(),
        "last": f[-1].item(),
        "sum": f.sum().item(),
        "sumsq": (f * f).sum().item(),
    }


SQ3 = 3.0**0.5


# ---------------- HALO ----------------
def halo_inputs(B, K, D):
    """targets y_i = (3 i + 1) mod K
    C_raw = sqrt(3) * V((K,D); 17,29,5)          (class centroids parameter, BEFORE mean-centring)
    z     = 0.6 * C_raw[y] + 0.8*sqrt(3) * V((B,D); 23,31,7)   (embeddings, a leaf tensor)
    """
    y = (3 * torch.arange(B) + 1) % K
    C = SQ3 * V((K, D), 17, 29, 5)
    z = 0.6 * C[y] + 0.8 * SQ3 * V((B, D), 23, 31, 7)
    return z, y, C


# ---------------- LogitNorm / CE / Focal ----------------
def logit_inputs(B, K, scale=5.0):
    """f = scale * V((B,K); 19,37,11);   y_i = (7 i + 2) mod K"""
    return scale * V((B, K), 19, 37, 11), (7 * torch.arange(B) + 2) % K


# ---------------- GHM-C ----------------
def ghm_inputs(B, K, step=0):
    """pred = 4 * V((B,K); 13+2*step, 41, 3);   y_i = (3 i + 2) mod K ; target = one-hot(y) float"""
    y = (3 * torch.arange(B) + 2) % K
    t = torch.zeros(B, K, dtype=torch.float64)
    t[torch.arange(B), y] = 1.0
    return 4.0 * V((B, K), 13 + 2 * step, 41, 3), y, t


# ---------------- Circle ----------------
def circle_inputs(B, D, ncls):
    """y_i = i mod ncls ; x = V((B,D); 11,43,9) + 0.7 * V((ncls,D); 7,47,13)[y]   (un-normalised features)"""
    y = torch.arange(B) % ncls
    x = V((B, D), 11, 43, 9) + 0.7 * V((ncls, D), 7, 47, 13)[y]
    return x, y


def circle_cls_inputs(B, K, D):
    """y_i = (3 i + 1) mod K ; W = V((K,D); 29,53,1) (class proxies, un-normalised);
    x = V((B,D); 11,43,9) + 0.7 * W[y]"""
    y = (3 * torch.arange(B) + 1) % K
    W = V((K, D), 29, 53, 1)
    x = V((B, D), 11, 43, 9) + 0.7 * W[y]
    return x, y, W
