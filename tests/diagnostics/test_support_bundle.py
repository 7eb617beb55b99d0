"""The support archive: sizes, manifest, and the last check for secrets."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

import pytest

from agent.diagnostics.redact import Redactor
from agent.diagnostics.support_bundle import PART_MAX_BYTES, Missing, Part, pack, text_part
from agent.errors import AgentError
from agent.resources import data

PORTRAIT = data("photos/obama_portrait.jpg").read_bytes()
REDACTOR = Redactor({"compare.secret_key_file": b"s3cret-of-the-shop"})


def packed(*parts: Part, missing: tuple[Missing, ...] = ()) -> tuple[dict[str, Any], dict[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(pack(parts, missing, {"terminal": "t"}, REDACTOR))) as archive:
        inside = {entry.name: archive.extractfile(entry) for entry in archive.getmembers()}
        files = {name: taken.read() for name, taken in inside.items() if taken is not None}
    return json.loads(files["facepay-bundle/MANIFEST.json"]), files


def test_manifest_lists_parts_and_missing_parts() -> None:
    manifest, files = packed(
        Part("a.txt", "letters", "to read", b"abc"), missing=(Missing("b.txt", "not s3cret-of-the-shop"),)
    )
    assert files["facepay-bundle/a.txt"] == b"abc"
    (row,) = manifest["parts"]
    assert (row["name"], row["what"], row["why"], row["bytes"]) == ("a.txt", "letters", "to read", 3)
    assert row["sha256"] == hashlib.sha256(b"abc").hexdigest()
    assert manifest["left_out"] == [{"name": "b.txt", "why": "not [secret compare.secret_key_file]"}]


@pytest.mark.parametrize("content", [b"x s3cret-of-the-shop y", PORTRAIT, b"x" + PORTRAIT.hex().encode()])
def test_pack_with_a_secret_or_picture_in_a_part_raises(content: bytes) -> None:
    with pytest.raises(AgentError) as unclean:
        packed(Part("ok.txt", "", "", b"fine"), Part("odd.bin", "", "", content))
    assert unclean.value.code == "bundle_unclean" and "odd.bin" in str(unclean.value)
    assert "s3cret" not in str(unclean.value)


def test_pack_accepts_a_picture_only_in_the_requested_part() -> None:
    picture = Part("picture.jpg", "", "", PORTRAIT, picture=True)
    manifest, _ = packed(picture)
    assert manifest["parts"][0]["holds_a_picture_of_a_person"]
    with pytest.raises(AgentError, match=r"a picture was still in other\.jpg"):
        packed(picture, Part("other.jpg", "", "", PORTRAIT))


def test_pack_cuts_the_start_of_a_long_log_and_records_it() -> None:
    log = text_part("log.txt", "", "", "old\n" + "x y\n" * PART_MAX_BYTES + "new", REDACTOR)
    manifest, files = packed(log)
    kept = files["facepay-bundle/log.txt"]
    assert len(kept) == PART_MAX_BYTES and kept.endswith(b"new") and not kept.startswith(b"old")
    assert manifest["parts"][0]["cut_from_bytes"] == len(log.content)


def test_pack_entries_contain_no_owner_or_time_of_this_machine() -> None:
    whole = pack([Part("a", "", "", b"a")], [], {}, REDACTOR)
    with tarfile.open(fileobj=io.BytesIO(whole)) as archive:
        for entry in archive.getmembers():
            assert (entry.uid, entry.gid, entry.uname, entry.mtime, entry.mode) == (0, 0, "", 0, 0o600)
            assert entry.name.startswith("facepay-bundle/") and ".." not in entry.name
