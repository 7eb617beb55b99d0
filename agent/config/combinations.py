"""Combinations of config values with which no payment can succeed. Each value alone is in its range.

Sources: the waits before the prompts (``core/challenge_plan.py``); frames have the configured size
(``camera/fitting.py``); a camera without a frame for ``stall_ms`` is restarted (``camera/recovery.py``).
"""

from agent.config import Config, PolicyConfig
from agent.core.challenge_plan import NEXT_WAIT_MS, WAIT_MS
from agent.errors import ConfigError
from agent.texts import Text

FASTEST_TURN_MS = 1_250  # of a simulated payer: reaction, turn and the way back at 10 frames a second
INLINE_MIN_BYTES = 16_384  # a request with the smallest usable photo, in base64


def check_combinations(config: Config) -> None:
    """Refuse such a combination. Raises ``ConfigError``: the message starts with a key of it."""
    for check in (_challenge, _face_size, _frame_period, _inline_photo):
        if why := check(config):
            raise ConfigError(why)


def _challenge(config: Config) -> Text | None:
    liveness, limits = config.liveness, config.verification
    waits_ms = WAIT_MS[0] + (liveness.turns - 1) * NEXT_WAIT_MS[0]
    needed_ms = waits_ms + liveness.turns * FASTEST_TURN_MS + limits.publish_margin_ms
    if liveness.mode == "off" or needed_ms <= limits.budget_ms:
        return None
    return Text("detail.turns_exceed_budget", turns=liveness.turns, needed=needed_ms, budget=limits.budget_ms)


def _face_size(config: Config) -> Text | None:
    policy, camera = config.policy, config.camera
    height_px = camera.height_px if camera.rotation in (0, 180) else camera.width_px
    most_px = int(policy.max_face_fraction * height_px)
    if policy.min_face_px < most_px:
        return None
    is_default = policy.min_face_px == PolicyConfig.model_fields["min_face_px"].default
    key = "policy.max_face_fraction" if is_default else "policy.min_face_px"
    facts = {"least": policy.min_face_px, "fraction": policy.max_face_fraction, "height": height_px}
    return Text("detail.face_sizes_empty", key_=key, most=most_px, **facts)


def _frame_period(config: Config) -> Text | None:
    period_ms, stall_ms = 1e3 / config.camera.fps, config.camera.stall_ms
    if period_ms < stall_ms:
        return None
    return Text("detail.frame_period_long", fps=config.camera.fps, period=f"{period_ms:.0f}", stall=stall_ms)


def _inline_photo(config: Config) -> Text | None:
    size = config.mqtt.request_max_bytes
    if not config.inline_reference or size >= INLINE_MIN_BYTES:
        return None
    return Text("detail.inline_photo_large", size=size, least=INLINE_MIN_BYTES)
