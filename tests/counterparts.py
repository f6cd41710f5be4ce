"""PyTorch for tests of benchmarks/torch_*.py, and networks of which it has a counterpart."""

import sys

import numpy as np
import pytest
from conftest import CONF

sys.path.append(str(CONF.parent))  # where benchmarks/ is

NETS = {
    "deep": ("model=ae", "net.widths=[20,10]", "net.activation=relu", "latent_dim=3"),
    "vae": ("model=vae", "net.widths=[20]", "latent_dim=3", "data.binarize=dynamic"),
    "k_sparse": ("model=topk_ae", "net.widths=[]", "net.tied=true", "model.k=5", "latent_dim=20"),
    "tied": ("model=ae", "net.widths=[20,10]", "net.tied=true", "net.activation=tanh", "latent_dim=3"),
    "conv": ("model=conv_ae", "net.widths=[5,6]", "latent_dim=4"),
    "not centered": ("model=ae", "net.widths=[20]", "net.center=false", "latent_dim=3"),
}
GREEDY = ("model=stacked_ae", "net.widths=[20,10]", "latent_dim=3")


@pytest.fixture
def torch():
    """PyTorch with one thread; the tests share the machine."""
    torch = pytest.importorskip("torch", reason="torch is not installed; the extra bench has it")
    torch.set_num_threads(1)
    return torch


def network_of(torch, one, noise=0.0):
    """The Network of a job before its first step, its weights moved by so much noise."""
    from benchmarks import torch_networks, torch_training

    torch.manual_seed(int(one.experiment.seed))
    x_NxP = one.experiment.form.scaled(torch_training.flat(one.dataset.train.x).numpy())
    network = torch_networks.Network(one.experiment, torch.from_numpy(x_NxP.mean(axis=0, dtype=np.float64)).float())
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(noise * torch.randn_like(weights))
    return network
