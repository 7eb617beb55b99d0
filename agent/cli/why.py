"""`facepay why`: the frames of the last verification, counted by reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.config import load_config
from agent.cli.options import AsJson, ConfigFile
from agent.errors import ConfigError
from agent.log import printable
from agent.texts import Text

Plot = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE.svg", help="Also draw the frames as a picture.")
]


def why(config: ConfigFile = None, plot: Plot = None, as_json: AsJson = False) -> None:
    """Show the reason of the last result: the funnel of its frames, from captured to sent.

    Each frame counts under exactly one reason. The command shows numbers; no picture or landmark is stored.
    """
    from agent.recorder.last import read

    loaded = load_config(config)
    last = read(loaded.storage.directory)
    funnel = dict(last.frame_log.funnel.most_common())
    if plot is not None:
        from agent.recorder.picture import svg

        try:
            plot.write_text(svg(last, loaded.policy.excellent_score), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{plot}: {error.strerror}", fix=Text("fix.file_unwritable")) from error
    if as_json:
        facts = {"request_id": last.request_id, "decision": last.decision, "reason": last.reason}
        print(json.dumps(facts | {"asks": last.asks, "total_ms": last.total_ms, "frames": funnel}))
        return
    total = last.frame_log.funnel.total()
    line = f"{last.total_ms} ms, API calls: {last.asks}, request {last.request_id}"
    print(printable(f"{last.decision} / {last.reason}   {line}") + "\n")
    for reason, count in funnel.items():
        print(f"{count:6d}  {printable(reason):<15} {'█' * max(1, round(40 * count / total))}")
    print(f"{total:6d}  frames in total")
    if last.frame_log.stages:
        stages = " → ".join(f"{stage.name} at {stage.after_ms} ms" for stage in last.frame_log.stages)
        print("\n" + printable(stages))
    if plot is not None:
        print(f"\npicture: {plot}")
