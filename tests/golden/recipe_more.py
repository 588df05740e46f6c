import math

import torch
from golden.recipe import SQ3, V, logit_inputs


# ---------------- ELogitNorm / T2FNorm / IsoMax+ ----------------
def head_inputs(B, K, D):
    """y_i = (3 i + 1) mod K ;  r = 1.0 / math.sqrt(D)  (correctly rounded square root, one division)
    V0 = V((K,D); 2917, 4513, 271)
    W  = r * V0                               (the range of a default linear layer's weights)
    b  = r * V((K,); 3119, 1723, 577)
    x  = max(0, V((B,D); 4111, 2903, 1009) + 0.3 * V0[y])      (non-negative features, as after a ReLU)
    returns x, W, b, y"""
    y = (3 * torch.arange(B) + 1) % K
    r = 1.0 / math.sqrt(D)
    V0 = V((K, D), 2917, 4513, 271)
    x = torch.clamp(V((B, D), 4111, 2903, 1009) + 0.3 * V0[y], min=0.0)
    return x, r * V0, r * V((K,), 3119, 1723, 577), y


def proto_inputs(B, K, D):
    """x, y of head_inputs ;  P = sqrt3 * V0  (prototypes of unit variance) ;  returns x, P, y"""
    x, _, _, y = head_inputs(B, K, D)
    return x, SQ3 * V((K, D), 2917, 4513, 271), y


# ---------------- metrics ----------------
def metric_inputs():
    """as in README.md: f_id = 3*V((400,10);19,37,11) + 2*onehot(y)*(i mod 3 > 0), y_i = (7i+2) mod 10 ;
    f_ood = 3*V((300,10);31,61,19) ;  returns f_id, y, f_ood"""
    i = torch.arange(400)
    f, y = logit_inputs(400, 10, 3.0)
    f = f.clone()
    f[i, y] += 2.0 * (i % 3 > 0).to(torch.float64)
    return f, y, 3.0 * V((300, 10), 31, 61, 19)
