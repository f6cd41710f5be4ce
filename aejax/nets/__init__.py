"""Encoders and decoders: the layers on either side of the bottleneck. No losses and no code units here."""

from aejax.nets.conv import Conv as Conv
from aejax.nets.dense import Mlp as Mlp
from aejax.nets.net import ACTIVATIONS as ACTIVATIONS
