"""The liveness checks of a config. For composition roots only."""

from typing import assert_never

from agent.config import Config
from agent.core.model import LivenessCheck
from agent.vision.shot_checks import LivenessModel


def has_liveness(config: Config) -> bool:
    """Whether a verification contains a challenge."""
    return config.liveness.mode != "off"


def make_liveness_models(config: Config) -> tuple[LivenessModel, ...]:
    """The models that may refuse a shot; empty: none is configured. Raises ``ModelError``."""
    veto, models = config.liveness.veto, list[LivenessModel]()
    match config.liveness.passive:
        case "off":
            pass
        case "minifasnet":
            from agent.vision.passive.passive_liveness import PassiveLiveness  # not needed with "off"

            models.append(PassiveLiveness(config.storage.directory, config.liveness.passive_threshold))
        case unwired:
            assert_never(unwired)
    if veto is not None:
        from agent.vision.external_liveness import ExternalLiveness  # not needed without a model

        models.append(ExternalLiveness(veto))
    return tuple(models)


def liveness_checks(config: Config) -> tuple[LivenessCheck, ...]:
    """The checks that a match needs with this config."""
    checks: tuple[LivenessCheck, ...] = ("motion", "identity") if has_liveness(config) else ()
    return checks if config.liveness.passive == "off" else (*checks, "passive")
