"""Terminal with real faces: one reason per frame and request, and a swapped payer is no match."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator

import pytest

from agent import resources
from agent.camera.simulated.renderer import SceneRenderer, SpriteCache
from agent.camera.simulated.scene import Person, SceneStep, load_scene
from agent.config import VisionConfig
from agent.core.frame_log import FrameLog
from agent.core.model import Assurance, Comparison, Crop, Frame
from agent.core.policy import PolicyLimits
from agent.core.ports import GuidanceEvent, ImageSource, RequestReceived
from agent.core.reasons import FrameReason, Guidance
from agent.core.verification_types import Limits
from agent.terminal.parts import Ports, Settings
from agent.terminal.terminal import Terminal
from agent.vision.face_analyzer import LocalFaceAnalyzer
from agent.vision.luma import BrightnessCheck
from tests.fakes import EPOCH, MemoryClaimStore, QueueTill, RealClock, ScriptedCompare, request
from tests.vision.people import Pixels, person, staged, standing

PERIOD_S = 0.03
SPRITES = SpriteCache()


class PlayedCamera:
    """Delivers pictures in order, then the last one with other noise, and counts them."""

    def __init__(self, pictures: Iterator[Pixels]) -> None:
        self._pictures = pictures
        self._picture = next(pictures)
        self.delivered = 0

    def start(self) -> None: ...

    async def next_frame(self, after_seq: int) -> Frame:
        await asyncio.sleep(PERIOD_S)
        self._picture = next(self._pictures, self._picture)
        self.delivered += 1
        high, wide = self._picture.shape[:2]
        live = self._picture.copy()
        live[0, 0, 1] = 7 * self.delivered % 256  # a sensor never repeats a picture
        return Frame(live, self.delivered, RealClock().now_ms(), wide, high)

    def stop(self) -> None: ...


class WatchingCompare(ScriptedCompare):
    """Answers after the camera has delivered a number of pictures, independent of the clock."""

    def __init__(self, camera: PlayedCamera, until_shown: int) -> None:
        super().__init__()
        self._camera, self._until_shown = camera, until_shown

    async def call(
        self, reference: ImageSource, crop: Crop, number: int, timeout_ms: int, on_sent: Callable[[], None]
    ) -> Comparison:
        on_sent()
        while self._camera.delivered < self._until_shown:  # noqa: ASYNC110 - the counter has no event
            await asyncio.sleep(PERIOD_S)
        return await super().call(reference, crop, number, timeout_ms, on_sent)


class Shop:
    """One terminal with a real analyzer, and a till that sends a request."""

    def __init__(self, pictures: Iterator[Pixels], *, think_s: float = 0.0, until_shown: int = 0) -> None:
        self.camera, self.till = PlayedCamera(pictures), QueueTill()
        self.compare = WatchingCompare(self.camera, until_shown)
        self.compare.delay_s = think_s
        self.frame_logs = list[FrameLog]()
        analyzer = LocalFaceAnalyzer(VisionConfig(), PolicyLimits())
        ports = Ports(
            RealClock(),
            self.camera,
            analyzer,
            self.compare,
            self.till,
            MemoryClaimStore(),
            BrightnessCheck().check,
            self._keep,
        )
        self.terminal = Terminal(
            ports, Settings(EPOCH, Limits(hold_ms=200, ask_timeout_ms=100_000), 50, Assurance())
        )

    def _keep(self, _result: object, frame_log: FrameLog, _trace: object) -> None:
        self.frame_logs.append(frame_log)

    async def ask(self, budget_ms: int) -> str:
        stop = asyncio.Event()
        serving = asyncio.create_task(self.terminal.serve(stop))
        async with asyncio.timeout(60):
            while self.terminal.counters.frames[FrameReason.IDLE] < 2:  # noqa: ASYNC110 - the counter has no event
                await asyncio.sleep(PERIOD_S)
        await self.till.inbox.put(RequestReceived(request(budget_ms=budget_ms)))
        await self.till.until(lambda: bool(self.till.delivered), timeout_s=120)
        await asyncio.sleep(3 * PERIOD_S)  # after the result
        stop.set()
        await serving
        return self.till.delivered[0].payload.decode()


SCENES = sorted(path.stem for path in resources.data("scenes").glob("*.toml"))


@pytest.mark.parametrize("name", SCENES)
async def test_each_frame_of_every_scene_has_one_reason(name: str) -> None:
    scene = load_scene(name)
    stage = SceneRenderer(scene, 1280, 720, 1, SPRITES)
    start_ms = min((person.path[0].at_ms for person in scene.people), default=0)
    shop = Shop(stage.picture(start_ms + 100 * number) for number in range(25))
    await shop.ask(budget_ms=1_000)
    counters = shop.terminal.counters
    # the terminal may stop before the analysis of the last frame
    assert shop.camera.delivered - 1 <= counters.frames_handled <= shop.camera.delivered
    assert counters.frames[FrameReason.IDLE] >= 2
    (frame_log,) = shop.frame_logs
    analyzed = counters.frames_handled - counters.frames[FrameReason.IDLE]
    assert analyzed - 1 <= frame_log.frames_by_reason.total() <= analyzed, (
        "one frame may be analyzed while the result is published"
    )
    assert all(frame_log.frames_by_reason[reason] <= counters.frames[reason] for reason in FrameReason)
    assert sum(counters.results.values()) == 1
    assert sum(counters.calls_saved_by.values()) == counters.calls_saved == analyzed - counters.calls


def stood(name: str, frames: int, **where: float) -> Iterator[Pixels]:
    """Frames of a person who moves slightly, generated one by one: sixty frames are 166 MB."""
    path = tuple(SceneStep.model_validate({"at_ms": at_ms, "face": 0.32, **where}) for at_ms in (0, 60_000))
    return (staged(Person(photo=name, path=path), at_ms=100 * number) for number in range(frames))


PAYER = "obama_portrait"


@pytest.mark.parametrize(
    ("swapped", "verdict"),
    [
        pytest.param(lambda: (), "match/same_person", id="the payer stays"),
        pytest.param(
            lambda: stood("biden_portrait", 60, x=0.72),
            "undecided/face_swapped",
            id="another person beside the payer's place",
        ),
        pytest.param(
            lambda: itertools.chain([staged()] * 14, stood("collins_portrait", 60)),
            "undecided/face_swapped",
            id="another person takes the payer's place",
        ),
        pytest.param(
            lambda: stood("biden_portrait", 60, face=0.55),
            "undecided/face_swapped",
            id="another person, much nearer",
        ),
        pytest.param(
            lambda: [staged(person(PAYER, 0.5, 0.32), person("biden_portrait", 0.85, 0.15))] * 60,
            "match/same_person",
            id="a bystander appears in the background",
        ),
    ],
)
async def test_match_needs_the_sent_person_at_the_time_of_the_answer(
    swapped: Callable[[], Iterable[Pixels]], verdict: str
) -> None:
    """Every answer is a match, so only the presence of the sent person decides."""
    shop = Shop(itertools.chain([standing(PAYER)] * 3, stood(PAYER, 20), swapped()), until_shown=50)
    assert await shop.ask(budget_ms=110_000) == verdict
    assert shop.terminal.counters.calls == 1


async def test_guidance_during_the_comparison_is_thank_you() -> None:
    shop = Shop(stood(PAYER, 90), think_s=1.5)
    assert await shop.ask(budget_ms=110_000) == "match/same_person"
    hints = [event.guidance for event in shop.till.events if isinstance(event, GuidanceEvent)]
    assert hints[-1] is Guidance.THANK_YOU
    assert hints.count(Guidance.THANK_YOU) == 1
