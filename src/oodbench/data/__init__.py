"""Sets of images, each read by one function into one `Split`."""

from oodbench.data.archives import cifar10, cifar100, svhn
from oodbench.data.digits import digits, noise, photo_patches, unseen_digits
from oodbench.data.folder import folder, own
from oodbench.data.parquet import parquet
from oodbench.data.split import UNKNOWN, Benchmark, Split, benchmark, limited
