"""How well the code units stand for the factors of the data, one unit for one factor."""

import jax.numpy as jnp

from aejax.base.keys import Purpose, key_for
from aejax.evaluation.encoding import codes_of_stored, picked
from aejax.evaluation.protocol import FACTOR_EXAMPLES, FACTOR_GROUP, FACTOR_VOTES, SEED
from aejax.metrics import disentanglement as metrics


def disentanglement(experiment, params, data, z_NxZ):
    """All scores, {name: scalar}; fitted on training codes, scored on the test codes z_NxZ.

    Empty where the data, as Arrays, have no factors or where fewer than two of them vary.
    """
    varied = [place for place, size in enumerate(experiment.form.factors) if size > 1]
    if data.factors_test is None or len(varied) < 2:
        return {}
    sizes = tuple(experiment.form.factors[place] for place in varied)
    label_M = None if data.y_train is None else picked(data.y_train, FACTOR_EXAMPLES)
    fit_MxZ = codes_of_stored(experiment, params, picked(data.train, FACTOR_EXAMPLES), label_M)
    chosen_F = jnp.array(varied)
    fit = fit_MxZ, picked(data.factors_train, FACTOR_EXAMPLES)[:, chosen_F]
    score = picked(z_NxZ, FACTOR_EXAMPLES), picked(data.factors_test, FACTOR_EXAMPLES)[:, chosen_F]
    keys = (key_for(SEED, Purpose.FACTORS, step) for step in range(2))
    scores = {
        name: measure(key, fit, score, FACTOR_VOTES, FACTOR_GROUP)
        for key, (name, measure) in zip(
            keys, {"factor_vae": metrics.factor_vae, "beta_vae": metrics.beta_vae}.items(), strict=True
        )
    }
    scores |= {"sap": metrics.sap(fit, score, sizes), "info_e": metrics.info_e(fit, score, sizes)}
    return scores | metrics.informations(*score, sizes) | metrics.dci(fit, score, sizes)
