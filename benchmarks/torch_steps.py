"""Steps a second of PyTorch, eager, one network at a time: the nets, batches and optimizer of benchmarks/gpu.py."""

import contextlib
import math

from benchmarks.timing import median_seconds


def dense(widths):
    """An autoencoder of linear layers of these `widths`, from the data to the code and back, GELU between them."""
    from torch import nn

    code, layers = len(widths) - 1, []
    mirrored = [*widths, *reversed(widths[:-1])]
    for place in range(1, len(mirrored)):
        layers.append(nn.Linear(mirrored[place - 1], mirrored[place]))
        if place not in (code, len(mirrored) - 1):
            layers.append(nn.GELU("tanh"))
    return nn.Sequential(*layers)


def conv(first, second, code):
    """Two strided convolutions with so many channels for images of 28 x 28, a code, and back; vectors in and out."""
    from torch import nn

    gelu = lambda: nn.GELU("tanh")  # noqa: E731
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, first, 4, 2, 1), gelu()),
        *(nn.Conv2d(first, second, 4, 2, 1), gelu(), nn.Flatten(), nn.Linear(second * 49, code)),
        *(nn.Linear(code, second * 49), nn.Unflatten(1, (second, 7, 7)), gelu()),
        *(nn.ConvTranspose2d(second, first, 4, 2, 1), gelu(), nn.ConvTranspose2d(first, 1, 4, 2, 1), nn.Flatten()),
    )


def steps_a_second(network, shape, batch, binary, precision, steps, repeats):
    """The median over repeats of so many steps of Adam; `shape` is that of the data (examples, pixels)."""
    train = trainer(network, shape, batch, binary, precision)
    return steps / median_seconds(lambda: train(steps), repeats)


def trainer(network, shape, batch, binary, precision="float32", compiled=False, fused=None):
    """The function that trains `network` for so many more steps of Adam; `shape` is that of the data, as above.

    The data are on the device as bytes, and their order is drawn again for each epoch. `compiled` is torch.compile of
    network and loss, `fused` the optimizer's setting.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    device, (examples, pixels) = "cuda" if torch.cuda.is_available() else "cpu", shape
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    network = network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=fused)
    stored = torch.randint(0, 2 if binary else 256, shape, dtype=torch.uint8, device=device)

    def drawn():
        """Batches without end."""
        while True:
            order = torch.randperm(examples, device=device) if batch < examples else None
            for place in range(examples // batch):
                chosen = slice(None) if order is None else order[place * batch : (place + 1) * batch]
                yield stored[chosen].float() * (1.0 if binary else 1 / 255)

    def loss_of(x_BxP):
        rounded = torch.autocast(device, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
        with rounded:
            logits_BxP = network(x_BxP).float()
        if binary:
            return binary_cross_entropy_with_logits(logits_BxP, x_BxP, reduction="sum") / batch
        squared = ((logits_BxP.sigmoid() - x_BxP) ** 2).sum() / batch
        return 0.5 * (squared + pixels * math.log(2 * math.pi))

    batches, loss_of = drawn(), torch.compile(loss_of) if compiled else loss_of

    def train(steps):
        for _ in range(steps):
            loss = loss_of(next(batches))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return train
