"""What the user may have meant by an unknown key or choice. Imports no jax."""

import functools

from aejax.base.errors import matches, near
from aejax.config.menu import CONF, choice, common, defaults, groups

MOST = 3  # keys that a hint names
MOST_CHOICES = 6  # for each of them

OF_HYDRA = {  # keys that are hinted at, and the choices that have them
    "hydra.run.dir": (),
    "hydra.launcher.detach": ("hydra/launcher=slurm",),
    "hydra.launcher.programs": ("hydra/launcher=local", "hydra/launcher=slurm"),
    "hydra.launcher.slots": ("hydra/launcher=local",),
}

# What other programs and papers call a key, where aejax uses another name.
KEYS = {
    "optim.lr": ("learning_rate", "learningrate", "step_size", "eta"),
    "optim": ("optimizer", "optimizer", "opt"),
    "optim.weight_decay": ("wd", "l2"),
    "optim.clip": ("grad_clip", "max_grad_norm", "clip_norm", "gradient_clip_val"),
    "optim.warmup": ("warmup_steps", "warmup_epochs"),
    "model.beta": ("kl_weight", "kld_weight", "kl_coef"),
    "model.weight": ("lambda", "penalty", "sparsity_weight", "l1"),
    "model.rho": ("sparsity", "sparsity_target"),
    "latent_dim": (
        *("z_dim", "zdim", "z_size", "latent", "latents", "latent_size", "n_latent", "num_latents", "n_latents", "nz"),
        *("code", "code_dim", "code_size", "embedding_dim", "embed_dim", "bottleneck_dim", "n_components", "dim", "d"),
    ),
    "net.widths": (
        *("hidden", "hiddens", "hidden_dim", "hidden_dims", "hidden_size", "hidden_sizes", "hidden_units", "units"),
        *("layers", "layer_sizes", "n_layers", "num_layers", "width", "depth", "channels", "filters", "n_hidden"),
    ),
    "net.kernel": ("kernel_size",),
    "net.norm": ("batch_norm", "batchnorm", "layer_norm", "use_bn"),
    "net": ("arch", "architecture", "encoder", "decoder", "backbone", "network"),
    "likelihood": ("loss", "recon_loss", "reconstruction_loss", "criterion", "distribution"),
    "noise.level": ("std", "sigma", "stddev", "prob", "probability", "p", "amount", "strength", "rate", "noise_level"),
    "noise": ("corruption", "denoise", "denoising"),
    "data": ("dataset", "datamodule", "data_set"),
    "data.path": ("data_path", "root", "data_root"),
    "data.dir": ("data_dir",),
    "track": ("wandb", "logger", "log", "logging", "tracker", "tracking", "tensorboard", "mlflow"),
    "batch_size": ("batch", "bs", "batchsize", "minibatch", "minibatch_size", "train_batch_size"),
    "epochs": ("epoch", "num_epochs", "n_epochs", "max_epochs", "train_epochs"),
    "steps": ("step", "num_steps", "n_steps", "max_steps", "train_steps", "iterations", "iters", "n_iter", "max_iter"),
    "precision": ("dtype", "mixed_precision", "amp", "matmul_precision", "compute_dtype"),
    "seed": ("rng", "random_seed", "random_state", "manual_seed"),
    "figures": ("plots", "plot", "pictures"),
    "hydra.launcher.detach": ("detach",),
    "hydra.launcher.programs": ("jobs", "n_jobs"),
    "hydra.run.dir": ("output", "output_dir", "outdir", "out_dir", "save_dir", "log_dir", "logdir", "run_dir"),
}

# Keys that had another name before 0.1.0.
RENAMED = {
    "data.binarise": "data.binarize",
    "data.fit": "data.resize=crop|stretch",
    "evaluate.what": "evaluate.groups",
    "likelihood.each": "likelihood.shared_variance=true|false",
    "model.fit": "model.solver",
    "model.growth": "model.capacity_warmup",
    "sample": "sampler=auto|prior|codes|gaussian|mixture|kde|flow|two_stage|riemannian",
    "sample.components": "sampler.components",
    "sample.how": "sampler=auto|prior|codes|gaussian|mixture|kde|flow|two_stage|riemannian",
    "what": "evaluate.groups",
}

# What they call a choice: the words that choose the same in aejax, perhaps from another group.
CHOICES = {
    "model": {
        **dict.fromkeys(("denoising", "denoising_ae", "dae", "sdae"), "noise=gaussian, with which any model denoises"),
        **dict.fromkeys(("autoencoder", "vanilla", "plain", "basic", "mlp"), "model=ae"),
        **dict.fromkeys(("variational", "variational_ae", "bvae"), "model=vae"),
        **dict.fromkeys(("cnn", "cae", "convolutional"), "model=conv_ae"),
        **dict.fromkeys(("linear",), "model=linear_ae"),
        **dict.fromkeys(("stacked", "sdae"), "model=stacked_ae"),
        **dict.fromkeys(("lasso",), "model=l1_ae"),
        **dict.fromkeys(("ladder", "lvae", "hierarchical", "hierarchical_vae"), "model=ladder_vae"),
        **dict.fromkeys(("mae", "masked"), "model=masked_ae"),
    },
    "net": {
        **dict.fromkeys(("cnn", "convolutional", "conv2d"), "net=conv"),
        **dict.fromkeys(("dense", "fc", "fully_connected"), "net=mlp"),
        **dict.fromkeys(("transformer", "attention"), "net=vit"),
    },
    "noise": {
        **dict.fromkeys(("normal", "awgn", "white"), "noise=gaussian"),
        **dict.fromkeys(("dropout", "mask", "zero"), "noise=masking"),
        **dict.fromkeys(("poisson",), "noise=shot"),
        **dict.fromkeys(("false", "off", "no"), "noise=none"),
        **dict.fromkeys(("cutout", "block"), "noise=occlusion"),
        **dict.fromkeys(("patch", "masked_patches"), "noise=patches"),
    },
    "likelihood": {
        **dict.fromkeys(("mse", "l2", "normal"), "likelihood=gaussian"),
        **dict.fromkeys(("bce", "binary", "cross_entropy"), "likelihood=bernoulli"),
    },
    "track": {
        **dict.fromkeys(("wandb", "true", "on", "yes"), "track=offline or track=online"),
        **dict.fromkeys(("false", "none", "no", "disabled", "null"), "track=off"),
    },
    "data": {**dict.fromkeys(("cifar",), "data=cifar10"), **dict.fromkeys(("fashion", "fmnist"), "data=fashion_mnist")},
}


