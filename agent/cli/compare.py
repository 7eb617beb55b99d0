"""`facepay compare A.jpg B.jpg | conformance`: one API call, or a test of the whole API contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from agent.cli import conformance
from agent.cli.config import load_config
from agent.cli.console import Spinner
from agent.cli.options import AsJson, ConfigFile, read_file

if TYPE_CHECKING:
    from agent.config import Config
    from agent.core.model import Comparison

TIMEOUT_MS = 15_000
Photos = tuple[bytes, bytes]


class _PhotosUnlessNamed(TyperGroup):
    """A group whose default command takes two photos.

    A first argument that is no command of the group is the first photo. A photo with the name of a command is
    written as ``./conformance``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = [_PHOTOS, *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == _PHOTOS else name, command, rest  # help and errors then show what the user types


_PHOTOS = "photos"
app = typer.Typer(cls=_PhotosUnlessNamed, help="Compare two photos: do both show the same person?")
app.command("conformance")(conformance.conformance)


@app.command(_PHOTOS)
def compare(
    image_a: Annotated[Path, typer.Argument(metavar="A.jpg", help="First photo.")],
    image_b: Annotated[Path, typer.Argument(metavar="B.jpg", help="Second photo.")],
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare two photos with the compare API: do both show the same person?

    `--config` names the API (a paid call where calls are paid). Without `--config`, the embedded compare
    service on loopback compares. Exit 0: match, 1: no match.

    Example:  facepay compare enrolled.jpg visitor.jpg

    See also:  facepay compare conformance --help
    """
    from agent import event_loop

    photos = read_file(image_a), read_file(image_b)
    with Spinner("calling the API" if config else "calling the compare service"):
        answer = event_loop.run(
            _compare(load_config(config), photos) if config else _compare_embedded(photos)
        )
    same = answer.similarity >= answer.threshold
    if as_json:
        names = ("similarity", "threshold", "provider", "session_id", "api_ms")
        print(json.dumps({"same_person": same} | {name: getattr(answer, name) for name in names}))
    else:
        scale = f"similarity {answer.similarity:.1f}, threshold {answer.threshold:g}"
        print(f"{'same person' if same else 'different persons'}: {scale}, {answer.api_ms} ms")
    if not same:
        raise typer.Exit(1)


async def _compare_embedded(photos: Photos) -> Comparison:
    import tempfile

    from agent.config import CompareConfig, Config

    with tempfile.NamedTemporaryFile() as key:
        async with conformance.embedded() as (url, account):
            key.write(account.secret_key())
            key.flush()
            compare = CompareConfig(
                url=url,
                appid=account.appid,
                bucket=account.buckets[0],
                secret_id=account.secret_id,
                secret_key_file=Path(key.name),
            )
            return await _compare(Config(profile="demo", compare=compare), photos)


async def _compare(config: Config, photos: Photos) -> Comparison:
    from agent.root.wiring import BootClock, make_compare

    client = make_compare(config, BootClock())
    try:
        return await client.compare(*photos, timeout_ms=TIMEOUT_MS)
    finally:
        await client.close()
