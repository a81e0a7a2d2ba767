import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FixedTrial

from shared.config.space import Range, SpaceConfig
from shared.study.space import all_inputs, default_params, first_params, params_of, suggest
from shared.training.params import InputParams, LayerParams

WIDTHS = {"encoder": 384}
ONE_LAYER = {
    "n_layers": 1,
    "n_units_l0": 100,
    "activation0": "swish",
    "dropout0": 0.25,
    "batch_size": 16,
}


def test_the_default_space_is_the_articles() -> None:
    study = optuna.create_study()
    trial = study.ask()
    params = suggest(trial, SpaceConfig(n_layers=Range[int](low=3, high=3)), WIDTHS)
    assert len(params.layers) == 3
    assert set(trial.params) == {
        *(f"{name}{i}" for name in ("n_units_l", "activation", "dropout") for i in range(3)),
        "batch_size",
    }
    units = trial.distributions["n_units_l0"]
    assert units == optuna.distributions.IntDistribution(48, 384, log=True)


def test_a_fixed_value_is_not_a_parameter_of_the_study() -> None:
    space = SpaceConfig(activation=("relu",), dropout=Range[float](low=0.1, high=0.1))
    trial = optuna.create_study().ask()
    layer = suggest(trial, space, WIDTHS).layers[0]
    assert (layer.activation, layer.dropout) == ("relu", 0.1)
    assert not {"activation0", "dropout0", "learning_rate"} & set(trial.params)


def test_an_opened_range_becomes_a_parameter() -> None:
    space = SpaceConfig(
        learning_rate=Range[float](low=1e-4, high=1e-2, log=True),
        optimizer=("adam", "sgd"),
        batch_normalization=(True, False),
        loss=("cross_entropy", "focal"),
        label_smoothing=Range[float](low=0, high=0.1),
        weight_decay=Range[float](low=0, high=0.1),
        focal_gamma=Range[float](low=1, high=3),
    )
    trial = optuna.create_study().ask()
    suggest(trial, space, WIDTHS)
    assert {
        "learning_rate",
        "optimizer",
        "batch_normalization",
        "loss",
        "label_smoothing",
        "weight_decay",
        "focal_gamma",
    } <= set(trial.params)


def test_an_embedding_narrower_than_the_least_width_fixes_the_width() -> None:
    trial = optuna.create_study().ask()
    assert suggest(trial, SpaceConfig(), {"encoder": 8}).layers[0].units == 48


def test_a_finished_trial_gives_back_the_parameters_it_was_suggested() -> None:
    study = optuna.create_study()
    trial = study.ask()
    suggested = suggest(trial, SpaceConfig(), WIDTHS)
    frozen = study.tell(trial, 1.0)
    assert params_of(frozen, SpaceConfig(), WIDTHS) == suggested


def test_values_come_from_the_trial() -> None:
    params = suggest(FixedTrial(ONE_LAYER), SpaceConfig(), WIDTHS)
    assert (params.layers[0].units, params.layers[0].activation) == (100, "swish")
    assert (params.batch_size, params.learning_rate) == (16, 1e-3)


def test_the_first_trial_is_a_wide_relu_layer_with_much_dropout() -> None:
    study = optuna.create_study()
    study.enqueue_trial(first_params(SpaceConfig(), WIDTHS))
    trial = study.ask()
    (layer,) = suggest(trial, SpaceConfig(), WIDTHS).layers
    assert (layer.units, layer.activation, layer.dropout) == (384, "relu", 0.5)
    assert trial.params["batch_size"] == 16


def test_the_first_trial_keeps_to_the_space() -> None:
    space = SpaceConfig(
        n_layers=Range[int](low=2, high=3),
        max_units=64,
        activation=("swish", "linear"),
        dropout=Range[float](low=0.1, high=0.2),
        batch_size=Range[int](low=32, high=32),
    )
    study = optuna.create_study()
    study.enqueue_trial(first_params(space, WIDTHS))
    params = suggest(study.ask(), space, WIDTHS)
    assert (len(params.layers), params.layers[0].units, params.batch_size) == (2, 64, 32)
    assert params.layers[0].dropout == 0.2


def test_the_default_head_is_one_wide_relu_layer_with_all_else_as_the_defaults_have_it() -> None:
    params = default_params(WIDTHS)
    assert params.layers == (LayerParams(384, "relu", 0.5),)
    assert (params.batch_size, params.optimizer, params.learning_rate) == (16, "adam", 1e-3)
    assert params.loss == "cross_entropy"


TWO = {"small": 384, "large": 768}
EITHER_OR_BOTH = SpaceConfig(concatenate=(False, True), standardize=(False, True))


def test_the_encoder_is_a_parameter_where_there_are_several() -> None:
    trial = optuna.create_study().ask()
    params = suggest(trial, EITHER_OR_BOTH, TWO)
    encoders = trial.distributions["encoder"]
    assert encoders == CategoricalDistribution(("small", "large", "small + large"))
    assert trial.distributions["standardize"] == CategoricalDistribution((False, True))
    assert " + ".join(params.inputs.encoders) == trial.params["encoder"]
    assert params.inputs.standardize == trial.params["standardize"]
    assert "l2_normalize" not in trial.params
    assert trial.distributions["n_units_l0"].high == 768


def test_one_encoder_is_not_a_parameter_nor_are_all_together() -> None:
    for space, widths in ((SpaceConfig(), WIDTHS), (SpaceConfig(concatenate=(True,)), TWO)):
        trial = optuna.create_study().ask()
        assert suggest(trial, space, widths).inputs == InputParams(tuple(widths))
        assert "encoder" not in trial.params


def test_a_space_lists_all_that_heads_may_read() -> None:
    found = all_inputs(EITHER_OR_BOTH, TWO)
    assert len(found) == len(set(found)) == 6
    assert InputParams(("small", "large"), standardize=True) in found
    assert all_inputs(SpaceConfig(), WIDTHS) == [InputParams(("encoder",))]


def test_the_first_trial_reads_the_first_encoder_as_it_is() -> None:
    study = optuna.create_study()
    study.enqueue_trial(first_params(EITHER_OR_BOTH, TWO))
    assert suggest(study.ask(), EITHER_OR_BOTH, TWO).inputs == InputParams(("small",))


def test_the_default_head_reads_all_that_it_is_given() -> None:
    assert default_params(TWO).inputs == InputParams()
