"""An epoch of pythae's trainer, with the network, batch and optimizer of benchmarks/gpu.py."""


def epoch(folder, widths, shape, batch):
    """A function that trains an autoencoder of linear layers of these `widths` for one epoch of random images.

    `shape` is that of the data, (examples, pixels); `folder` is for what the trainer leaves. It is the trainer's own
    loop over its own loader.
    """
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import AE, AEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from torch import nn

    from benchmarks.torch_steps import dense

    layers = list(dense(widths))
    half = layers.index(next(layer for layer in layers if getattr(layer, "out_features", 0) == widths[-1])) + 1

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(*layers[:half])

        def forward(self, x):
            return ModelOutput(embedding=self.layers(x))

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(*layers[half:], nn.Sigmoid())

        def forward(self, z):
            return ModelOutput(reconstruction=self.layers(z))

    model = AE(AEConfig(input_dim=(shape[1],), latent_dim=widths[-1]), Encoder(), Decoder())
    data = BaseDataset(torch.randint(0, 256, shape).float() / 255, torch.zeros(shape[0]))
    settings = {"per_device_train_batch_size": batch, "learning_rate": 1e-3, "num_epochs": 1, "no_cuda": True}
    config = BaseTrainerConfig(output_dir=folder, **settings)
    trainer = BaseTrainer(model, data, training_config=config)
    trainer.prepare_training()
    model.train()
    return lambda: trainer.train_step(1)