def of_choice(group, unknown, known):
    """The clause that suggests a choice of `group` for an `unknown` one, and lists the `known` ones."""
    same = [name for name in known if str(name).lower() == str(unknown).lower()]
    suggestion = CHOICES.get(group, {}).get(str(unknown).lower())
    if same or suggestion:
        return f"did you mean {suggestion if not same else f'{group}={same[0]}'}? {near('', known)}"
    return near(unknown, known)


def of_word(word):
    """The clause that suggests an override for a `word` without =; empty if it is no choice and no setting."""
    suggestions = [f"{group}={name}" for group, names in groups().items() for name in names if name == word.lower()]
    if not suggestions and (key := _named(word.lower())):
        suggestions = [f"{key}=..."]
    return f"; did you mean {' or '.join(suggestions[:MOST])}?" if suggestions else ""


def of_key(unknown, chosen=(), places=(CONF,)):
    """The clause that suggests a key for an `unknown` one, given the {group: choice} of the command line."""
    renamed = next((RENAMED[key] for key in _itself_and_parents(unknown) if key in RENAMED), None)
    if renamed:
        return f"it is now {renamed}; "
    choices, known = choices_by_key(places), groups(places)
    available = keys(chosen, places)
    having = choices.get(unknown) or OF_HYDRA.get(unknown)
    if having:
        return f"only with {_joined(having)}; "
    all_keys = dict.fromkeys((*available, *choices, *OF_HYDRA))
    key = next((key for key in _synonyms(unknown) if key in all_keys or key in known), None)
    if key in known:
        return f"did you mean {_joined([f'{key}={name}' for name in known[key]])}? "
    leaf = unknown.split(".")[-1]
    alike = [name for name in all_keys if name.split(".")[-1] == leaf]
    nearer = [name for name in alike if name in available or not name.startswith("model.terms.")]
    meant = [key] if key else ([name for name in nearer if name in available] or nearer or alike)[:MOST]
    if not meant:
        return matches(unknown, available)
    suggestions = [
        name if name in available or name not in choices else f"{name} (with {_joined(choices[name])})"
        for name in meant
    ]
    return f"did you mean {' or '.join(suggestions)}? "


def _itself_and_parents(key):
    """a.b.c, a.b, a for a.b.c."""
    parts = key.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]


def _joined(choices):
    """net=conv, net=mlp as net=conv|mlp; of many choices those with short names."""
    group = choices[0].split("=")[0]
    names = [choice.removeprefix(f"{group}=") for choice in choices]
    if len(names) > MOST_CHOICES:
        names = [*sorted(names, key=len)[:MOST_CHOICES], "..."]
    return f"{group}={'|'.join(names)}"


def _synonyms(unknown):
    """Keys that `unknown` may stand for: in lower case, by its first name, by its last name."""
    if unknown != unknown.lower():
        yield unknown.lower()
    first, _, rest = unknown.partition(".")
    if rest and (key := _named(first)):
        yield f"{key}.{rest}"
    if key := _named(unknown.split(".")[-1]):
        yield key


def _named(name):
    """The key that other programs call `name`."""
    return next((key for key, names in KEYS.items() if name.lower() in names), None)


def _is_set(key, entry):
    """Whether a user sets this key; a reference to another setting is set there."""
    return not entry.value.startswith("${") and not key.endswith("_target_")


@functools.cache
def choices_by_key(places):
    """{key: the choices that have it, such as net=conv}."""
    choices = {}
    for group, names in groups(places).items():
        for name in names:
            for key, entry in choice(group, name, places).settings.items():
                if key.startswith(f"{group}.") and _is_set(key, entry):
                    choices.setdefault(key, []).append(f"{group}={name}")
    return choices


def all_chosen(chosen, places=(CONF,)):
    """{group: choice}: those `chosen`, those that they imply in other groups, and conf/config.yaml's defaults."""
    known, implied = groups(places), {}
    chosen = {group: name for group, name in dict(chosen).items() if isinstance(name, str)}  # Hydra also takes lists
    for group, name in chosen.items():
        if name in known.get(group, ()):
            implied |= choice(group, name, places).chosen
    return defaults() | implied | chosen


def keys(chosen, places=(CONF,)):
    """The settings that a user may set with these {group: choice}, and the groups."""
    names = [key for key, entry in common().items() if _is_set(key, entry)]
    known = groups(places)
    for group, name in all_chosen(chosen, places).items():
        names.append(group)
        if name in known.get(group, ()):
            settings = choice(group, name, places).settings
            names += [key for key, entry in settings.items() if _is_set(key, entry)]
    return list(dict.fromkeys(names))
