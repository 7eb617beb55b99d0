"""The support archive: parts with a reason each, a manifest, and a last check for secrets and pictures.

Pure: bytes in, bytes out. ``cli/bundle_parts.py`` selects the parts.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.diagnostics.picture_search import holds_picture
from agent.diagnostics.redact import Redactor
from agent.errors import AgentError
from agent.texts import Text

SCHEMA = "facepay.bundle/1"
PART_MAX_BYTES = 512 * 1024  # of text, before it is packed
PICTURE_MAX_BYTES = 4 * 1024 * 1024
PICTURE = "picture.jpg"
MANIFEST = "MANIFEST.json"


@dataclass(frozen=True, slots=True)
class Part:
    """One file. ``newest_last``: cut the start if too long. ``picture``: requested and confirmed."""

    name: str
    what: str
    why: str
    content: bytes
    newest_last: bool = False
    picture: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that is not in the archive, and the reason."""

    name: str
    why: str


def text_part(name: str, what: str, why: str, text: str, redactor: Redactor) -> Part:
    return Part(name, what, why, redactor.text(text).encode(), newest_last=True)


def tree_part(name: str, what: str, why: str, tree: Any, redactor: Redactor) -> Part:
    whole = json.dumps(redactor.tree(tree), ensure_ascii=False, indent=1)
    return Part(name, what, why, whole.encode())


def pack(
    parts: Sequence[Part], missing: Sequence[Missing], about: dict[str, Any], redactor: Redactor
) -> bytes:
    """The archive (tar, gzip). Its names are fixed; it contains no owner and no path of this machine.

    Raises ``AgentError`` (``bundle_unclean``): a part still contains a secret or a picture.
    """
    cut = [_cut_to_limit(part) for part in parts]
    rows = [_manifest_row(part, whole) for part, whole in zip(cut, parts, strict=True)]
    tree = {
        "schema": SCHEMA,
        **about,
        "parts": rows,
        "left_out": [{"name": part.name, "why": redactor.text(part.why)} for part in missing],
        "redacted": "secrets, urls but for their host, ids of sales, requests and tills (id-N: the same "
        "throughout), nonces, hashes, places of faces, home folders",
    }
    text = redactor.without_secrets(json.dumps(tree, ensure_ascii=False, indent=1))
    manifest = Part(MANIFEST, "", "", text.encode())
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for part in (manifest, *cut):
            _check_clean(part, redactor)
            entry = tarfile.TarInfo(f"facepay-bundle/{part.name}")
            entry.size, entry.mode = len(part.content), 0o600
            archive.addfile(entry, io.BytesIO(part.content))
    return packed.getvalue()


def _cut_to_limit(part: Part) -> Part:
    limit = PICTURE_MAX_BYTES if part.picture else PART_MAX_BYTES
    if len(part.content) <= limit:
        return part
    if part.picture:
        raise AgentError(Text("detail.picture_bytes", size=len(part.content)), code="bundle_too_large")
    return replace(part, content=part.content[-limit:] if part.newest_last else part.content[:limit])


def _manifest_row(part: Part, whole: Part) -> dict[str, Any]:
    return {
        **{name: getattr(part, name) for name in ("name", "what", "why")},
        "bytes": len(part.content),
        "cut_from_bytes": len(whole.content) if len(whole.content) > len(part.content) else None,
        "sha256": hashlib.sha256(part.content).hexdigest(),
        "holds_a_picture_of_a_person": part.picture,
    }


def _check_clean(part: Part, redactor: Redactor) -> None:
    """Second check, independent of the redaction: no secret and no unrequested picture may leave."""
    secret = redactor.holds_secret(part.content)
    if secret or (holds_picture(part.content) and not part.picture):
        what = f"the secret {secret}" if secret else "a picture"
        why = Text("detail.still_in_bundle", what=what, part=part.name)
        raise AgentError(why, code="bundle_unclean", fix=Text("fix.defect_report_part"))
