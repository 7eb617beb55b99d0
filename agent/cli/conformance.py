"""`facepay compare conformance`: test whether a service implements the 2018 contract."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, assert_never

import typer

from agent.cli.config import load_config
from agent.cli.console import Spinner
from agent.cli.options import AsJson, ConfigFile, File, file
from agent.errors import ConfigError
from agent.texts import Text

if TYPE_CHECKING:
    from agent.config import CompareConfig
    from agent.kits.compare.probe import Account, CheckRow
    from agent.service.settings import AccountConfig

_PLAIN_WIDTH = 120  # characters; width of a table in a file or pipe

SecretFile = Annotated[File, file(help="The file with the secret key; never the key itself.")]
ProviderName = Annotated[
    Literal["face_compare_2018", "compareface_2020"] | None,
    typer.Option(help="The API; by default that of `--config`, otherwise face_compare_2018."),
]
PhotosUrl = Annotated[
    str | None, typer.Option(help="Address where the endpoint downloads the pictures `shot` and `reference`.")
]


def conformance(
    url: Annotated[str | None, typer.Option(help="The endpoint, path included.")] = None,
    provider: ProviderName = None,
    appid: Annotated[str | None, typer.Option(help="The account's appid.")] = None,
    secret_id: Annotated[str | None, typer.Option(help="The account's secret id.")] = None,
    secret_key_file: SecretFile = None,
    bucket: Annotated[str | None, typer.Option(help="A bucket of the account, if it has any.")] = None,
    ca_file: Annotated[File, file(help="Certificates to trust, PEM.")] = None,
    photos_url: PhotosUrl = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Test an endpoint against the contract of its API: request forms, signatures, codes, limits, answers.

    Makes about 90 API calls, which may be paid calls. The account comes from the compare section of
    `--config`; options override the config. Without url and config, tests the embedded service. Exit 1: a row
    differs.

    Example:  facepay compare conformance --url https://compare.example/face/compare --config agent.toml

    Example:  facepay compare conformance --provider compareface_2020 --json
    """
    from agent import event_loop

    options = {"url": url, "appid": appid, "secret_id": secret_id, "bucket": bucket, "ca_file": ca_file}
    options["secret_key_file"] = secret_key_file
    if url is None and config is None:
        tested = provider or "face_compare_2018"
        rows = event_loop.run(_test_embedded(tested))
    else:
        options["provider"] = provider
        section = _section(config, {name: value for name, value in options.items() if value is not None})
        tested = section.provider
        rows = event_loop.run(_test(section, _account(section), photos_url))
    _print(rows, tested, as_json=as_json)
    if any(row.outcome == "differs" for row in rows):
        raise typer.Exit(1)


@contextlib.asynccontextmanager
async def embedded(**changes: Any) -> AsyncIterator[tuple[str, AccountConfig]]:
    """Run the service on a free loopback port; yield its url and the example account.

    ``changes`` override values of the shipped config.
    """
    from agent.config.file import load
    from agent.resources import config_file
    from agent.service.compare_service import CompareService
    from agent.service.settings import ServiceConfig

    settings = load(config_file("service.toml"), ServiceConfig).model_copy(update={"port": 0, **changes})
    service = CompareService(settings)
    await service.start()
    try:
        yield service.url, settings.accounts[0]
    finally:
        await service.stop()


def _section(config: Path | None, options: dict[str, Any]) -> CompareConfig:
    from agent.config import CompareConfig

    section = load_config(config).compare if config else CompareConfig()
    return section.model_copy(update=options)


def _account(section: CompareConfig) -> Account:
    from agent.compare import secret
    from agent.kits.compare.probe import Account

    has_ids = section.secret_id and (section.appid or section.provider == "compareface_2020")
    if not has_ids or section.secret_key_file is None:
        raise ConfigError(Text("detail.account_needed"), code="account_missing")
    key = secret.secret_reader(section.secret_key_file)()
    return Account(section.appid, section.secret_id, key, section.bucket)


async def _test_embedded(provider: str) -> tuple[CheckRow, ...]:
    from agent.compare.contract import PATH
    from agent.config import CompareConfig
    from agent.kits.compare.probe import Account

    async with embedded(download_hosts=("localhost",)) as (url, account):
        who = Account(account.appid, account.secret_id, account.secret_key(), account.buckets[0])
        served = url.removesuffix(PATH) if provider == "compareface_2020" else url
        section = CompareConfig.model_validate({"provider": provider, "url": served})
        return await _test(section, who, None)


async def _test(section: CompareConfig, account: Account, photos_url: str | None) -> tuple[CheckRow, ...]:
    """Run the test. Without ``photos_url`` and with a loopback endpoint, serve the pictures from here."""
    from agent.core.hosts import is_loopback
    from agent.kits.compare import run, run_compareface
    from agent.kits.compare.compareface_probe import CompareFaceProbe
    from agent.kits.compare.images import Pictures, served
    from agent.kits.compare.probe import Probe, checked_url

    async with contextlib.AsyncExitStack() as stack:
        if photos_url is None and is_loopback(checked_url(section.url).host):
            photos_url = await stack.enter_async_context(served(Pictures.shipped()))
        spinner = stack.enter_context(Spinner("testing"))
        match section.provider:
            case "face_compare_2018":
                probe = Probe(section.url, account, ca_file=section.ca_file, photos_url=photos_url)
                stack.push_async_callback(probe.close)
                return await run(probe, spinner.update)
            case "compareface_2020":
                second = CompareFaceProbe(
                    section.url, account, ca_file=section.ca_file, photos_url=photos_url
                )
                stack.push_async_callback(second.close)
                return await run_compareface(second, spinner.update)
            case _:
                assert_never(section.provider)


def _print(rows: tuple[CheckRow, ...], provider: str, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from agent.kits.compare import NOT_CHECKED, compareface_checks
    from agent.kits.compare.probe import CheckOutcome

    not_checked = compareface_checks.NOT_CHECKED if provider == "compareface_2020" else NOT_CHECKED
    counts = {str(outcome): sum(row.outcome is outcome for row in rows) for outcome in CheckOutcome}
    if as_json:
        facts = {"rows": [asdict(row) for row in rows], "summary": counts, "not_checked": not_checked}
        print(json.dumps(facts))
        return
    colours = {"pass": "green", "differs": "bold red", "not offered": "yellow"}
    table = Table(box=None, pad_edge=False)
    for title in ("outcome", "what", "question", "answer"):
        table.add_column(title, overflow="fold")
    for row in rows:
        outcome = f"[{colours[row.outcome]}]{row.outcome}[/]"
        table.add_row(outcome, row.group, escape(row.name), escape(row.reason))
    Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH).print(table)
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    print(f"not checked: {not_checked}")
