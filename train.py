"""Train a classifier with a loss and measure its accuracy, calibration and OOD detection.

python train.py loss=halo                 python train.py dataset=cifar100 loss=logitnorm loss.tau=0.01 seed=1
python train.py --help                    python train.py -m loss=ce,halo seed=0,1,2
"""

from oodbench.commands.train import main

if __name__ == "__main__":
    main()
