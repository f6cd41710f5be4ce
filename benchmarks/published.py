"""Published results: which number of which paper a sweep in sweeps/references/ is compared with."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Number:
    """A published number: of which metric, in which of a sweep's runs (`where`), and within which interval."""

    label: str
    metric: str
    published: str  # with the digits that were published, half of the last of which is its error
    where: dict = dataclasses.field(default_factory=dict)
    interval: float = 0.0  # half the width of the published one


@dataclasses.dataclass(frozen=True)
class Case:
    """A file in sweeps/references/: its paper, its setting, its numbers, and why a worse result is worse."""

    case: str
    paper: str
    setting: str
    numbers: tuple[Number, ...]
    why: str = ""  # beside a result that is worse, and besides a shortened budget; never decides whether it is
    full: str = ""  # the words of the command with the full budget, beyond 2 cores; empty: the file's own
    quick: str | None = None  # the words that make it short; None: not among the short cases
    note: str = ""  # what the reader of the table should know besides


ACCURACY, NMI = "separation/cluster_accuracy", "separation/nmi"
DEC = "DEC trains each layer with dropout, then all for 100,000 steps, and clusters all 70,000 images; here 10,000"
STACKS = "a linear classifier reads codes that no label has tuned; the paper tunes all layers on the labels"
CASES = {
    "letters_exact": Case(
        "1",
        "ariasnico/sia-tp5-autoencoders",
        "5 x 7 font, 35-20-2-20-35, 6,000 epochs; 27 glyphs, published 32",
        (Number("wrong pixels of the worst glyph", "recon/pixel_errors_max", "0"),),
        "some seeds leave a letter with a wrong pixel; the published number is of one seed",
        quick="",
    ),
    "letters_denoising": Case(
        "2",
        "ariasnico/sia-tp5-autoencoders",
        "5 x 7 font, 35-30-10-30-35, flipped pixels; 27 glyphs, published 32",
        tuple(
            Number(
                f"{level:.0%} flipped: at most one wrong pixel",
                "restore/at_most_one_wrong",
                share,
                {"noise.level": level},
            )
            for level, share in ((0.1, "0.92"), (0.15, "0.80"), (0.2, "0.64"))
        ),
        quick="",
        note="The fonts differ, so that only the size of the shares can be compared. The nearest glyph restores 0.975, "
        "0.927 and 0.838 of ours exactly.",
    ),
    "pca": Case(
        "3",
        "Hinton & Salakhutdinov 2006",
        "MNIST, PCA, 30 units",
        (Number("test squared error of an image", "recon/sse", "13.87"),),
        quick="",
    ),
    "logistic_pca": Case(
        "3",
        "Hinton & Salakhutdinov 2006",
        "MNIST, logistic PCA, 30 units",
        (Number("test squared error of an image", "recon/sse", "8.01"),),
        quick="",
    ),
    "deep_rbm": Case(
        "3",
        "Hinton & Salakhutdinov 2006",
        "MNIST, 784-1000-500-250-30, layers pretrained as RBMs",
        (Number("test squared error of an image", "recon/sse", "3.00"),),
        "the paper pretrains each layer for 50 epochs and tunes all for 200",
        full="epochs=200 log_points=100",
    ),
    "deep_relu": Case(
        "4",
        "a replication of Hinton & Salakhutdinov 2006",
        "MNIST, 784-1000-500-250-30, rectified units, not pretrained",
        (Number("test squared error of an image", "recon/sse", "2.65"),),
        "one seed of model=deep_ae reached 2.92 after 30 epochs",
        full="epochs=200 log_points=100",
    ),
    "vae_static": Case(
        "5",
        "Flax, examples/vae; 10 epochs: the log in its pull request 1361",
        "MNIST, binarized once, 784-500-20, epochs of 50,000 images",
        (
            Number("ELBO after 30 epochs", "elbo", "-107.05", {"epochs": 30}, 0.25),
            Number("ELBO after 10 epochs", "elbo", "-103.60", {"epochs": 10}),
        ),
        quick="epochs=10",
        note="The log in Flax's pull request 1361 has -109.34 after 3 epochs, -106.06 after 5, -103.60 after 10 and "
        "-101.83 after 20, so that 30 epochs of the example reach more than -107.05.",
    ),
    "vae_nll": Case(
        "6",
        "a VAE with one hidden layer, and its replication (89.78)",
        "MNIST, binarized once, 784-400-40, 200 samples",
        (Number("NLL", "nll", "89.9"),),
        full="epochs=500 log_points=100 optim.lr=0.001",
    ),
    "vae_latent_dim": Case(
        "9",
        "Davidson et al. 2018, table 1",
        "MNIST, binarized at each step, 784-256-128-d, 500 samples",
        tuple(
            number
            for units, nll, rate in ((2, "135.7", "7.2"), (5, "110.2", "12.8"), (20, "88.9", "23.5"))
            for number in (
                Number(f"d = {units}: NLL", "nll", nll, {"latent_dim": units}),
                Number(f"d = {units}: KL", "likelihood/rate", rate, {"latent_dim": units}),
            )
        ),
        "the paper trains until validation stops improving",
        full="epochs=400 optim.lr=0.001 batch_size=64 select=best",
        quick="latent_dim=2",
        note="The header of `mnist_latent_dim`, which has the same settings, has all three sizes with 4 seeds.",
    ),
    "clusters_mnist": Case(
        "10",
        "the autoencoder of Xie et al. 2016 (DEC) and k-means",
        "MNIST, 784-500-500-2000-10",
        (Number("cluster accuracy", ACCURACY, "0.88"), Number("NMI", NMI, "0.81")),
        DEC,
        full="epochs=200 log_points=100",
    ),
    "clusters_fashion": Case(
        "11",
        "the same autoencoder on Fashion-MNIST",
        "Fashion-MNIST, 784-500-500-2000-10",
        (Number("cluster accuracy", ACCURACY, "0.61"), Number("NMI", NMI, "0.64")),
        DEC,
        full="epochs=200 log_points=100",
    ),
    "one_class": Case(
        "12",
        "Ruff et al. 2018 (Deep SVDD: 0.948), its convolutional autoencoder",
        "MNIST, one digit is normal, mean over the ten",
        (Number("AUROC", "anomaly/auroc", "0.90"),),
        "one seed reached 0.965 after 30 epochs",
        full="epochs=30 log_points=10",
    ),
    "stacked": Case(
        "13",
        "Vincent et al. 2010, `basic` MNIST: test error 3.46 %, denoising 2.84 %",
        "10,000 images, three layers of 1,000",
        (
            Number("SAE-3: test accuracy", "separation/probe_accuracy", "0.9654", {"noise.level": 0.0}),
            Number("SDAE-3: test accuracy", "separation/probe_accuracy", "0.9716", {"noise.level": 0.25}),
        ),
        STACKS,
        full="epochs=100 log_points=10",
    ),
    "k_sparse": Case(
        "14",
        "Makhzani & Frey 2014: test error 1.35 %",
        "MNIST, 784-1000, k = 25, logistic regression on the code",
        (Number("test accuracy", "separation/probe_accuracy", "0.9865"),),
        "one seed reached 0.983 after 30 epochs",
        full="epochs=200 log_points=100",
        note="The published number is from memory.",
    ),
}
