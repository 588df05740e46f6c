"""Parameters and their weight decay; learning rates as numbers, and where a CUDA graph reads them."""

from dataclasses import replace

import torch
from helpers.training import MUON, RECIPE, SGD, classifier

from oodbench.losses.halo import Halo
from oodbench.training.optimizer import (
    build_optimizer,
    make_capturable,
    parameter_groups,
    set_learning_rate,
    state_of,
)


def test_all_parameters_decay_but_halos_gamma() -> None:
    model = classifier("loss=halo")
    decays, spared = parameter_groups(model)
    assert [id(p) for p in spared["params"]] == [id(model.objective.raw_gamma)]
    assert spared["weight_decay"] == 0
    assert "weight_decay" not in decays  # the recipe's
    ids = [id(p) for p in decays["params"] + spared["params"]]
    assert sorted(ids) == sorted(map(id, model.parameters()))


def test_one_group_is_enough_where_everything_decays() -> None:
    for loss in ("loss=ce", "loss=halo loss.learn_gamma=false"):
        model = classifier(loss)
        (group,) = parameter_groups(model)
        assert sorted(map(id, group["params"])) == sorted(id(p) for p in model.parameters() if p.requires_grad)


def test_weight_decay_reaches_batch_norm_and_biases() -> None:
    model = classifier("loss=halo")
    optimizer = SGD(parameter_groups(model))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, parameter in model.named_parameters():
        shrunk = 1 - 0.1 * 5e-4 * 1.9 * (name != "objective.raw_gamma")  # nesterov: 1 + momentum in the first step
        torch.testing.assert_close(parameter.detach(), before[name] * shrunk, msg=name)
    assert isinstance(model.objective, Halo)


def test_a_graph_reads_every_learning_rate_in_one_place() -> None:
    for kind in (SGD, MUON):
        optimizer = build_optimizer(classifier("loss=halo"), replace(RECIPE, optimizer=kind))
        initial = [group["lr"] for group in optimizer.param_groups]
        assert make_capturable(optimizer, torch.device("cpu"))
        places = [group["lr"] for group in optimizer.param_groups]
        set_learning_rate(optimizer, 0.3)
        assert all(group["lr"] is place for group, place in zip(optimizer.param_groups, places, strict=True))
        expected = [float(torch.tensor(0.3 * rate)) for rate in initial]
        assert [group["lr"] for group in state_of(optimizer)["param_groups"]] == expected  # numbers, for a checkpoint
        assert torch.stack(places).tolist() == expected
